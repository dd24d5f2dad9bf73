//! `task-api migrate`: changes the database's schema by hand.

use std::fmt::Display;
use std::path::Path;

use clap::ValueEnum;
use tasks_postgres::PgStore;
use tasks_sqlite::{MigrationState, SqliteOptions, SqliteStore};

use crate::config::{Config, Database};
use crate::failure::Failure;
use crate::store::Store;

/// Where to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Direction {
    /// Apply every pending migration
    #[default]
    Up,
    /// Revert the last migration
    Down,
    /// Change nothing, and list all migrations
    Status,
}

/// Does it, and says what was done, a line for each migration.
pub(crate) fn migrate(config: &Config, direction: Direction) -> Result<String, Failure> {
    match &config.database {
        Database::Sqlite(path) => migrate_file(path, direction),
        Database::Postgres(_) => tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::new("cannot start threads", &error))?
            .block_on(migrate_server(config, direction)),
    }
}

fn migrate_file(path: &Path, direction: Direction) -> Result<String, Failure> {
    let failed = |error| failure_in_file(path, &error);
    if direction == Direction::Status {
        return SqliteStore::migration_status(path)
            .map(|states| list(&states))
            .map_err(failed);
    }
    if direction == Direction::Up {
        let states = SqliteStore::migration_status(path).map_err(failed)?;
        let unknown = states.iter().filter(|state| !state.known);
        is_not_ahead(path.display(), unknown.map(|state| &*state.name))?;
    }
    let store = SqliteStore::open(path, SqliteOptions::default())
        .map_err(|error| Failure::new("cannot open the database", &error))?;
    let done = if direction == Direction::Down {
        store.migrate_down().map(|name| report("reverted", name))
    } else {
        store.migrate_up().map(|names| report("applied", names))
    };
    store.close();
    done.map_err(failed)
}

/// Names the database that an error is about.
pub(crate) fn failure_in_file(path: &Path, error: &tasks_sqlite::MigrationError) -> Failure {
    Failure::new(
        &format!("cannot migrate the database {}", path.display()),
        error,
    )
}

async fn migrate_server(config: &Config, direction: Direction) -> Result<String, Failure> {
    let Store::Postgres(store) = Store::open(config)? else {
        return Err(Failure::Other("the database is no server".to_owned()));
    };
    let done = migrate_open_server(&store, config.database_place(), direction).await;
    store.close().await;
    done
}

async fn migrate_open_server(
    store: &PgStore,
    place: impl Display,
    direction: Direction,
) -> Result<String, Failure> {
    let failed = |error| Failure::new(&format!("cannot migrate the database {place}"), &error);
    match direction {
        Direction::Up => {
            let states = store.migration_status().await.map_err(failed)?;
            let unknown = states.iter().filter(|state| !state.known);
            is_not_ahead(&place, unknown.map(|state| &*state.name))?;
            store
                .migrate_up()
                .await
                .map(|names| report("applied", names))
        }
        Direction::Down => store
            .migrate_down()
            .await
            .map(|name| report("reverted", name)),
        Direction::Status => store
            .migration_status()
            .await
            .map(|states| list_of_server(&states)),
    }
    .map_err(failed)
}

/// Whoever wants a schema up to date that is a newer program's has started the wrong one.
fn is_not_ahead<'a>(
    place: impl Display,
    unknown: impl Iterator<Item = &'a str>,
) -> Result<(), Failure> {
    let unknown: Vec<&str> = unknown.collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Failure::Other(format!(
        "the database {place} is ahead of this version, which does not know {}: run a newer one",
        unknown.join(", ")
    )))
}

fn report<T: Display>(what: &str, names: impl IntoIterator<Item = T>) -> String {
    let line = |name| format!("{what} {name}\n");
    let lines: Vec<String> = names.into_iter().map(line).collect();
    if lines.is_empty() {
        format!("nothing to be {what}\n")
    } else {
        lines.concat()
    }
}

fn list(states: &[MigrationState]) -> String {
    states
        .iter()
        .map(|state| line(&state.name, state.known, state.applied))
        .collect()
}

fn list_of_server(states: &[tasks_postgres::MigrationState]) -> String {
    states
        .iter()
        .map(|state| line(&state.name, state.known, state.applied))
        .collect()
}

fn line(name: &str, is_known: bool, is_applied: bool) -> String {
    let how = match (is_known, is_applied) {
        (false, _) => "unknown",
        (true, true) => "applied",
        (true, false) => "pending",
    };
    format!("{how} {name}\n")
}

#[cfg(test)]
mod tests {
    use crate::config::Source;

    use super::*;

    #[test]
    fn up_status_and_down_say_what_they_did() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/tasks.db", folder.path().display());
        let source = Source::new([("DATABASE_URL".into(), url.into())]);
        let config = Config::read(&source, false).unwrap();
        let run = |direction| migrate(&config, direction).unwrap();
        let all_are = |how: &str, text: &str| {
            !text.is_empty() && text.lines().all(|line| line.starts_with(how))
        };

        assert!(all_are("pending ", &run(Direction::Status)));
        assert!(all_are("applied ", &run(Direction::Up)));
        assert!(all_are("applied ", &run(Direction::Status)));
        assert_eq!(run(Direction::Up), "nothing to be applied\n");
        let count = run(Direction::Status).lines().count();
        for _ in 0..count {
            assert!(all_are("reverted ", &run(Direction::Down)));
        }
        assert_eq!(run(Direction::Down), "nothing to be reverted\n");
        assert!(all_are("pending ", &run(Direction::Status)));
    }

    #[test]
    fn a_migration_of_a_newer_program_is_unknown() {
        let states = [MigrationState {
            name: "9".to_owned(),
            applied: true,
            known: false,
        }];
        assert_eq!(list(&states), "unknown 9\n");
    }
}
