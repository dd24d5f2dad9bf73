//! A task's row, and the categories that come with it.

use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, Record, Text, Timestamptz, Uuid as SqlUuid};
use tasks_domain::category::Category;
use tasks_domain::id::Id;
use tasks_domain::store::StoreError;
use tasks_domain::task::{Task, TaskContent, TaskDescription, TaskTitle, Version};
use uuid::Uuid;

use crate::categories::CategoryRow;
use crate::schema::tasks;
use crate::values::{StoredPriority, StoredStatus, optional_time, parsed, time};

use super::fixed::{Fixed, fixed};

/// A task with its categories by name, as one row: in one statement, and without repeating the
/// task for each of them.
#[derive(Queryable, Selectable)]
#[diesel(table_name = tasks, check_for_backend(Pg))]
pub(super) struct TaskRow {
    id: Uuid,
    user_id: Uuid,
    title: String,
    description: Option<String>,
    status: StoredStatus,
    priority: StoredPriority,
    due_date: Option<PgTimestamp>,
    version: i64,
    created_at: PgTimestamp,
    updated_at: PgTimestamp,
    #[diesel(select_expression = categories_of_task())]
    #[diesel(select_expression_type = Fixed<Array<CategoryRecord>>)]
    categories: Vec<(Uuid, Uuid, String, String, PgTimestamp)>,
}

type CategoryRecord = Record<(SqlUuid, SqlUuid, Text, Text, Timestamptz)>;

fn categories_of_task() -> Fixed<Array<CategoryRecord>> {
    fixed(
        "ARRAY(SELECT ROW(c.id, c.user_id, c.name, c.color, c.created_at) \
         FROM task_categories tc JOIN categories c ON c.id = tc.category_id \
         WHERE tc.task_id = tasks.id ORDER BY c.name, c.id)",
    )
}

impl TryFrom<TaskRow> for Task {
    type Error = StoreError;

    fn try_from(row: TaskRow) -> Result<Self, StoreError> {
        let description = row
            .description
            .map(|text| parsed("tasks.description", TaskDescription::parse(&text)))
            .transpose()?;
        let categories: Result<_, _> = row
            .categories
            .into_iter()
            .map(|(id, user_id, name, color, created_at)| {
                Category::try_from(CategoryRow {
                    id,
                    user_id,
                    name,
                    color,
                    created_at,
                })
            })
            .collect();
        Ok(Self {
            id: Id::new(row.id),
            owner: Id::new(row.user_id),
            content: TaskContent {
                title: parsed("tasks.title", TaskTitle::parse(&row.title))?,
                description,
                status: row.status.0,
                priority: row.priority.0,
                due_date: optional_time("tasks.due_date", row.due_date)?,
            },
            version: parsed("tasks.version", Version::parse(row.version))?,
            categories: categories?,
            created_at: time("tasks.created_at", row.created_at)?,
            updated_at: time("tasks.updated_at", row.updated_at)?,
        })
    }
}
