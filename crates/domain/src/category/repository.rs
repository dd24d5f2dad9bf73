//! The port of stored categories.

use async_trait::async_trait;

use crate::account::User;
use crate::id::Id;
use crate::store::StoreError;

use super::model::{Category, CategoryName, Color};

/// What making a category comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CategoryCreation {
    /// It is stored.
    Created,
    /// Its owner has another of that name; nothing is stored.
    NameTaken,
    /// Its owner's account is gone; nothing is stored.
    NoOwner,
}

/// What changing a category comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CategoryUpdate {
    /// It is changed to this.
    Updated(Category),
    /// Its owner has another of that name; nothing is changed.
    NameTaken,
    /// It was deleted meanwhile.
    Gone,
}

/// Port: stored categories.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait CategoryRepository: Send + Sync {
    /// Stores a category. Of any number of concurrent calls with one owner and name exactly one
    /// succeeds. Of an owner whose account is erased at the same time none is left.
    async fn create(&self, category: &Category) -> Result<CategoryCreation, StoreError>;

    /// A category, whoever's it is.
    async fn find(&self, id: Id<Category>) -> Result<Option<Category>, StoreError>;

    /// All categories of an owner, by name in the order of code points.
    async fn list(&self, owner: Id<User>) -> Result<Vec<Category>, StoreError>;

    /// Changes what is given, and leaves the rest as it is.
    async fn update(
        &self,
        id: Id<Category>,
        name: Option<CategoryName>,
        color: Option<Color>,
    ) -> Result<CategoryUpdate, StoreError>;

    /// Erases a category with its assignments; its tasks stay. Whether there was one.
    async fn delete(&self, id: Id<Category>) -> Result<bool, StoreError>;
}
