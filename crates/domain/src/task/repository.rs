//! The port of stored tasks.

use async_trait::async_trait;

use crate::account::User;
use crate::category::Category;
use crate::clock::Timestamp;
use crate::id::Id;
use crate::page::Page;
use crate::store::StoreError;

use super::model::{Task, TaskContent, Version};
use super::query::TaskQuery;

/// What making a task comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskCreation {
    /// It is stored.
    Created,
    /// Its owner's account is gone; nothing is stored.
    NoOwner,
}

/// What changing a task comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskUpdate {
    /// It is changed to this.
    Updated(Task),
    /// It was changed meanwhile, and is at this version now; nothing is changed.
    Conflict(Version),
    /// It was deleted meanwhile.
    Gone,
}

/// What filing a task under a category comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assignment {
    /// It is filed, and looks like this.
    Assigned(Task),
    /// It was filed there before.
    AlreadyAssigned,
    /// One of the two was deleted meanwhile.
    Gone,
}

/// Port: stored tasks. A deleted task is not there for any of its methods.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait TaskRepository: Send + Sync {
    /// Stores a new task, which has no categories yet. Of an owner whose account is erased at the same
    /// time none is left.
    async fn create(&self, task: &Task) -> Result<TaskCreation, StoreError>;

    /// A task with its categories by name, whoever's it is.
    async fn find(&self, id: Id<Task>) -> Result<Option<Task>, StoreError>;

    /// One page of an owner's tasks, each with its categories by name, and how many there are on
    /// all pages; both as of one instant, in a constant number of statements.
    async fn list(&self, owner: Id<User>, query: &TaskQuery) -> Result<Page<Task>, StoreError>;

    /// Writes a task's content, raises its version by one and sets `updated_at`, if the task is
    /// still at the expected version: of any number of concurrent calls with one version exactly
    /// one succeeds.
    async fn update(
        &self,
        id: Id<Task>,
        expected: Version,
        content: &TaskContent,
        now: Timestamp,
    ) -> Result<TaskUpdate, StoreError>;

    /// Marks a task as deleted; its row and its assignments stay. Whether it was there.
    async fn delete(&self, id: Id<Task>, now: Timestamp) -> Result<bool, StoreError>;

    /// Files a task under a category. Changes neither the version nor `updated_at`.
    async fn assign(
        &self,
        task: Id<Task>,
        category: Id<Category>,
    ) -> Result<Assignment, StoreError>;

    /// Takes a task out of a category. Changes neither the version nor `updated_at`. Whether it
    /// was in there.
    async fn unassign(&self, task: Id<Task>, category: Id<Category>) -> Result<bool, StoreError>;
}
