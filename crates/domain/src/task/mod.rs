//! Tasks: what a user has to do.

mod categories;
mod create;
mod delete;
mod edit;
mod get;
mod list;
mod model;
mod query;
mod repository;

use std::sync::Arc;

pub use categories::{AssignCategoryError, UnassignCategoryError};
pub use create::{CreateTask, CreateTaskError};
pub use delete::DeleteTaskError;
pub use edit::{EditTask, EditTaskError};
pub use get::GetTaskError;
pub use list::ListTasksError;
pub use model::{
    Priority, Task, TaskContent, TaskDescription, TaskStatus, TaskTitle, Version, due_in_future,
};
pub use query::{SortBy, SortOrder, TaskFilter, TaskQuery};
pub use repository::{Assignment, TaskCreation, TaskRepository, TaskUpdate};

#[cfg(any(test, feature = "mocks"))]
pub use repository::MockTaskRepository;

use crate::category::CategoryRepository;
use crate::clock::Clock;
use crate::id::IdGenerator;

/// The use cases of tasks, one to a module.
pub struct TaskService {
    tasks: Arc<dyn TaskRepository>,
    categories: Arc<dyn CategoryRepository>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdGenerator>,
}

impl TaskService {
    /// The use cases over these ports.
    pub fn new(
        tasks: Arc<dyn TaskRepository>,
        categories: Arc<dyn CategoryRepository>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdGenerator>,
    ) -> Self {
        Self {
            tasks,
            categories,
            clock,
            ids,
        }
    }
}
