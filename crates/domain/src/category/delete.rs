//! Erasing a category.

use tracing::instrument;

use crate::access::{AccessError, owned_by};
use crate::account::User;
use crate::id::Id;
use crate::store::StoreError;

use super::CategoryService;
use super::model::Category;

/// Why a category is not erased.
#[derive(Debug, thiserror::Error)]
pub enum DeleteCategoryError {
    /// There is none, or it is somebody else's.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CategoryService {
    /// Erases a category of the caller's with its assignments; its tasks stay.
    #[instrument(level = "debug", name = "delete category", skip_all, fields(otel.status_code))]
    pub async fn delete(&self, caller: &User, id: Id<Category>) -> Result<(), DeleteCategoryError> {
        owned_by(caller, self.categories.find(id).await?)?;
        if self.categories.delete(id).await? {
            Ok(())
        } else {
            Err(AccessError::NotFound.into())
        }
    }
}
