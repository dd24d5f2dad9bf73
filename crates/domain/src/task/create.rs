//! Making a task.

use tracing::instrument;

use crate::account::User;
use crate::clock::Timestamp;
use crate::store::StoreError;
use crate::text::Invalid;

use super::TaskService;
use super::model::{
    Priority, Task, TaskContent, TaskDescription, TaskStatus, TaskTitle, Version, due_in_future,
};
use super::repository::TaskCreation;

/// A task that is wanted.
#[derive(Clone, Debug)]
pub struct CreateTask {
    /// What is to do, in a line.
    pub title: TaskTitle,
    /// What is to do, at length.
    pub description: Option<TaskDescription>,
    /// When it has to be done: in the future.
    pub due_date: Option<Timestamp>,
    /// How much it matters; [`Priority::Medium`] if nothing is said.
    pub priority: Option<Priority>,
}

/// Why there is no task.
#[derive(Debug, thiserror::Error)]
pub enum CreateTaskError {
    /// The due date breaks its rule.
    #[error("due_date {0}")]
    DueDate(Invalid),
    /// The caller's account was erased meanwhile.
    #[error("the account is gone")]
    OwnerGone,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TaskService {
    /// Makes a task of the caller's: pending, at the first version.
    #[instrument(level = "debug", name = "create task", skip_all, fields(otel.status_code))]
    pub async fn create(
        &self,
        caller: &User,
        command: CreateTask,
    ) -> Result<Task, CreateTaskError> {
        let now = self.clock.now();
        if let Some(due_date) = command.due_date {
            due_in_future(due_date, now).map_err(CreateTaskError::DueDate)?;
        }
        let task = Task {
            id: self.ids.next(),
            owner: caller.id,
            content: TaskContent {
                title: command.title,
                description: command.description,
                status: TaskStatus::default(),
                priority: command.priority.unwrap_or_default(),
                due_date: command.due_date,
            },
            version: Version::FIRST,
            categories: Vec::new(),
            created_at: now,
            updated_at: now,
        };
        match self.tasks.create(&task).await? {
            TaskCreation::Created => Ok(task),
            TaskCreation::NoOwner => Err(CreateTaskError::OwnerGone),
        }
    }
}
