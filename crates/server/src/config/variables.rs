//! Every variable: its name, its default, its rule and what it is for. `.env.example`,
//! `task-api config` and the lines about wrong values are all made from this table.

/// What may be shown of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// All of it.
    Plain,
    /// All but a password. Its text stays out of errors, since a wrong URL hides its password anywhere.
    Url,
    /// Nothing.
    Secret,
}

/// What an unset variable stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DefaultValue {
    /// Always the same text.
    Text(&'static str),
    /// Something that depends on other settings, in words.
    Depends(&'static str),
    /// Nothing.
    Unset,
}

/// One variable of the environment.
#[derive(Debug)]
pub(crate) struct Variable {
    /// The name in the environment.
    pub(crate) name: &'static str,
    /// What it stands for when it is unset.
    pub(crate) default: DefaultValue,
    /// What is allowed.
    pub(crate) rule: &'static str,
    /// What it is for.
    pub(crate) about: &'static str,
    /// What may be shown of its value.
    pub(crate) shown: Shown,
}

/// Declares the variables and the list of all of them, so that none can be missing from it.
macro_rules! variables {
    ($($name:ident: $shown:ident, $default:expr, $rule:expr, $about:expr;)*) => {
        $(
            #[doc = $about]
            pub(crate) const $name: Variable = Variable {
                name: stringify!($name),
                default: $default,
                rule: $rule,
                about: $about,
                shown: Shown::$shown,
            };
        )*

        /// All variables, in the order in which they are explained.
        pub(crate) const ALL: &[Variable] = &[$($name),*];
    };
}

use DefaultValue::{Depends, Text, Unset};

/// How the names of OpenTelemetry's own variables begin.
pub(crate) const OPENTELEMETRY: &str = "OTEL_";

const BOOLEAN: &str = "true, false, 1 or 0";

variables! {
    APP_ENV: Plain, Text("development"),
        "development, test or production",
        "What the service runs for. Production asks for more and tolerates less.";
    HOST: Plain, Text("127.0.0.1"),
        "an IP address, or a name that resolves to one",
        "The address to listen on. 0.0.0.0 stands for every one.";
    PORT: Plain, Text("8000"),
        "a whole number from 0 to 65535",
        "The port to listen on. 0 picks a free one.";
    METRICS_PORT: Plain, Unset,
        "a whole number from 0 to 65535; not PORT, unless 0",
        "A port for /metrics alone, which then is not at PORT. 0 picks a free one. Ignored without `ENABLE_METRICS`.";
    PUBLIC_URL: Url, Depends("http://HOST:PORT"),
        "an absolute http or https URL without user, query and fragment",
        "Where users reach the service, or the front end that stands for it: the base of the links in mails.";
    DATABASE_URL: Url, Text("sqlite://data/tasks.db"),
        "sqlite://relative/path or sqlite:///absolute/path of a file, or postgres://user:password@host:port/database?sslmode=…",
        "Where the data is: in a file of this process's own, or on a server that several share.";
    DATABASE_POOL_SIZE: Plain, Text("10"),
        "a whole number from 1 to 200",
        "How many connections to the database are open; up to 20 more to PostgreSQL under load, at most 5 to SQLite.";
    RUN_MIGRATIONS: Plain, Depends("true in development and for SQLite, else false"),
        BOOLEAN,
        "Whether `serve` brings the database's schema up to date. `task-api migrate` does it by hand.";
    REDIS_URL: Url, Unset,
        "redis://user:password@host:port/number, or rediss:// for TLS",
        "Where several instances share limits and caches. Unset, they live in the process.";
    JWT_SECRET_KEY: Secret, Depends("made once and kept beside the database; production: required"),
        "at least 32 bytes",
        "The key that signs access tokens. `openssl rand -hex 32` makes a good one.";
    JWT_SECRET_KEY_PREV: Secret, Unset,
        "at least 32 bytes",
        "The key before the current one: its tokens are still accepted, so that a change logs nobody out.";
    JWT_ALGORITHM: Plain, Text("HS256"),
        "HS256, HS384 or HS512",
        "How access tokens are signed.";
    ACCESS_TOKEN_EXPIRE_MINUTES: Plain, Text("15"),
        "a whole number from 1 to 1440",
        "How long an access token works.";
    REFRESH_TOKEN_EXPIRE_DAYS: Plain, Text("7"),
        "a whole number from 1 to 30",
        "How long a refresh token works, and so how long a session lives without being used.";
    BCRYPT_COST: Plain, Text("12"),
        "a whole number from 4 to 15, in production from 10",
        "How hard a password is to guess from its hash. One more takes twice the time.";
    REQUIRE_VERIFIED_EMAIL: Plain, Text("false"),
        BOOLEAN,
        "Whether tasks and categories are only for users whose e-mail address is proven.";
    ALLOW_CONSOLE_EMAIL: Plain, Text("false"),
        BOOLEAN,
        "Accepts that in production the links of mails, and so their tokens, are in the log.";
    EMAIL_BACKEND: Plain, Text("console"),
        "console or smtp; console in production only with ALLOW_CONSOLE_EMAIL=true",
        "Where mails go: their links to the log, or whole to a mail server.";
    SMTP_HOST: Plain, Unset,
        "a host name or an IP address; needed with EMAIL_BACKEND=smtp",
        "The mail server.";
    SMTP_TLS: Plain, Text("starttls"),
        "none, starttls or tls; in production not none with SMTP_USERNAME",
        "How the connection to the mail server is encrypted.";
    SMTP_PORT: Plain, Depends("587 with starttls, 465 with tls, 25 with none"),
        "a whole number from 1 to 65535",
        "The mail server's port.";
    SMTP_USERNAME: Plain, Unset,
        "set together with SMTP_PASSWORD",
        "The name to log in to the mail server with.";
    SMTP_PASSWORD: Secret, Unset,
        "set together with SMTP_USERNAME",
        "The password to log in to the mail server with.";
    SMTP_FROM: Plain, Unset,
        "an e-mail address, alone or as `Name <address>`; needed with EMAIL_BACKEND=smtp",
        "The sender of mails.";
    DELETED_TASK_RETENTION_DAYS: Plain, Text("30"),
        "a whole number from 0 to 36500; 0 keeps them for ever",
        "How long a deleted task keeps its row.";
    CORS_ORIGINS: Url, Depends("development and test: http://localhost:3000,http://localhost:8000; production: none"),
        "origins such as https://app.example.org, separated by commas; * for any, but not in production",
        "The web sites whose scripts may call the service.";
    TRUSTED_PROXIES: Plain, Unset,
        "networks such as 10.0.0.0/8 and addresses, separated by commas",
        "The proxies that are believed when they say for whom they ask.";
    ENABLE_RATE_LIMITING: Plain, Text("true"),
        BOOLEAN,
        "Whether the number of requests is limited.";
    RATE_LIMIT_USER: Plain, Text("100"),
        "a whole number from 1 to 1000000000",
        "How many requests a signed-in user has in a window.";
    RATE_LIMIT_ANONYMOUS: Plain, Text("20"),
        "a whole number from 1 to 1000000000",
        "How many requests an address without a valid token has in a window.";
    RATE_LIMIT_WINDOW_SECONDS: Plain, Text("60"),
        "a whole number from 1 to 86400",
        "How long the window is.";
    REQUEST_TIMEOUT_SECONDS: Plain, Text("5"),
        "a whole number from 1 to 5",
        "How long a request may take from its head to its answer: half a second before, it is answered 503.";
    BODY_TIMEOUT_SECONDS: Plain, Text("3"),
        "a whole number from 1 to 4",
        "How long a body may take to arrive whole; beyond, 400. It is part of `REQUEST_TIMEOUT_SECONDS`.";
    HEADER_TIMEOUT_SECONDS: Plain, Text("5"),
        "a whole number from 1 to 60",
        "How long a new connection may take to send its first request's head; beyond, 408.";
    KEEP_ALIVE_SECONDS: Plain, Text("75"),
        "a whole number from 1 to 3600",
        "How long a connection may be idle between two requests: longer than proxies and clients keep theirs, or they meet closed ones.";
    SHUTDOWN_DELAY_SECONDS: Plain, Text("0"),
        "a whole number from 0 to 300",
        "How long everything goes on after a signal to end, but not ready any more, so that a balancer notices.";
    MAX_BODY_BYTES: Plain, Text("65536"),
        "a whole number from 1024 to 1048576",
        "How large a body may be; beyond, 413. The largest valid one has a tenth of the default.";
    MAX_CONNECTIONS: Plain, Text("2000"),
        "a whole number from 1 to 1000000",
        "How many connections there are at most; more wait to be accepted. An idle one takes some KiB, one that sends a large body twice the body.";
    ENABLE_METRICS: Plain, Text("true"),
        BOOLEAN,
        "Whether metrics are taken, and told at /metrics.";
    OTEL_EXPORTER_OTLP_ENDPOINT: Url, Unset,
        "an absolute http or https URL",
        "Where traces are sent, over OTLP: the base, to which HTTP adds /v1/traces. Unset, they are not sent.";
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: Url, Unset,
        "an absolute http or https URL",
        "Where traces are sent, if not to `OTEL_EXPORTER_OTLP_ENDPOINT`: whole, nothing is added.";
    OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: Url, Unset,
        "an absolute http or https URL",
        "Where metrics are sent, if not to `OTEL_EXPORTER_OTLP_ENDPOINT`: whole, nothing is added.";
    OTEL_EXPORTER_OTLP_PROTOCOL: Plain, Text("http/protobuf"),
        "http/protobuf or grpc",
        "How they are sent.";
    OTEL_EXPORTER_OTLP_HEADERS: Secret, Unset,
        "name=value pairs, separated by commas",
        "What a collector asks for with them, such as a key.";
    OTEL_EXPORTER_OTLP_TIMEOUT: Plain, Text("10000"),
        "a whole number from 1 to 60000",
        "How long a collector has to take them, in milliseconds; beyond, they are dropped. No request waits for it.";
    OTEL_EXPORTER_OTLP_COMPRESSION: Plain, Unset,
        "gzip",
        "How they are compressed. Unset, they are not.";
    OTEL_SERVICE_NAME: Plain, Text("task-api"),
        "any text",
        "The name of the service in traces.";
    OTEL_RESOURCE_ATTRIBUTES: Plain, Unset,
        "name=value pairs, separated by commas",
        "What else is said of the service there, such as deployment.environment.name=production.";
    OTEL_TRACES_EXPORTER: Plain, Text("otlp"),
        "otlp or none",
        "Whether traces are sent where an endpoint is set.";
    OTEL_TRACES_SAMPLER: Plain, Text("parentbased_always_on"),
        "always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off or parentbased_traceidratio",
        "Which traces are sent. The parent-based ones follow the caller's decision, if it made one.";
    OTEL_TRACES_SAMPLER_ARG: Plain, Unset,
        "a number from 0 to 1; needed with traceidratio and parentbased_traceidratio",
        "The share of traces that is sent.";
    OTEL_BSP_MAX_QUEUE_SIZE: Plain, Text("2048"),
        "a whole number from 1 to 1000000",
        "How many spans wait to be sent at most; more are dropped and counted. A span takes 1 to 2 KiB.";
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE: Plain, Text("512"),
        "a whole number from 1 to 1000000",
        "How many spans are sent at once at most.";
    OTEL_BSP_SCHEDULE_DELAY: Plain, Text("5000"),
        "a whole number from 1 to 60000",
        "How often spans are sent, in milliseconds.";
    OTEL_METRIC_EXPORT_INTERVAL: Plain, Text("60000"),
        "a whole number from 1 to 60000",
        "How often metrics are sent, in milliseconds.";
    OTEL_METRICS_EXPORTER: Plain, Text("prometheus"),
        "prometheus, otlp or none",
        "With otlp, metrics are also sent, as traces are; /metrics is `ENABLE_METRICS`'s matter. Ignored without it.";
    OTEL_SDK_DISABLED: Plain, Text("false"),
        BOOLEAN,
        "Sends nothing, whatever else is set.";
    LOG_LEVEL: Plain, Text("info"),
        "off, error, warn, info, debug, trace, or such levels by target: info,tasks_http=debug",
        "What is logged.";
    LOG_FORMAT: Plain, Depends("pretty on a terminal, else json"),
        "json or pretty",
        "How it is logged: for programs or for people.";
}

/// The content of `.env.example`: every variable with its rule, all commented out.
pub(crate) fn example() -> String {
    let mut text = String::from(
        "# Every setting of the service, with its default. Generated: `task-api config --example`.\n\
         # Copied to `.env`, this file is read in development; elsewhere set the environment.\n",
    );
    for variable in ALL {
        let (note, value) = match variable.default {
            Text(value) => (String::new(), value),
            Depends(words) => (format!("# Default: {words}.\n"), ""),
            Unset => ("# Default: unset.\n".to_owned(), ""),
        };
        let Variable {
            name, rule, about, ..
        } = variable;
        let entry = format!("\n# {about}\n# Allowed: {rule}.\n{note}# {name}={value}\n");
        text.push_str(&entry);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_example_is_the_generated_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.env.example");
        let committed = std::fs::read_to_string(path).unwrap();
        assert_eq!(
            committed,
            example(),
            "write it anew: task-api config --example > .env.example"
        );
    }

    #[test]
    fn the_example_sets_nothing_when_copied() {
        assert!(
            example()
                .lines()
                .all(|line| line.is_empty() || line.starts_with('#'))
        );
    }
}
