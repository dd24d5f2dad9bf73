//! Migrations, embedded in the program.

use std::time::Duration;

use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel::prelude::{ExpressionMethods, QueryDsl};
use diesel::sql_types::Bool;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use tasks_domain::BoxError;
use tasks_domain::health::SchemaState;

use crate::PgStore;
use crate::error::{ConnectFailure, Failure};
use crate::pool::{Connection, MIGRATING};
use crate::schema::__diesel_schema_migrations as applied_migrations;

const EMBEDDED: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");

/// Who has this lock of the database, migrates: "tasks" in ASCII.
const LOCK: &str = "SELECT pg_advisory_lock(499851160435)";
/// So long a migration waits for a table that others use: meanwhile all others wait behind it.
const TABLE_LOCK: &str = "SET lock_timeout = '10s'";
/// So long connecting may take; migrating itself takes as long as it takes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// One migration, and whether the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationState {
    /// Its number and name; of one that this program does not know, its number.
    pub name: String,
    /// Whether the database has it.
    pub applied: bool,
    /// Whether this program has it.
    pub known: bool,
}

/// Why the schema is not changed.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The database was changed by a newer program, and only that can change it back.
    #[error("the database has migration {0}, which this program does not know")]
    Unknown(String),
    /// The database cannot be reached, or went away. Trying again later may help.
    #[error("the database cannot be reached")]
    Unreachable(#[source] BoxError),
    /// The database refused.
    #[error("a migration failed")]
    Failed(#[source] BoxError),
}

impl From<Failure> for MigrationError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Lost(_) | Failure::Unavailable(_) => Self::Unreachable(failure.into()),
            Failure::Conflict(_) | Failure::Corrupt(_) | Failure::Other(_) => {
                Self::Failed(failure.into())
            }
        }
    }
}

impl From<diesel::result::Error> for MigrationError {
    fn from(error: diesel::result::Error) -> Self {
        let failure = Failure::from(error);
        if let Failure::Lost(_) = failure {
            Self::Unreachable(failure.into())
        } else {
            Self::Failed(failure.into())
        }
    }
}

impl From<ConnectFailure> for MigrationError {
    fn from(failure: ConnectFailure) -> Self {
        Self::Unreachable(failure.into())
    }
}

/// A connection as Diesel's own migrations need it, which block.
type Blocking = AsyncConnectionWrapper<AsyncPgConnection>;

/// Applies what is pending, and names it.
pub(crate) fn up(connection: &mut Blocking) -> Result<Vec<String>, MigrationError> {
    let pending = connection
        .pending_migrations(EMBEDDED)
        .map_err(MigrationError::Failed)?;
    pending
        .iter()
        .map(|migration| {
            connection
                .run_migration(migration)
                .map_err(MigrationError::Failed)?;
            Ok(migration.name().to_string())
        })
        .collect()
}

/// Reverts the last one, and names it.
pub(crate) fn down(connection: &mut Blocking) -> Result<Option<String>, MigrationError> {
    let applied = connection
        .applied_migrations()
        .map_err(MigrationError::Failed)?;
    // The newest comes first.
    let Some(last) = applied.into_iter().next() else {
        return Ok(None);
    };
    let last = last.to_string();
    let Some(migration) = embedded()
        .map_err(MigrationError::from)?
        .into_iter()
        .find(|migration| version(migration.as_ref()) == last)
    else {
        return Err(MigrationError::Unknown(last));
    };
    connection
        .revert_migration(&migration)
        .map_err(MigrationError::Failed)?;
    Ok(Some(migration.name().to_string()))
}

/// Every migration that the program or the database has, oldest first.
pub(crate) async fn status(
    session: &mut AsyncPgConnection,
) -> Result<Vec<MigrationState>, Failure> {
    let mut applied = applied(session).await?;
    let mut states: Vec<_> = embedded()?
        .iter()
        .map(|migration| {
            let version = version(migration.as_ref());
            let before = applied.len();
            applied.retain(|other| *other != version);
            MigrationState {
                name: migration.name().to_string(),
                applied: applied.len() < before,
                known: true,
            }
        })
        .collect();
    states.extend(applied.into_iter().map(|name| MigrationState {
        name,
        applied: true,
        known: false,
    }));
    Ok(states)
}

/// How the schema stands to the one that this program was built for.
pub(crate) fn schema(states: &[MigrationState]) -> SchemaState {
    let unknown = states.iter().filter(|state| !state.known).count();
    let pending = states.iter().filter(|state| !state.applied).count();
    match (unknown, pending) {
        (0, 0) => SchemaState::Current,
        (0, pending) => SchemaState::Behind(pending),
        (unknown, _) => SchemaState::Ahead(unknown),
    }
}

fn embedded() -> Result<Vec<Box<dyn Migration<Pg>>>, Failure> {
    let mut migrations = MigrationSource::<Pg>::migrations(&EMBEDDED)
        .map_err(|error| Failure::Other(error.to_string()))?;
    migrations.sort_by_key(|migration| version(migration.as_ref()));
    Ok(migrations)
}

fn version(migration: &dyn Migration<Pg>) -> String {
    migration.name().version().to_string()
}

/// The versions that the database has, oldest first. Unlike Diesel's own look-up it does not
/// make the table, so that asking changes nothing.
async fn applied(session: &mut AsyncPgConnection) -> Result<Vec<String>, Failure> {
    let has_table: bool = diesel::select(diesel::dsl::sql::<Bool>(
        "to_regclass('__diesel_schema_migrations') IS NOT NULL",
    ))
    .get_result(session)
    .await?;
    if !has_table {
        return Ok(Vec::new());
    }
    Ok(applied_migrations::table
        .select(applied_migrations::version)
        .order(applied_migrations::version.asc())
        .load(session)
        .await?)
}

impl PgStore {
    /// Changes the schema while nobody else does, on a connection of its own: its session ends with
    /// it, and with the session the lock.
    pub(crate) async fn migrate<T: Send + 'static>(
        &self,
        change: fn(&mut Blocking) -> Result<T, MigrationError>,
    ) -> Result<T, MigrationError> {
        let pool = self.places.pool().clone();
        let migrating = async move {
            let connecting = pool.manager().connect(MIGRATING);
            let Connection {
                mut session,
                driver,
                ..
            } = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
                .await
                .map_err(|elapsed| MigrationError::Unreachable(elapsed.into()))??;
            session.batch_execute(LOCK).await?;
            session.batch_execute(TABLE_LOCK).await?;
            let (changed, mut session) = tokio::task::spawn_blocking(move || {
                let mut blocking = Blocking::from(session);
                (change(&mut blocking), blocking.into_inner())
            })
            .await
            .map_err(|error| MigrationError::Failed(error.into()))?;
            if let Err(MigrationError::Failed(_)) = &changed {
                // Diesel does not let us look into the error, but whether the database went away
                // shows.
                session.batch_execute("SELECT 1").await?;
            }
            drop(driver);
            changed
        };
        self.places
            .main()
            .spawn(migrating)
            .await
            .map_err(|error| MigrationError::Failed(error.into()))?
    }
}
