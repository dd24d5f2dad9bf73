//! Tasks on the wire.

use garde::Validate;
use serde::{Deserialize, Serialize};
use tasks_domain::clock::Timestamp;
use tasks_domain::page::Page;
use tasks_domain::task::{
    CreateTask, EditTask, Priority, Task, TaskDescription, TaskStatus, TaskTitle, Version,
};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::input::{
    BodyModel, Field, MERGE_PATCH, in_future, not_null, nullable, required, schema,
};
use crate::routes::categories::CategoryRead;
use crate::time::Time;

/// A task.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "id": "0198c7a4-6c2e-7f91-a1b3-7e4d2c9f8a50",
    "user_id": "0198c7a2-5f0e-7c3b-9d41-3a5b8e2f7c10",
    "title": "Write the report",
    "description": null,
    "status": "pending",
    "priority": "high",
    "due_date": "2030-01-31T12:00:00.000000Z",
    "version": 1,
    "categories": [],
    "created_at": "2026-11-23T08:00:00.123456Z",
    "updated_at": "2026-11-23T08:00:00.123456Z",
}))]
pub(super) struct TaskRead<'a> {
    #[schema(example = "0198c7a4-6c2e-7f91-a1b3-7e4d2c9f8a50")]
    id: Uuid,
    /// Whose it is.
    #[schema(example = "0198c7a2-5f0e-7c3b-9d41-3a5b8e2f7c10")]
    user_id: Uuid,
    #[schema(example = "Write the report")]
    title: &'a str,
    #[schema(
        required = true,
        example = "Two pages, with the figures of last month."
    )]
    description: Option<&'a str>,
    #[schema(schema_with = schema::plain::<TaskStatus>)]
    status: &'static str,
    #[schema(schema_with = schema::plain::<Priority>)]
    priority: &'static str,
    #[schema(schema_with = schema::nullable::<Timestamp>, required = true)]
    due_date: Option<Time>,
    /// How often its content was written; a change has to name it.
    #[schema(minimum = 1, example = 1)]
    version: i64,
    /// By name.
    categories: Vec<CategoryRead<'a>>,
    #[schema(inline)]
    created_at: Time,
    #[schema(inline)]
    updated_at: Time,
}

impl<'a> From<&'a Task> for TaskRead<'a> {
    fn from(task: &'a Task) -> Self {
        let content = &task.content;
        Self {
            id: task.id.uuid(),
            user_id: task.owner.uuid(),
            title: content.title.as_str(),
            description: content.description.as_ref().map(TaskDescription::as_str),
            status: content.status.as_str(),
            priority: content.priority.as_str(),
            due_date: content.due_date.map(Time),
            version: task.version.get(),
            categories: task.categories.iter().map(CategoryRead::from).collect(),
            created_at: Time(task.created_at),
            updated_at: Time(task.updated_at),
        }
    }
}

/// One page of tasks.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "items": [{
    "id": "0198c7a4-6c2e-7f91-a1b3-7e4d2c9f8a50",
    "user_id": "0198c7a2-5f0e-7c3b-9d41-3a5b8e2f7c10",
    "title": "Write the report",
    "description": null,
    "status": "pending",
    "priority": "high",
    "due_date": "2030-01-31T12:00:00.000000Z",
    "version": 1,
    "categories": [],
    "created_at": "2026-11-23T08:00:00.123456Z",
    "updated_at": "2026-11-23T08:00:00.123456Z",
    }],
    "total": 1, "page": 1, "limit": 20, "pages": 1,
}))]
pub(super) struct TaskPage<'a> {
    items: Vec<TaskRead<'a>>,
    /// How many tasks there are on all pages.
    #[schema(example = 1)]
    total: u64,
    /// The page's number, from 1.
    #[schema(minimum = 1, example = 1)]
    page: u64,
    /// How many tasks a page has.
    #[schema(minimum = 1, maximum = 100, example = 20)]
    limit: u64,
    /// How many pages there are.
    #[schema(example = 1)]
    pages: u64,
}

impl<'a> From<&'a Page<Task>> for TaskPage<'a> {
    fn from(page: &'a Page<Task>) -> Self {
        Self {
            items: page.items.iter().map(TaskRead::from).collect(),
            total: page.total,
            page: page.request.number(),
            limit: page.request.limit(),
            pages: page.pages(),
        }
    }
}

/// A task that is wanted.
#[derive(Default, Deserialize, Validate, ToSchema)]
#[garde(context(Timestamp))]
#[serde(default)]
#[schema(example = json!({
    "title": "Write the report",
    "description": "Two pages, with the figures of last month.",
    "due_date": "2030-01-31T12:00:00Z",
    "priority": "high",
}))]
pub(super) struct TaskCreate {
    /// What is to do, in a line.
    #[garde(custom(required))]
    #[schema(schema_with = schema::plain::<TaskTitle>, required = true)]
    title: Field<TaskTitle>,
    /// What is to do, at length.
    #[garde(custom(nullable))]
    #[schema(schema_with = schema::nullable::<TaskDescription>, required = false)]
    description: Field<TaskDescription>,
    /// When it has to be done: in the future.
    #[garde(custom(nullable), custom(in_future))]
    #[schema(schema_with = schema::nullable::<Timestamp>, required = false)]
    due_date: Field<Timestamp>,
    /// `medium` if nothing is given.
    #[garde(custom(nullable))]
    #[schema(schema_with = schema::nullable::<Priority>, required = false)]
    priority: Field<Priority>,
}

impl BodyModel for TaskCreate {
    type Command = CreateTask;

    fn into_command(self) -> Option<Self::Command> {
        Some(CreateTask {
            title: self.title.value()?,
            description: self.description.value(),
            due_date: self.due_date.value(),
            priority: self.priority.value(),
        })
    }
}

/// What is to change; an absent member stays as it is.
#[derive(Default, Deserialize, Validate, ToSchema)]
#[garde(context(Timestamp))]
#[serde(default)]
#[schema(example = json!({ "version": 1, "status": "completed", "due_date": null }))]
pub(super) struct TaskUpdate {
    /// The version that the caller has read.
    #[garde(custom(required))]
    #[schema(schema_with = schema::plain::<Version>, required = true)]
    version: Field<Version>,
    /// Another title.
    #[garde(custom(not_null))]
    #[schema(schema_with = schema::plain::<TaskTitle>, required = false)]
    title: Field<TaskTitle>,
    /// Another description; `null` removes it.
    #[garde(custom(nullable))]
    #[schema(schema_with = schema::nullable::<TaskDescription>, required = false)]
    description: Field<TaskDescription>,
    /// Another status.
    #[garde(custom(not_null))]
    #[schema(schema_with = schema::plain::<TaskStatus>, required = false)]
    status: Field<TaskStatus>,
    /// Another priority.
    #[garde(custom(not_null))]
    #[schema(schema_with = schema::plain::<Priority>, required = false)]
    priority: Field<Priority>,
    /// Another due date, in the future or equal to the stored one; `null` removes it.
    #[garde(custom(nullable))]
    #[schema(schema_with = schema::nullable::<Timestamp>, required = false)]
    due_date: Field<Timestamp>,
}

impl BodyModel for TaskUpdate {
    type Command = EditTask;
    const MEDIA_TYPES: &[&str] = &["application/json", MERGE_PATCH];

    fn into_command(self) -> Option<Self::Command> {
        Some(EditTask {
            version: self.version.value()?,
            title: self.title.value(),
            description: self.description.patch(),
            status: self.status.value(),
            priority: self.priority.value(),
            due_date: self.due_date.patch(),
        })
    }
}
