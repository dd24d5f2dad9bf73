//! Tasks.

mod fixed;
mod list;
mod row;

use async_trait::async_trait;
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
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

use crate::PgStore;
use crate::error::{Constraint, Failure};
use crate::kept::kept;
use crate::schema::{categories, task_categories, tasks};
use crate::values::{StoredPriority, StoredStatus, parsed, stored};

use row::TaskRow;

/// A task that is not deleted, with its categories.
async fn find_task(mut session: &AsyncPgConnection, id: Id<Task>) -> Result<Option<Task>, Failure> {
    let row = tasks::table
        .find(id.uuid())
        .filter(tasks::deleted_at.is_null())
        .select(TaskRow::as_select())
        .first(&mut session)
        .await
        .optional()?;
    Ok(row.map(Task::try_from).transpose()?)
}

#[async_trait]
impl TaskRepository for PgStore {
    async fn create(&self, task: &Task) -> Result<TaskCreation, StoreError> {
        self.write(task.clone(), |session, task| {
            Box::pin(async move {
                let content = &task.content;
                let inserted = diesel::insert_into(tasks::table)
                    .values((
                        tasks::id.eq(task.id.uuid()),
                        tasks::user_id.eq(task.owner.uuid()),
                        tasks::title.eq(content.title.as_str()),
                        tasks::description
                            .eq(content.description.as_ref().map(TaskDescription::as_str)),
                        tasks::status.eq(StoredStatus(content.status)),
                        tasks::priority.eq(StoredPriority(content.priority)),
                        tasks::due_date.eq(content.due_date.map(stored)),
                        tasks::version.eq(task.version.get()),
                        tasks::created_at.eq(stored(task.created_at)),
                        tasks::updated_at.eq(stored(task.updated_at)),
                    ))
                    .execute(session)
                    .await;
                match inserted {
                    Ok(_) => Ok(TaskCreation::Created),
                    Err(error) if Constraint::broken(&error) == Some(Constraint::TaskOwner) => {
                        Ok(TaskCreation::NoOwner)
                    }
                    Err(error) => Err(error.into()),
                }
            })
        })
        .await
    }

    async fn find(&self, id: Id<Task>) -> Result<Option<Task>, StoreError> {
        self.look(id, |session, id| Box::pin(find_task(session, *id)))
            .await
    }

    async fn list(&self, owner: Id<User>, query: &TaskQuery) -> Result<Page<Task>, StoreError> {
        let input = (owner, query.clone());
        if list::is_quick(query) {
            return self
                .look(input, |session, (owner, query)| {
                    Box::pin(list::quick_page(session, owner.uuid(), query))
                })
                .await;
        }
        self.read(input, |session, (owner, query)| {
            Box::pin(list::page(session, owner.uuid(), query))
        })
        .await
    }

    async fn update(
        &self,
        id: Id<Task>,
        expected: Version,
        content: &TaskContent,
        now: Timestamp,
    ) -> Result<TaskUpdate, StoreError> {
        let input = (id, expected, content.clone(), now);
        self.write(input, |session, (id, expected, content, now)| {
            Box::pin(async move {
                let task = tasks::table
                    .find(id.uuid())
                    .filter(tasks::deleted_at.is_null());
                let update = diesel::update(task)
                    .filter(tasks::version.eq(expected.get()))
                    .set((
                        tasks::title.eq(content.title.as_str()),
                        tasks::description
                            .eq(content.description.as_ref().map(TaskDescription::as_str)),
                        tasks::status.eq(StoredStatus(content.status)),
                        tasks::priority.eq(StoredPriority(content.priority)),
                        tasks::due_date.eq(content.due_date.map(stored)),
                        tasks::version.eq(expected.next().get()),
                        tasks::updated_at.eq(stored(*now)),
                    ))
                    .returning(TaskRow::as_returning());
                let row = kept(update).get_result(session).await.optional()?;
                if let Some(row) = row {
                    return Ok(TaskUpdate::Updated(row.try_into()?));
                }
                let current: Option<i64> = task
                    .select(tasks::version)
                    .first(session)
                    .await
                    .optional()?;
                Ok(match current {
                    Some(version) => {
                        TaskUpdate::Conflict(parsed("tasks.version", Version::parse(version))?)
                    }
                    None => TaskUpdate::Gone,
                })
            })
        })
        .await
    }

    async fn delete(&self, id: Id<Task>, now: Timestamp) -> Result<bool, StoreError> {
        self.write((id, now), |session, (id, now)| {
            Box::pin(async move {
                let delete = diesel::update(tasks::table.find(id.uuid()))
                    .filter(tasks::deleted_at.is_null())
                    .set(tasks::deleted_at.eq(stored(*now)));
                Ok(kept(delete).execute(session).await? > 0)
            })
        })
        .await
    }

    async fn assign(
        &self,
        task: Id<Task>,
        category: Id<Category>,
    ) -> Result<Assignment, StoreError> {
        self.write((task, category), |session, (task, category)| {
            Box::pin(async move {
                let task_there = tasks::table
                    .find(task.uuid())
                    .filter(tasks::deleted_at.is_null());
                let category_there = categories::table.find(category.uuid());
                let assigned = task_there
                    .inner_join(categories::table.on(categories::id.eq(category.uuid())))
                    .select((tasks::id, categories::id))
                    .insert_into(task_categories::table)
                    .into_columns((task_categories::task_id, task_categories::category_id))
                    .on_conflict_do_nothing()
                    .execute(session)
                    .await;
                match assigned {
                    Ok(0) => {
                        let both_there: bool =
                            diesel::select(exists(task_there).and(exists(category_there)))
                                .get_result(session)
                                .await?;
                        Ok(if both_there {
                            Assignment::AlreadyAssigned
                        } else {
                            Assignment::Gone
                        })
                    }
                    Ok(_) => Ok(find_task(session, *task)
                        .await?
                        .map_or(Assignment::Gone, Assignment::Assigned)),
                    Err(error) => match Constraint::broken(&error) {
                        // Deleted between the look and the insertion.
                        Some(Constraint::FiledTask | Constraint::FiledCategory) => {
                            Ok(Assignment::Gone)
                        }
                        Some(
                            Constraint::CategoryName
                            | Constraint::TaskOwner
                            | Constraint::CategoryOwner,
                        )
                        | None => Err(error.into()),
                    },
                }
            })
        })
        .await
    }

    async fn unassign(&self, task: Id<Task>, category: Id<Category>) -> Result<bool, StoreError> {
        self.write((task, category), |session, (task, category)| {
            Box::pin(async move {
                let is_there = exists(
                    tasks::table
                        .find(task.uuid())
                        .filter(tasks::deleted_at.is_null()),
                );
                let assignment = task_categories::table.find((task.uuid(), category.uuid()));
                let removed = diesel::delete(assignment)
                    .filter(is_there)
                    .execute(session)
                    .await?;
                Ok(removed > 0)
            })
        })
        .await
    }
}
