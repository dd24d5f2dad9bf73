//! `task-api serve`: puts the parts together and serves until a signal comes.

use std::io;
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::sync::Arc;

use secrecy::SecretString;
use tasks_domain::account::{AccountPorts, AccountService};
use tasks_domain::category::CategoryService;
use tasks_domain::clock::Clock;
use tasks_domain::id::IdGenerator;
use tasks_domain::task::TaskService;
use tasks_http::{Health, Services, Settings};
use tasks_memory::{MemoryRateLimiter, MemorySignedInCache};
use tasks_security::{BcryptHasher, JwtIssuer, RandomTokens, SystemClock, UuidV7Ids};
use tasks_smtp::ConsoleMailer;
use tasks_sqlite::{SqliteOptions, SqliteStore};
use tracing::{info, warn};
use url::Url;

use crate::config::Config;
use crate::failure::Failure;
use crate::{logs, migrate, secret_key, shutdown};

/// Serves until a signal comes and every request in flight is answered.
pub(crate) fn serve(config: &Config) -> Result<(), Failure> {
    logs::install(&config.log_level, config.log_format)
        .map_err(|error| Failure::new("cannot log", &error))?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("cannot start threads", &error))?
        .block_on(run(config))
}

async fn run(config: &Config) -> Result<(), Failure> {
    let shutdown =
        shutdown::signalled().map_err(|error| Failure::new("cannot watch for signals", &error))?;
    // The port goes first: where it is taken, a running service's data is left alone.
    let (listener, address) = listen(config)?;
    let store = open(config)?;
    let services = services(config, &store, &address)?;
    warn_of_risks(config);
    let database = std::path::absolute(&config.database).unwrap_or(config.database.clone());
    info!(
        address,
        docs = format!("{address}/docs"),
        database = %database.display(),
        version = env!("CARGO_PKG_VERSION"),
        environment = config.environment.as_str(),
        "listening"
    );
    let served = tasks_http::serve(listener, services, settings(config), shutdown).await;
    store.close();
    served.map_err(|error| Failure::new("cannot serve", &error))?;
    info!("stopped");
    Ok(())
}

/// A socket that listens, and its URL, with the port that it really has.
fn listen(config: &Config) -> Result<(TcpListener, String), Failure> {
    let bind = || {
        let listener = TcpListener::bind((config.host.address, config.port))?;
        let port = listener.local_addr()?.port();
        Ok((listener, config.host.url(port)))
    };
    bind().map_err(|error: io::Error| {
        let what = format!("cannot listen on {}", config.host.url(config.port));
        if error.kind() == io::ErrorKind::AddrInUse {
            Failure::Other(format!("{what}: another process does; choose another PORT"))
        } else {
            Failure::new(&what, &error)
        }
    })
}

/// The embedded store, its schema up to date if the configuration says so.
fn open(config: &Config) -> Result<SqliteStore, Failure> {
    // One of the pool's connections writes, the others read; more readers than the store's own
    // default would only take memory.
    let readers = usize::try_from(config.database_pool_size.saturating_sub(1))
        .ok()
        .and_then(NonZeroUsize::new)
        .unwrap_or(NonZeroUsize::MIN)
        .min(SqliteOptions::DEFAULT_READERS);
    let store = SqliteStore::open(&config.database, SqliteOptions { readers })
        .map_err(|error| Failure::new("cannot open the database", &error))?;
    if config.run_migrations {
        let applied = store
            .migrate_up()
            .map_err(|error| migrate::failure(config, &error))?;
        for migration in applied {
            info!(migration, "migrated");
        }
    }
    Ok(store)
}

fn services(config: &Config, store: &SqliteStore, address: &str) -> Result<Services, Failure> {
    let store = Arc::new(store.clone());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let ids: Arc<dyn IdGenerator> = Arc::new(UuidV7Ids);
    let hashing_threads = BcryptHasher::default_threads();
    let hasher = BcryptHasher::new(
        config.bcrypt_cost,
        hashing_threads,
        BcryptHasher::default_queue(config.bcrypt_cost, hashing_threads),
    )
    .map_err(|error| Failure::new("cannot hash passwords", &error))?;
    let issuer = JwtIssuer::new(
        config.jwt_algorithm,
        &signing_key(config)?,
        config.jwt_secret_key_prev.as_ref(),
    );
    let public_url = config
        .public_url
        .clone()
        .map_or_else(|| Url::parse(address), Ok)
        .map_err(|error| Failure::new(address, &error))?;
    let ports = AccountPorts {
        users: store.clone(),
        sessions: store.clone(),
        cache: Arc::new(MemorySignedInCache::new()),
        hasher: Arc::new(hasher),
        issuer: Arc::new(issuer),
        tokens: Arc::new(RandomTokens),
        mailer: Arc::new(ConsoleMailer::new(&public_url)),
        clock: clock.clone(),
        ids: ids.clone(),
    };
    Ok(Services {
        accounts: AccountService::new(ports, config.sessions),
        tasks: TaskService::new(store.clone(), store.clone(), clock.clone(), ids.clone()),
        categories: CategoryService::new(store.clone(), clock.clone(), ids.clone()),
        limiter: Arc::new(MemoryRateLimiter::new(clock.clone())),
        health: Health {
            database: store.clone(),
            schema: store,
            redis: None,
        },
        clock,
        ids,
    })
}

/// The configured key, or the one that is kept with the data.
fn signing_key(config: &Config) -> Result<SecretString, Failure> {
    match &config.jwt_secret_key {
        Some(key) => Ok(key.clone()),
        None => secret_key::keep_beside(&config.database)
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
    }
}

/// What an operator may have wanted, but should not find out by surprise.
fn warn_of_risks(config: &Config) {
    if !config.production() {
        return;
    }
    warn!("EMAIL_BACKEND is console: the links of mails, and so their tokens, are in this log");
    if config.rate_limits.is_none() {
        warn!("ENABLE_RATE_LIMITING is false: nothing limits the number of requests");
    }
    if config.public_url.is_none() {
        warn!("PUBLIC_URL is unset: the links of mails lead to where this process listens");
    }
}

#[cfg(test)]
mod tests {
    use tasks_domain::health::{SchemaProbe, SchemaState};

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
        let (listener, address) = listen(&config(&folder, &[("PORT", "0")])).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_ne!(port, 0);
        assert_eq!(address, format!("http://127.0.0.1:{port}"));
    }

    #[test]
    fn a_taken_port_is_said_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let (_taken, address) = listen(&config(&folder, &[("PORT", "0")])).unwrap();
        let port = address.rsplit(':').next().unwrap();
        let failure = listen(&config(&folder, &[("PORT", port)])).unwrap_err();
        let line = failure.to_string();
        assert!(
            line.starts_with(&format!("cannot listen on {address}: ")),
            "{line}"
        );
        assert!(!line.contains('\n'), "{line}");
    }

    #[tokio::test]
    async fn the_schema_is_brought_up_to_date_unless_told_otherwise() {
        for (run_migrations, up_to_date) in [("true", true), ("false", false)] {
            let folder = tempfile::tempdir().unwrap();
            let store = open(&config(&folder, &[("RUN_MIGRATIONS", run_migrations)])).unwrap();
            let state = store.schema().await.unwrap();
            assert_eq!(state == SchemaState::Current, up_to_date, "{state:?}");
            store.close();
        }
    }

    #[test]
    fn any_size_of_the_pool_opens_a_store() {
        for size in ["1", "2", "200"] {
            let folder = tempfile::tempdir().unwrap();
            open(&config(&folder, &[("DATABASE_POOL_SIZE", size)]))
                .unwrap()
                .close();
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_said_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("data"), "a file, no folder").unwrap();
        let line = open(&config(&folder, &[])).err().unwrap().to_string();
        assert!(line.starts_with("cannot open the database: "), "{line}");
        assert!(!line.contains('\n'), "{line}");
    }

    #[test]
    fn a_configured_key_is_not_kept_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let key = "k".repeat(32);
        signing_key(&config(&folder, &[("JWT_SECRET_KEY", &key)])).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
