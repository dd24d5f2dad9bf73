//! What each `sslmode` comes to on a server that speaks TLS.

use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tasks_domain::health::HealthProbe;
use tasks_testkit::servers::PostgresServer;
use tempfile::NamedTempFile;

use crate::{chain, client, connect};

/// An authority's certificate and key.
fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

fn file(pem: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem).unwrap();
    file
}

/// A server whose certificate is made out to `localhost`.
struct TlsServer {
    server: PostgresServer,
    authority: NamedTempFile,
    another: NamedTempFile,
    stores: AtomicUsize,
}

impl TlsServer {
    async fn start() -> Self {
        let server = PostgresServer::start().await;
        let issuer = authority();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()])
            .unwrap()
            .signed_by(&key, &issuer)
            .unwrap();
        let this = Self {
            server,
            authority: file(&issuer.pem()),
            another: file(&authority().pem()),
            stores: AtomicUsize::new(0),
        };
        this.write("server.crt", &certificate.pem()).await;
        this.write("server.key", &key.serialize_pem()).await;
        this.reload("ALTER SYSTEM SET ssl = on").await;
        this
    }

    /// Has the server write a file into its folder, so that it is the server's own.
    async fn write(&self, name: &str, text: &str) {
        let sql = format!(
            "COPY (SELECT unnest(string_to_array('{}', '\n'))) \
             TO PROGRAM 'umask 077; rm -f {name}; cat > {name}'",
            text.trim_end()
        );
        let client = client(&self.server.url("postgres")).await;
        client.batch_execute(&sql).await.unwrap();
    }

    /// Returns when new connections are treated as the settings then say.
    async fn reload(&self, statement: &str) {
        let url = self.server.url("postgres");
        let loaded = || async {
            let sql = "SELECT pg_conf_load_time()::text";
            let row = client(&url).await.query_one(sql, &[]).await.unwrap();
            row.get::<_, String>(0)
        };
        let before = loaded().await;
        let session = client(&url).await;
        session.batch_execute(statement).await.unwrap();
        session
            .batch_execute("SELECT pg_reload_conf()")
            .await
            .unwrap();
        while loaded().await == before {}
    }

    /// Whether the line of a store with these parameters is encrypted, or why there is none.
    async fn is_encrypted(&self, address: &str, parameters: &str) -> Result<bool, String> {
        let url = self
            .server
            .url("postgres")
            .replace("postgres:swordfish@127.0.0.1", address);
        let name = format!("store{}", self.stores.fetch_add(1, Ordering::Relaxed));
        let store = connect(&format!("{url}?application_name={name}&{parameters}"), 1);
        store.check().await.map_err(|error| chain(&error))?;
        let row = client(&self.server.url("postgres"))
            .await
            .query_one(
                "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                 WHERE application_name = $1",
                &[&name],
            )
            .await
            .unwrap();
        store.close().await;
        Ok(row.get(0))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mode_encrypts_and_checks_what_it_says() {
    let server = TlsServer::start().await;
    let by_address = "postgres:swordfish@127.0.0.1";
    let by_name = "postgres:swordfish@localhost";
    let known = format!("sslrootcert={}", server.authority.path().display());
    let unknown = format!("sslrootcert={}", server.another.path().display());
    for (host, parameters, encrypted) in [
        (by_address, "sslmode=disable".to_owned(), Some(false)),
        (by_address, "sslmode=allow".to_owned(), Some(false)),
        (by_address, "sslmode=prefer".to_owned(), Some(true)),
        (by_address, "sslmode=require".to_owned(), Some(true)),
        (by_address, format!("sslmode=require&{known}"), Some(true)),
        (by_address, format!("sslmode=require&{unknown}"), None),
        (by_address, format!("sslmode=verify-ca&{known}"), Some(true)),
        (by_address, format!("sslmode=verify-ca&{unknown}"), None),
        (by_name, "sslmode=verify-ca".to_owned(), None),
        (by_address, format!("sslmode=verify-full&{known}"), None),
        (by_name, format!("sslmode=verify-full&{known}"), Some(true)),
        (by_name, format!("sslmode=verify-full&{unknown}"), None),
        (by_name, "sslmode=verify-full".to_owned(), None),
    ] {
        let outcome = server.is_encrypted(host, &parameters).await;
        assert_eq!(
            outcome.clone().ok(),
            encrypted,
            "{host} {parameters}: {outcome:?}"
        );
        if let Err(reason) = outcome {
            assert!(
                reason.contains("certificate"),
                "{host} {parameters}: {reason}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_rules_of_the_server_refuse_one_way_the_other_is_taken() {
    let server = TlsServer::start().await;
    server
        .reload("CREATE ROLE tester LOGIN PASSWORD 'marzipan'")
        .await;
    for (rule, allow, prefer, require) in [
        ("hostssl", Some(true), Some(true), Some(true)),
        ("hostnossl", Some(false), Some(false), None),
    ] {
        // The administrator, who is the test itself, is let in either way.
        let rules = format!(
            "host all postgres 127.0.0.1/32 password\n{rule} all tester 127.0.0.1/32 password\n"
        );
        server.write("pg_hba.conf", &rules).await;
        server.reload("SELECT 1").await;
        for (mode, encrypted) in [("allow", allow), ("prefer", prefer), ("require", require)] {
            let outcome = server
                .is_encrypted("tester:marzipan@127.0.0.1", &format!("sslmode={mode}"))
                .await;
            assert_eq!(
                outcome.clone().ok(),
                encrypted,
                "{rule} {mode}: {outcome:?}"
            );
        }
        // A wrong password is not tried again in the clear.
        let wrong = server.is_encrypted("tester:wrong@127.0.0.1", "").await;
        assert!(wrong.unwrap_err().contains("refuses the credentials"));
    }
}
