//! A page of a user's tasks: one statement, whatever its length.

use diesel::dsl::SqlTypeOf;
use diesel::internal::table_macro::{BoxedSelectStatement, FromClause};
use diesel::pg::Pg;
use diesel::prelude::{ExpressionMethods, QueryDsl, QueryResult, Selectable};
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{self, BigInt, Nullable};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use tasks_domain::page::Page;
use tasks_domain::store::StoreError;
use tasks_domain::task::{SortBy, SortOrder, Task, TaskFilter, TaskQuery};
use uuid::Uuid;

use crate::error::Failure;
use crate::schema::{categories, task_categories, task_counts, tasks};
use crate::values::{StoredPriority, StoredStatus, stored};

use super::fixed::fixed;
use super::row::TaskRow;

/// A plan for whatever values would not know how short a range is, or how full a category.
const PLAN_FOR_VALUES: &str = "SET plan_cache_mode = force_custom_plan";
/// As the pool sets it.
const PLAN_ONCE: &str = "SET plan_cache_mode = force_generic_plan";

/// So many entries of an index may come before a page that takes a short time: to pass by a hundred of them
/// takes six microseconds.
const QUICK_WALK: i64 = 2_000;

/// Whether a page takes a short time: counters tell its total, and little is passed by. A filter may pass by all
/// that a user has.
pub(super) fn is_quick(query: &TaskQuery) -> bool {
    query.filter == TaskFilter::default() && query.page.offset() <= QUICK_WALK
}

/// A page, with how many tasks there are on all pages, both as of one instant.
pub(super) async fn page(
    session: &mut AsyncPgConnection,
    owner: Uuid,
    query: &TaskQuery,
) -> Result<Page<Task>, Failure> {
    let statement = PageOfTasks::new(owner, query);
    if let Total::Kept(_) = statement.total {
        return statement.load(session, query).await;
    }
    session.batch_execute(PLAN_FOR_VALUES).await?;
    let page = statement.load(session, query).await;
    // If it does not come to this, the connection plans more than it needs to: no harm.
    session.batch_execute(PLAN_ONCE).await?;
    page
}

/// A page that is quick: one statement, which is kept prepared.
pub(super) async fn quick_page(
    session: &AsyncPgConnection,
    owner: Uuid,
    query: &TaskQuery,
) -> Result<Page<Task>, Failure> {
    PageOfTasks::new(owner, query).load(session, query).await
}

/// The statement: the total, and next to it each of the page's tasks, or nothing where it has none.
///
/// Whole rows are looked up outside of the page, and so are categories, since inside of it they would be
/// looked up for every task that comes before it as well.
struct PageOfTasks {
    columns: TaskColumns,
    total: Total,
    page: PageOfIds,
}

type TaskColumns = <TaskRow as Selectable<Pg>>::SelectExpression;

impl PageOfTasks {
    fn new(owner: Uuid, query: &TaskQuery) -> Self {
        Self {
            columns: <TaskRow as Selectable<Pg>>::construct_selection(),
            total: Total::new(owner, &query.filter),
            page: PageOfIds::new(owner, query),
        }
    }

    async fn load(
        self,
        mut session: &AsyncPgConnection,
        query: &TaskQuery,
    ) -> Result<Page<Task>, Failure> {
        let rows: Vec<(i64, Option<TaskRow>)> = RunQueryDsl::load(self, &mut session).await?;
        let total = rows.as_slice().first().map_or(0, |(total, _)| *total);
        let items: Result<_, _> = rows
            .into_iter()
            .filter_map(|(_, row)| row)
            .map(Task::try_from)
            .collect();
        Ok(Page {
            items: items?,
            total: u64::try_from(total)
                .map_err(|_negative| StoreError::corrupt("count of tasks"))?,
            request: query.page,
        })
    }
}

impl QueryFragment<Pg> for PageOfTasks {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        if let Total::Counted(_) = self.total {
            // There are too many of them, and they are planned anew anyway.
            out.unsafe_to_cache_prepared();
        }
        out.push_sql("SELECT counted.total, ");
        // What is joined has the table's name, so that this reads from it.
        QueryFragment::<Pg>::walk_ast(&self.columns, out.reborrow())?;
        out.push_sql(" FROM (SELECT tasks.* FROM (");
        self.page.walk_ast(out.reborrow())?;
        // OFFSET has the rows looked up one by one, which is right for a page, though a plan for whatever
        // values does not know how short pages are.
        out.push_sql(
            ") AS page CROSS JOIN LATERAL \
             (SELECT * FROM tasks WHERE tasks.id = page.id OFFSET 0) AS tasks\
             ) AS tasks RIGHT JOIN (",
        );
        self.total.walk_ast(out.reborrow())?;
        out.push_sql(") AS counted (total) ON TRUE ORDER BY ");
        out.push_sql(&self.page.order);
        Ok(())
    }
}

impl QueryId for PageOfTasks {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for PageOfTasks {
    type SqlType = (BigInt, Nullable<SqlTypeOf<TaskColumns>>);
}

/// How many tasks pass the filter.
enum Total {
    /// The sum of a few counters. The statement with it is kept prepared, one for each combination of these
    /// filters and an order, which are 160: walking the index of the order is right whatever the values.
    Kept(KeptTotal),
    /// Looked at one by one, in an index.
    Counted(CountedTotal),
}

type KeptTotal = BoxedSelectStatement<'static, BigInt, FromClause<task_counts::table>, Pg>;
type CountedTotal = BoxedSelectStatement<'static, BigInt, FromClause<tasks::table>, Pg>;

impl Total {
    fn new(owner: Uuid, filter: &TaskFilter) -> Self {
        let TaskFilter {
            status,
            priority,
            due_from: None,
            due_to: None,
            category: None,
        } = filter
        else {
            return Self::Counted(matching(owner, filter).count());
        };
        let mut counters = task_counts::table
            .filter(task_counts::user_id.eq(owner))
            .select(fixed::<BigInt>(
                "coalesce(sum(task_counts.total), 0)::bigint",
            ))
            .into_boxed();
        if let Some(status) = status {
            counters = counters.filter(task_counts::status.eq(StoredStatus(*status)));
        }
        if let Some(priority) = priority {
            counters = counters.filter(task_counts::priority.eq(StoredPriority(*priority)));
        }
        Self::Kept(counters)
    }
}

impl QueryFragment<Pg> for Total {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        match self {
            Self::Kept(total) => QueryFragment::<Pg>::walk_ast(total, out),
            Self::Counted(total) => QueryFragment::<Pg>::walk_ast(total, out),
        }
    }
}

/// The ids of the tasks on a page, in order.
struct PageOfIds {
    matching: BoxedSelectStatement<'static, sql_types::Uuid, FromClause<tasks::table>, Pg>,
    order: String,
    limit: i64,
    offset: i64,
}

impl PageOfIds {
    fn new(owner: Uuid, query: &TaskQuery) -> Self {
        Self {
            matching: matching(owner, &query.filter).select(tasks::id),
            order: order(query.sort_by, query.sort_order),
            // It is at most 100.
            limit: i64::try_from(query.page.limit()).unwrap_or(i64::MAX),
            offset: query.page.offset(),
        }
    }
}

impl QueryFragment<Pg> for PageOfIds {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        QueryFragment::<Pg>::walk_ast(&self.matching, out.reborrow())?;
        out.push_sql(" ORDER BY ");
        out.push_sql(&self.order);
        out.push_sql(" LIMIT ");
        out.push_bind_param::<BigInt, _>(&self.limit)?;
        out.push_sql(" OFFSET ");
        out.push_bind_param::<BigInt, _>(&self.offset)
    }
}

/// The tasks that pass the filter.
fn matching(owner: Uuid, filter: &TaskFilter) -> tasks::BoxedQuery<'static, Pg> {
    let mut query = tasks::table
        .filter(tasks::user_id.eq(owner))
        .filter(tasks::deleted_at.is_null())
        .into_boxed();
    if let Some(status) = filter.status {
        query = query.filter(tasks::status.eq(StoredStatus(status)));
    }
    if let Some(priority) = filter.priority {
        query = query.filter(tasks::priority.eq(StoredPriority(priority)));
    }
    if let Some(from) = filter.due_from {
        query = query.filter(tasks::due_date.ge(stored(from)));
    }
    if let Some(to) = filter.due_to {
        query = query.filter(tasks::due_date.le(stored(to)));
    }
    if let Some(category) = filter.category {
        query = query.filter(
            tasks::id.eq_any(
                task_categories::table
                    .inner_join(categories::table)
                    .filter(task_categories::category_id.eq(category.uuid()))
                    .filter(categories::user_id.eq(owner))
                    .select(task_categories::task_id),
            ),
        );
    }
    query
}

/// The order, as it stands in the page and around it. An index gives it: `NULLS LAST` only stands
/// where there are NULLs, since it would ask for another index.
fn order(sort_by: SortBy, sort_order: SortOrder) -> String {
    let direction = match sort_order {
        SortOrder::Asc => "ASC",
        SortOrder::Desc => "DESC",
    };
    let column = match sort_by {
        SortBy::CreatedAt => "created_at",
        SortBy::UpdatedAt => "updated_at",
        SortBy::DueDate => "due_date",
        SortBy::Priority => "priority",
        SortBy::Title => "title",
    };
    let nulls = match sort_by {
        SortBy::DueDate => " NULLS LAST",
        SortBy::CreatedAt | SortBy::UpdatedAt | SortBy::Priority | SortBy::Title => "",
    };
    format!("tasks.{column} {direction}{nulls}, tasks.id {direction}")
}

#[cfg(test)]
mod tests {
    use diesel::dsl::sql;
    use diesel::sql_types::Text;
    use tasks_domain::category::Category;
    use tasks_domain::id::Id;
    use tasks_domain::page::PageRequest;
    use tasks_domain::task::{Priority, TaskRepository, TaskStatus};
    use tasks_testkit::clock::noon;
    use tasks_testkit::servers::Database;
    use tokio::sync::OnceCell;

    use crate::PgStore;
    use crate::tests::{Opened, connect};
    use crate::work::Kind;

    use super::*;

    /// One user has as many tasks as a hundred others, who have as many together.
    const SEED: &str = "
        INSERT INTO users (id, email, password_hash, full_name, created_at, updated_at)
        SELECT md5('user ' || u)::uuid, u || '@example.com', '-', 'A user', now(), now()
        FROM generate_series(0, 400) u;
        INSERT INTO categories (id, user_id, name, color, created_at)
        SELECT md5('category ' || u || ' ' || c)::uuid, md5('user ' || u)::uuid, 'Category ' || c, '#6366F1', now()
        FROM generate_series(0, 400) u, generate_series(0, 9) c;
        INSERT INTO tasks (id, user_id, title, description, status, priority, due_date, deleted_at, created_at, updated_at)
        SELECT md5('task ' || t)::uuid,
               md5('user ' || u)::uuid,
               'Task ' || md5('title ' || t), repeat('x', 200),
               (ARRAY['pending', 'in_progress', 'completed'])[CASE WHEN t % 500 = 0 THEN 1 ELSE 2 + t % 2 END]::task_status,
               (ARRAY['low', 'medium', 'high'])[1 + t % 3]::task_priority,
               CASE WHEN t % 4 > 0 THEN timestamptz '2030-01-01' + (t * 7919::bigint % 100000) * interval '1 minute' END,
               CASE WHEN t % 20 = 0 AND t % 500 > 0 THEN now() END,
               timestamptz '2025-01-01' + t * interval '1 second',
               timestamptz '2025-06-01' + (t * 104729::bigint % 1000000) * interval '1 second'
        FROM (SELECT t, CASE WHEN t < 25000 THEN 0 ELSE 1 + t % 400 END AS u
              FROM generate_series(0, 124999) t) seeds;
        INSERT INTO task_categories (task_id, category_id)
        SELECT md5('task ' || t)::uuid,
               md5('category ' || CASE WHEN t < 25000 THEN 0 ELSE 1 + t % 400 END || ' ' || t % 10)::uuid
        FROM generate_series(0, 124999, 3) t";

    /// A store with many tasks; a test only reads them.
    async fn seeded() -> PgStore {
        static SEEDED: OnceCell<Database> = OnceCell::const_new();
        let database = SEEDED
            .get_or_init(|| async {
                let Opened { store, database } = Opened::empty().await;
                store.migrate_up().await.unwrap();
                let mut connection = store.places.pool().manager().connect("").await.unwrap();
                let session = &mut connection.session;
                session.batch_execute(SEED).await.unwrap();
                session.batch_execute("VACUUM ANALYZE").await.unwrap();
                store.close().await;
                database
            })
            .await;
        connect(database)
    }

    fn uuid(of: &str) -> String {
        format!("md5('{of}')::uuid")
    }

    /// Asks the database how it does what it is asked for, having it done.
    struct Explain<Q>(Q);

    impl<Q> QueryId for Explain<Q> {
        type QueryId = ();
        const HAS_STATIC_QUERY_ID: bool = false;
    }

    impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Explain<Q> {
        fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
            out.unsafe_to_cache_prepared();
            out.push_sql("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ");
            self.0.walk_ast(out)
        }
    }

    impl<Q> Query for Explain<Q> {
        type SqlType = Text;
    }

    async fn id(store: &PgStore, of: &'static str) -> Uuid {
        store
            .run(Kind::Read, of, |session, of| {
                Box::pin(async move {
                    let id = diesel::select(sql::<diesel::sql_types::Uuid>(&uuid(of)));
                    Ok(id.get_result(session).await?)
                })
            })
            .await
            .unwrap()
    }

    /// How the whole statement is done, and how the page inside of it alone.
    async fn plans(store: &PgStore, owner: Uuid, query: &TaskQuery) -> (String, String) {
        store
            .run(
                Kind::Read,
                (owner, query.clone()),
                |session, (owner, query)| {
                    Box::pin(async move {
                        let whole = Explain(PageOfTasks::new(*owner, query));
                        let whole: Vec<String> = whole.load(session).await?;
                        let page = Explain(PageOfTasks::new(*owner, query).page);
                        let page: Vec<String> = page.load(session).await?;
                        Ok((whole.join("\n"), page.join("\n")))
                    })
                },
            )
            .await
            .unwrap()
    }

    /// How the whole statement is done once a connection has it prepared and has done it often, for whatever
    /// values: what counters tell about is kept prepared.
    async fn plan_for_good(store: &PgStore, owner: Uuid, query: &TaskQuery) -> String {
        let filter = &query.filter;
        let wanted = [
            Some(format!("'{owner}'")),
            filter.status.map(|status| format!("'{}'", status.as_str())),
            filter
                .priority
                .map(|priority| format!("'{}'", priority.as_str())),
        ];
        let page = [
            query.page.limit().to_string(),
            query.page.offset().to_string(),
        ];
        // Once for the page and once for the counters.
        let wanted = wanted.iter().flatten();
        let values: Vec<_> = wanted.clone().chain(&page).chain(wanted).cloned().collect();
        let execute = format!("EXECUTE page ({})", values.join(", "));

        let statement = PageOfTasks::new(owner, query);
        let statement = diesel::debug_query::<Pg, _>(&statement).to_string();
        let statement = statement.split(" -- binds").next().unwrap();
        let mut connection = store.places.pool().manager().connect("").await.unwrap();
        let session = &mut connection.session;
        session
            .batch_execute(&format!(
                "PREPARE page AS {statement}; SET plan_cache_mode = force_generic_plan; SET jit = off"
            ))
            .await
            .unwrap();
        for _ in 0..10 {
            session.batch_execute(&execute).await.unwrap();
        }
        let plan: Vec<String> = Explain(sql::<Text>(&execute)).load(session).await.unwrap();
        plan.join("\n")
    }

    #[test]
    fn a_page_that_may_pass_by_much_is_not_quick() {
        let last = QUICK_WALK.unsigned_abs() / 100 + 1;
        let page = |number| TaskQuery {
            page: PageRequest::new(number, 100).unwrap(),
            ..TaskQuery::default()
        };
        assert!(is_quick(&TaskQuery::default()));
        assert!(is_quick(&page(last)));
        assert!(!is_quick(&page(last + 1)));
        let filters = filters(Uuid::nil()).into_iter();
        for filter in filters.filter(|filter| *filter != TaskFilter::default()) {
            let query = TaskQuery {
                filter,
                ..TaskQuery::default()
            };
            assert!(!is_quick(&query));
        }
    }

    /// The numbers after some words, each where the words stand.
    fn numbers_after(plan: &str, words: &str) -> Vec<u64> {
        plan.split(words)
            .skip(1)
            .map(|rest| {
                let digits = rest
                    .find(|c: char| !c.is_ascii_digit())
                    .unwrap_or(rest.len());
                rest[..digits].parse().unwrap()
            })
            .collect()
    }

    fn filters(category: Uuid) -> Vec<TaskFilter> {
        let soon = noon().plus(std::time::Duration::from_hours(24 * 365 * 5));
        vec![
            TaskFilter::default(),
            TaskFilter {
                status: Some(TaskStatus::Completed),
                ..TaskFilter::default()
            },
            TaskFilter {
                status: Some(TaskStatus::Pending), // rare
                ..TaskFilter::default()
            },
            TaskFilter {
                priority: Some(Priority::High),
                ..TaskFilter::default()
            },
            TaskFilter {
                category: Some(Id::<Category>::new(category)),
                ..TaskFilter::default()
            },
            TaskFilter {
                status: Some(TaskStatus::InProgress),
                priority: Some(Priority::Low),
                due_from: Some(noon()),
                due_to: Some(soon),
                category: Some(Id::<Category>::new(category)),
            },
        ]
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_index_gives_every_order() {
        let store = seeded().await;
        for of in ["user 0", "user 7"] {
            let owner = id(&store, of).await;
            for sort_by in SortBy::ALL {
                for sort_order in SortOrder::ALL {
                    let query = TaskQuery {
                        sort_by,
                        sort_order,
                        ..TaskQuery::default()
                    };
                    let (whole, page) = plans(&store, owner, &query).await;
                    let context = format!("{of} {sort_by:?} {sort_order:?}:\n{page}\n{whole}");
                    assert!(page.contains("using tasks_by_"), "{context}");
                    assert!(!page.contains("Sort"), "{context}");
                    // What is sorted is the page.
                    for rows in numbers_after(&whole, "Sort (actual rows=") {
                        assert!(rows <= query.page.limit(), "{context}");
                    }
                    assert!(!whole.contains("Seq Scan"), "{context}");
                    assert!(whole.contains("Index Only Scan"), "{context}");
                }
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_filter_in_any_order_reads_other_users_tasks() {
        let store = seeded().await;
        let owner = id(&store, "user 0").await;
        let category = id(&store, "category 0 3").await;
        for filter in filters(category) {
            for sort_by in SortBy::ALL {
                for sort_order in SortOrder::ALL {
                    let query = TaskQuery {
                        filter: filter.clone(),
                        sort_by,
                        sort_order,
                        ..TaskQuery::default()
                    };
                    let (whole, _) = plans(&store, owner, &query).await;
                    assert!(!whole.contains("Seq Scan on tasks"), "{query:?}:\n{whole}");
                    let common =
                        filter.category.is_none() && filter.status != Some(TaskStatus::Pending);
                    if common {
                        for rows in numbers_after(&whole, "Sort (actual rows=") {
                            assert!(rows <= query.page.limit(), "{query:?}:\n{whole}");
                        }
                    }
                }
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_deep_page_looks_up_the_categories_of_its_own_tasks_only() {
        let store = seeded().await;
        let owner = id(&store, "user 0").await;
        let total = store
            .list(Id::new(owner), &TaskQuery::default())
            .await
            .unwrap()
            .total;
        assert!(total > 20_000);
        for sort_by in SortBy::ALL {
            let query = TaskQuery {
                page: PageRequest::new(total / 20, 20).unwrap(),
                sort_by,
                ..TaskQuery::default()
            };
            let page = store.list(Id::new(owner), &query).await.unwrap();
            assert_eq!((page.total, page.items.len()), (total, 20));
            let (whole, _) = plans(&store, owner, &query).await;
            assert!(!whole.contains("Seq Scan on tasks"), "{whole}");
            let loops = numbers_after(&whole, "loops=");
            assert!(loops.iter().all(|loops| *loops <= 20), "{whole}");
        }
    }

    /// Few tasks or many, a status or a priority that is rare or common, the first page or a deep one.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_kept_prepared_is_done_well_whatever_the_values() {
        let store = seeded().await;
        for (of, last) in [("user 0", 500), ("user 7", 2)] {
            let owner = id(&store, of).await;
            for filter in kept() {
                for sort_by in SortBy::ALL {
                    for (sort_order, number) in SortOrder::ALL.into_iter().zip([1, last]) {
                        let query = TaskQuery {
                            filter: filter.clone(),
                            sort_by,
                            sort_order,
                            page: PageRequest::new(number, 20).unwrap(),
                        };
                        let plan = plan_for_good(&store, owner, &query).await;
                        let context = format!("{of} {query:?}:\n{plan}");
                        assert!(plan.contains("$1"), "{context}");
                        assert!(!plan.contains("Seq Scan"), "{context}");
                        assert!(plan.contains("Index Only Scan"), "{context}");
                        assert!(!plan.contains("Index Scan using tasks_by"), "{context}");
                        assert!(!plan.contains("on tasks_by"), "{context}");
                        let heap = numbers_after(&plan, "Heap Fetches: ");
                        assert!(heap.iter().all(|fetches| *fetches <= 60), "{context}");
                        for words in ["Sort (actual rows=", "loops="] {
                            let numbers = numbers_after(&plan, words);
                            assert!(numbers.iter().all(|number| *number <= 20), "{context}");
                        }
                    }
                }
            }
        }
    }

    /// Filters that counters tell about.
    fn kept() -> Vec<TaskFilter> {
        let statuses = [None, Some(TaskStatus::Pending), Some(TaskStatus::Completed)];
        statuses
            .into_iter()
            .flat_map(|status| {
                [None, Some(Priority::High)].map(|priority| TaskFilter {
                    status,
                    priority,
                    ..TaskFilter::default()
                })
            })
            .collect()
    }

    /// One for each filter and order, not for each page and user.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_connection_keeps_few_statements_and_prepares_them_once() {
        let store = seeded().await;
        let (user_0, user_7) = (id(&store, "user 0").await, id(&store, "user 7").await);
        let category = id(&store, "category 0 3").await;
        let prepared = || {
            let session = store.run(Kind::Read, (user_0, user_7, category), |session, ids| {
                Box::pin(async move {
                    for filter in kept().into_iter().chain(filters(ids.2)) {
                        for (owner, number, limit) in [(ids.0, 1, 20), (ids.1, 2, 10)] {
                            let query = TaskQuery {
                                filter: filter.clone(),
                                page: PageRequest::new(number, limit).unwrap(),
                                ..TaskQuery::default()
                            };
                            page(session, owner, &query).await?;
                        }
                    }
                    let names = "array_agg(name ORDER BY name) FROM pg_prepared_statements \
                                 WHERE statement LIKE 'SELECT counted%' AND custom_plans = 0";
                    let names = diesel::select(sql::<sql_types::Array<Text>>(names));
                    Ok(names.get_result::<Vec<String>>(session).await?)
                })
            });
            async { session.await.unwrap() }
        };
        // With and without a status and a priority.
        let names = prepared().await;
        assert_eq!(names.len(), 4);
        assert_eq!(prepared().await, names);
    }
}
