//! `task-api migrate`: changes the database's schema by hand.

use std::fmt::Display;

use clap::ValueEnum;
use tasks_sqlite::{MigrationError, MigrationState, SqliteOptions, SqliteStore};

use crate::config::Config;
use crate::failure::Failure;

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
    if direction == Direction::Status {
        return SqliteStore::migration_status(&config.database)
            .map(|states| list(&states))
            .map_err(|error| failure(config, &error));
    }
    let store = SqliteStore::open(&config.database, SqliteOptions::default())
        .map_err(|error| Failure::new("cannot open the database", &error))?;
    let done = if direction == Direction::Down {
        store.migrate_down().map(|name| report("reverted", name))
    } else {
        store.migrate_up().map(|names| report("applied", names))
    };
    store.close();
    done.map_err(|error| failure(config, &error))
}

/// Names the database that an error is about.
pub(crate) fn failure(config: &Config, error: &MigrationError) -> Failure {
    Failure::new(
        &format!("cannot migrate the database {}", config.database.display()),
        error,
    )
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
    let lines = states.iter().map(|state| {
        let how = match (state.known, state.applied) {
            (false, _) => "unknown",
            (true, true) => "applied",
            (true, false) => "pending",
        };
        format!("{how} {}\n", state.name)
    });
    lines.collect::<Vec<_>>().concat()
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
