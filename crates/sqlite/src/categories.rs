//! Categories.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::result::Error;
use diesel::sqlite::Sqlite;
use tasks_domain::account::User;
use tasks_domain::category::{
    Category, CategoryCreation, CategoryName, CategoryRepository, CategoryUpdate, Color,
};
use tasks_domain::id::Id;
use tasks_domain::store::StoreError;

use crate::SqliteStore;
use crate::error::{is_dangling, is_taken};
use crate::schema::categories;
use crate::values::{StoredId, parsed, time};

#[derive(Queryable, Selectable)]
#[diesel(table_name = categories, check_for_backend(Sqlite))]
pub(crate) struct CategoryRow {
    id: StoredId,
    user_id: StoredId,
    name: String,
    color: String,
    created_at: i64,
}

impl TryFrom<CategoryRow> for Category {
    type Error = StoreError;

    fn try_from(row: CategoryRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id.get(),
            owner: row.user_id.get(),
            name: parsed("categories.name", CategoryName::parse(&row.name))?,
            color: parsed("categories.color", Color::parse(&row.color))?,
            created_at: time("categories.created_at", row.created_at)?,
        })
    }
}

fn is_name_taken(error: &Error) -> bool {
    is_taken(error, "categories.user_id, categories.name")
}

#[async_trait]
impl CategoryRepository for SqliteStore {
    async fn create(&self, category: &Category) -> Result<CategoryCreation, StoreError> {
        let category = category.clone();
        self.write(move |connection| {
            let inserted = diesel::insert_into(categories::table)
                .values((
                    categories::id.eq(StoredId::from(category.id)),
                    categories::user_id.eq(StoredId::from(category.owner)),
                    categories::name.eq(category.name.as_str()),
                    categories::color.eq(category.color.as_str()),
                    categories::created_at.eq(category.created_at.unix_micros()),
                ))
                .execute(connection);
            match inserted {
                Ok(_) => Ok(CategoryCreation::Created),
                Err(error) if is_name_taken(&error) => Ok(CategoryCreation::NameTaken),
                // Its owner is all that it refers to.
                Err(error) if is_dangling(&error) => Ok(CategoryCreation::NoOwner),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }

    async fn find(&self, id: Id<Category>) -> Result<Option<Category>, StoreError> {
        self.look_up(move |connection| {
            let row = categories::table
                .find(StoredId::from(id))
                .select(CategoryRow::as_select())
                .get_result(connection)
                .optional()?;
            Ok(row.map(Category::try_from).transpose()?)
        })
        .await
    }

    async fn list(&self, owner: Id<User>) -> Result<Vec<Category>, StoreError> {
        self.read(move |connection| {
            let rows = categories::table
                .filter(categories::user_id.eq(StoredId::from(owner)))
                .order(categories::name)
                .select(CategoryRow::as_select())
                .load(connection)?;
            let categories: Result<_, _> = rows.into_iter().map(Category::try_from).collect();
            Ok(categories?)
        })
        .await
    }

    async fn update(
        &self,
        id: Id<Category>,
        name: Option<CategoryName>,
        color: Option<Color>,
    ) -> Result<CategoryUpdate, StoreError> {
        self.write(move |connection| {
            let row = categories::table.find(StoredId::from(id));
            let current = row
                .select(CategoryRow::as_select())
                .get_result(connection)
                .optional()?;
            let Some(current) = current else {
                return Ok(CategoryUpdate::Gone);
            };
            let current = Category::try_from(current)?;
            let changed = Category {
                name: name.unwrap_or(current.name),
                color: color.unwrap_or(current.color),
                ..current
            };
            let updated = diesel::update(row)
                .set((
                    categories::name.eq(changed.name.as_str()),
                    categories::color.eq(changed.color.as_str()),
                ))
                .execute(connection);
            match updated {
                Ok(_) => Ok(CategoryUpdate::Updated(changed)),
                Err(error) if is_name_taken(&error) => Ok(CategoryUpdate::NameTaken),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }

    async fn delete(&self, id: Id<Category>) -> Result<bool, StoreError> {
        self.write(move |connection| {
            let deleted =
                diesel::delete(categories::table.find(StoredId::from(id))).execute(connection)?;
            Ok(deleted > 0)
        })
        .await
    }
}
