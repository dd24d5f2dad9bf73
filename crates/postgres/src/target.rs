//! `DATABASE_URL`: where the database is, and how the way there is encrypted.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::tls::{self, Verify};

/// So long may the TCP handshake with one address take: a server that is there answers within
/// milliseconds, and of several that stand by for each other the next is to be tried in time.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(700);
/// After so long without an acknowledgement of the peer's kernel a connection is given up.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that is idle for so long asks whether the peer is still there…
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
/// …again after so long…
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// …so often.
const KEEPALIVE_RETRIES: u32 = 3;
/// By which the server's own views tell our connections from others.
const APPLICATION_NAME: &str = "task-api";

/// Why a database URL cannot be used. Says nothing of what the URL holds but names of parameters
/// and the path of the root certificates.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not a URL of the form that Postgres's own tools take.
    #[error("DATABASE_URL is no URL like postgres://user:password@host:5432/database")]
    InvalidUrl,
    /// It has `sslcert` or `sslkey`.
    #[error("DATABASE_URL has `{0}`: client certificates are not supported")]
    ClientCertificate(&'static str),
    /// Not one of libpq's modes.
    #[error(
        "`sslmode` in DATABASE_URL must be one of disable, allow, prefer, require, verify-ca, \
         verify-full"
    )]
    InvalidSslMode,
    /// The root certificates cannot be read.
    #[error("`sslrootcert` in DATABASE_URL: no certificates can be read from {path}: {reason}")]
    InvalidRootCertificates {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS cannot be set up, for example since the system has no root certificates.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The pool cannot be built.
    #[error("the connection pool cannot be built: {0}")]
    Pool(String),
}

/// One way to connect; the next is tried if TLS or the server's rules refuse it.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) config: Config,
    pub(crate) tls: Option<MakeRustlsConnect>,
}

/// libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// The ways to the database that a URL tells of, best first.
///
/// `sslmode` means what it does to libpq: `disable` is plain; `allow` is plain, and encrypted where
/// that is refused; `prefer` (the default) is encrypted, and plain where that is refused; `require` is
/// encrypted. None of these checks who the server is, which only `verify-ca` (its certificate comes
/// from a known authority) and `verify-full` (and is made out to its host) do; and `require` with
/// `sslrootcert`, which is `verify-ca`.
///
/// The authorities are those of `sslrootcert`, a PEM file. Without it, or where it says `system`, they
/// are the system's, and both modes check the host as well: of those anybody can have a certificate.
pub(crate) fn routes(url: &str) -> Result<Vec<Route>, ConnectError> {
    let (url, parameters) = split(url)?;
    let mut config: Config = url
        .parse()
        // The reason may quote a password that was not encoded.
        .map_err(|_quotes_the_url: tokio_postgres::Error| ConnectError::InvalidUrl)?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(ConnectError::InvalidUrl);
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if config.get_application_name().is_none() {
        config.application_name(APPLICATION_NAME);
    }
    config
        .tcp_user_timeout(TCP_USER_TIMEOUT)
        .keepalives(true)
        .keepalives_idle(KEEPALIVE_IDLE)
        .keepalives_interval(KEEPALIVE_INTERVAL)
        .keepalives_retries(KEEPALIVE_RETRIES);

    let plain = || Route {
        config: config.clone().ssl_mode(SslMode::Disable).clone(),
        tls: None,
    };
    let encrypted = |ssl_mode, verify| {
        Ok::<_, ConnectError>(Route {
            config: config.clone().ssl_mode(ssl_mode).clone(),
            tls: Some(tls::connector(verify)?),
        })
    };
    // A socket in the file system leads to this machine only; libpq does not encrypt it either.
    let is_local = config
        .get_hosts()
        .iter()
        .all(|host| matches!(host, Host::Unix(_)))
        && config.get_hostaddrs().is_empty();
    if is_local {
        return Ok(vec![plain()]);
    }
    let chain = |roots| match roots {
        Some(path) => Verify::Chain(path),
        None => Verify::System,
    };
    let Parameters { mode, roots } = parameters;
    Ok(match (mode, roots) {
        (Mode::Disable, _) => vec![plain()],
        (Mode::Allow, _) => vec![plain(), encrypted(SslMode::Require, Verify::Nothing)?],
        (Mode::Prefer, _) => vec![encrypted(SslMode::Prefer, Verify::Nothing)?, plain()],
        (Mode::Require, Roots::Unset) => vec![encrypted(SslMode::Require, Verify::Nothing)?],
        (Mode::Require | Mode::VerifyCa, roots) => {
            vec![encrypted(SslMode::Require, chain(roots.path()))?]
        }
        (Mode::VerifyFull, roots) => vec![encrypted(
            SslMode::Require,
            roots.path().map_or(Verify::System, Verify::ChainAndHost),
        )?],
    })
}

/// Whose word is taken for who the server is.
#[derive(Debug, PartialEq, Eq)]
enum Roots {
    Unset,
    System,
    File(PathBuf),
}

impl Roots {
    fn path(self) -> Option<PathBuf> {
        match self {
            Self::File(path) => Some(path),
            Self::Unset | Self::System => None,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Parameters {
    mode: Mode,
    roots: Roots,
}

/// Takes the parameters out that are ours to interpret: the library takes fewer modes than libpq.
fn split(url: &str) -> Result<(String, Parameters), ConnectError> {
    let mut parameters = Parameters {
        mode: Mode::Prefer,
        roots: Roots::Unset,
    };
    let rest = ["postgres://", "postgresql://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme))
        .ok_or(ConnectError::InvalidUrl)?;
    // As the library splits it: a question mark before the `@` is part of the password.
    let (credentials, rest) = rest
        .split_once('@')
        .map_or(("", rest), |(credentials, rest)| (credentials, rest));
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut others = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or(ConnectError::InvalidUrl)?;
        let value: Cow<'_, str> = percent_decode_str(value)
            .decode_utf8()
            .map_err(|_not_utf8| ConnectError::InvalidUrl)?;
        match (name, value.as_ref()) {
            ("sslmode", mode) => {
                parameters.mode = match mode {
                    "disable" => Mode::Disable,
                    "allow" => Mode::Allow,
                    "prefer" => Mode::Prefer,
                    "require" => Mode::Require,
                    "verify-ca" => Mode::VerifyCa,
                    "verify-full" => Mode::VerifyFull,
                    _ => return Err(ConnectError::InvalidSslMode),
                }
            }
            ("sslrootcert", "system") => parameters.roots = Roots::System,
            ("sslrootcert", path) => parameters.roots = Roots::File(path.into()),
            ("sslcert", _) => return Err(ConnectError::ClientCertificate("sslcert")),
            ("sslkey", _) => return Err(ConnectError::ClientCertificate("sslkey")),
            _ => others.push(pair),
        }
    }
    let mut url = String::from("postgres://");
    if !credentials.is_empty() {
        url.push_str(credentials);
        url.push('@');
    }
    url.push_str(place);
    if !others.is_empty() {
        url.push('?');
        url.push_str(&others.join("&"));
    }
    Ok((url, parameters))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each way's mode, and whether it can be encrypted.
    fn ways(url: &str) -> Vec<(SslMode, bool)> {
        routes(url)
            .unwrap()
            .iter()
            .map(|route| (route.config.get_ssl_mode(), route.tls.is_some()))
            .collect()
    }

    #[test]
    fn every_mode_has_its_ways() {
        let plain = (SslMode::Disable, false);
        let wanted = (SslMode::Prefer, true);
        let encrypted = (SslMode::Require, true);
        for (query, expected) in [
            ("", vec![wanted, plain]),
            ("?sslmode=disable", vec![plain]),
            ("?sslmode=allow", vec![plain, encrypted]),
            ("?sslmode=prefer", vec![wanted, plain]),
            ("?sslmode=require", vec![encrypted]),
            ("?sslmode=require&sslrootcert=system", vec![encrypted]),
            ("?sslmode=verify-ca", vec![encrypted]),
            ("?sslmode=verify-full", vec![encrypted]),
            (
                "?application_name=a&sslmode=verify%2Dfull&options=-c%20x",
                vec![encrypted],
            ),
        ] {
            let url = format!("postgres://ada:secret@db.example.com/tasks{query}");
            assert_eq!(ways(&url), expected, "{query}");
        }
    }

    #[test]
    fn a_socket_is_never_encrypted() {
        for url in [
            "postgres:///tasks?host=/run/postgresql&sslmode=require",
            "postgres://ada@%2Frun%2Fpostgresql/tasks",
        ] {
            assert_eq!(ways(url), [(SslMode::Disable, false)], "{url}");
        }
    }

    #[test]
    fn the_rest_of_a_url_means_what_it_says() {
        let url = "postgresql://ada:p%40ss?word@db.example.com:6543/my%20tasks?sslmode=disable&application_name=mine";
        let route = &routes(url).unwrap()[0];
        assert_eq!(route.config.get_user(), Some("ada"));
        assert_eq!(route.config.get_password(), Some(&b"p@ss?word"[..]));
        assert_eq!(
            route.config.get_hosts(),
            [Host::Tcp("db.example.com".to_owned())]
        );
        assert_eq!(route.config.get_ports(), [6543]);
        assert_eq!(route.config.get_dbname(), Some("my tasks"));
        assert_eq!(route.config.get_application_name(), Some("mine"));
        assert_eq!(route.config.get_tcp_user_timeout(), Some(&TCP_USER_TIMEOUT));
        assert_eq!(route.config.get_connect_timeout(), Some(&CONNECT_TIMEOUT));
    }

    #[test]
    fn what_cannot_be_used_is_refused_in_one_line_without_the_password() {
        for (url, word) in [
            ("", "no URL"),
            ("mysql://ada:swordfish@db/tasks", "no URL"),
            ("postgres://", "no URL"),
            ("postgres://ada:swordfish@db:port/tasks", "no URL"),
            (
                "postgres://ada:sword?swordfish@db/tasks?swordfish=1",
                "no URL",
            ),
            ("postgres://ada:x?swordfish", "no URL"),
            (
                "postgres://ada:swordfish@db/tasks?sslmode=swordfish",
                "sslmode",
            ),
            ("postgres://ada:swordfish@db/tasks?sslcert=a", "sslcert"),
            ("postgres://ada:swordfish@db/tasks?sslkey=a", "sslkey"),
            (
                "postgres://ada:swordfish@db/tasks?sslmode=verify-full&sslrootcert=/no/such/file",
                "/no/such/file",
            ),
            (
                "postgres://ada:swordfish@db/tasks?sslmode=verify-ca&sslrootcert=/dev/null",
                "/dev/null",
            ),
        ] {
            let error = routes(url).map(|_| ()).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(error.to_string().contains(word), "{url}: {error}");
            assert_eq!(error.to_string().lines().count(), 1, "{url}");
            assert!(!text.contains("swordfish"), "{url}: {text}");
            assert!(!text.contains("ada"), "{url}: {text}");
        }
    }
}
