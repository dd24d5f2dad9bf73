//! What the tests inside of this crate share.

mod prepared;
mod spans;

use std::thread::{self, JoinHandle};

use secrecy::SecretString;
use tasks_testkit::servers::{Database, PostgresServer};
use tokio::runtime;

use crate::{PgOptions, PgStore};

/// A store on a database of its own, without tables.
pub(crate) struct Opened {
    pub(crate) store: PgStore,
    pub(crate) database: Database,
}

impl Opened {
    pub(crate) async fn empty() -> Self {
        let database = PostgresServer::shared().await.database(None).await;
        Self {
            store: connect(&database),
            database,
        }
    }
}

/// Does something as a worker of the server does: on a thread with a runtime of its own.
pub(crate) fn on_a_worker<T, F>(work: impl FnOnce() -> F + Send + 'static) -> JoinHandle<T>
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    thread::spawn(|| {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(work())
    })
}

pub(crate) fn ended<T>(worker: JoinHandle<T>) -> T {
    tokio::task::block_in_place(|| worker.join()).unwrap()
}

pub(crate) fn connect(database: &Database) -> PgStore {
    let url = SecretString::from(database.url.clone());
    PgStore::connect_lazy(&url, PgOptions::default()).unwrap()
}
