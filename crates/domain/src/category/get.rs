//! Reading one category.

use tracing::instrument;

use crate::access::{AccessError, owned_by};
use crate::account::User;
use crate::id::Id;
use crate::store::StoreError;

use super::CategoryService;
use super::model::Category;

/// Why a category is not shown.
#[derive(Debug, thiserror::Error)]
pub enum GetCategoryError {
    /// There is none, or it is somebody else's.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CategoryService {
    /// One category of the caller's.
    #[instrument(level = "debug", name = "get category", skip_all, fields(otel.status_code))]
    pub async fn get(&self, caller: &User, id: Id<Category>) -> Result<Category, GetCategoryError> {
        Ok(owned_by(caller, self.categories.find(id).await?)?)
    }
}
