//! Whether the parts that the service rests on are well.

use async_trait::async_trait;

use crate::store::StoreError;

/// Port: asks one part (the database, Redis) whether it answers.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait HealthProbe: Send + Sync {
    /// Ok if the part answers a trivial question.
    async fn check(&self) -> Result<(), StoreError>;
}

/// How the store's schema stands to the one that this program was built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaState {
    /// The same.
    Current,
    /// So many migrations are pending.
    Behind(usize),
    /// The store has so many migrations that this program does not know: it is older than the data.
    Ahead(usize),
}

/// Port: tells whether migrations are pending.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait SchemaProbe: Send + Sync {
    /// The state of the schema now.
    async fn schema(&self) -> Result<SchemaState, StoreError>;
}

/// How the connections to a part stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolState {
    /// Open, and waiting for work.
    pub idle: usize,
    /// At work.
    pub in_use: usize,
    /// Calls that wait for a connection.
    pub waiting: usize,
}

/// Port: tells how busy the connections to a part are.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
pub trait PoolProbe: Send + Sync {
    /// The state of the pool now. Returns at once.
    fn pool(&self) -> PoolState;
}
