//! `/api/v1/categories`: names under which a user files tasks.

use actix_web::{delete, get, patch, post, web};
use garde::Validate;
use serde::{Deserialize, Serialize};
use tasks_domain::category::{
    Category, CategoryName, Color, CreateCategory, CreateCategoryError, DeleteCategoryError,
    EditCategory, EditCategoryError, GetCategoryError, ListCategoriesError,
};
use tasks_domain::clock::Timestamp;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Answer, created, no_content, ok};
use crate::app::Api;
use crate::input::{Body, BodyModel, Field, Path, not_null, nullable, required, schema};
use crate::openapi::refusals;
use crate::problem::{Code, Problem};
use crate::signed_in::Member;
use crate::time::Time;

/// A category.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "id": "0198c7a3-0b1d-7e52-8c6f-5d2e9a4b1f30",
    "name": "Work",
    "color": "#6366F1",
    "created_at": "2026-11-23T08:00:00.123456Z",
}))]
pub(super) struct CategoryRead<'a> {
    #[schema(example = "0198c7a3-0b1d-7e52-8c6f-5d2e9a4b1f30")]
    id: Uuid,
    #[schema(example = "Work")]
    name: &'a str,
    #[schema(example = "#6366F1")]
    color: &'a str,
    #[schema(inline)]
    created_at: Time,
}

impl<'a> From<&'a Category> for CategoryRead<'a> {
    fn from(category: &'a Category) -> Self {
        Self {
            id: category.id.uuid(),
            name: category.name.as_str(),
            color: category.color.as_str(),
            created_at: Time(category.created_at),
        }
    }
}

/// All categories of a user, by name.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "items": [{
    "id": "0198c7a3-0b1d-7e52-8c6f-5d2e9a4b1f30",
    "name": "Work",
    "color": "#6366F1",
    "created_at": "2026-11-23T08:00:00.123456Z",
    }],
    "total": 1,
}))]
pub(super) struct CategoryList<'a> {
    items: Vec<CategoryRead<'a>>,
    /// How many there are.
    #[schema(example = 1)]
    total: usize,
}

/// A category that is wanted.
#[derive(Default, Deserialize, Validate, ToSchema)]
#[garde(context(Timestamp))]
#[serde(default)]
#[schema(example = json!({ "name": "Work", "color": "#6366F1" }))]
pub(super) struct CategoryCreate {
    /// Unique among the caller's categories, with regard to case.
    #[garde(custom(required))]
    #[schema(schema_with = schema::plain::<CategoryName>, required = true)]
    name: Field<CategoryName>,
    /// `#6366F1` if nothing is given.
    #[garde(custom(nullable))]
    #[schema(schema_with = schema::nullable::<Color>, required = false)]
    color: Field<Color>,
}

impl BodyModel for CategoryCreate {
    type Command = CreateCategory;

    fn into_command(self) -> Option<Self::Command> {
        Some(CreateCategory {
            name: self.name.value()?,
            color: self.color.value(),
        })
    }
}

/// What is to change; an absent member stays as it is.
#[derive(Default, Deserialize, Validate, ToSchema)]
#[garde(context(Timestamp))]
#[serde(default)]
#[schema(example = json!({ "color": "#22C55E" }))]
pub(super) struct CategoryUpdate {
    /// Another name.
    #[garde(custom(not_null))]
    #[schema(schema_with = schema::plain::<CategoryName>, required = false)]
    name: Field<CategoryName>,
    /// Another colour.
    #[garde(custom(not_null))]
    #[schema(schema_with = schema::plain::<Color>, required = false)]
    color: Field<Color>,
}

impl BodyModel for CategoryUpdate {
    type Command = EditCategory;

    fn into_command(self) -> Option<Self::Command> {
        Some(EditCategory {
            name: self.name.value(),
            color: self.color.value(),
        })
    }
}

impl From<CreateCategoryError> for Problem {
    fn from(error: CreateCategoryError) -> Self {
        match error {
            CreateCategoryError::NameTaken => Self::new(Code::CategoryNameTaken),
            CreateCategoryError::OwnerGone => Self::new(Code::TokenInvalid),
            CreateCategoryError::Store(error) => error.into(),
        }
    }
}

impl From<ListCategoriesError> for Problem {
    fn from(error: ListCategoriesError) -> Self {
        match error {
            ListCategoriesError::Store(error) => error.into(),
        }
    }
}

impl From<GetCategoryError> for Problem {
    fn from(error: GetCategoryError) -> Self {
        match error {
            GetCategoryError::Access(error) => error.into(),
            GetCategoryError::Store(error) => error.into(),
        }
    }
}

impl From<EditCategoryError> for Problem {
    fn from(error: EditCategoryError) -> Self {
        match error {
            EditCategoryError::Access(error) => error.into(),
            EditCategoryError::NameTaken => Self::new(Code::CategoryNameTaken),
            EditCategoryError::Store(error) => error.into(),
        }
    }
}

impl From<DeleteCategoryError> for Problem {
    fn from(error: DeleteCategoryError) -> Self {
        match error {
            DeleteCategoryError::Access(error) => error.into(),
            DeleteCategoryError::Store(error) => error.into(),
        }
    }
}

refusals!(CreateRefusals: EmailNotVerified, CategoryNameTaken);
refusals!(ListRefusals: EmailNotVerified);
refusals!(OneRefusals: Forbidden, EmailNotVerified, NotFound);
refusals!(EditRefusals: Forbidden, EmailNotVerified, NotFound, CategoryNameTaken);

/// Make a category
///
/// Its name must be new among the caller's.
#[utoipa::path(
    operation_id = "create_category", tag = "categories", security(("bearer" = [])),
    request_body = CategoryCreate,
    responses(
        (status = 201, description = "The new category", body = CategoryRead,
            headers(("Location" = String, description = "Where it is from now on"))),
        CreateRefusals,
    ),
)]
#[post("/api/v1/categories")]
pub(super) async fn create(
    api: web::Data<Api>,
    Member {
        caller,
        input: Body(command),
    }: Member<Body<CategoryCreate>>,
) -> Answer {
    let category = api.categories.create(&caller, command).await?;
    let location = format!("/api/v1/categories/{}", category.id);
    Ok(created(location, &CategoryRead::from(&category)))
}

/// List one's categories
///
/// All of them, by name in the order of code points.
#[utoipa::path(
    operation_id = "list_categories", tag = "categories", security(("bearer" = [])),
    responses(
        (status = 200, description = "The caller's categories", body = CategoryList),
        ListRefusals,
    ),
)]
#[get("/api/v1/categories")]
pub(super) async fn list(api: web::Data<Api>, member: Member) -> Answer {
    let categories = api.categories.list(&member.caller).await?;
    let items: Vec<_> = categories.iter().map(CategoryRead::from).collect();
    Ok(ok(&CategoryList {
        total: items.len(),
        items,
    }))
}

/// Read a category
///
/// One of the caller's.
#[utoipa::path(
    operation_id = "get_category", tag = "categories", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The category's id")),
    responses((status = 200, description = "The category", body = CategoryRead), OneRefusals),
)]
#[get("/api/v1/categories/{id}")]
pub(super) async fn get(
    api: web::Data<Api>,
    Member {
        caller,
        input: Path(id),
    }: Member<Path<Category>>,
) -> Answer {
    let category = api.categories.get(&caller, id).await?;
    Ok(ok(&CategoryRead::from(&category)))
}

/// Change a category
///
/// Changes the members that are given.
#[utoipa::path(
    operation_id = "update_category", tag = "categories", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The category's id")),
    request_body = CategoryUpdate,
    responses(
        (status = 200, description = "The changed category", body = CategoryRead),
        EditRefusals,
    ),
)]
#[patch("/api/v1/categories/{id}")]
pub(super) async fn edit(
    api: web::Data<Api>,
    Member {
        caller,
        input: (Path(id), Body(command)),
    }: Member<(Path<Category>, Body<CategoryUpdate>)>,
) -> Answer {
    let category = api.categories.edit(&caller, id, command).await?;
    Ok(ok(&CategoryRead::from(&category)))
}

/// Delete a category
///
/// Its assignments go with it, its tasks stay.
#[utoipa::path(
    operation_id = "delete_category", tag = "categories", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The category's id")),
    responses((status = 204, description = "It is gone"), OneRefusals),
)]
#[delete("/api/v1/categories/{id}")]
pub(super) async fn delete(
    api: web::Data<Api>,
    Member {
        caller,
        input: Path(id),
    }: Member<Path<Category>>,
) -> Answer {
    api.categories.delete(&caller, id).await?;
    Ok(no_content())
}
