//! Changing a category.

use tracing::instrument;

use crate::access::{AccessError, owned_by};
use crate::account::User;
use crate::id::Id;
use crate::store::StoreError;

use super::CategoryService;
use super::model::{Category, CategoryName, Color};
use super::repository::CategoryUpdate;

/// What is to change.
#[derive(Clone, Debug, Default)]
pub struct EditCategory {
    /// Another name.
    pub name: Option<CategoryName>,
    /// Another colour.
    pub color: Option<Color>,
}

/// Why a category is not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditCategoryError {
    /// There is none, or it is somebody else's.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The caller has another of that name.
    #[error("the name is taken")]
    NameTaken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CategoryService {
    /// Changes a category of the caller's.
    #[instrument(level = "debug", name = "edit category", skip_all, fields(otel.status_code))]
    pub async fn edit(
        &self,
        caller: &User,
        id: Id<Category>,
        command: EditCategory,
    ) -> Result<Category, EditCategoryError> {
        owned_by(caller, self.categories.find(id).await?)?;
        match self
            .categories
            .update(id, command.name, command.color)
            .await?
        {
            CategoryUpdate::Updated(category) => Ok(category),
            CategoryUpdate::NameTaken => Err(EditCategoryError::NameTaken),
            CategoryUpdate::Gone => Err(AccessError::NotFound.into()),
        }
    }
}
