//! `task-api serve`: puts the parts together and serves until a signal comes.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use tasks_domain::account::{AccountPorts, AccountService, SignedInCache};
use tasks_domain::category::CategoryService;
use tasks_domain::clock::Clock;
use tasks_domain::health::HealthProbe;
use tasks_domain::id::IdGenerator;
use tasks_domain::mail::{DeliveryService, MailTokens, Mailer};
use tasks_domain::rate_limit::RateLimiter;
use tasks_domain::task::TaskService;
use tasks_http::{Health, Listeners, Services, Settings};
use tasks_memory::{MemoryRateLimiter, MemorySignedInCache};
use tasks_redis::RedisStore;
use tasks_security::{
    BcryptHasher, HmacMailTokens, JwtIssuer, RandomTokens, SystemClock, UuidV7Ids,
};
use tasks_smtp::{ConsoleMailer, SmtpMailer};
use tracing::{info, warn};
use url::Url;

use crate::config::{self, Config, ConfigError, Database, METRICS_PORT, Mailing, PORT, Variable};
use crate::failure::Failure;
use crate::mails::{Bell, Senders};
use crate::metrics::Metrics;
use crate::security_log::LoggedSecurity;
use crate::store::Store;
use crate::telemetry::{CurrentSpan, TracedMailer, Traces};
use crate::{housekeeping, logs, metrics, secret_key, shutdown};

/// Serves until a signal comes and every request in flight is answered.
pub(crate) fn serve(config: &Config) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("cannot start threads", &error))?;
    let _within = runtime.enter();
    let traces = Traces::start(&config.telemetry)?;
    logs::install(&config.log_level, config.log_format, &traces)
        .map_err(|error| Failure::new("cannot log", &error))?;
    let metrics = Metrics::start(config)?;
    let served = runtime.block_on(run(config, metrics.as_ref()));
    // What the last requests did goes out last.
    traces.finish();
    if let Some(metrics) = metrics {
        metrics.finish();
    }
    served
}

async fn run(config: &Config, metrics: Option<&Metrics>) -> Result<(), Failure> {
    let shutdown =
        shutdown::signalled().map_err(|error| Failure::new("cannot watch for signals", &error))?;
    // A wrong URL is a wrong configuration, which is said before anything is opened.
    let redis = redis(config)?;
    let remote = match config.database {
        Database::Postgres(_) => Some(Store::open(config)?),
        Database::Sqlite(_) => None,
    };
    // The port goes before a file: where it is taken, a running service's data is left alone.
    let (listener, address) = listen(config, &PORT, config.port)?;
    let metrics_listener = listen_for_metrics(config)?;
    let store = match remote {
        Some(store) => store,
        None => Store::open(config)?,
    };
    let is_usable = store.prepare(config).await?;
    let bell = Bell::default();
    let Parts { services, delivery } =
        parts(config, &store, redis.as_ref(), metrics, &address, &bell)?;
    let senders = Senders::start(delivery, &bell, &is_usable);
    let redis_check = redis.clone().map(|redis| tokio::spawn(check(redis)));
    let housekeeping = housekeeping::start(store.ports().housekeeping_service(config));
    let watch = config
        .metrics
        .then(|| metrics::watch_outbox(store.ports().outbox, Arc::new(SystemClock)));
    for variable in &config.telemetry.unchecked {
        warn!(
            variable,
            "not checked, and perhaps without effect: no setting of this service"
        );
    }
    warn_of_risks(config);
    info!(
        address,
        docs = format!("{address}/docs"),
        database = config.database_place(),
        version = env!("CARGO_PKG_VERSION"),
        environment = config.environment.as_str(),
        "listening"
    );
    let listeners = Listeners {
        api: listener,
        metrics: metrics_listener,
    };
    let served = tasks_http::serve(listeners, services, settings(config), shutdown).await;
    // What it was about to remove can be removed another time.
    housekeeping.abort();
    if let Some(redis_check) = redis_check {
        redis_check.abort();
    }
    if let Some(watch) = watch {
        watch.abort();
    }
    senders.finish().await;
    store.close().await;
    if let Some(redis) = redis {
        redis.close().await;
    }
    served.map_err(|error| Failure::new("cannot serve", &error))?;
    info!("stopped");
    Ok(())
}

/// A socket that listens, and its URL, with the port that it really has.
fn listen(
    config: &Config,
    variable: &Variable,
    port: u16,
) -> Result<(TcpListener, String), Failure> {
    let bind = || {
        let listener = TcpListener::bind((config.host.address, port))?;
        let port = listener.local_addr()?.port();
        Ok((listener, config.host.url(port)))
    };
    bind().map_err(|error: io::Error| {
        let what = format!("cannot listen on {}", config.host.url(port));
        if error.kind() == io::ErrorKind::AddrInUse {
            let name = variable.name;
            Failure::Other(format!(
                "{what}: another process does; choose another {name}"
            ))
        } else {
            Failure::new(&what, &error)
        }
    })
}

/// The socket for metrics, if they have one of their own.
fn listen_for_metrics(config: &Config) -> Result<Option<TcpListener>, Failure> {
    let Some(port) = config.metrics_port.filter(|_| config.metrics) else {
        return Ok(None);
    };
    let (listener, address) = listen(config, &METRICS_PORT, port)?;
    info!(metrics = format!("{address}/metrics"), "metrics are told");
    Ok(Some(listener))
}

/// What instances share besides the database, if there is such a place.
fn redis(config: &Config) -> Result<Option<RedisStore>, Failure> {
    let open = |url: &SecretString| {
        RedisStore::connect_lazy(url.expose_secret())
            .map_err(|error| ConfigError::refused(&config::REDIS_URL, &error))
    };
    Ok(config.redis.as_ref().map(open).transpose()?)
}

/// Asks Redis beside the start, which does not wait for it: what is wrong with it is said before a request
/// needs it.
async fn check(redis: RedisStore) {
    if let Err(error) = redis.check().await {
        warn!(
            error = Failure::causes(&error),
            "the Redis at REDIS_URL cannot be used: requests go on without shared limits"
        );
    }
}

/// What serves, and what works beside it.
struct Parts {
    services: Services,
    delivery: DeliveryService,
}

fn parts(
    config: &Config,
    store: &Store,
    redis: Option<&RedisStore>,
    metrics: Option<&Metrics>,
    address: &str,
    bell: &Bell,
) -> Result<Parts, Failure> {
    let store = store.ports();
    if metrics.is_some() {
        metrics::watch_pools(store.pool, redis.cloned());
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let ids: Arc<dyn IdGenerator> = Arc::new(UuidV7Ids);
    let hashing_threads = BcryptHasher::default_threads();
    let hasher = BcryptHasher::new(
        config.bcrypt_cost,
        hashing_threads,
        BcryptHasher::default_queue(config.bcrypt_cost, hashing_threads),
    )
    .map_err(|error| Failure::new("cannot hash passwords", &error))?;
    let (key, previous_key) = (signing_key(config)?, config.jwt_secret_key_prev.as_ref());
    let issuer = JwtIssuer::new(config.jwt_algorithm, &key, previous_key);
    let mail_tokens: Arc<dyn MailTokens> = Arc::new(HmacMailTokens::new(&key, previous_key));
    let public_url = config
        .public_url
        .clone()
        .map_or_else(|| Url::parse(address), Ok)
        .map_err(|error| Failure::new(address, &error))?;
    let in_process: Arc<dyn RateLimiter> = Arc::new(MemoryRateLimiter::new(clock.clone()));
    let limiter: Arc<dyn RateLimiter>;
    let cache: Arc<dyn SignedInCache>;
    if let Some(redis) = redis {
        limiter = Arc::new(redis.clone());
        cache = Arc::new(redis.clone());
    } else {
        limiter = in_process.clone();
        cache = Arc::new(match config.database {
            Database::Sqlite(_) => MemorySignedInCache::new(),
            Database::Postgres(_) => MemorySignedInCache::for_one_of_several(),
        });
    }
    let delivery = DeliveryService::new(
        store.outbox.clone(),
        Arc::new(TracedMailer(mailer(config, &public_url)?)),
        mail_tokens.clone(),
        clock.clone(),
    );
    let ports = AccountPorts {
        users: store.users,
        sessions: store.sessions,
        cache,
        hasher: Arc::new(hasher),
        issuer: Arc::new(issuer),
        tokens: Arc::new(RandomTokens),
        outbox: store.outbox,
        outbox_signal: Arc::new(bell.clone()),
        mail_tokens,
        security_log: Arc::new(LoggedSecurity),
        trace: Arc::new(CurrentSpan),
        clock: clock.clone(),
        ids: ids.clone(),
    };
    let services = Services {
        accounts: AccountService::new(ports, config.sessions),
        tasks: TaskService::new(
            store.tasks,
            store.categories.clone(),
            clock.clone(),
            ids.clone(),
        ),
        categories: CategoryService::new(store.categories, clock.clone(), ids.clone()),
        limiter,
        stand_in_limiter: in_process,
        health: Health {
            database: store.health,
            schema: store.schema,
            redis: redis.map(|redis| -> Arc<dyn HealthProbe> { Arc::new(redis.clone()) }),
        },
        clock,
        ids,
        metrics: metrics.map(Metrics::page),
    };
    Ok(Parts { services, delivery })
}

/// What brings mails on their way.
fn mailer(config: &Config, public_url: &Url) -> Result<Arc<dyn Mailer>, Failure> {
    Ok(match &config.mailing {
        Mailing::Console => Arc::new(ConsoleMailer::new(public_url)),
        Mailing::Smtp(options) => Arc::new(
            SmtpMailer::new(options.clone(), public_url)
                .map_err(|error| Failure::new("cannot send mail", &error))?,
        ),
    })
}

/// The configured key, or the one that is kept with the data.
fn signing_key(config: &Config) -> Result<SecretString, Failure> {
    match &config.jwt_secret_key {
        Some(key) => Ok(key.clone()),
        None => secret_key::keep_in(config.database.folder())
            .map_err(|error| Failure::new("no key for access tokens", &error)),
    }
}

fn settings(config: &Config) -> Settings {
    // A proxy may say another Host than the one that pages of the service's own site come from.
    let own_origin = config
        .public_url
        .as_ref()
        .map(|url| url.origin().ascii_serialization());
    Settings {
        production: config.production(),
        verified_only: config.verified_only,
        cors_origins: config
            .cors_origins
            .iter()
            .cloned()
            .chain(own_origin)
            .collect(),
        rate_limits: config.rate_limits,
        trusted_proxies: config.trusted_proxies.clone(),
        bounds: config.bounds,
    }
}

/// What an operator may have wanted, but should not find out by surprise.
fn warn_of_risks(config: &Config) {
    if !config.production() {
        return;
    }
    if matches!(config.mailing, Mailing::Console) {
        warn!("EMAIL_BACKEND is console: the links of mails, and so their tokens, are in this log");
    }
    if config.rate_limits.is_none() {
        warn!("ENABLE_RATE_LIMITING is false: nothing limits the number of requests");
    }
    if config.public_url.is_none() {
        warn!("PUBLIC_URL is unset: the links of mails lead to where this process listens");
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Source;

    use super::*;

    fn config(folder: &tempfile::TempDir, more: &[(&str, &str)]) -> Config {
        let url = format!("sqlite://{}/data/tasks.db", folder.path().display());
        let pairs = [&[("DATABASE_URL", url.as_str())], more].concat();
        let pairs = pairs.iter().map(|(n, v)| ((*n).into(), (*v).into()));
        Config::read(&Source::new(pairs), false).unwrap()
    }

    #[test]
    fn port_0_becomes_the_real_one() {
        let folder = tempfile::tempdir().unwrap();
        let (listener, address) = listen(&config(&folder, &[]), &PORT, 0).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_ne!(port, 0);
        assert_eq!(address, format!("http://127.0.0.1:{port}"));
    }

    #[test]
    fn a_taken_port_is_said_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder, &[]);
        let (taken, address) = listen(&config, &PORT, 0).unwrap();
        let port = taken.local_addr().unwrap().port();
        let failure = listen(&config, &METRICS_PORT, port).unwrap_err();
        let line = failure.to_string();
        assert!(
            line.starts_with(&format!("cannot listen on {address}: ")),
            "{line}"
        );
        assert!(line.ends_with("choose another METRICS_PORT"), "{line}");
        assert!(!line.contains('\n'), "{line}");
    }

    #[test]
    fn pages_of_the_public_url_may_call() {
        let folder = tempfile::tempdir().unwrap();
        let pairs = [
            ("PUBLIC_URL", "https://tasks.example.com/app"),
            ("CORS_ORIGINS", "https://other.example.com"),
        ];
        let origins = settings(&config(&folder, &pairs)).cors_origins;
        assert_eq!(
            origins,
            ["https://other.example.com", "https://tasks.example.com"]
        );
    }

    #[test]
    fn a_configured_key_is_not_kept_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let key = "k".repeat(32);
        signing_key(&config(&folder, &[("JWT_SECRET_KEY", &key)])).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
