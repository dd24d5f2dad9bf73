//! Reading one task.

use tracing::instrument;

use crate::access::{AccessError, owned_by};
use crate::account::User;
use crate::id::Id;
use crate::store::StoreError;

use super::TaskService;
use super::model::Task;

/// Why a task is not shown.
#[derive(Debug, thiserror::Error)]
pub enum GetTaskError {
    /// There is none, or it is somebody else's.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TaskService {
    /// One task of the caller's.
    #[instrument(level = "debug", name = "get task", skip_all, fields(otel.status_code))]
    pub async fn get(&self, caller: &User, id: Id<Task>) -> Result<Task, GetTaskError> {
        Ok(owned_by(caller, self.tasks.find(id).await?)?)
    }
}
