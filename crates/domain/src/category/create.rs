//! Making a category.

use tracing::instrument;

use crate::account::User;
use crate::store::StoreError;

use super::CategoryService;
use super::model::{Category, CategoryName, Color};
use super::repository::CategoryCreation;

/// A category that is wanted.
#[derive(Clone, Debug)]
pub struct CreateCategory {
    /// Its name.
    pub name: CategoryName,
    /// Its colour, or [`Color::DEFAULT`].
    pub color: Option<Color>,
}

/// Why there is no category.
#[derive(Debug, thiserror::Error)]
pub enum CreateCategoryError {
    /// The caller has another of that name.
    #[error("the name is taken")]
    NameTaken,
    /// The caller's account was erased meanwhile.
    #[error("the account is gone")]
    OwnerGone,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CategoryService {
    /// Makes a category of the caller's.
    #[instrument(level = "debug", name = "create category", skip_all, fields(otel.status_code))]
    pub async fn create(
        &self,
        caller: &User,
        command: CreateCategory,
    ) -> Result<Category, CreateCategoryError> {
        let category = Category {
            id: self.ids.next(),
            owner: caller.id,
            name: command.name,
            color: command.color.unwrap_or_default(),
            created_at: self.clock.now(),
        };
        match self.categories.create(&category).await? {
            CategoryCreation::Created => Ok(category),
            CategoryCreation::NameTaken => Err(CreateCategoryError::NameTaken),
            CategoryCreation::NoOwner => Err(CreateCategoryError::OwnerGone),
        }
    }
}
