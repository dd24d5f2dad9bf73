//! The configuration: environment variables, all checked before anything is opened.
//!
//! [`variables`] is the table of names, defaults and rules, [`source`] says where values come
//! from, [`parse`] turns them into types, and [`Config::read`] puts it together.

mod parse;
mod source;
mod variables;

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use tasks_domain::access::VerifiedOnly;
use tasks_domain::account::SessionPolicy;
use tasks_domain::housekeeping::Retention;
use tasks_domain::rate_limit::Quota;
use tasks_http::{Bounds, RateLimits};
use tasks_security::JwtAlgorithm;
use tasks_smtp::{SmtpOptions, SmtpTls};
use url::Url;

use crate::failure::Failure;

pub(crate) use source::Source;
pub(crate) use variables::{DATABASE_URL, METRICS_PORT, PORT, REDIS_URL, Variable, example};
use variables::{DefaultValue, Shown};

/// The file that is read in development, in the working directory.
const DOTENV: &str = ".env";

/// The folder of the default database.
const DEFAULT_FOLDER: &str = "data";

/// The key of a JWT has at least so many bytes: as many as the digest of the weakest algorithm.
pub(crate) const MIN_KEY_BYTES: usize = 32;

/// From here on a hash of bcrypt is fit for production.
const MIN_PRODUCTION_BCRYPT_COST: u32 = 10;

/// Beyond this, a limit limits nothing: it is switched off with `ENABLE_RATE_LIMITING`.
const MAX_RATE_LIMIT: u32 = 1_000_000_000;

/// A day: a limiter has to remember for as long.
const MAX_RATE_LIMIT_WINDOW_SECONDS: u32 = 86_400;

/// Every body is in memory whole: from what the largest valid one may need to what many at once may take.
const MAX_BODY_BYTES: RangeInclusive<usize> = 1_024..=1_048_576;

/// Beyond this there are not so many sockets.
const MAX_CONNECTIONS: RangeInclusive<usize> = 1..=1_000_000;

/// Longer than a minute nobody waits for a collector: meanwhile spans are dropped.
const MAX_OTLP_TIMEOUT_MS: u64 = 60_000;

/// About a gigabyte.
const MAX_SPAN_QUEUE: usize = 1_000_000;

/// A hundred years, which is for ever.
const MAX_RETENTION_DAYS: u64 = 36_500;

/// The front ends of development, on this machine.
const DEVELOPMENT_ORIGINS: &str = "http://localhost:3000,http://localhost:8000";

/// What stands where a secret would.
const MASK: &str = "***";

/// What the service runs for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Environment {
    Development,
    Test,
    Production,
}

impl Environment {
    /// The name in `APP_ENV` and in the log.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Test => "test",
            Self::Production => "production",
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For programs.
    Json,
    /// For people.
    Pretty,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// As it was given, for people.
    pub(crate) name: String,
    /// What it stands for.
    pub(crate) address: IpAddr,
}

impl Host {
    /// `http://HOST:PORT`.
    pub(crate) fn url(&self, port: u16) -> String {
        if self.name.contains(':') {
            format!("http://[{}]:{port}", self.name)
        } else {
            format!("http://{}:{port}", self.name)
        }
    }
}

/// Where the data is.
#[derive(Clone, Debug)]
pub(crate) enum Database {
    /// The file of the embedded store.
    Sqlite(PathBuf),
    /// The URL of a server, which may hold a password.
    Postgres(SecretString),
}

impl Database {
    /// The folder of what this process keeps for itself: beside an embedded database, otherwise
    /// where one would be.
    pub(crate) fn folder(&self) -> &Path {
        let beside = match self {
            Self::Sqlite(file) => file.parent(),
            Self::Postgres(_) => None,
        };
        beside.unwrap_or(DEFAULT_FOLDER.as_ref())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EmailBackend {
    Console,
    Smtp,
}

/// Where mails go.
#[derive(Clone, Debug)]
pub(crate) enum Mailing {
    /// Into the log.
    Console,
    /// To a mail server.
    Smtp(SmtpOptions),
}

/// What is sent to a collector. Where to and how, OpenTelemetry reads from the environment by itself.
pub(crate) struct Telemetry {
    /// Whether traces are.
    pub(crate) traces: bool,
    /// How many spans wait to be sent at most.
    pub(crate) span_queue: usize,
    /// Whether metrics are.
    pub(crate) metrics: bool,
    /// Variables that OpenTelemetry may know, and nobody has checked.
    pub(crate) unchecked: Vec<String>,
    /// All that OpenTelemetry is to read, secrets among it.
    environment: Vec<(String, String)>,
}

impl Telemetry {
    /// Whether a resource attribute, or the variable that stands for it, is set.
    pub(crate) fn names(&self, attribute: &str, variable: &str) -> bool {
        self.environment.iter().any(|(name, value)| {
            let attributes = value.split(',').filter_map(|pair| pair.split_once('='));
            name == variable
                || (name == variables::OTEL_RESOURCE_ATTRIBUTES.name
                    && attributes
                        .into_iter()
                        .any(|(name, _)| name.trim() == attribute))
        })
    }

    /// The variables, as a `.env` file has them.
    fn as_dotenv(&self) -> String {
        let lines = self.environment.iter().map(|(name, value)| {
            let mut line = format!("{name}=\"");
            for character in value.chars() {
                if matches!(character, '"' | '\\' | '$') {
                    line.push('\\');
                }
                line.push(character);
            }
            line + "\"\n"
        });
        lines.collect()
    }
}

/// Says no value, of which any may be secret.
impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry")
            .field("traces", &self.traces)
            .field("metrics", &self.metrics)
            .finish_non_exhaustive()
    }
}

/// Everything that an operator decides.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) environment: Environment,
    pub(crate) host: Host,
    pub(crate) port: u16,
    /// Unset, metrics are told at `port`.
    pub(crate) metrics_port: Option<u16>,
    /// Unset, it is where the service listens.
    pub(crate) public_url: Option<Url>,
    pub(crate) database: Database,
    pub(crate) database_pool_size: u32,
    /// Unset, limits and caches live in the process.
    pub(crate) redis: Option<SecretString>,
    pub(crate) run_migrations: bool,
    /// Never unset in production.
    pub(crate) jwt_secret_key: Option<SecretString>,
    pub(crate) jwt_secret_key_prev: Option<SecretString>,
    pub(crate) jwt_algorithm: JwtAlgorithm,
    pub(crate) sessions: SessionPolicy,
    pub(crate) bcrypt_cost: u32,
    pub(crate) verified_only: VerifiedOnly,
    pub(crate) mailing: Mailing,
    pub(crate) retention: Retention,
    pub(crate) metrics: bool,
    pub(crate) cors_origins: Vec<String>,
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// None where nothing is limited.
    pub(crate) rate_limits: Option<RateLimits>,
    pub(crate) bounds: Bounds,
    pub(crate) telemetry: Telemetry,
    pub(crate) log_level: String,
    pub(crate) log_format: LogFormat,
    /// Every variable and the text that holds for it, fit to be shown.
    effective: Vec<(&'static str, String)>,
}

/// What is wrong with the configuration, one line for each variable.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConfigError(Vec<String>);

impl ConfigError {
    /// A variable that only its adapter can judge.
    pub(crate) fn refused(variable: &Variable, error: &dyn Error) -> Self {
        let Variable { name, rule, .. } = variable;
        let reason = Failure::causes(error);
        Self(vec![format!(
            "{name} cannot be used: {reason}; allowed: {rule}"
        )])
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl Config {
    /// The configuration of this process.
    pub(crate) fn load(terminal: bool) -> Result<Self, ConfigError> {
        let source = Source::new(std::env::vars_os());
        let config = Self::load_from(source, DOTENV.as_ref(), terminal)?;
        config.telemetry_environment()?;
        Ok(config)
    }

    fn load_from(mut source: Source, dotenv: &Path, terminal: bool) -> Result<Self, ConfigError> {
        let dotenv = source.fill_from_dotenv(dotenv);
        let config = Self::read(&source, terminal);
        match (dotenv, config) {
            (Ok(()), config) => config,
            (Err(errors), Ok(_)) => Err(ConfigError(errors)),
            (Err(mut errors), Err(more)) => {
                errors.extend(more.0);
                Err(ConfigError(errors))
            }
        }
    }

    /// The configuration from these values, or everything that is wrong with them.
    ///
    /// `terminal` is whether the log goes to a person.
    pub(crate) fn read(source: &Source, terminal: bool) -> Result<Self, ConfigError> {
        let mut reader = Reader {
            source,
            errors: Vec::new(),
            effective: Vec::new(),
        };
        for Variable { name, rule, .. } in variables::ALL {
            if source.get(name).is_some_and(|text| text.to_str().is_none()) {
                reader
                    .errors
                    .push(format!("{name} is not UTF-8; allowed: {rule}"));
            }
        }
        let config = reader.config(terminal);
        match config {
            Some(config) if reader.errors.is_empty() => Ok(Self {
                effective: reader.effective,
                ..config
            }),
            _ => Err(ConfigError(reader.errors)),
        }
    }

    /// The effective configuration as lines `NAME=value`, without secrets.
    pub(crate) fn listing(&self) -> String {
        let lines = self.effective.iter();
        lines
            .map(|(name, value)| [name, "=", value, "\n"].concat())
            .collect()
    }

    /// Where the data is, fit to be shown.
    pub(crate) fn database_place(&self) -> String {
        match &self.database {
            Database::Sqlite(path) => std::path::absolute(path)
                .unwrap_or(path.clone())
                .display()
                .to_string(),
            Database::Postgres(url) => mask_passwords(url.expose_secret()),
        }
    }

    /// OpenTelemetry reads the environment by itself. So that it reads what was checked here, without blanks
    /// and what `.env` has, it is changed: there is one thread yet.
    fn telemetry_environment(&self) -> Result<(), ConfigError> {
        dotenvy::from_read_override(self.telemetry.as_dotenv().as_bytes())
            .map_err(|error| ConfigError(vec![format!("OTEL_ variables cannot be used: {error}")]))
    }

    /// Whether this is production.
    pub(crate) fn production(&self) -> bool {
        self.environment == Environment::Production
    }
}

/// Reads one variable after the other and gathers what is wrong.
struct Reader<'a> {
    source: &'a Source,
    errors: Vec<String>,
    effective: Vec<(&'static str, String)>,
}

impl Reader<'_> {
    /// `None` only if there are errors.
    fn config(&mut self, terminal: bool) -> Option<Config> {
        let environment = self.value(&variables::APP_ENV, parse::environment);
        let production = environment == Some(Environment::Production);
        let host = self.value(&variables::HOST, parse::host);
        let port = self.value(&variables::PORT, parse::number(0..=u16::MAX));
        let metrics_port = self.optional(&variables::METRICS_PORT, "", parse::number(0..=u16::MAX));
        if metrics_port.is_some_and(|metrics| metrics != 0 && Some(metrics) == port) {
            self.refuse(&variables::METRICS_PORT, "is PORT too");
        }
        let here = host.as_ref().zip(port).map(|(host, port)| host.url(port));
        let here = here.unwrap_or_default();
        let public_url = self.optional(&variables::PUBLIC_URL, &here, parse::public_url);

        let database = self.value(&variables::DATABASE_URL, parse::database);
        let database_pool_size = self.value(&variables::DATABASE_POOL_SIZE, parse::number(1..=200));
        let is_embedded = matches!(database, None | Some(Database::Sqlite(_)));
        let migrates = is_embedded || environment == Some(Environment::Development);
        let migrates = if migrates { "true" } else { "false" };
        let run_migrations = self.value_or(&variables::RUN_MIGRATIONS, migrates, parse::boolean);
        let redis = self.optional(&variables::REDIS_URL, "", parse::redis);

        let jwt_secret_key = self.optional(&variables::JWT_SECRET_KEY, MASK, parse::key);
        if production && !self.is_set(&variables::JWT_SECRET_KEY) {
            self.refuse(&variables::JWT_SECRET_KEY, "is required in production");
        }
        let jwt_secret_key_prev = self.optional(&variables::JWT_SECRET_KEY_PREV, "", parse::key);
        let jwt_algorithm = self.value(&variables::JWT_ALGORITHM, parse::jwt_algorithm);
        let access_token_minutes = self.value(
            &variables::ACCESS_TOKEN_EXPIRE_MINUTES,
            parse::number(1..=1440_u64),
        );
        let refresh_token_days = self.value(
            &variables::REFRESH_TOKEN_EXPIRE_DAYS,
            parse::number(1..=30_u64),
        );
        let bcrypt_cost = self.value(&variables::BCRYPT_COST, parse::number(4..=15));
        if production && bcrypt_cost.is_some_and(|cost| cost < MIN_PRODUCTION_BCRYPT_COST) {
            self.refuse(&variables::BCRYPT_COST, "is too low for production");
        }
        let verified_only = self.value(&variables::REQUIRE_VERIFIED_EMAIL, parse::boolean);
        let mailing = self.mailing(production);
        let deleted_task_days = self.value(
            &variables::DELETED_TASK_RETENTION_DAYS,
            parse::number(0..=MAX_RETENTION_DAYS),
        );

        let origins = if production { "" } else { DEVELOPMENT_ORIGINS };
        let cors_origins = self.value_or(&variables::CORS_ORIGINS, origins, parse::origins);
        if production && cors_origins.iter().flatten().any(|origin| origin == "*") {
            self.refuse(&variables::CORS_ORIGINS, "must not be * in production");
        }
        let trusted_proxies = self.optional(&variables::TRUSTED_PROXIES, "", parse::networks);
        let rate_limits = self.rate_limits();
        let bounds = self.bounds();
        let metrics = self.value(&variables::ENABLE_METRICS, parse::boolean);

        let telemetry = self.telemetry(metrics);
        let log_level = self.value(&variables::LOG_LEVEL, parse::log_level);
        let format = if terminal { "pretty" } else { "json" };
        let log_format = self.value_or(&variables::LOG_FORMAT, format, parse::log_format);

        Some(Config {
            environment: environment?,
            host: host?,
            port: port?,
            metrics_port,
            public_url,
            database: database?,
            database_pool_size: database_pool_size?,
            redis,
            run_migrations: run_migrations?,
            jwt_secret_key,
            jwt_secret_key_prev,
            jwt_algorithm: jwt_algorithm?,
            sessions: SessionPolicy {
                access_token_ttl: Duration::from_mins(access_token_minutes?),
                refresh_token_ttl: Duration::from_hours(24 * refresh_token_days?),
            },
            bcrypt_cost: bcrypt_cost?,
            verified_only: VerifiedOnly(verified_only?),
            mailing: mailing?,
            retention: Retention {
                deleted_tasks: Some(deleted_task_days?)
                    .filter(|days| *days > 0)
                    .map(|days| Duration::from_hours(24 * days)),
            },
            metrics: metrics?,
            cors_origins: cors_origins?,
            trusted_proxies: trusted_proxies.unwrap_or_default(),
            rate_limits,
            bounds: bounds?,
            telemetry: telemetry?,
            log_level: log_level?,
            log_format: log_format?,
            effective: Vec::new(),
        })
    }

    /// Where mails go. What belongs to the kind that is not chosen is checked nevertheless.
    fn mailing(&mut self, production: bool) -> Option<Mailing> {
        let allow_console = self.value(&variables::ALLOW_CONSOLE_EMAIL, parse::boolean);
        let backend = self.value(&variables::EMAIL_BACKEND, parse::email_backend);
        let host = self.optional(&variables::SMTP_HOST, "", parse::host_name);
        let tls = self.value(&variables::SMTP_TLS, parse::smtp_tls);
        let default_port = match tls {
            Some(SmtpTls::Tls) => "465",
            Some(SmtpTls::None) => "25",
            Some(SmtpTls::StartTls) | None => "587",
        };
        let port = self.value_or(
            &variables::SMTP_PORT,
            default_port,
            parse::number(1..=u16::MAX),
        );
        let text = |text: &str| Ok(text.to_owned());
        let username = self.optional(&variables::SMTP_USERNAME, "", text);
        let password = self.optional(&variables::SMTP_PASSWORD, "", text);
        let from = self.optional(&variables::SMTP_FROM, "", parse::sender);

        match backend? {
            EmailBackend::Console => {
                if production && allow_console == Some(false) {
                    self.refuse(
                        &variables::EMAIL_BACKEND,
                        "is refused in production without ALLOW_CONSOLE_EMAIL=true",
                    );
                }
                Some(Mailing::Console)
            }
            EmailBackend::Smtp => {
                for needed in [&variables::SMTP_HOST, &variables::SMTP_FROM] {
                    if !self.is_set(needed) {
                        self.refuse(needed, "is required with EMAIL_BACKEND=smtp");
                    }
                }
                let (name, secret) = (&variables::SMTP_USERNAME, &variables::SMTP_PASSWORD);
                if self.is_set(name) != self.is_set(secret) {
                    let missing = if self.is_set(name) { secret } else { name };
                    self.refuse(missing, "is missing");
                }
                if production && username.is_some() && tls == Some(SmtpTls::None) {
                    self.refuse(
                        &variables::SMTP_TLS,
                        "would send SMTP_PASSWORD in the clear, which production refuses",
                    );
                }
                Some(Mailing::Smtp(SmtpOptions {
                    host: host?,
                    port: port?,
                    tls: tls?,
                    credentials: username.zip(password.map(SecretString::from)),
                    from: from?,
                }))
            }
        }
    }

    fn rate_limits(&mut self) -> Option<RateLimits> {
        let enabled = self.value(&variables::ENABLE_RATE_LIMITING, parse::boolean);
        let limit = parse::number(1..=MAX_RATE_LIMIT);
        let user = self.value(&variables::RATE_LIMIT_USER, &limit);
        let anonymous = self.value(&variables::RATE_LIMIT_ANONYMOUS, &limit);
        let window = self.value(
            &variables::RATE_LIMIT_WINDOW_SECONDS,
            parse::number(1..=MAX_RATE_LIMIT_WINDOW_SECONDS),
        );
        let window = Duration::from_secs(window?.into());
        let quota = |limit| Quota { limit, window };
        let limits = RateLimits {
            user: quota(user?),
            anonymous: quota(anonymous?),
        };
        enabled?.then_some(limits)
    }

    fn bounds(&mut self) -> Option<Bounds> {
        let mut seconds = |variable, allowed| {
            self.value(variable, parse::number(allowed))
                .map(Duration::from_secs)
        };
        let request_timeout = seconds(&variables::REQUEST_TIMEOUT_SECONDS, 1..=5);
        let body_timeout = seconds(&variables::BODY_TIMEOUT_SECONDS, 1..=4);
        let header_timeout = seconds(&variables::HEADER_TIMEOUT_SECONDS, 1..=60);
        let keep_alive = seconds(&variables::KEEP_ALIVE_SECONDS, 1..=3600);
        let shutdown_delay = seconds(&variables::SHUTDOWN_DELAY_SECONDS, 0..=300);
        let max_body_bytes = self.value(&variables::MAX_BODY_BYTES, parse::number(MAX_BODY_BYTES));
        let max_connections =
            self.value(&variables::MAX_CONNECTIONS, parse::number(MAX_CONNECTIONS));
        Some(Bounds {
            request_timeout: request_timeout?,
            body_timeout: body_timeout?,
            header_timeout: header_timeout?,
            keep_alive: keep_alive?,
            shutdown_delay: shutdown_delay?,
            max_body_bytes: max_body_bytes?,
            max_connections: max_connections?,
        })
    }

    /// What is sent to a collector. What OpenTelemetry would only warn of is refused here.
    fn telemetry(&mut self, keeps_metrics: Option<bool>) -> Option<Telemetry> {
        let mut has_endpoint = |variable| self.optional(variable, "", parse::endpoint).is_some();
        let common = has_endpoint(&variables::OTEL_EXPORTER_OTLP_ENDPOINT);
        let of_traces = has_endpoint(&variables::OTEL_EXPORTER_OTLP_TRACES_ENDPOINT);
        let of_metrics = has_endpoint(&variables::OTEL_EXPORTER_OTLP_METRICS_ENDPOINT);
        self.value(
            &variables::OTEL_EXPORTER_OTLP_PROTOCOL,
            parse::otlp_protocol,
        );
        self.optional(&variables::OTEL_EXPORTER_OTLP_HEADERS, "", parse::headers);
        let millis = parse::number(1..=MAX_OTLP_TIMEOUT_MS);
        self.value(&variables::OTEL_EXPORTER_OTLP_TIMEOUT, &millis);
        self.optional(
            &variables::OTEL_EXPORTER_OTLP_COMPRESSION,
            "",
            parse::compression,
        );
        self.value(&variables::OTEL_SERVICE_NAME, |_| Ok(()));
        self.optional(&variables::OTEL_RESOURCE_ATTRIBUTES, "", parse::pairs);
        let traces = self.value(&variables::OTEL_TRACES_EXPORTER, parse::traces_exporter);
        let needs_share = self.value(&variables::OTEL_TRACES_SAMPLER, parse::sampler);
        let argument = &variables::OTEL_TRACES_SAMPLER_ARG;
        self.optional(argument, "", parse::share);
        if needs_share == Some(true) && !self.is_set(argument) {
            self.refuse(argument, "is missing");
        }
        let queue = parse::number(1..=MAX_SPAN_QUEUE);
        let span_queue = self.value(&variables::OTEL_BSP_MAX_QUEUE_SIZE, &queue);
        self.value(&variables::OTEL_BSP_MAX_EXPORT_BATCH_SIZE, &queue);
        self.value(&variables::OTEL_BSP_SCHEDULE_DELAY, &millis);
        self.value(&variables::OTEL_METRIC_EXPORT_INTERVAL, &millis);
        let metrics = self.value(&variables::OTEL_METRICS_EXPORTER, parse::metrics_exporter);
        let disabled = self.value(&variables::OTEL_SDK_DISABLED, parse::boolean);
        let enabled = !disabled?;
        Some(Telemetry {
            traces: enabled && traces? && (common || of_traces),
            span_queue: span_queue?,
            metrics: enabled && metrics? && keeps_metrics? && (common || of_metrics),
            unchecked: self.source.unknown(variables::OPENTELEMETRY),
            environment: self.opentelemetry(),
        })
    }

    /// What is set of OpenTelemetry's variables.
    fn opentelemetry(&self) -> Vec<(String, String)> {
        let all = variables::ALL.iter();
        all.filter(|variable| variable.name.starts_with(variables::OPENTELEMETRY))
            .filter_map(|variable| {
                let text = self.source.get(variable.name)?.to_str()?.trim();
                (!text.is_empty()).then(|| (variable.name.to_owned(), text.to_owned()))
            })
            .collect()
    }

    /// The value of a variable that always has one.
    fn value<T>(
        &mut self,
        variable: &Variable,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let default = match variable.default {
            DefaultValue::Text(text) => text,
            DefaultValue::Depends(_) | DefaultValue::Unset => "",
        };
        self.value_or(variable, default, parse)
    }

    /// The value of a variable whose default depends on others.
    fn value_or<T>(
        &mut self,
        variable: &Variable,
        default: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(variable).unwrap_or_else(|| default.to_owned());
        self.parsed(variable, &text, parse)
    }

    /// The value of a variable that may be unset. What the listing then shows is the stand-in.
    fn optional<T>(
        &mut self,
        variable: &Variable,
        stand_in: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        if let Some(text) = self.text(variable) {
            return self.parsed(variable, &text, parse);
        }
        self.effective.push((variable.name, stand_in.to_owned()));
        None
    }

    fn parsed<T>(
        &mut self,
        variable: &Variable,
        text: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.effective.push((variable.name, shown(variable, text)));
        parse(text)
            .map_err(|reason| self.refuse(variable, &reason))
            .ok()
    }

    fn is_set(&self, variable: &Variable) -> bool {
        self.text(variable).is_some()
    }

    /// The text of a variable that is set. Only a secret may begin or end with white space.
    fn text(&self, variable: &Variable) -> Option<String> {
        let text = self.source.get(variable.name)?.to_str()?;
        let text = match variable.shown {
            Shown::Secret => text,
            Shown::Plain | Shown::Url => text.trim(),
        };
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// Notes that a variable breaks its rule.
    fn refuse(&mut self, variable: &Variable, reason: &str) {
        let value = match (variable.shown, self.text(variable)) {
            (Shown::Plain, Some(text)) => format!(": {text:?}"),
            _ => String::new(),
        };
        let Variable { name, rule, .. } = variable;
        self.errors
            .push(format!("{name} {reason}{value}; allowed: {rule}"));
    }
}

/// What may be shown of a variable's text, on one line.
fn shown(variable: &Variable, text: &str) -> String {
    let text = match variable.shown {
        Shown::Secret => MASK.to_owned(),
        Shown::Url => mask_passwords(text),
        Shown::Plain => text.to_owned(),
    };
    text.replace(char::is_control, "?")
}

/// A URL without the password before its host and those in its query.
fn mask_passwords(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else {
        return text.to_owned();
    };
    if parse::hides_password(text, &url) {
        return MASK.to_owned();
    }
    let has_secret = |name: &str| name.to_ascii_lowercase().contains("pass");
    let in_query = url.query_pairs().any(|(name, _)| has_secret(&name));
    if url.password().is_none() && !in_query {
        return text.to_owned();
    }
    if url.password().is_some() && url.set_password(Some(MASK)).is_err() {
        return MASK.to_owned();
    }
    if in_query {
        let pairs: Vec<(String, String)> = url
            .query_pairs()
            .map(|(name, value)| {
                let value = if has_secret(&name) {
                    MASK.into()
                } else {
                    value
                };
                (name.into_owned(), value.into_owned())
            })
            .collect();
        url.query_pairs_mut().clear().extend_pairs(pairs);
    }
    url.into()
}

#[cfg(test)]
mod tests;
