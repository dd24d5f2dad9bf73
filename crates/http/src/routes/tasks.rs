//! `/api/v1/tasks`: what a user has to do.

mod dto;
mod query;

use actix_web::{delete, get, patch, post, web};
use tasks_domain::category::Category;
use tasks_domain::task::{
    AssignCategoryError, CreateTaskError, DeleteTaskError, EditTaskError, GetTaskError,
    ListTasksError, Task, TaskQuery, UnassignCategoryError,
};

use self::dto::{TaskCreate, TaskPage, TaskRead, TaskUpdate};
use self::query::TaskListParameters;
use super::{Answer, created, no_content, ok};
use crate::app::Api;
use crate::input::{Body, Path, Path2, Query};
use crate::openapi::refusals;
use crate::problem::{Code, Problem};
use crate::signed_in::Member;

impl From<CreateTaskError> for Problem {
    fn from(error: CreateTaskError) -> Self {
        match error {
            CreateTaskError::DueDate(invalid) => Self::invalid_field("due_date", invalid),
            CreateTaskError::OwnerGone => Self::new(Code::TokenInvalid),
            CreateTaskError::Store(error) => error.into(),
        }
    }
}

impl From<ListTasksError> for Problem {
    fn from(error: ListTasksError) -> Self {
        match error {
            ListTasksError::Store(error) => error.into(),
        }
    }
}

impl From<GetTaskError> for Problem {
    fn from(error: GetTaskError) -> Self {
        match error {
            GetTaskError::Access(error) => error.into(),
            GetTaskError::Store(error) => error.into(),
        }
    }
}

impl From<EditTaskError> for Problem {
    fn from(error: EditTaskError) -> Self {
        match error {
            EditTaskError::Access(error) => error.into(),
            EditTaskError::DueDate(invalid) => Self::invalid_field("due_date", invalid),
            EditTaskError::VersionConflict { current } => Self::version_conflict(current),
            EditTaskError::Store(error) => error.into(),
        }
    }
}

impl From<DeleteTaskError> for Problem {
    fn from(error: DeleteTaskError) -> Self {
        match error {
            DeleteTaskError::Access(error) => error.into(),
            DeleteTaskError::Store(error) => error.into(),
        }
    }
}

impl From<AssignCategoryError> for Problem {
    fn from(error: AssignCategoryError) -> Self {
        match error {
            AssignCategoryError::Access(error) => error.into(),
            AssignCategoryError::AlreadyAssigned => Self::new(Code::CategoryAlreadyAssigned),
            AssignCategoryError::Store(error) => error.into(),
        }
    }
}

impl From<UnassignCategoryError> for Problem {
    fn from(error: UnassignCategoryError) -> Self {
        match error {
            UnassignCategoryError::Access(error) => error.into(),
            UnassignCategoryError::Store(error) => error.into(),
        }
    }
}

refusals!(MemberRefusals: EmailNotVerified);
refusals!(OneRefusals: Forbidden, EmailNotVerified, NotFound);
refusals!(EditRefusals: Forbidden, EmailNotVerified, NotFound, VersionConflict);
refusals!(AssignRefusals: Forbidden, EmailNotVerified, NotFound, CategoryAlreadyAssigned);

/// Make a task
///
/// A new task is pending, at version 1.
#[utoipa::path(
    operation_id = "create_task", tag = "tasks", security(("bearer" = [])),
    request_body = TaskCreate,
    responses(
        (status = 201, description = "The new task", body = TaskRead,
            headers(("Location" = String, description = "Where it is from now on"))),
        MemberRefusals,
    ),
)]
#[post("/api/v1/tasks")]
pub(super) async fn create(
    api: web::Data<Api>,
    Member {
        caller,
        input: Body(command),
    }: Member<Body<TaskCreate>>,
) -> Answer {
    let task = api.tasks.create(&caller, command).await?;
    Ok(created(
        format!("/api/v1/tasks/{}", task.id),
        &TaskRead::from(&task),
    ))
}

/// List one's tasks
///
/// One page of the caller's tasks. Filters combine with *and*. Ties are broken by id in the
/// direction of the sort, so that pages never overlap or skip.
#[utoipa::path(
    operation_id = "list_tasks", tag = "tasks", security(("bearer" = [])),
    params(TaskListParameters),
    responses((status = 200, description = "The page", body = TaskPage), MemberRefusals),
)]
#[get("/api/v1/tasks")]
pub(super) async fn list(
    api: web::Data<Api>,
    Member {
        caller,
        input: Query(query),
    }: Member<Query<TaskQuery>>,
) -> Answer {
    let page = api.tasks.list(&caller, &query).await?;
    Ok(ok(&TaskPage::from(&page)))
}

/// Read a task
///
/// One of the caller's.
#[utoipa::path(
    operation_id = "get_task", tag = "tasks", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The task's id")),
    responses((status = 200, description = "The task", body = TaskRead), OneRefusals),
)]
#[get("/api/v1/tasks/{id}")]
pub(super) async fn get(
    api: web::Data<Api>,
    Member {
        caller,
        input: Path(id),
    }: Member<Path<Task>>,
) -> Answer {
    let task = api.tasks.get(&caller, id).await?;
    Ok(ok(&TaskRead::from(&task)))
}

/// Change a task
///
/// A JSON Merge Patch (RFC 7396): an absent member stays as it is, `null` clears `description` or
/// `due_date`. `version` has to be the task's; of any number of concurrent patches with one
/// version exactly one succeeds. A patch that changes nothing answers with the task as it is.
#[utoipa::path(
    operation_id = "update_task", tag = "tasks", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The task's id")),
    request_body(content(
        (TaskUpdate = "application/json"),
        (TaskUpdate = "application/merge-patch+json"),
    )),
    responses((status = 200, description = "The changed task", body = TaskRead), EditRefusals),
)]
#[patch("/api/v1/tasks/{id}")]
pub(super) async fn edit(
    api: web::Data<Api>,
    Member {
        caller,
        input: (Path(id), Body(command)),
    }: Member<(Path<Task>, Body<TaskUpdate>)>,
) -> Answer {
    let task = api.tasks.edit(&caller, id, command).await?;
    Ok(ok(&TaskRead::from(&task)))
}

/// Delete a task
///
/// Nothing shows it any more.
#[utoipa::path(
    operation_id = "delete_task", tag = "tasks", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The task's id")),
    responses((status = 204, description = "It is gone"), OneRefusals),
)]
#[delete("/api/v1/tasks/{id}")]
pub(super) async fn delete(
    api: web::Data<Api>,
    Member {
        caller,
        input: Path(id),
    }: Member<Path<Task>>,
) -> Answer {
    api.tasks.delete(&caller, id).await?;
    Ok(no_content())
}

/// File a task under a category
///
/// Both have to be the caller's. Changes neither `version` nor `updated_at`.
#[utoipa::path(
    operation_id = "assign_category", tag = "tasks", security(("bearer" = [])),
    params(
        ("id" = Uuid, Path, description = "The task's id"),
        ("category_id" = Uuid, Path, description = "The category's id"),
    ),
    responses(
        (status = 200, description = "The task with its categories", body = TaskRead),
        AssignRefusals,
    ),
)]
#[post("/api/v1/tasks/{id}/categories/{category_id}")]
pub(super) async fn assign_category(
    api: web::Data<Api>,
    Member {
        caller,
        input: Path2(task, category),
    }: Member<Path2<Task, Category>>,
) -> Answer {
    let task = api.tasks.assign_category(&caller, task, category).await?;
    Ok(ok(&TaskRead::from(&task)))
}

/// Take a task out of a category
///
/// 404 also where the task was not filed there.
#[utoipa::path(
    operation_id = "unassign_category", tag = "tasks", security(("bearer" = [])),
    params(
        ("id" = Uuid, Path, description = "The task's id"),
        ("category_id" = Uuid, Path, description = "The category's id"),
    ),
    responses((status = 204, description = "It is not filed there any more"), OneRefusals),
)]
#[delete("/api/v1/tasks/{id}/categories/{category_id}")]
pub(super) async fn unassign_category(
    api: web::Data<Api>,
    Member {
        caller,
        input: Path2(task, category),
    }: Member<Path2<Task, Category>>,
) -> Answer {
    api.tasks.unassign_category(&caller, task, category).await?;
    Ok(no_content())
}
