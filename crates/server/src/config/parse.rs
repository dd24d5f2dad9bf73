//! From the text of a variable to its type, or to what is wrong with it: a phrase that goes on
//! after the variable's name.

use std::fmt::Display;
use std::net::{IpAddr, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use tasks_security::JwtAlgorithm;
use tasks_smtp::{Sender, SmtpTls};
use tracing_subscriber::EnvFilter;
use url::Url;

use super::{Database, EmailBackend, Environment, Host, LogFormat, MIN_KEY_BYTES};

type Parsed<T> = Result<T, String>;

/// One of a few words.
fn one_of<T: Copy>(text: &str, words: &[(&str, T)]) -> Parsed<T> {
    words
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, value)| *value)
        .ok_or_else(|| "is none of the allowed words".to_owned())
}

pub(super) fn environment(text: &str) -> Parsed<Environment> {
    let all = [
        Environment::Development,
        Environment::Test,
        Environment::Production,
    ];
    one_of(
        text,
        &all.map(|environment| (environment.as_str(), environment)),
    )
}

pub(super) fn boolean(text: &str) -> Parsed<bool> {
    let words = [("true", true), ("1", true), ("false", false), ("0", false)];
    one_of(&text.to_ascii_lowercase(), &words)
}

pub(super) fn jwt_algorithm(text: &str) -> Parsed<JwtAlgorithm> {
    one_of(
        text,
        &[
            ("HS256", JwtAlgorithm::Hs256),
            ("HS384", JwtAlgorithm::Hs384),
            ("HS512", JwtAlgorithm::Hs512),
        ],
    )
}

pub(super) fn email_backend(text: &str) -> Parsed<EmailBackend> {
    one_of(
        text,
        &[
            ("console", EmailBackend::Console),
            ("smtp", EmailBackend::Smtp),
        ],
    )
}

pub(super) fn smtp_tls(text: &str) -> Parsed<SmtpTls> {
    one_of(
        text,
        &[
            ("none", SmtpTls::None),
            ("starttls", SmtpTls::StartTls),
            ("tls", SmtpTls::Tls),
        ],
    )
}

pub(super) fn log_format(text: &str) -> Parsed<LogFormat> {
    one_of(
        text,
        &[("json", LogFormat::Json), ("pretty", LogFormat::Pretty)],
    )
}

/// A whole number within bounds.
pub(super) fn number<N>(allowed: RangeInclusive<N>) -> impl Fn(&str) -> Parsed<N>
where
    N: FromStr + PartialOrd + Display,
{
    move |text| {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("is not a whole number".to_owned());
        }
        text.parse()
            .ok()
            .filter(|number| allowed.contains(number))
            .ok_or_else(|| "is out of range".to_owned())
    }
}

/// A share of the whole.
pub(super) fn share(text: &str) -> Parsed<f64> {
    text.parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "is no such number".to_owned())
}

/// Where a collector listens.
pub(super) fn endpoint(text: &str) -> Parsed<()> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .map(drop)
        .ok_or_else(|| "is not an absolute http or https URL".to_owned())
}

/// `name=value,name=value`.
pub(super) fn pairs(text: &str) -> Parsed<()> {
    let is_pair = |pair: &str| {
        pair.split_once('=')
            .is_some_and(|(name, _)| !name.trim().is_empty())
    };
    if text.split(',').all(is_pair) {
        Ok(())
    } else {
        Err("has something without a name and a value".to_owned())
    }
}

/// `name=value,name=value`, to be sent as HTTP headers. Values are percent-encoded.
pub(super) fn headers(text: &str) -> Parsed<()> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let is_header = |pair: &str| {
        pair.split_once('=').is_some_and(|(name, value)| {
            let (name, value) = (name.trim(), percent_decode_str(value.trim()));
            !name.is_empty()
                && name.chars().all(is_name)
                && value.into_iter().all(|byte| (b' '..=b'~').contains(&byte))
        })
    };
    if text.split(',').all(is_header) {
        Ok(())
    } else {
        Err("has something that is no header".to_owned())
    }
}

pub(super) fn compression(text: &str) -> Parsed<()> {
    one_of(text, &[("gzip", ())])
}

pub(super) fn otlp_protocol(text: &str) -> Parsed<()> {
    one_of(text, &[("http/protobuf", ()), ("grpc", ())])
}

/// Whether traces are sent.
pub(super) fn traces_exporter(text: &str) -> Parsed<bool> {
    one_of(text, &[("otlp", true), ("none", false)])
}

/// Whether metrics are sent.
pub(super) fn metrics_exporter(text: &str) -> Parsed<bool> {
    one_of(
        text,
        &[("otlp", true), ("prometheus", false), ("none", false)],
    )
}

/// Whether a sampler needs to know the share.
pub(super) fn sampler(text: &str) -> Parsed<bool> {
    one_of(
        text,
        &[
            ("always_on", false),
            ("always_off", false),
            ("traceidratio", true),
            ("parentbased_always_on", false),
            ("parentbased_always_off", false),
            ("parentbased_traceidratio", true),
        ],
    )
}

/// The syntax of a name or an address.
pub(super) fn host_name(text: &str) -> Parsed<String> {
    let of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if text.parse::<IpAddr>().is_ok() || text.chars().all(of_name) {
        Ok(text.to_owned())
    } else {
        Err("is neither an IP address nor a host name".to_owned())
    }
}

/// A name or an address, resolved. Of a name's addresses IPv4 goes first: with two of them, a
/// port taken on one would go unnoticed on the other.
pub(super) fn host(text: &str) -> Parsed<Host> {
    let name = host_name(text)?;
    let address = match text.parse() {
        Ok(address) => address,
        Err(_) => (text, 0)
            .to_socket_addrs()
            .ok()
            .and_then(|found| found.map(|found| found.ip()).min())
            .ok_or_else(|| "does not resolve to an address".to_owned())?,
    };
    Ok(Host { name, address })
}

pub(super) fn key(text: &str) -> Parsed<SecretString> {
    if text.len() < MIN_KEY_BYTES {
        return Err("is too short".to_owned());
    }
    Ok(SecretString::from(text))
}

/// `address` or `Name <address>`.
pub(super) fn sender(text: &str) -> Parsed<Sender> {
    text.parse()
        .map_err(|_reason| "is not an e-mail address".to_owned())
}

/// The file of a `sqlite://` URL, or the URL of a server, which the adapter reads further.
pub(super) fn database(text: &str) -> Parsed<Database> {
    if let Some(path) = text.strip_prefix("sqlite://") {
        return if path.is_empty() || path.ends_with('/') {
            Err("names no file".to_owned())
        } else if path.contains(['?', '#', '\0']) {
            Err("has options, which are not supported".to_owned())
        } else if path.contains(":memory:") {
            Err("names a database in memory, which would lose everything at a restart".to_owned())
        } else {
            Ok(Database::Sqlite(PathBuf::from(path)))
        };
    }
    if ["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
    {
        return server_url(text).map(Database::Postgres);
    }
    Err("is not a URL of a supported database".to_owned())
}

pub(super) fn redis(text: &str) -> Parsed<SecretString> {
    if ["redis://", "rediss://"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
    {
        return server_url(text);
    }
    Err("is not a redis:// or rediss:// URL".to_owned())
}

fn server_url(text: &str) -> Parsed<SecretString> {
    match Url::parse(text) {
        Ok(url) if hides_password(text, &url) => {
            Err("has a password in which #, ? or / is not percent-encoded".to_owned())
        }
        Ok(url) if url.has_host() => Ok(text.into()),
        _ => Err("is not a well-formed URL".to_owned()),
    }
}

/// Whether a user and a password stand where they are not recognised as such: some drivers read
/// them all the same, and nothing could mask them.
pub(super) fn hides_password(text: &str, url: &Url) -> bool {
    text.contains('@') && url.username().is_empty() && url.password().is_none()
}

pub(super) fn public_url(text: &str) -> Parsed<Url> {
    let url = Url::parse(text).map_err(|error| format!("is not a URL ({error})"))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err("is neither http nor https".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a query or a fragment".to_owned());
    }
    Ok(url)
}

/// The entries of a list with commas. What is wrong names the entry by its place.
fn list<T>(text: &str, entry: impl Fn(&str) -> Parsed<T>) -> Parsed<Vec<T>> {
    text.split(',')
        .map(str::trim)
        .enumerate()
        .filter(|(_, part)| !part.is_empty())
        .map(|(index, part)| {
            entry(part).map_err(|reason| format!("{reason} in entry {}", index + 1))
        })
        .collect()
}

/// Origins as browsers write them, or `*`.
pub(super) fn origins(text: &str) -> Parsed<Vec<String>> {
    list(text, |entry| {
        if entry == "*" {
            return Ok(entry.to_owned());
        }
        let (scheme, authority) = entry
            .split_once("://")
            .ok_or_else(|| "has no scheme".to_owned())?;
        if authority.contains(['/', '?', '#', '\\']) {
            return Err("has a path".to_owned());
        }
        if authority.contains(['@', '*']) {
            return Err("has a user or a pattern".to_owned());
        }
        let url = Url::parse(entry).map_err(|error| format!("has no origin ({error})"))?;
        if !url.has_host() || authority.starts_with(':') {
            return Err("has no host".to_owned());
        }
        let origin = url.origin();
        Ok(if origin.is_tuple() {
            origin.ascii_serialization()
        } else {
            // An application's own scheme: nothing is known of its default port.
            format!("{scheme}://{authority}").to_ascii_lowercase()
        })
    })
}

/// Networks; a bare address is a network of one.
pub(super) fn networks(text: &str) -> Parsed<Vec<IpNet>> {
    list(text, |entry| {
        let network = entry.parse().map(|network: IpNet| network.trunc()).ok();
        let address = || entry.parse::<IpAddr>().map(IpNet::from).ok();
        network
            .or_else(address)
            .ok_or_else(|| "has neither a network nor an address".to_owned())
    })
}

/// A filter of `tracing`. To it, a word that is no level is a target that is logged in full, and
/// everything else not at all; here that is a slip of the pen.
pub(super) fn log_level(text: &str) -> Parsed<String> {
    let is_level = |part: &str| part.parse::<tracing::level_filters::LevelFilter>().is_ok();
    let slip = |part: &str| !part.contains(['=', '[', ']', '}']) && !is_level(part.trim());
    if text.split(',').any(slip) {
        return Err("names no level".to_owned());
    }
    if EnvFilter::builder().parse(text).is_ok() {
        Ok(text.to_owned())
    } else {
        Err("is not a filter".to_owned())
    }
}
