//! The embedded store, on files.

#![expect(clippy::unwrap_used, reason = "test code fails by panicking")]

mod contract;
mod durability;
mod mail;
mod migrations;
mod opening;
mod rows;

use std::path::Path;
use std::sync::Arc;

use diesel::prelude::*;
use diesel::sql_types::Text;
use tasks_domain::account::{Registration, SessionRepository, User, UserRepository};
use tasks_domain::category::CategoryRepository;
use tasks_domain::housekeeping::Housekeeping;
use tasks_domain::mail::Outbox;
use tasks_domain::task::TaskRepository;
use tasks_sqlite::{SqliteOptions, SqliteStore};
use tasks_testkit::build;
use tasks_testkit::contract::Stores;
use tempfile::TempDir;

/// A store in a folder of its own.
struct TestStore {
    store: SqliteStore,
    folder: TempDir,
}

impl TestStore {
    /// Without tables.
    fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            store: open(&folder.path().join("tasks.db")),
            folder,
        }
    }

    fn migrated() -> Self {
        let this = Self::empty();
        this.store.migrate_up().unwrap();
        this
    }

    /// All that the file and its log hold.
    fn bytes(&self) -> Vec<u8> {
        ["tasks.db", "tasks.db-wal"]
            .iter()
            .flat_map(|file| std::fs::read(self.folder.path().join(file)).unwrap())
            .collect()
    }

    /// A connection beside the store's own.
    fn connection(&self) -> SqliteConnection {
        let path = self.folder.path().join("tasks.db");
        SqliteConnection::establish(path.to_str().unwrap()).unwrap()
    }

    fn execute(&self, sql: &str) {
        diesel::sql_query(sql)
            .execute(&mut self.connection())
            .unwrap();
    }

    /// The values of a column named `value`.
    fn query(&self, sql: &str) -> Vec<String> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            value: String,
        }
        let rows: Vec<Row> = diesel::sql_query(sql).load(&mut self.connection()).unwrap();
        rows.into_iter().map(|row| row.value).collect()
    }
}

impl Stores for TestStore {
    fn users(&self) -> Arc<dyn UserRepository> {
        Arc::new(self.store.clone())
    }
    fn sessions(&self) -> Arc<dyn SessionRepository> {
        Arc::new(self.store.clone())
    }
    fn tasks(&self) -> Arc<dyn TaskRepository> {
        Arc::new(self.store.clone())
    }
    fn categories(&self) -> Arc<dyn CategoryRepository> {
        Arc::new(self.store.clone())
    }
    fn outbox(&self) -> Arc<dyn Outbox> {
        Arc::new(self.store.clone())
    }
    fn housekeeping(&self) -> Arc<dyn Housekeeping> {
        Arc::new(self.store.clone())
    }
}

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, SqliteOptions::default()).unwrap()
}

/// A stored user.
async fn user(store: &SqliteStore) -> User {
    let user = build::user().build();
    let outcome = store.register(build::account(&user)).await.unwrap();
    assert_eq!(outcome, Registration::Registered);
    user
}
