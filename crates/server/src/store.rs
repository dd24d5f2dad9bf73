//! The store that the configuration names, behind the ports that both kinds have.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tasks_domain::account::{SessionRepository, UserRepository};
use tasks_domain::category::CategoryRepository;
use tasks_domain::health::{HealthProbe, PoolProbe, SchemaProbe, SchemaState};
use tasks_domain::housekeeping::{Housekeeping, HousekeepingService};
use tasks_domain::mail::Outbox;
use tasks_domain::task::TaskRepository;
use tasks_postgres::{PgOptions, PgStore};
use tasks_security::SystemClock;
use tasks_sqlite::{SqliteOptions, SqliteStore};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::config::{self, Config, ConfigError, Database};
use crate::failure::Failure;

/// How long to wait before a database that cannot be used is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// The store that the configuration names.
pub(crate) enum Store {
    Sqlite(SqliteStore),
    Postgres(PgStore),
}

/// The ports of a store.
pub(crate) struct Ports {
    pub(crate) users: Arc<dyn UserRepository>,
    pub(crate) sessions: Arc<dyn SessionRepository>,
    pub(crate) tasks: Arc<dyn TaskRepository>,
    pub(crate) categories: Arc<dyn CategoryRepository>,
    pub(crate) outbox: Arc<dyn Outbox>,
    pub(crate) housekeeping: Arc<dyn Housekeeping>,
    pub(crate) health: Arc<dyn HealthProbe>,
    pub(crate) schema: Arc<dyn SchemaProbe>,
    pub(crate) pool: Arc<dyn PoolProbe>,
}

impl Ports {
    fn of<S>(store: &S) -> Self
    where
        S: UserRepository
            + SessionRepository
            + TaskRepository
            + CategoryRepository
            + Outbox
            + Housekeeping
            + HealthProbe
            + SchemaProbe
            + PoolProbe
            + Clone
            + 'static,
    {
        let store = Arc::new(store.clone());
        Self {
            users: store.clone(),
            sessions: store.clone(),
            tasks: store.clone(),
            categories: store.clone(),
            outbox: store.clone(),
            housekeeping: store.clone(),
            health: store.clone(),
            schema: store.clone(),
            pool: store,
        }
    }

    /// Removes what is over, as the configuration says.
    pub(crate) fn housekeeping_service(&self, config: &Config) -> HousekeepingService {
        HousekeepingService::new(
            self.housekeeping.clone(),
            Arc::new(SystemClock),
            config.retention,
        )
    }
}

impl Store {
    /// Opens the store. A file that cannot be used is an error at once; a server is asked as soon
    /// as it is needed.
    pub(crate) fn open(config: &Config) -> Result<Self, Failure> {
        match &config.database {
            Database::Sqlite(path) => {
                // One of the pool's connections writes, the others read; more readers than the
                // store's own default would only take memory.
                let readers = usize::try_from(config.database_pool_size.saturating_sub(1))
                    .ok()
                    .and_then(NonZeroUsize::new)
                    .unwrap_or(NonZeroUsize::MIN)
                    .min(SqliteOptions::DEFAULT_READERS);
                let store = SqliteStore::open(path, SqliteOptions { readers })
                    .map_err(|error| Failure::new("cannot open the database", &error))?;
                Ok(Self::Sqlite(store))
            }
            Database::Postgres(url) => {
                let options = PgOptions {
                    pool_size: config.database_pool_size,
                };
                let store = PgStore::connect_lazy(url, options)
                    .map_err(|error| ConfigError::refused(&config::DATABASE_URL, &error))?;
                Ok(Self::Postgres(store))
            }
        }
    }

    pub(crate) fn ports(&self) -> Ports {
        match self {
            Self::Sqlite(store) => Ports::of(store),
            Self::Postgres(store) => Ports::of(store),
        }
    }

    /// Brings the schema up to date if the configuration says so, and says what is wrong with the
    /// database, if anything is. Of a server this happens beside the serving, again and again until it can
    /// be used; until then readiness says so.
    ///
    /// Returns whether it can be used: work that nobody waits for need not begin before.
    pub(crate) async fn prepare(&self, config: &Config) -> Result<watch::Receiver<bool>, Failure> {
        let (usable, is_usable) = watch::channel(false);
        match self {
            Self::Sqlite(store) => {
                let place = config.database_place();
                if config.run_migrations {
                    report(store.migrate_up().map_err(|error| {
                        Failure::new(&format!("cannot migrate the database {place}"), &error)
                    })?);
                }
                let schema = store.schema().await.map_err(|error| {
                    Failure::new(&format!("cannot read the database {place}"), &error)
                })?;
                if schema != SchemaState::Current {
                    say(&Ok(schema));
                }
                usable.send_replace(fits(schema));
            }
            Self::Postgres(store) => {
                tokio::spawn(prepare_server(store.clone(), config.run_migrations, usable));
            }
        }
        Ok(is_usable)
    }

    /// Waits for what is under way, and closes the store.
    pub(crate) async fn close(self) {
        match self {
            Self::Sqlite(store) => store.close(),
            Self::Postgres(store) => store.close().await,
        }
    }
}

/// Says each kind of failure once, so that an outage does not fill the log.
async fn prepare_server(store: PgStore, run_migrations: bool, usable: watch::Sender<bool>) {
    let mut said = None;
    loop {
        let found = schema_of_server(&store, run_migrations).await;
        if said.as_ref() != Some(&found) {
            say(&found);
        }
        if found.as_ref().is_ok_and(|schema| fits(*schema)) {
            usable.send_replace(true);
            return;
        }
        said = Some(found);
        tokio::time::sleep(RETRY).await;
    }
}

/// How the schema stands, after it was brought up to date if that is wanted.
async fn schema_of_server(store: &PgStore, run_migrations: bool) -> Result<SchemaState, String> {
    let schema = async || {
        let schema = store.schema().await;
        schema.map_err(|error| Failure::causes(&error))
    };
    let found = schema().await?;
    // One that is ahead may lack something all the same.
    if !run_migrations || found == SchemaState::Current {
        return Ok(found);
    }
    let applied = store.migrate_up().await;
    report(applied.map_err(|error| Failure::causes(&error))?);
    schema().await
}

/// Whether this version can work with the schema. A migration only adds, so it can with a newer one, too, though
/// it does not ask for requests then.
const fn fits(schema: SchemaState) -> bool {
    matches!(schema, SchemaState::Current | SchemaState::Ahead(_))
}

fn say(found: &Result<SchemaState, String>) {
    match found {
        Ok(SchemaState::Current) => info!("the database answers"),
        Ok(SchemaState::Behind(pending)) => warn!(
            pending,
            "the schema is behind this version: not ready before `task-api migrate`"
        ),
        Ok(SchemaState::Ahead(unknown)) => warn!(
            unknown,
            "the schema is ahead of this version: not ready, run a newer one"
        ),
        Err(error) => warn!(%error, "the database cannot be used yet"),
    }
}

fn report(applied: Vec<String>) {
    for migration in applied {
        info!(migration, "migrated");
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

    #[tokio::test]
    async fn the_schema_is_brought_up_to_date_unless_told_otherwise() {
        for (run_migrations, up_to_date) in [("true", true), ("false", false)] {
            let folder = tempfile::tempdir().unwrap();
            let config = config(&folder, &[("RUN_MIGRATIONS", run_migrations)]);
            let store = Store::open(&config).unwrap();
            let is_usable = *store.prepare(&config).await.unwrap().borrow();
            let state = store.ports().schema.schema().await.unwrap();
            assert_eq!(state == SchemaState::Current, up_to_date, "{state:?}");
            assert_eq!(is_usable, up_to_date);
            store.close().await;
        }
    }

    #[tokio::test]
    async fn any_size_of_the_pool_opens_a_store() {
        for size in ["1", "2", "200"] {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(&config(&folder, &[("DATABASE_POOL_SIZE", size)])).unwrap();
            store.close().await;
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_said_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("data"), "a file, no folder").unwrap();
        let line = Store::open(&config(&folder, &[]))
            .err()
            .unwrap()
            .to_string();
        assert!(line.starts_with("cannot open the database: "), "{line}");
        assert!(!line.contains('\n'), "{line}");
    }
}
