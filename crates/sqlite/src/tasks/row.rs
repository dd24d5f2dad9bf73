//! A task's row, and the categories that go with it.

use diesel::prelude::*;
use diesel::sqlite::Sqlite;
use tasks_domain::category::Category;
use tasks_domain::store::StoreError;
use tasks_domain::task::{
    Priority, Task, TaskContent, TaskDescription, TaskStatus, TaskTitle, Version,
};

use crate::categories::CategoryRow;
use crate::error::Failure;
use crate::schema::tasks;
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
    pub(super) fn with(self, categories: Vec<Category>) -> Result<Task, StoreError> {
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

/// Makes tasks of their rows, which are one for each of a task's categories, or one without. A task's rows
/// follow each other.
pub(super) fn tasks_of(
    rows: impl Iterator<Item = QueryResult<(TaskRow, Option<CategoryRow>)>>,
) -> Result<Vec<Task>, Failure> {
    let mut tasks: Vec<Task> = Vec::new();
    for row in rows {
        let (row, category) = row?;
        let category = category.map(Category::try_from).transpose()?;
        match tasks.last_mut().filter(|task| task.id == row.id.get()) {
            Some(task) => task.categories.extend(category),
            None => tasks.push(row.with(category.into_iter().collect())?),
        }
    }
    for task in &mut tasks {
        by_name(&mut task.categories);
    }
    Ok(tasks)
}

/// Sorts categories by name, by code point. There are so few of a task that SQLite would take longer.
fn by_name(categories: &mut [Category]) {
    categories.sort_unstable_by(|one, other| one.name.as_str().cmp(other.name.as_str()));
}
