//! Migrations, embedded in the program.

use diesel::migration::{Migration, MigrationSource};
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use tasks_domain::BoxError;
use tasks_domain::health::SchemaState;

use crate::error::Failure;
use crate::schema::__diesel_schema_migrations as applied_migrations;

const EMBEDDED: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");

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
    /// The database refused.
    #[error("a migration failed")]
    Failed(#[source] BoxError),
}

impl From<Failure> for MigrationError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure.into())
    }
}

/// Applies what is pending, and names it.
pub(crate) fn up(connection: &mut SqliteConnection) -> Result<Vec<String>, MigrationError> {
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
pub(crate) fn down(connection: &mut SqliteConnection) -> Result<Option<String>, MigrationError> {
    let Some(last) = applied(connection)?.pop() else {
        return Ok(None);
    };
    let Some(migration) = embedded()?
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
pub(crate) fn status(
    connection: &mut SqliteConnection,
) -> Result<Vec<MigrationState>, MigrationError> {
    let mut applied = applied(connection)?;
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
pub(crate) fn schema(connection: &mut SqliteConnection) -> Result<SchemaState, MigrationError> {
    let states = status(connection)?;
    let unknown = states.iter().filter(|state| !state.known).count();
    let pending = states.iter().filter(|state| !state.applied).count();
    Ok(match (unknown, pending) {
        (0, 0) => SchemaState::Current,
        (0, pending) => SchemaState::Behind(pending),
        (unknown, _) => SchemaState::Ahead(unknown),
    })
}

fn embedded() -> Result<Vec<Box<dyn Migration<Sqlite>>>, MigrationError> {
    let mut migrations =
        MigrationSource::<Sqlite>::migrations(&EMBEDDED).map_err(MigrationError::Failed)?;
    migrations.sort_by_key(|migration| version(migration.as_ref()));
    Ok(migrations)
}

fn version(migration: &dyn Migration<Sqlite>) -> String {
    migration.name().version().to_string()
}

/// The versions that the database has, oldest first. Unlike Diesel's own look-up it does not
/// make the table, so that asking changes nothing.
fn applied(connection: &mut SqliteConnection) -> Result<Vec<String>, Failure> {
    let has_table: bool = diesel::select(diesel::dsl::sql::<Bool>(
        "EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '__diesel_schema_migrations')",
    ))
    .get_result(connection)?;
    if !has_table {
        return Ok(Vec::new());
    }
    Ok(applied_migrations::table
        .select(applied_migrations::version)
        .order(applied_migrations::version.asc())
        .load(connection)?)
}
