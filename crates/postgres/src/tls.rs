//! TLS, and who has to be at the other end of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::target::ConnectError;

/// What of the server's certificate is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verify {
    /// Nothing: the line is encrypted, but to whom is not known.
    Nothing,
    /// That it comes from one of the authorities in this file.
    Chain(PathBuf),
    /// And that it is made out to the host.
    ChainAndHost(PathBuf),
    /// That it comes from one of the system's authorities and is made out to the host.
    System,
}

/// What makes connections encrypted. The provider is given to each, so that no state of the
/// process is needed.
pub(crate) fn connector(verify: Verify) -> Result<MakeRustlsConnect, ConnectError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let config = match verify {
        Verify::System => builder.with_platform_verifier()?.with_no_client_auth(),
        Verify::ChainAndHost(path) => builder
            .with_root_certificates(roots(&path)?)
            .with_no_client_auth(),
        Verify::Chain(path) => {
            let chain = WebPkiServerVerifier::builder_with_provider(
                Arc::new(roots(&path)?),
                Arc::clone(&provider),
            )
            .build()
            .map_err(|error| invalid_roots(&path, &error))?;
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyHost {
                    chain: Some(chain),
                    provider,
                }))
                .with_no_client_auth()
        }
        Verify::Nothing => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyHost {
                chain: None,
                provider,
            }))
            .with_no_client_auth(),
    };
    Ok(MakeRustlsConnect::new(config))
}

fn roots(path: &Path) -> Result<RootCertStore, ConnectError> {
    let mut roots = RootCertStore::empty();
    for certificate in
        CertificateDer::pem_file_iter(path).map_err(|error| invalid_roots(path, &error))?
    {
        let certificate = certificate.map_err(|error| invalid_roots(path, &error))?;
        roots
            .add(certificate)
            .map_err(|error| invalid_roots(path, &error))?;
    }
    if roots.is_empty() {
        return Err(invalid_roots(path, &"it has none"));
    }
    Ok(roots)
}

fn invalid_roots(path: &Path, reason: &dyn std::fmt::Display) -> ConnectError {
    ConnectError::InvalidRootCertificates {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

/// Takes a certificate whatever host it is made out to; without a chain, any at all. That the
/// server has the certificate's key is checked in any case.
#[derive(Debug)]
struct AnyHost {
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyHost {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        // The host is checked last: by then the chain has been found to be good.
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
