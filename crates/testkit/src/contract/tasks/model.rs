//! Random lists of random tasks, compared with a model so plain that it is obviously right.

use proptest::collection;
use proptest::prelude::any;
use proptest::prop_assert_eq;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tasks_domain::account::User;
use tasks_domain::clock::Timestamp;
use tasks_domain::id::Id;
use tasks_domain::page::Page;
use tasks_domain::task::{Priority, SortBy, SortOrder, Task, TaskQuery};

use super::super::Stores;
use super::super::scene::{category, user};
use crate::clock::noon;
use crate::tokio::runtime::Handle;
use crate::tokio::task::block_in_place;
use crate::{build, strategy};

/// How many sets of tasks are tried: enough to meet every pair of features, and few enough that a
/// store that syncs every write to a disk is done in seconds.
const CASES: u32 = 32;
/// How many tasks a set has at most.
const TASKS: usize = 10;
/// How many queries are put to each set.
const QUERIES: usize = 16;

/// Whatever the tasks and whatever the query.
pub async fn list_agrees_with_a_plain_model(stores: &impl Stores) {
    let (owner, other) = (user(stores).await, user(stores).await);
    let mut own = Vec::new();
    for name in ["Home", "Work", "home"] {
        own.push(category(stores, build::category(&owner).name(name)).await);
    }
    let foreign = [category(stores, build::category(&other).name("Home")).await];
    let known: Vec<_> = own.iter().chain(&foreign).cloned().collect();
    let inputs = (
        collection::vec((strategy::task(&owner, &own), any::<bool>()), 0..=TASKS),
        collection::vec(strategy::task(&other, &foreign), 0..=2),
        collection::vec(strategy::task_query(&known), QUERIES),
    );
    let config = Config {
        cases: CASES,
        // What fails is shrunk and shown; it is not kept in a file beside the source.
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&inputs, |(tasks, others, queries)| {
        // The runner is synchronous.
        block_in_place(|| {
            Handle::current().block_on(compare(stores, owner.id, tasks, others, queries))
        })
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// Stores the tasks (those with `true` are deleted again), asks the queries, and cleans up.
async fn compare(
    stores: &impl Stores,
    owner: Id<User>,
    tasks: Vec<(Task, bool)>,
    others: Vec<Task>,
    queries: Vec<TaskQuery>,
) -> Result<(), TestCaseError> {
    let port = stores.tasks();
    // From the last to the first, so that the order of ids is not the order of storing.
    for task in tasks.iter().map(|(task, _)| task).chain(&others).rev() {
        let unfiled = Task {
            categories: Vec::new(),
            ..task.clone()
        };
        port.create(&unfiled).await.unwrap();
        for category in &task.categories {
            port.assign(task.id, category.id).await.unwrap();
        }
    }
    let (deleted, kept): (Vec<_>, Vec<_>) = tasks.into_iter().partition(|(_, deleted)| *deleted);
    for (task, _) in deleted {
        port.delete(task.id, noon()).await.unwrap();
    }
    let kept: Vec<Task> = kept.into_iter().map(|(task, _)| task).collect();
    let mut pages = Vec::new();
    for query in &queries {
        pages.push(port.list(owner, query).await.unwrap());
    }
    for task in kept.iter().chain(&others) {
        port.delete(task.id, noon()).await.unwrap();
    }
    for (query, page) in queries.iter().zip(pages) {
        prop_assert_eq!(page, model(&kept, query), "{:?}", query);
    }
    Ok(())
}

/// The page of one owner's tasks that a query asks for.
fn model(tasks: &[Task], query: &TaskQuery) -> Page<Task> {
    let filter = &query.filter;
    let mut found = tasks.to_vec();
    found.retain(|task| {
        filter
            .status
            .is_none_or(|status| task.content.status == status)
    });
    found.retain(|task| {
        filter
            .priority
            .is_none_or(|wanted| task.content.priority == wanted)
    });
    found.retain(|task| {
        filter
            .category
            .is_none_or(|id| task.categories.iter().any(|c| c.id == id))
    });
    found.retain(|task| {
        filter
            .due_from
            .is_none_or(|from| task.content.due_date >= Some(from))
    });
    found.retain(|task| {
        filter
            .due_to
            .is_none_or(|to| task.content.due_date.is_some_and(|due| due <= to))
    });
    found.sort_by_cached_key(|task| (sort_key(task, query.sort_by), task.id));
    if query.sort_order == SortOrder::Desc {
        found.reverse();
    }
    if query.sort_by == SortBy::DueDate {
        found.sort_by_key(|task| task.content.due_date.is_none());
    }
    let number = usize::try_from(query.page.number()).unwrap();
    let limit = usize::try_from(query.page.limit()).unwrap();
    Page {
        total: u64::try_from(found.len()).unwrap(),
        items: found
            .chunks(limit)
            .nth(number - 1)
            .unwrap_or_default()
            .to_vec(),
        request: query.page,
    }
}

/// What a task sorts by, as a number or as code points.
fn sort_key(task: &Task, by: SortBy) -> (i64, Vec<char>) {
    let content = &task.content;
    match by {
        SortBy::CreatedAt => (task.created_at.unix_micros(), vec![]),
        SortBy::UpdatedAt => (task.updated_at.unix_micros(), vec![]),
        SortBy::DueDate => (content.due_date.map_or(0, Timestamp::unix_micros), vec![]),
        SortBy::Priority => match content.priority {
            Priority::Low => (1, vec![]),
            Priority::Medium => (2, vec![]),
            Priority::High => (3, vec![]),
        },
        SortBy::Title => (0, content.title.as_str().chars().collect()),
    }
}
