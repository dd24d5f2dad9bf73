//! Whether the database answers, how its schema stands, and how busy its threads are.

use async_trait::async_trait;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use tasks_domain::health::{HealthProbe, PoolProbe, PoolState, SchemaProbe, SchemaState};
use tasks_domain::store::StoreError;

use crate::error::Failure;
use crate::{SqliteStore, migrations};

#[async_trait]
impl HealthProbe for SqliteStore {
    async fn check(&self) -> Result<(), StoreError> {
        self.read(|connection| {
            // Unlike a bare `SELECT 1` it has to look at the file.
            diesel::select(sql::<BigInt>("(SELECT count(*) FROM sqlite_schema)"))
                .get_result::<i64>(connection)?;
            Ok(())
        })
        .await
    }
}

#[async_trait]
impl SchemaProbe for SqliteStore {
    async fn schema(&self) -> Result<SchemaState, StoreError> {
        self.read(|connection| {
            migrations::schema(connection).map_err(|error| Failure::Other(error.to_string()))
        })
        .await
    }
}

/// Each thread has a connection of its own; what waits for one is in a queue.
impl PoolProbe for SqliteStore {
    fn pool(&self) -> PoolState {
        let in_use = self.0.busy.count().min(self.0.connections);
        PoolState {
            idle: self.0.connections.saturating_sub(in_use),
            in_use,
            waiting: self.0.writes.len().saturating_add(self.0.reads.len()),
        }
    }
}
