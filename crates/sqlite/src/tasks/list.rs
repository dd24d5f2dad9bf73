//! A page of a user's tasks: one statement, whatever its length.

use std::sync::LazyLock;

use diesel::connection::DefaultLoadingMode;
use diesel::dsl::SqlTypeOf;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryBuilder, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Binary, Text};
use diesel::sqlite::Sqlite;
use diesel::sqlite::query_builder::SqliteQueryBuilder;
use tasks_domain::clock::Timestamp;
use tasks_domain::page::Page;
use tasks_domain::store::StoreError;
use tasks_domain::task::{SortBy, SortOrder, Task, TaskFilter, TaskQuery, TaskStatus};

use crate::categories::CategoryRow;
use crate::error::Failure;
use crate::values::StoredId;

use super::row::{TaskRow, rank, tasks_of};

/// So many entries of an index may come before or between the tasks of a page that is read in place. Passing by
/// a hundred takes three microseconds, or six where they are compared with a filter.
const QUICK_WALK: i64 = 2_000;

/// Beyond so many entries, to look at the total first costs less than what it saves.
const DEEP: i64 = QUICK_WALK;

/// Whether a page takes a short time only: counters tell its total, and little is passed by.
pub(super) fn is_quick(
    connection: &mut SqliteConnection,
    owner: StoredId,
    query: &TaskQuery,
) -> Result<bool, Failure> {
    let all = TaskFilter::default();
    if query.filter == all {
        return Ok(query.page.offset() <= QUICK_WALK);
    }
    if !Matching::new(owner, &query.filter).is_counted_already() {
        return Ok(false);
    }
    // However few pass the filter, no more than all of the user's tasks are passed by.
    let total: i64 = Total(Matching::new(owner, &all)).get_result(connection)?;
    Ok(total <= QUICK_WALK)
}

/// A page, with how many tasks there are on all pages, both as of one instant.
pub(super) fn page(
    connection: &mut SqliteConnection,
    owner: StoredId,
    query: &TaskQuery,
) -> Result<Page<Task>, Failure> {
    let mut statement = PageOfTasks::new(owner, query);
    let count = |connection: &mut SqliteConnection| {
        Total(Matching::new(owner, &query.filter)).get_result::<i64>(connection)
    };
    let (total, items) = if query.page.offset() == 0 {
        let (total, items) = statement.read(connection)?;
        (total.unwrap_or(0), items)
    } else {
        connection.transaction(|connection| {
            if query.page.offset() > DEEP && query.filter == TaskFilter::default() {
                statement.compare_no_users(query, count(connection)?);
            }
            let (total, items) = statement.read(connection)?;
            let total = match total {
                Some(total) => total,
                // Behind the last page.
                None => count(connection)?,
            };
            Ok::<_, Failure>((total, items))
        })?
    };
    Ok(Page {
        items,
        total: u64::try_from(total).map_err(|_negative| StoreError::corrupt("count of tasks"))?,
        request: query.page,
    })
}

/// A task, and one of its categories, if it has any.
type TaskAndCategory = (TaskRow, Option<CategoryRow>);

/// The statement: each of the page's tasks with each of its categories, and the total beside them.
///
/// Only an index is read for the page itself; whole rows are looked up outside of it, and so are categories,
/// since inside of it they would be looked up for every task that comes before it as well.
struct PageOfTasks {
    total: Total,
    walk: Walk,
    column: &'static str,
    order: &'static str,
    limit: i64,
    offset: i64,
}

/// Which entries of an index are walked.
enum Walk {
    /// Those that pass the filter: each is compared with it, also those that come before the page.
    Matching,
    /// All from the user's first, without a look at whose they are, which takes half of the time. The page is full,
    /// so it ends before somebody else's begin.
    From(&'static str),
}

type Columns = <TaskAndCategory as Selectable<Sqlite>>::SelectExpression;

/// The columns as they stand in the statement. Their names take longer to write than all the rest of it.
static COLUMNS: LazyLock<String> = LazyLock::new(|| {
    let columns = <TaskAndCategory as Selectable<Sqlite>>::construct_selection();
    let mut text = SqliteQueryBuilder::new();
    // If it failed, so would the statement.
    let _ = columns.to_sql(&mut text, &Sqlite);
    text.finish()
});

impl PageOfTasks {
    fn new(owner: StoredId, query: &TaskQuery) -> Self {
        Self {
            total: Total(Matching::new(owner, &query.filter)),
            walk: Walk::Matching,
            column: query.sort_by.as_str(),
            order: order(query.sort_by, query.sort_order),
            // It is at most 100.
            limit: i64::try_from(query.page.limit()).unwrap_or(i64::MAX),
            offset: query.page.offset(),
        }
    }

    /// If all tasks are wanted of a user who has so many, and enough for this page.
    fn compare_no_users(&mut self, query: &TaskQuery, total: i64) {
        let (comparison, order) = match (query.sort_by, query.sort_order) {
            // Two stretches of the index: the NULLs come first in it.
            (SortBy::DueDate, SortOrder::Asc) => return,
            (_, SortOrder::Asc) => (">= ", "owner ASC, value ASC, tie ASC"),
            (_, SortOrder::Desc) => ("<= ", "owner DESC, value DESC, tie DESC"),
        };
        if self.offset.saturating_add(self.limit) <= total {
            self.walk = Walk::From(comparison);
            self.order = order;
        }
    }

    /// The page's tasks, and the total, unless there are none of them.
    fn read(self, connection: &mut SqliteConnection) -> Result<(Option<i64>, Vec<Task>), Failure> {
        let mut total = None;
        let rows = self.load_iter::<(i64, TaskAndCategory), DefaultLoadingMode>(connection)?;
        let tasks = tasks_of(rows.map(|row| {
            let (counted, row) = row?;
            total = Some(counted);
            Ok(row)
        }))?;
        Ok((total, tasks))
    }
}

impl QueryFragment<Sqlite> for PageOfTasks {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("SELECT (");
        self.total.walk_ast(out.reborrow())?;
        out.push_sql("), ");
        out.push_sql(&COLUMNS);
        out.push_sql(" FROM (SELECT tasks.rowid AS row, tasks.");
        out.push_sql(self.column);
        out.push_sql(" AS value, tasks.id AS tie");
        match self.walk {
            Walk::Matching => self.total.0.walk_ast(out.reborrow())?,
            Walk::From(comparison) => {
                out.push_sql(
                    ", tasks.user_id AS owner FROM tasks WHERE deleted_at IS NULL AND user_id ",
                );
                out.push_sql(comparison);
                out.push_bind_param::<Binary, _>(&self.total.0.owner)?;
            }
        }
        out.push_sql(" ORDER BY ");
        out.push_sql(self.order);
        // Of a mere parameter in their place SQLite would look at the value, and plan anew every time, unless it
        // is compiled as `.cargo/config.toml` says.
        out.push_sql(" LIMIT +");
        out.push_bind_param::<BigInt, _>(&self.limit)?;
        out.push_sql(" OFFSET +");
        out.push_bind_param::<BigInt, _>(&self.offset)?;
        out.push_sql(") CROSS JOIN tasks ON tasks.rowid = row");
        if let Walk::From(_) = self.walk {
            // Even if the counters were wrong, nobody would see the tasks of others.
            out.push_sql(" AND tasks.user_id = ");
            out.push_bind_param::<Binary, _>(&self.total.0.owner)?;
        }
        out.push_sql(
            " LEFT JOIN task_categories ON task_categories.task_id = tasks.id \
             LEFT JOIN categories ON categories.id = task_categories.category_id ORDER BY ",
        );
        out.push_sql(self.order);
        Ok(())
    }
}

/// Diesel keeps a prepared statement for each combination of filters and order in use, which are 320.
impl QueryId for PageOfTasks {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for PageOfTasks {
    type SqlType = (BigInt, SqlTypeOf<Columns>);
}

impl RunQueryDsl<SqliteConnection> for PageOfTasks {}

/// How many tasks pass the filter: the sum of a few counters, where those tell, and else what an index tells.
struct Total(Matching);

impl QueryFragment<Sqlite> for Total {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let Self(matching) = self;
        if matching.is_counted_already() {
            out.push_sql(
                "SELECT coalesce(sum(task_counts.total), 0) FROM task_counts WHERE user_id = ",
            );
            matching.walk_counters(out)
        } else {
            out.push_sql("SELECT count(*)");
            matching.walk_ast(out)
        }
    }
}

impl QueryId for Total {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Total {
    type SqlType = BigInt;
}

impl RunQueryDsl<SqliteConnection> for Total {}

/// The tasks that pass the filter.
struct Matching {
    owner: StoredId,
    status: Option<&'static str>,
    priority: Option<i64>,
    due_from: Option<i64>,
    due_to: Option<i64>,
    category: Option<StoredId>,
}

impl Matching {
    fn new(owner: StoredId, filter: &TaskFilter) -> Self {
        Self {
            owner,
            status: filter.status.map(TaskStatus::as_str),
            priority: filter.priority.map(rank),
            due_from: filter.due_from.map(Timestamp::unix_micros),
            due_to: filter.due_to.map(Timestamp::unix_micros),
            category: filter.category.map(StoredId::from),
        }
    }

    /// Whether there are counters of them.
    const fn is_counted_already(&self) -> bool {
        self.due_from.is_none() && self.due_to.is_none() && self.category.is_none()
    }

    /// What tasks and their counters have in common.
    fn walk_counters<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_bind_param::<Binary, _>(&self.owner)?;
        if let Some(status) = &self.status {
            out.push_sql(" AND status = ");
            out.push_bind_param::<Text, _>(status)?;
        }
        if let Some(priority) = &self.priority {
            out.push_sql(" AND priority = ");
            out.push_bind_param::<BigInt, _>(priority)?;
        }
        Ok(())
    }
}

impl QueryFragment<Sqlite> for Matching {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(" FROM tasks WHERE deleted_at IS NULL AND user_id = ");
        self.walk_counters(out.reborrow())?;
        if let Some(from) = &self.due_from {
            out.push_sql(" AND due_date >= ");
            out.push_bind_param::<BigInt, _>(from)?;
        }
        if let Some(to) = &self.due_to {
            out.push_sql(" AND due_date <= ");
            out.push_bind_param::<BigInt, _>(to)?;
        }
        if let Some(category) = &self.category {
            out.push_sql(
                " AND tasks.id IN (SELECT task_categories.task_id FROM task_categories \
                 INNER JOIN categories ON categories.id = task_categories.category_id \
                 WHERE task_categories.category_id = ",
            );
            out.push_bind_param::<Binary, _>(category)?;
            out.push_sql(" AND categories.user_id = ");
            out.push_bind_param::<Binary, _>(&self.owner)?;
            out.push_sql(")");
        }
        Ok(())
    }
}

/// In which order the tasks are, on the page and all together. The index gives it as well where NULLs are to come
/// last in ascending order: SQLite walks it from the first value and then over the NULLs.
const fn order(sort_by: SortBy, sort_order: SortOrder) -> &'static str {
    match (sort_by, sort_order) {
        (SortBy::DueDate, SortOrder::Asc) => "value ASC NULLS LAST, tie ASC",
        (_, SortOrder::Asc) => "value ASC, tie ASC",
        (_, SortOrder::Desc) => "value DESC, tie DESC",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use diesel::connection::InstrumentationEvent;
    use diesel::debug_query;
    use tasks_domain::page::PageRequest;
    use tasks_domain::task::{Priority, TaskRepository};
    use tasks_testkit::build;

    use crate::plans::plan;
    use crate::schema::{task_counts, tasks};
    use crate::tests::{Opened, user};

    use super::*;

    fn owner() -> StoredId {
        build::id::<()>().into()
    }

    /// A filter that counters know.
    fn kept() -> TaskFilter {
        TaskFilter {
            status: Some(TaskStatus::Pending),
            priority: Some(Priority::High),
            ..TaskFilter::default()
        }
    }

    /// A filter that they do not know.
    fn counted() -> TaskFilter {
        TaskFilter {
            due_from: Some(tasks_testkit::clock::noon()),
            due_to: Some(tasks_testkit::clock::noon()),
            ..kept()
        }
    }

    fn page_at(page: u64, limit: u64) -> TaskQuery {
        TaskQuery {
            page: PageRequest::new(page, limit).unwrap(),
            ..TaskQuery::default()
        }
    }

    /// All pages by an order, one after the other, of a user of whom somebody claims that they have so many.
    fn walk(
        connection: &mut SqliteConnection,
        owner: StoredId,
        query: &TaskQuery,
        claimed: Option<i64>,
    ) -> Vec<Task> {
        let mut all = Vec::new();
        loop {
            let page = all.len() as u64 / query.page.limit() + 1;
            let page = PageRequest::new(page, query.page.limit()).unwrap();
            let query = TaskQuery {
                page,
                ..query.clone()
            };
            let mut statement = PageOfTasks::new(owner, &query);
            if let Some(total) = claimed {
                statement.compare_no_users(&query, total);
            }
            let (_, tasks) = statement.read(connection).unwrap();
            let is_last = (tasks.len() as u64) < query.page.limit();
            all.extend(tasks);
            if is_last {
                return all;
            }
        }
    }

    #[tokio::test]
    async fn a_page_deep_inside_is_the_same_without_comparing_users() {
        let opened = Opened::migrated();
        let mut users = Vec::new();
        for _ in 0..3 {
            let user = user(&opened.store).await;
            for n in 0..10_u8 {
                let mut task = build::task(&user).title(&format!("Task {}", n % 3)).build();
                let due = tasks_testkit::clock::noon();
                task.content.due_date = (n % 2 == 0).then_some(due);
                opened.store.create(&task).await.unwrap();
            }
            users.push(StoredId::from(user.id));
        }
        let connection = &mut opened.store.connect().unwrap();
        for owner in users {
            for sort_by in SortBy::ALL {
                for sort_order in SortOrder::ALL {
                    let query = TaskQuery {
                        sort_by,
                        sort_order,
                        ..page_at(1, 3)
                    };
                    let expected = walk(connection, owner, &query, None);
                    assert_eq!(expected.len(), 10);
                    for claimed in [10, 9, 0] {
                        let walked = walk(connection, owner, &query, Some(claimed));
                        assert_eq!(walked, expected, "{sort_by:?} {sort_order:?}");
                    }
                    // Counters that were wrong would show nobody the tasks of others.
                    let walked = walk(connection, owner, &query, Some(30));
                    assert_eq!(walked, expected, "{sort_by:?} {sort_order:?}");
                }
            }
        }
    }

    #[tokio::test]
    async fn only_full_pages_deep_inside_compare_no_users() {
        let opened = Opened::migrated();
        let ada = user(&opened.store).await;
        opened
            .store
            .create(&build::task(&ada).build())
            .await
            .unwrap();
        let connection = &mut opened.store.connect().unwrap();
        // All alike but for their ids and times.
        let many = "WITH RECURSIVE step (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM step WHERE n < 2299) \
                    INSERT INTO tasks SELECT randomblob(16), user_id, title, description, status, priority, due_date, \
                    deleted_at, version, created_at + n, updated_at FROM tasks, step";
        diesel::sql_query(many).execute(connection).unwrap();
        let comparing = Arc::new(Mutex::new(Vec::new()));
        connection.set_instrumentation({
            let comparing = comparing.clone();
            move |event: InstrumentationEvent<'_>| {
                if let InstrumentationEvent::StartQuery { query, .. } = event
                    && query.to_string().starts_with("SELECT (")
                {
                    let is_comparing = !query.to_string().contains("user_id <= ");
                    comparing.lock().unwrap().push(is_comparing);
                }
            }
        });
        let pages: Vec<_> = (1..=24)
            .map(|number| page(connection, ada.id.into(), &page_at(number, 100)).unwrap())
            .collect();
        assert!(pages.iter().all(|page| page.total == 2_300));
        let times: Vec<_> = pages
            .iter()
            .flat_map(|page| page.items.iter().map(|task| task.created_at))
            .collect();
        assert_eq!(times.len(), 2_300);
        assert!(times.is_sorted_by(|one, next| one > next));
        let expected = (1..=24).map(|number| !(22..=23).contains(&number));
        assert!(comparing.lock().unwrap().iter().copied().eq(expected));
    }

    #[test]
    fn a_page_deep_inside_compares_no_user_with_what_comes_before_it() {
        let opened = Opened::migrated();
        let connection = &mut opened.store.connect().unwrap();
        for sort_by in SortBy::ALL {
            for sort_order in SortOrder::ALL {
                let query = TaskQuery {
                    sort_by,
                    sort_order,
                    ..page_at(100, 100)
                };
                let mut statement = PageOfTasks::new(owner(), &query);
                statement.compare_no_users(&query, 10_000);
                let sql = debug_query::<Sqlite, _>(&statement).to_string();
                let plan = plan(connection, &sql);
                assert!(!plan.contains("TEMP B-TREE"), "{query:?}: {plan}");
                let has_one_stretch = (sort_by, sort_order) != (SortBy::DueDate, SortOrder::Asc);
                let walks = ["(user_id<?)", "(user_id>?)"];
                let walks = walks.iter().any(|walk| {
                    plan.contains(&format!(
                        "USING COVERING INDEX tasks_by_{} {walk}",
                        sort_by.as_str()
                    ))
                });
                assert_eq!(walks, has_one_stretch, "{query:?}: {plan}");
            }
        }
    }

    /// Nor is a row of the table read for what comes before a page, or does not pass the filter.
    #[test]
    fn an_index_gives_every_order() {
        let opened = Opened::migrated();
        let connection = &mut opened.store.connect().unwrap();
        for filter in [TaskFilter::default(), kept()] {
            for sort_by in SortBy::ALL {
                for sort_order in SortOrder::ALL {
                    let query = TaskQuery {
                        filter: filter.clone(),
                        sort_by,
                        sort_order,
                        ..TaskQuery::default()
                    };
                    let statement = PageOfTasks::new(owner(), &query);
                    let sql = debug_query::<Sqlite, _>(&statement).to_string();
                    let plan = plan(connection, &sql);
                    assert!(
                        plan.contains("SEARCH tasks USING COVERING INDEX tasks_by_"),
                        "{query:?}: {plan}"
                    );
                    assert!(!plan.contains("TEMP B-TREE"), "{query:?}: {plan}");
                    for table in ["tasks", "task_categories", "categories", "task_counts"] {
                        let scan = format!("SCAN {table}\n");
                        assert!(!format!("{plan}\n").contains(&scan), "{query:?}: {plan}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_total_reads_no_task_where_counters_tell_and_no_table_row_where_not() {
        let opened = Opened::migrated();
        let connection = &mut opened.store.connect().unwrap();
        let mut plan_of = |filter: &TaskFilter| {
            let total = Total(Matching::new(owner(), filter));
            plan(connection, &debug_query::<Sqlite, _>(&total).to_string())
        };
        for filter in [TaskFilter::default(), kept()] {
            let plan = plan_of(&filter);
            assert!(plan.contains("SEARCH task_counts"), "{filter:?}: {plan}");
            assert!(!plan.contains("SCAN"), "{filter:?}: {plan}");
        }
        let plan = plan_of(&counted());
        assert!(plan.contains("USING COVERING INDEX"), "{plan}");
    }

    #[tokio::test]
    async fn a_page_takes_the_same_prepared_statement_whatever_its_length() {
        let opened = Opened::migrated();
        let ada = user(&opened.store).await;
        for _ in 0..30 {
            opened
                .store
                .create(&build::task(&ada).build())
                .await
                .unwrap();
        }

        let (prepared, run) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
        let connection = &mut opened.store.connect().unwrap();
        connection.set_instrumentation({
            let (prepared, run) = (prepared.clone(), run.clone());
            move |event: InstrumentationEvent<'_>| {
                if let InstrumentationEvent::CacheQuery { .. } = event {
                    *prepared.lock().unwrap() += 1;
                } else if let InstrumentationEvent::StartQuery { .. } = event {
                    *run.lock().unwrap() += 1;
                }
            }
        });
        for (runs, limit) in [(1, 1), (2, 30)] {
            let page = page(connection, ada.id.into(), &page_at(1, limit)).unwrap();
            assert_eq!(page.items.len() as u64, limit);
            assert_eq!((*prepared.lock().unwrap(), *run.lock().unwrap()), (1, runs));
        }
    }

    #[tokio::test]
    async fn a_page_behind_the_last_one_and_its_total_are_of_one_instant() {
        let opened = Opened::migrated();
        let ada = user(&opened.store).await;
        for _ in 0..3 {
            opened
                .store
                .create(&build::task(&ada).build())
                .await
                .unwrap();
        }
        let connection = &mut opened.store.connect().unwrap();
        let mut other = opened.store.connect().unwrap();
        connection.set_instrumentation(move |event: InstrumentationEvent<'_>| {
            if let InstrumentationEvent::StartQuery { query, .. } = event
                && query.to_string().starts_with("SELECT coalesce")
            {
                diesel::delete(tasks::table).execute(&mut other).unwrap();
            }
        });
        let mut page = || page(connection, ada.id.into(), &page_at(2, 3)).unwrap();
        let (before, after) = (page(), page());
        assert_eq!((before.total, before.items.len()), (3, 0));
        assert_eq!((after.total, after.items.len()), (0, 0));
    }

    #[tokio::test]
    async fn a_page_is_quick_if_little_is_passed_by() {
        let opened = Opened::migrated();
        let ada = user(&opened.store).await;
        let task = build::task(&ada).build();
        opened.store.create(&task).await.unwrap();
        let connection = &mut opened.store.connect().unwrap();
        let filtered = |filter| TaskQuery {
            filter,
            ..TaskQuery::default()
        };
        let last = QUICK_WALK.unsigned_abs() / 100 + 1;
        let mut judge = |total: i64| {
            diesel::update(task_counts::table)
                .set(task_counts::total.eq(total))
                .execute(connection)
                .unwrap();
            let queries = [
                page_at(last, 100),
                page_at(last + 1, 100),
                filtered(kept()),
                filtered(counted()),
            ];
            queries.map(|query| is_quick(connection, ada.id.into(), &query).unwrap())
        };
        assert_eq!(judge(QUICK_WALK), [true, false, true, false]);
        assert_eq!(judge(QUICK_WALK + 1), [true, false, false, false]);
    }
}
