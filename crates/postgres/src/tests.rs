//! What the tests inside of this crate share.

mod prepared;
mod spans;

use std::thread::{self, JoinHandle};

use tasks_testkit::servers::{Database, PostgresServer};
use tokio::runtime;

use crate::place::Places;
use crate::{PgStore, target};

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

/// As on a machine with so many cores, whatever this one has.
const WORKERS: usize = 2;

pub(crate) fn connect(database: &Database) -> PgStore {
    with_workers(database, WORKERS)
}

/// A store with at most thirty connections, for so many workers.
pub(crate) fn with_workers(database: &Database, workers: usize) -> PgStore {
    let routes = target::routes(&database.url).unwrap();
    PgStore {
        places: Places::new(routes, 30, workers).unwrap(),
    }
}
