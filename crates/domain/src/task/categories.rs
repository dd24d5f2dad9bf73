//! Filing a task under a category, and taking it out again.

use tracing::instrument;

use crate::access::{AccessError, owned_by};
use crate::account::User;
use crate::category::Category;
use crate::id::Id;
use crate::store::StoreError;

use super::TaskService;
use super::model::Task;
use super::repository::Assignment;

/// Why a task is not filed.
#[derive(Debug, thiserror::Error)]
pub enum AssignCategoryError {
    /// One of the two is not there, or is somebody else's.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The task was filed there before.
    #[error("the category is assigned already")]
    AlreadyAssigned,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a task is not taken out.
#[derive(Debug, thiserror::Error)]
pub enum UnassignCategoryError {
    /// One of the two is not there or is somebody else's, or the task was not filed there.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TaskService {
    /// Files a task of the caller's under a category of the caller's.
    #[instrument(level = "debug", name = "assign category", skip_all, fields(otel.status_code))]
    pub async fn assign_category(
        &self,
        caller: &User,
        task: Id<Task>,
        category: Id<Category>,
    ) -> Result<Task, AssignCategoryError> {
        owned_by(caller, self.tasks.find(task).await?)?;
        owned_by(caller, self.categories.find(category).await?)?;
        match self.tasks.assign(task, category).await? {
            Assignment::Assigned(task) => Ok(task),
            Assignment::AlreadyAssigned => Err(AssignCategoryError::AlreadyAssigned),
            Assignment::Gone => Err(AccessError::NotFound.into()),
        }
    }

    /// Takes a task of the caller's out of a category of the caller's.
    #[instrument(level = "debug", name = "unassign category", skip_all, fields(otel.status_code))]
    pub async fn unassign_category(
        &self,
        caller: &User,
        task: Id<Task>,
        category: Id<Category>,
    ) -> Result<(), UnassignCategoryError> {
        owned_by(caller, self.tasks.find(task).await?)?;
        owned_by(caller, self.categories.find(category).await?)?;
        if self.tasks.unassign(task, category).await? {
            Ok(())
        } else {
            Err(AccessError::NotFound.into())
        }
    }
}
