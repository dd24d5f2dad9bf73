//! Changing a task, unless somebody else changed it first.

use tracing::instrument;

use crate::access::{AccessError, owned_by};
use crate::account::User;
use crate::clock::Timestamp;
use crate::id::Id;
use crate::patch::Patch;
use crate::store::StoreError;
use crate::text::Invalid;

use super::TaskService;
use super::model::{
    Priority, Task, TaskContent, TaskDescription, TaskStatus, TaskTitle, Version, due_in_future,
};
use super::repository::TaskUpdate;

/// What is to change, and the version that the caller has seen.
#[derive(Clone, Debug)]
pub struct EditTask {
    /// What the task has to be at.
    pub version: Version,
    /// Another title.
    pub title: Option<TaskTitle>,
    /// Another description, or none.
    pub description: Patch<TaskDescription>,
    /// Another status.
    pub status: Option<TaskStatus>,
    /// Another priority.
    pub priority: Option<Priority>,
    /// Another due date, or none.
    pub due_date: Patch<Timestamp>,
}

impl EditTask {
    /// A task's content after the change.
    fn apply(self, current: TaskContent) -> TaskContent {
        TaskContent {
            title: self.title.unwrap_or(current.title),
            description: self.description.apply(current.description),
            status: self.status.unwrap_or(current.status),
            priority: self.priority.unwrap_or(current.priority),
            due_date: self.due_date.apply(current.due_date),
        }
    }
}

/// Why a task is not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditTaskError {
    /// There is none, or it is somebody else's.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The due date breaks its rule.
    #[error("due_date {0}")]
    DueDate(Invalid),
    /// The task changed since the caller read it.
    #[error("the task is at version {}", current.get())]
    VersionConflict {
        /// What it is at.
        current: Version,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TaskService {
    /// Changes a task of the caller's.
    ///
    /// A due date equal to the stored one is no change and is not judged, so that an overdue task
    /// can be completed by a caller that sends the whole object back. What changes nothing
    /// leaves the task as it is.
    #[instrument(level = "debug", name = "edit task", skip_all, fields(otel.status_code))]
    pub async fn edit(
        &self,
        caller: &User,
        id: Id<Task>,
        command: EditTask,
    ) -> Result<Task, EditTaskError> {
        let task = owned_by(caller, self.tasks.find(id).await?)?;
        let now = self.clock.now();
        let expected = command.version;
        let content = command.apply(task.content.clone());
        if let Some(due_date) = content
            .due_date
            .filter(|due| Some(*due) != task.content.due_date)
        {
            due_in_future(due_date, now).map_err(EditTaskError::DueDate)?;
        }
        if task.version != expected {
            return Err(EditTaskError::VersionConflict {
                current: task.version,
            });
        }
        if content == task.content {
            return Ok(task);
        }
        match self.tasks.update(id, expected, &content, now).await? {
            TaskUpdate::Updated(task) => Ok(task),
            TaskUpdate::Conflict(current) => Err(EditTaskError::VersionConflict { current }),
            TaskUpdate::Gone => Err(AccessError::NotFound.into()),
        }
    }
}
