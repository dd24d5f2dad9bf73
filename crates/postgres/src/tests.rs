//! What the tests inside of this crate share.

mod prepared;
mod spans;

use secrecy::SecretString;
use tasks_testkit::servers::{Database, PostgresServer};

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

pub(crate) fn connect(database: &Database) -> PgStore {
    let url = SecretString::from(database.url.clone());
    PgStore::connect_lazy(&url, PgOptions::default()).unwrap()
}
