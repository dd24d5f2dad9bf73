//! Whether the database answers, how its schema stands, and how busy its connections are.

use async_trait::async_trait;
use diesel_async::SimpleAsyncConnection;
use tasks_domain::health::{HealthProbe, PoolProbe, PoolState, SchemaProbe, SchemaState};
use tasks_domain::store::StoreError;

use crate::{PgStore, migrations};

#[async_trait]
impl HealthProbe for PgStore {
    async fn check(&self) -> Result<(), StoreError> {
        self.read((), |session, ()| {
            Box::pin(async { Ok(session.batch_execute("SELECT 1").await?) })
        })
        .await
    }
}

#[async_trait]
impl SchemaProbe for PgStore {
    async fn schema(&self) -> Result<SchemaState, StoreError> {
        let states = self
            .read((), |session, ()| Box::pin(migrations::status(session)))
            .await?;
        Ok(migrations::schema(&states))
    }
}

impl PoolProbe for PgStore {
    fn pool(&self) -> PoolState {
        let status = self.places.status();
        PoolState {
            idle: status.available,
            in_use: status.size.saturating_sub(status.available),
            waiting: status.waiting,
        }
    }
}
