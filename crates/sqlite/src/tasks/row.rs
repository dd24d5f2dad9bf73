//! A task's row, and the categories that go with it.

use std::collections::HashMap;

use diesel::expression::{
    AppearsOnTable, Expression, SelectableExpression, ValidGrouping, is_aggregate,
};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{Bool, Text};
use diesel::sqlite::Sqlite;
use tasks_domain::category::Category;
use tasks_domain::store::StoreError;
use tasks_domain::task::{
    Priority, Task, TaskContent, TaskDescription, TaskStatus, TaskTitle, Version,
};

use crate::categories::CategoryRow;
use crate::error::Failure;
use crate::schema::{categories, task_categories, tasks};
use crate::values::{StoredId, optional_time, parsed, time};

#[derive(Queryable, Selectable)]
#[diesel(table_name = tasks, check_for_backend(Sqlite))]
pub(super) struct TaskRow {
    id: StoredId,
    user_id: StoredId,
    title: String,
    description: Option<String>,
    status: String,
    priority: i64,
    due_date: Option<i64>,
    version: i64,
    created_at: i64,
    updated_at: i64,
}

impl TaskRow {
    fn with(self, categories: Vec<Category>) -> Result<Task, StoreError> {
        let description = self
            .description
            .map(|text| parsed("tasks.description", TaskDescription::parse(&text)))
            .transpose()?;
        Ok(Task {
            id: self.id.get(),
            owner: self.user_id.get(),
            content: TaskContent {
                title: parsed("tasks.title", TaskTitle::parse(&self.title))?,
                description,
                status: parsed("tasks.status", TaskStatus::parse(&self.status))?,
                priority: priority(self.priority)?,
                due_date: optional_time("tasks.due_date", self.due_date)?,
            },
            version: parsed("tasks.version", Version::parse(self.version))?,
            categories,
            created_at: time("tasks.created_at", self.created_at)?,
            updated_at: time("tasks.updated_at", self.updated_at)?,
        })
    }
}

/// The number by which a priority sorts.
pub(super) const fn rank(priority: Priority) -> i64 {
    match priority {
        Priority::Low => 1,
        Priority::Medium => 2,
        Priority::High => 3,
    }
}

fn priority(stored: i64) -> Result<Priority, StoreError> {
    Priority::ALL
        .into_iter()
        .find(|priority| rank(*priority) == stored)
        .ok_or_else(|| StoreError::corrupt("tasks.priority"))
}

/// Makes tasks of rows, each with its categories by name, in one statement for all of them.
pub(super) fn with_categories(
    connection: &mut SqliteConnection,
    rows: Vec<TaskRow>,
) -> Result<Vec<Task>, Failure> {
    let mut by_task: HashMap<StoredId, Vec<Category>> = HashMap::new();
    if !rows.is_empty() {
        let assigned: Vec<(StoredId, CategoryRow)> = task_categories::table
            .inner_join(categories::table)
            .filter(OfTasks::new(&rows))
            .order(categories::name)
            .select((task_categories::task_id, CategoryRow::as_select()))
            .load(connection)?;
        for (task, category) in assigned {
            by_task.entry(task).or_default().push(category.try_into()?);
        }
    }
    let tasks: Result<_, _> = rows
        .into_iter()
        .map(|row| {
            let categories = by_task.remove(&row.id).unwrap_or_default();
            row.with(categories)
        })
        .collect();
    Ok(tasks?)
}

/// Makes a task of its rows, one for each of its categories, or one without.
pub(super) fn with_each_category(
    rows: Vec<(TaskRow, Option<CategoryRow>)>,
) -> Result<Option<Task>, StoreError> {
    let (mut tasks, categories): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    let Some(task) = tasks.pop() else {
        return Ok(None);
    };
    let categories: Result<_, _> = categories
        .into_iter()
        .flatten()
        .map(Category::try_from)
        .collect();
    Ok(Some(task.with(categories?)?))
}

/// `task_id` is one of these. Diesel's own `eq_any` has as many parameters as values, so that
/// each number of them would be another statement, and Diesel prepares such ones every time.
/// This has one parameter, a JSON list of the ids in hex.
#[derive(QueryId)]
struct OfTasks {
    ids: String,
}

impl OfTasks {
    fn new(rows: &[TaskRow]) -> Self {
        let ids: Vec<_> = rows
            .iter()
            .map(|row| format!("\"{}\"", row.id.hex()))
            .collect();
        Self {
            ids: format!("[{}]", ids.join(",")),
        }
    }
}

impl QueryFragment<Sqlite> for OfTasks {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("`task_categories`.`task_id` IN (SELECT unhex(value) FROM json_each(");
        out.push_bind_param::<Text, _>(&self.ids)?;
        out.push_sql("))");
        Ok(())
    }
}

impl Expression for OfTasks {
    type SqlType = Bool;
}

impl ValidGrouping<()> for OfTasks {
    type IsAggregate = is_aggregate::No;
}

impl<Source> SelectableExpression<Source> for OfTasks where Self: AppearsOnTable<Source> {}
impl<Source> AppearsOnTable<Source> for OfTasks {}
