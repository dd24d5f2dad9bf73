//! Real servers, and what a test asks of them itself.

use std::future::Future;
use std::sync::LazyLock;

use tasks_testkit::servers::{self, PostgresServer, RedisServer};
use tokio::runtime::Runtime;
use tokio_postgres::{NoTls, SimpleQueryMessage};

/// Tests are threads that block; what is asynchronous runs here.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

fn block_on<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}

/// A database of its own, dropped with this value.
pub(crate) struct Database {
    pub(crate) url: String,
    database: Option<servers::Database>,
}

impl Drop for Database {
    fn drop(&mut self) {
        // To drop it takes a runtime, and a test has none.
        let _runtime = RUNTIME.enter();
        self.database = None;
    }
}

/// An empty database, on a server that other tests use too.
pub(crate) fn database() -> Database {
    database_on(block_on(PostgresServer::shared()))
}

/// An empty database.
pub(crate) fn database_on(server: &PostgresServer) -> Database {
    let database = block_on(server.database(None));
    Database {
        url: database.url.clone(),
        database: Some(database),
    }
}

/// A server of its own, which a test may harm.
pub(crate) fn postgres() -> PostgresServer {
    block_on(PostgresServer::start())
}

/// A server of its own: all tests come from one address, so they cannot share its limits.
pub(crate) fn redis() -> RedisServer {
    block_on(RedisServer::start())
}

/// A server that other tests use too.
pub(crate) fn shared_redis() -> &'static RedisServer {
    block_on(RedisServer::shared())
}

/// Runs statements; returns the rows of all of them, each value as text, empty for NULL.
pub(crate) fn sql(url: &str, statements: &str) -> Vec<Vec<String>> {
    block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        let messages = client.simple_query(statements).await.unwrap();
        drop(client);
        // When this returns, nobody is connected any more.
        connection.await.unwrap().unwrap();
        messages.iter().filter_map(columns).collect()
    })
}

fn columns(message: &SimpleQueryMessage) -> Option<Vec<String>> {
    let SimpleQueryMessage::Row(row) = message else {
        return None;
    };
    let value = |index| row.get(index).unwrap_or_default().to_owned();
    Some((0..row.len()).map(value).collect())
}
