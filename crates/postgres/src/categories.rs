//! Categories.

use async_trait::async_trait;
use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text};
use diesel_async::RunQueryDsl;
use tasks_domain::account::User;
use tasks_domain::category::{
    Category, CategoryCreation, CategoryName, CategoryRepository, CategoryUpdate, Color,
};
use tasks_domain::id::Id;
use tasks_domain::store::StoreError;
use uuid::Uuid;

use crate::PgStore;
use crate::error::Constraint;
use crate::schema::categories;
use crate::values::{parsed, stored, time};

#[derive(Queryable, Selectable)]
#[diesel(table_name = categories, check_for_backend(Pg))]
pub(crate) struct CategoryRow {
    pub(crate) id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) name: String,
    pub(crate) color: String,
    pub(crate) created_at: PgTimestamp,
}

impl TryFrom<CategoryRow> for Category {
    type Error = StoreError;

    fn try_from(row: CategoryRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: Id::new(row.id),
            owner: Id::new(row.user_id),
            name: parsed("categories.name", CategoryName::parse(&row.name))?,
            color: parsed("categories.color", Color::parse(&row.color))?,
            created_at: time("categories.created_at", row.created_at)?,
        })
    }
}

diesel::define_sql_function! {
    /// The first that is not NULL.
    fn coalesce(value: Nullable<Text>, otherwise: Text) -> Text;
}

#[async_trait]
impl CategoryRepository for PgStore {
    async fn create(&self, category: &Category) -> Result<CategoryCreation, StoreError> {
        self.write(category.clone(), |session, category| {
            Box::pin(async move {
                let inserted = diesel::insert_into(categories::table)
                    .values((
                        categories::id.eq(category.id.uuid()),
                        categories::user_id.eq(category.owner.uuid()),
                        categories::name.eq(category.name.as_str()),
                        categories::color.eq(category.color.as_str()),
                        categories::created_at.eq(stored(category.created_at)),
                    ))
                    .on_conflict((categories::user_id, categories::name))
                    .do_nothing()
                    .execute(session)
                    .await;
                match inserted {
                    Ok(0) => Ok(CategoryCreation::NameTaken),
                    Ok(_) => Ok(CategoryCreation::Created),
                    Err(error) if Constraint::broken(&error) == Some(Constraint::CategoryOwner) => {
                        Ok(CategoryCreation::NoOwner)
                    }
                    Err(error) => Err(error.into()),
                }
            })
        })
        .await
    }

    async fn find(&self, id: Id<Category>) -> Result<Option<Category>, StoreError> {
        self.look(id, |mut session, id| {
            Box::pin(async move {
                let row = categories::table
                    .find(id.uuid())
                    .select(CategoryRow::as_select())
                    .first(&mut session)
                    .await
                    .optional()?;
                Ok(row.map(Category::try_from).transpose()?)
            })
        })
        .await
    }

    async fn list(&self, owner: Id<User>) -> Result<Vec<Category>, StoreError> {
        self.read(owner, |session, owner| {
            Box::pin(async move {
                let rows = categories::table
                    .filter(categories::user_id.eq(owner.uuid()))
                    .order(categories::name)
                    .select(CategoryRow::as_select())
                    .load(session)
                    .await?;
                let categories: Result<_, _> = rows.into_iter().map(Category::try_from).collect();
                Ok(categories?)
            })
        })
        .await
    }

    async fn update(
        &self,
        id: Id<Category>,
        name: Option<CategoryName>,
        color: Option<Color>,
    ) -> Result<CategoryUpdate, StoreError> {
        self.write((id, name, color), |session, (id, name, color)| {
            Box::pin(async move {
                let name = name.as_ref().map(CategoryName::as_str);
                let color = color.as_ref().map(Color::as_str);
                let updated = diesel::update(categories::table.find(id.uuid()))
                    .set((
                        categories::name.eq(coalesce(name, categories::name)),
                        categories::color.eq(coalesce(color, categories::color)),
                    ))
                    .returning(CategoryRow::as_returning())
                    .get_result(session)
                    .await
                    .optional();
                match updated {
                    Ok(Some(row)) => Ok(CategoryUpdate::Updated(row.try_into()?)),
                    Ok(None) => Ok(CategoryUpdate::Gone),
                    Err(error) if Constraint::broken(&error) == Some(Constraint::CategoryName) => {
                        Ok(CategoryUpdate::NameTaken)
                    }
                    Err(error) => Err(error.into()),
                }
            })
        })
        .await
    }

    async fn delete(&self, id: Id<Category>) -> Result<bool, StoreError> {
        self.write(id, |session, id| {
            Box::pin(async move {
                let deleted = diesel::delete(categories::table.find(id.uuid()))
                    .execute(session)
                    .await?;
                Ok(deleted > 0)
            })
        })
        .await
    }
}
