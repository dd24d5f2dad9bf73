//! A page of a user's tasks: three statements, whatever its length.

use diesel::expression::expression_types::NotSelectable;
use diesel::internal::table_macro::{BoxedSelectStatement, FromClause};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable};
use diesel::sqlite::Sqlite;
use tasks_domain::page::Page;
use tasks_domain::store::StoreError;
use tasks_domain::task::{SortBy, SortOrder, Task, TaskFilter, TaskQuery};

use crate::error::Failure;
use crate::schema::{categories, task_categories, task_counts, tasks};
use crate::values::StoredId;

use super::row::{TaskRow, rank, with_categories};

// Where SQLite sorts NULLs first by default, in ascending order, this asks for the contrary. The
// index still gives the order: SQLite walks it from the first value and then over the NULLs.
diesel::postfix_operator!(NullsLast, " NULLS LAST", NotSelectable, backend: Sqlite);

/// So many tasks may come before a page that is read in place: passing by them takes a few microseconds each
/// hundred.
const QUICK_OFFSET: i64 = 500;

/// Whether a page takes no longer the more tasks there are: counters tell its total, and an index its rows.
pub(super) fn is_quick(query: &TaskQuery) -> bool {
    query.filter == TaskFilter::default() && query.page.offset() <= QUICK_OFFSET
}

/// A page, in one transaction, so that all its statements see the same tasks.
pub(super) fn page(
    connection: &mut SqliteConnection,
    owner: StoredId,
    query: &TaskQuery,
) -> Result<Page<Task>, Failure> {
    connection.transaction(|connection| {
        let total = match kept_total(owner, &query.filter) {
            Some(kept) => kept.get_result::<Option<i64>>(connection)?.unwrap_or(0),
            None => matching(owner, &query.filter)
                .count()
                .get_result(connection)?,
        };
        let rows = if total > query.page.offset() {
            page_rows(owner, query)
                .select(TaskRow::as_select())
                .load(connection)?
        } else {
            Vec::new()
        };
        Ok(Page {
            items: with_categories(connection, rows)?,
            total: u64::try_from(total)
                .map_err(|_negative| StoreError::corrupt("count of tasks"))?,
            request: query.page,
        })
    })
}

/// How many tasks pass a filter, as the sum of a few counters, where those tell.
fn kept_total(owner: StoredId, filter: &TaskFilter) -> Option<KeptTotal> {
    let TaskFilter {
        status,
        priority,
        due_from: None,
        due_to: None,
        category: None,
    } = filter
    else {
        return None;
    };
    let mut counters = task_counts::table
        .filter(task_counts::user_id.eq(owner))
        .select(total(task_counts::total))
        .into_boxed();
    if let Some(status) = status {
        counters = counters.filter(task_counts::status.eq(status.as_str()));
    }
    if let Some(priority) = priority {
        counters = counters.filter(task_counts::priority.eq(rank(*priority)));
    }
    Some(counters)
}

type KeptTotal =
    BoxedSelectStatement<'static, Nullable<BigInt>, FromClause<task_counts::table>, Sqlite>;

#[declare_sql_function]
extern "SQL" {
    /// The sum of whole numbers as one, unlike Diesel's `sum`; of none NULL.
    #[aggregate]
    #[sql_name = "sum"]
    fn total(number: BigInt) -> Nullable<BigInt>;
}

/// The tasks that pass the filter. Diesel keeps a prepared statement for each combination of
/// filters (and order) in use; there are 32 (times 10).
fn matching(owner: StoredId, filter: &TaskFilter) -> tasks::BoxedQuery<'static, Sqlite> {
    let mut query = tasks::table
        .filter(tasks::user_id.eq(owner))
        .filter(tasks::deleted_at.is_null())
        .into_boxed();
    if let Some(status) = filter.status {
        query = query.filter(tasks::status.eq(status.as_str()));
    }
    if let Some(priority) = filter.priority {
        query = query.filter(tasks::priority.eq(rank(priority)));
    }
    if let Some(from) = filter.due_from {
        query = query.filter(tasks::due_date.ge(from.unix_micros()));
    }
    if let Some(to) = filter.due_to {
        query = query.filter(tasks::due_date.le(to.unix_micros()));
    }
    if let Some(category) = filter.category {
        let category = StoredId::from(category);
        query = query.filter(
            tasks::id.eq_any(
                task_categories::table
                    .inner_join(categories::table)
                    .filter(task_categories::category_id.eq(category))
                    .filter(categories::user_id.eq(owner))
                    .select(task_categories::task_id),
            ),
        );
    }
    query
}

/// Those of them that are on the page, in order.
fn page_rows(owner: StoredId, query: &TaskQuery) -> tasks::BoxedQuery<'static, Sqlite> {
    use SortOrder::{Asc, Desc};
    let rows = matching(owner, &query.filter);
    let rows = match (query.sort_by, query.sort_order) {
        (SortBy::CreatedAt, Asc) => rows.order((tasks::created_at.asc(), tasks::id.asc())),
        (SortBy::CreatedAt, Desc) => rows.order((tasks::created_at.desc(), tasks::id.desc())),
        (SortBy::UpdatedAt, Asc) => rows.order((tasks::updated_at.asc(), tasks::id.asc())),
        (SortBy::UpdatedAt, Desc) => rows.order((tasks::updated_at.desc(), tasks::id.desc())),
        (SortBy::DueDate, Asc) => {
            rows.order((NullsLast::new(tasks::due_date.asc()), tasks::id.asc()))
        }
        (SortBy::DueDate, Desc) => rows.order((tasks::due_date.desc(), tasks::id.desc())),
        (SortBy::Priority, Asc) => rows.order((tasks::priority.asc(), tasks::id.asc())),
        (SortBy::Priority, Desc) => rows.order((tasks::priority.desc(), tasks::id.desc())),
        (SortBy::Title, Asc) => rows.order((tasks::title.asc(), tasks::id.asc())),
        (SortBy::Title, Desc) => rows.order((tasks::title.desc(), tasks::id.desc())),
    };
    // A limit is at most 100.
    rows.limit(i64::try_from(query.page.limit()).unwrap_or(i64::MAX))
        .offset(query.page.offset())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use diesel::connection::InstrumentationEvent;
    use diesel::debug_query;
    use tasks_domain::page::PageRequest;
    use tasks_domain::task::{Priority, TaskRepository, TaskStatus};
    use tasks_testkit::build;

    use crate::plans::plan;
    use crate::tests::{Opened, user};

    use super::*;

    fn owner() -> StoredId {
        build::id::<()>().into()
    }

    #[test]
    fn an_index_gives_every_order() {
        let opened = Opened::migrated();
        let connection = &mut opened.store.connect().unwrap();
        for sort_by in SortBy::ALL {
            for sort_order in SortOrder::ALL {
                let query = TaskQuery {
                    sort_by,
                    sort_order,
                    ..TaskQuery::default()
                };
                let rows = page_rows(owner(), &query).select(TaskRow::as_select());
                let plan = plan(connection, &debug_query::<Sqlite, _>(&rows).to_string());
                assert!(
                    plan.contains("SEARCH tasks USING INDEX"),
                    "{query:?}: {plan}"
                );
                assert!(!plan.contains("TEMP B-TREE"), "{query:?}: {plan}");
                assert!(!plan.contains("SCAN tasks"), "{query:?}: {plan}");
            }
        }
    }

    /// Nor does passing by what comes before a page.
    #[test]
    fn an_index_tells_what_passes_a_filter() {
        let opened = Opened::migrated();
        let connection = &mut opened.store.connect().unwrap();
        let filter = TaskFilter {
            status: Some(TaskStatus::Pending),
            priority: Some(Priority::High),
            ..TaskFilter::default()
        };
        for sort_by in SortBy::ALL {
            for sort_order in SortOrder::ALL {
                let query = TaskQuery {
                    filter: filter.clone(),
                    sort_by,
                    sort_order,
                    ..TaskQuery::default()
                };
                let ids = page_rows(owner(), &query).select(tasks::id);
                let plan = plan(connection, &debug_query::<Sqlite, _>(&ids).to_string());
                assert!(plan.contains("USING COVERING INDEX"), "{query:?}: {plan}");
                assert!(!plan.contains("TEMP B-TREE"), "{query:?}: {plan}");
            }
        }
    }

    #[test]
    fn a_total_reads_no_task_where_counters_tell_and_no_table_row_where_not() {
        let opened = Opened::migrated();
        let connection = &mut opened.store.connect().unwrap();
        let kept = TaskFilter {
            status: Some(TaskStatus::Pending),
            priority: Some(Priority::High),
            ..TaskFilter::default()
        };
        for filter in [TaskFilter::default(), kept.clone()] {
            let total = kept_total(owner(), &filter).unwrap();
            let plan = plan(connection, &debug_query::<Sqlite, _>(&total).to_string());
            assert!(plan.contains("SEARCH task_counts"), "{filter:?}: {plan}");
            assert!(!plan.contains("SCAN"), "{filter:?}: {plan}");
        }
        let counted = TaskFilter {
            due_from: Some(tasks_testkit::clock::noon()),
            due_to: Some(tasks_testkit::clock::noon()),
            ..kept
        };
        assert!(kept_total(owner(), &counted).is_none());
        let count = matching(owner(), &counted).count();
        let plan = plan(connection, &debug_query::<Sqlite, _>(&count).to_string());
        assert!(plan.contains("USING COVERING INDEX"), "{plan}");
    }

    #[tokio::test]
    async fn a_page_takes_the_same_prepared_statements_whatever_its_length() {
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
        let mut page_of = |limit| {
            let query = TaskQuery {
                page: PageRequest::new(1, limit).unwrap(),
                ..TaskQuery::default()
            };
            let page = page(connection, ada.id.into(), &query).unwrap();
            assert_eq!(page.items.len() as u64, limit);
            let counts = (*prepared.lock().unwrap(), *run.lock().unwrap());
            *run.lock().unwrap() = 0;
            counts
        };
        // Three are prepared, once; the beginning and the end of the transaction are run as well.
        assert_eq!(page_of(1), (3, 5));
        assert_eq!(page_of(30), (3, 5));
    }

    #[tokio::test]
    async fn the_total_and_the_page_are_of_one_instant() {
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
                && query.to_string().contains("LIMIT")
            {
                diesel::delete(tasks::table).execute(&mut other).unwrap();
            }
        });
        let mut page = || page(connection, ada.id.into(), &TaskQuery::default()).unwrap();
        let (before, after) = (page(), page());
        assert_eq!((before.total, before.items.len()), (3, 3));
        assert_eq!((after.total, after.items.len()), (0, 0));
    }
}
