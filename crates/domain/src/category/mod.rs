//! Categories: names under which a user files tasks.

mod create;
mod delete;
mod edit;
mod get;
mod list;
mod model;
mod repository;

use std::sync::Arc;

pub use create::{CreateCategory, CreateCategoryError};
pub use delete::DeleteCategoryError;
pub use edit::{EditCategory, EditCategoryError};
pub use get::GetCategoryError;
pub use list::ListCategoriesError;
pub use model::{Category, CategoryName, Color};
pub use repository::{CategoryCreation, CategoryRepository, CategoryUpdate};

#[cfg(any(test, feature = "mocks"))]
pub use repository::MockCategoryRepository;

use crate::clock::Clock;
use crate::id::IdGenerator;

/// The use cases of categories, one to a module.
pub struct CategoryService {
    categories: Arc<dyn CategoryRepository>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdGenerator>,
}

impl CategoryService {
    /// The use cases over these ports.
    pub fn new(
        categories: Arc<dyn CategoryRepository>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdGenerator>,
    ) -> Self {
        Self {
            categories,
            clock,
            ids,
        }
    }
}
