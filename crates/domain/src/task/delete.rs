//! Deleting a task.

use tracing::instrument;

use crate::access::{AccessError, owned_by};
use crate::account::User;
use crate::id::Id;
use crate::store::StoreError;

use super::TaskService;
use super::model::Task;

/// Why a task is not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteTaskError {
    /// There is none, or it is somebody else's.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TaskService {
    /// Deletes a task of the caller's. Its row stays, and nothing shows it any more.
    #[instrument(level = "debug", name = "delete task", skip_all, fields(otel.status_code))]
    pub async fn delete(&self, caller: &User, id: Id<Task>) -> Result<(), DeleteTaskError> {
        owned_by(caller, self.tasks.find(id).await?)?;
        if self.tasks.delete(id, self.clock.now()).await? {
            Ok(())
        } else {
            Err(AccessError::NotFound.into())
        }
    }
}
