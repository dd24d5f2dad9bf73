//! Reading all of one's categories.

use tracing::instrument;

use crate::account::User;
use crate::store::StoreError;

use super::CategoryService;
use super::model::Category;

/// Why categories are not shown.
#[derive(Debug, thiserror::Error)]
pub enum ListCategoriesError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CategoryService {
    /// The caller's categories, by name.
    #[instrument(level = "debug", name = "list categories", skip_all, fields(otel.status_code))]
    pub async fn list(&self, caller: &User) -> Result<Vec<Category>, ListCategoriesError> {
        Ok(self.categories.list(caller.id).await?)
    }
}
