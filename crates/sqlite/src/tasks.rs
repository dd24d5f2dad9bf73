//! Tasks.

mod list;
mod row;

use async_trait::async_trait;
use diesel::connection::DefaultLoadingMode;
use diesel::dsl::exists;
use diesel::prelude::*;
use tasks_domain::account::User;
use tasks_domain::category::Category;
use tasks_domain::clock::Timestamp;
use tasks_domain::id::Id;
use tasks_domain::page::Page;
use tasks_domain::store::StoreError;
use tasks_domain::task::{
    Assignment, Task, TaskContent, TaskCreation, TaskDescription, TaskQuery, TaskRepository,
    TaskUpdate, Version,
};

use crate::SqliteStore;
use crate::categories::CategoryRow;
use crate::error::{Failure, is_dangling};
use crate::schema::{categories, task_categories, tasks};
use crate::values::{StoredId, parsed};

use row::{TaskRow, rank, tasks_of};

/// A task that is not deleted, with its categories: in one statement, which needs no transaction.
fn find_task(connection: &mut SqliteConnection, id: StoredId) -> Result<Option<Task>, Failure> {
    let rows = tasks::table
        .left_join(task_categories::table)
        .left_join(categories::table.on(task_categories::category_id.eq(categories::id)))
        .filter(tasks::id.eq(id))
        .filter(tasks::deleted_at.is_null())
        .select((TaskRow::as_select(), Option::<CategoryRow>::as_select()))
        .load_iter::<_, DefaultLoadingMode>(connection)?;
    Ok(tasks_of(rows)?.pop())
}

/// A task's categories, by name.
fn categories_of(
    connection: &mut SqliteConnection,
    task: StoredId,
) -> Result<Vec<Category>, Failure> {
    let rows: Vec<CategoryRow> = task_categories::table
        .inner_join(categories::table)
        .filter(task_categories::task_id.eq(task))
        .order(categories::name)
        .select(CategoryRow::as_select())
        .load(connection)?;
    let categories: Result<_, _> = rows.into_iter().map(Category::try_from).collect();
    Ok(categories?)
}

#[async_trait]
impl TaskRepository for SqliteStore {
    async fn create(&self, task: &Task) -> Result<TaskCreation, StoreError> {
        let task = task.clone();
        self.write(move |connection| {
            let content = &task.content;
            let inserted = diesel::insert_into(tasks::table)
                .values((
                    tasks::id.eq(StoredId::from(task.id)),
                    tasks::user_id.eq(StoredId::from(task.owner)),
                    tasks::title.eq(content.title.as_str()),
                    tasks::description
                        .eq(content.description.as_ref().map(TaskDescription::as_str)),
                    tasks::status.eq(content.status.as_str()),
                    tasks::priority.eq(rank(content.priority)),
                    tasks::due_date.eq(content.due_date.map(Timestamp::unix_micros)),
                    tasks::version.eq(task.version.get()),
                    tasks::created_at.eq(task.created_at.unix_micros()),
                    tasks::updated_at.eq(task.updated_at.unix_micros()),
                ))
                .execute(connection);
            match inserted {
                Ok(_) => Ok(TaskCreation::Created),
                // Its owner is all that it refers to.
                Err(error) if is_dangling(&error) => Ok(TaskCreation::NoOwner),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }

    async fn find(&self, id: Id<Task>) -> Result<Option<Task>, StoreError> {
        self.look_up(move |connection| find_task(connection, id.into()))
            .await
    }

    async fn list(&self, owner: Id<User>, query: &TaskQuery) -> Result<Page<Task>, StoreError> {
        let (owner, query, asked) = (StoredId::from(owner), query.clone(), query.clone());
        let is_quick = move |connection: &mut _| list::is_quick(connection, owner, &asked);
        let page = move |connection: &mut _| list::page(connection, owner, &query);
        self.look_up_if(is_quick, page).await
    }

    async fn update(
        &self,
        id: Id<Task>,
        expected: Version,
        content: &TaskContent,
        now: Timestamp,
    ) -> Result<TaskUpdate, StoreError> {
        let content = content.clone();
        self.write(move |connection| {
            let task = tasks::table
                .find(StoredId::from(id))
                .filter(tasks::deleted_at.is_null());
            let row: Option<TaskRow> = diesel::update(task)
                .filter(tasks::version.eq(expected.get()))
                .set((
                    tasks::title.eq(content.title.as_str()),
                    tasks::description
                        .eq(content.description.as_ref().map(TaskDescription::as_str)),
                    tasks::status.eq(content.status.as_str()),
                    tasks::priority.eq(rank(content.priority)),
                    tasks::due_date.eq(content.due_date.map(Timestamp::unix_micros)),
                    tasks::version.eq(expected.next().get()),
                    tasks::updated_at.eq(now.unix_micros()),
                ))
                .returning(TaskRow::as_returning())
                .get_result(connection)
                .optional()?;
            if let Some(row) = row {
                let categories = categories_of(connection, id.into())?;
                return Ok(TaskUpdate::Updated(row.with(categories)?));
            }
            let current: Option<i64> = task
                .select(tasks::version)
                .get_result(connection)
                .optional()?;
            Ok(match current {
                Some(version) => {
                    TaskUpdate::Conflict(parsed("tasks.version", Version::parse(version))?)
                }
                None => TaskUpdate::Gone,
            })
        })
        .await
    }

    async fn delete(&self, id: Id<Task>, now: Timestamp) -> Result<bool, StoreError> {
        self.write(move |connection| {
            let deleted = diesel::update(tasks::table.find(StoredId::from(id)))
                .filter(tasks::deleted_at.is_null())
                .set(tasks::deleted_at.eq(now.unix_micros()))
                .execute(connection)?;
            Ok(deleted > 0)
        })
        .await
    }

    async fn assign(
        &self,
        task: Id<Task>,
        category: Id<Category>,
    ) -> Result<Assignment, StoreError> {
        self.write(move |connection| {
            let (task, category) = (StoredId::from(task), StoredId::from(category));
            let is_there: bool = diesel::select(
                exists(tasks::table.find(task).filter(tasks::deleted_at.is_null()))
                    .and(exists(categories::table.find(category))),
            )
            .get_result(connection)?;
            if !is_there {
                return Ok(Assignment::Gone);
            }
            let assigned = diesel::insert_or_ignore_into(task_categories::table)
                .values((
                    task_categories::task_id.eq(task),
                    task_categories::category_id.eq(category),
                ))
                .execute(connection)?;
            if assigned == 0 {
                return Ok(Assignment::AlreadyAssigned);
            }
            Ok(find_task(connection, task)?.map_or(Assignment::Gone, Assignment::Assigned))
        })
        .await
    }

    async fn unassign(&self, task: Id<Task>, category: Id<Category>) -> Result<bool, StoreError> {
        self.write(move |connection| {
            let (task, category) = (StoredId::from(task), StoredId::from(category));
            let is_there = exists(tasks::table.find(task).filter(tasks::deleted_at.is_null()));
            let removed = diesel::delete(task_categories::table.find((task, category)))
                .filter(is_there)
                .execute(connection)?;
            Ok(removed > 0)
        })
        .await
    }
}
