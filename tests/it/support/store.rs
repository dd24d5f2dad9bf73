//! The two kinds of store, so that a case runs on each.

use std::fs;

use diesel::connection::SimpleConnection;
use diesel::dsl::sql as expression;
use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::servers::shared_redis;
use super::{Database, Setup, database, sql};

/// Makes each case a test on `SQLite` and one on `PostgreSQL` with Redis.
macro_rules! on_every_store {
    ($($case:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[test] fn $case() { super::$case(&crate::support::Store::sqlite()); })+
        }
        mod on_postgres_and_redis {
            $(#[test] fn $case() { super::$case(&crate::support::Store::postgres_and_redis()); })+
        }
    };
}
pub(crate) use on_every_store;

/// Where a service keeps its data, and what a test changes there behind its back.
pub(crate) struct Store {
    /// How a service with this store is started.
    pub(crate) setup: Setup,
    /// None where the data is in a file.
    database: Option<Database>,
}

impl Store {
    pub(crate) fn sqlite() -> Self {
        Self {
            setup: Setup::new(),
            database: None,
        }
    }

    /// Redis is one that other tests use too: a case must not count on limits.
    pub(crate) fn postgres_and_redis() -> Self {
        let database = database();
        Self {
            setup: Setup::new()
                .on_postgres(&database.url)
                .with("REDIS_URL", &shared_redis().url()),
            database: Some(database),
        }
    }

    pub(crate) const fn is_sqlite(&self) -> bool {
        self.database.is_none()
    }

    /// What is so many seconds before the instant in a column, in the store's own SQL.
    pub(crate) fn earlier(&self, column: &str, seconds: i64) -> String {
        if self.is_sqlite() {
            format!("{column} - {seconds} * 1000000")
        } else {
            format!("{column} - interval '{seconds} s'")
        }
    }

    /// Runs a statement.
    pub(crate) fn execute(&self, statement: &str) {
        match &self.database {
            None => self.file().batch_execute(statement).unwrap(),
            Some(database) => drop(sql(&database.url, statement)),
        }
    }

    /// How many rows there are, of `table` or of `table WHERE …`.
    pub(crate) fn count(&self, rows: &str) -> i64 {
        match &self.database {
            None => {
                let count = expression::<BigInt>(&format!("(SELECT count(*) FROM {rows})"));
                diesel::select(count).get_result(&mut self.file()).unwrap()
            }
            Some(database) => {
                let found = sql(&database.url, &format!("SELECT count(*) FROM {rows}"));
                found[0][0].parse().unwrap()
            }
        }
    }

    /// All that is kept of accounts, as it is kept: whole files, or the text of every row.
    pub(crate) fn dump(&self) -> Vec<u8> {
        let Some(database) = &self.database else {
            let file = self.setup.database();
            let files = [file.with_extension("db-wal"), file];
            let contents = files.into_iter().map(|file| fs::read(file).unwrap());
            return contents.flatten().collect();
        };
        let tables = ["users", "sessions", "refresh_tokens", "outbox"];
        let rows = |table| sql(&database.url, &format!("SELECT t::text FROM {table} t"));
        let rows = tables.into_iter().flat_map(rows).flatten();
        rows.flat_map(String::into_bytes).collect()
    }

    fn file(&self) -> SqliteConnection {
        let path = self.setup.database();
        let mut connection = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
        // A service may be writing.
        connection
            .batch_execute("PRAGMA busy_timeout = 20000")
            .unwrap();
        connection
    }
}
