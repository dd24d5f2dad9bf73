//! The store on real servers.

#![expect(clippy::unwrap_used, reason = "test code fails by panicking")]

mod connecting;
mod contract;
mod faults;
mod locks;
mod mails;
mod migrations;
mod plans;
mod rows;
mod tls;

use std::sync::Arc;

use secrecy::SecretString;
use tasks_domain::account::{Registration, SessionRepository, User, UserRepository};
use tasks_domain::category::CategoryRepository;
use tasks_domain::housekeeping::Housekeeping;
use tasks_domain::mail::Outbox;
use tasks_domain::task::TaskRepository;
use tasks_postgres::{PgOptions, PgStore};
use tasks_testkit::build;
use tasks_testkit::contract::Stores;
use tasks_testkit::servers::{Database, PostgresServer};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio_postgres::NoTls;

/// A store on a database of its own.
struct TestStore {
    store: PgStore,
    database: Database,
}

impl TestStore {
    /// Without tables.
    async fn empty() -> Self {
        Self::on(PostgresServer::shared().await.database(None).await)
    }

    /// On the shared server; the tables are copied.
    async fn migrated() -> Self {
        static TEMPLATE: OnceCell<Database> = OnceCell::const_new();
        let server = PostgresServer::shared().await;
        let template = TEMPLATE
            .get_or_init(|| async {
                let template = Self::empty().await;
                template.store.migrate_up().await.unwrap();
                let Self { store, database } = template;
                store.close().await;
                database
            })
            .await;
        Self::on(server.database(Some(&template.name)).await)
    }

    /// On a server that the test may harm.
    async fn on_server(server: &PostgresServer) -> Self {
        let this = Self::on(server.database(None).await);
        this.store.migrate_up().await.unwrap();
        this
    }

    fn on(database: Database) -> Self {
        Self {
            store: connect(&database.url, 4),
            database,
        }
    }

    /// A connection beside the store's own.
    async fn client(&self) -> tokio_postgres::Client {
        client(&self.database.url).await
    }

    async fn execute(&self, sql: &str) {
        self.client().await.batch_execute(sql).await.unwrap();
    }

    /// Returns when nobody else is connected any more, and what they did is in the server's statistics.
    async fn alone(&self) {
        let others = "SELECT pid::text FROM pg_stat_activity WHERE datname = current_database() \
                      AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
        let observer = self.client().await;
        while !observer.query(others, &[]).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    }

    /// Returns when so many wait for locks, this task among them.
    async fn waits<T>(&self, task: &JoinHandle<T>, waiting: usize) {
        let sql = "SELECT pid::text FROM pg_stat_activity \
                   WHERE wait_event_type = 'Lock' AND datname = current_database()";
        let observer = self.client().await;
        while observer.query(sql, &[]).await.unwrap().len() < waiting {
            assert!(!task.is_finished());
            tokio::task::yield_now().await;
        }
    }

    /// The only column's values.
    async fn query(&self, sql: &str) -> Vec<String> {
        let rows = self.client().await.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
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

fn connect(url: &str, pool_size: u32) -> PgStore {
    PgStore::connect_lazy(&SecretString::from(url), PgOptions { pool_size }).unwrap()
}

async fn client(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A stored user.
async fn user(store: &PgStore) -> User {
    let user = build::user().build();
    let outcome = store.register(build::account(&user)).await.unwrap();
    assert_eq!(outcome, Registration::Registered);
    user
}

/// Everything that an error says, and what its causes say.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = format!("{error:?}");
    let mut cause = Some(error);
    while let Some(error) = cause {
        text = format!("{text} / {error}");
        cause = error.source();
    }
    text
}
