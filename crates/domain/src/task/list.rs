//! Reading a page of one's tasks.

use tracing::instrument;

use crate::account::User;
use crate::page::Page;
use crate::store::StoreError;

use super::TaskService;
use super::model::Task;
use super::query::TaskQuery;

/// Why tasks are not shown.
#[derive(Debug, thiserror::Error)]
pub enum ListTasksError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TaskService {
    /// One page of the caller's tasks.
    #[instrument(level = "debug", name = "list tasks", skip_all, fields(otel.status_code))]
    pub async fn list(
        &self,
        caller: &User,
        query: &TaskQuery,
    ) -> Result<Page<Task>, ListTasksError> {
        Ok(self.tasks.list(caller.id, query).await?)
    }
}
