//! Random tasks and queries for property tests.
//!
//! They are drawn from few values, so that ties, and ranges that just touch, are common.

use proptest::option;
use proptest::prelude::{Just, Strategy, any};
use proptest::sample::{select, subsequence};
use tasks_domain::account::User;
use tasks_domain::category::Category;
use tasks_domain::clock::Timestamp;
use tasks_domain::page::PageRequest;
use tasks_domain::task::{
    Priority, SortBy, SortOrder, Task, TaskContent, TaskFilter, TaskQuery, TaskStatus, Version,
};

use crate::build;
use crate::clock::noon;

/// Titles whose order by code point differs from their order in any language.
const TITLES: [&str; 9] = [
    "Zebra",
    "apple",
    "Apple",
    "apples",
    "zebra",
    "Ärger",
    "äpfel",
    "～～～",
    "😀😀😀",
];

/// One of five instants around noon, each a microsecond after the one before.
pub fn instant() -> impl Strategy<Value = Timestamp> + Clone {
    (0..5_i64).prop_map(|n| Timestamp::from_unix_micros(noon().unix_micros() + n).unwrap())
}

/// What the owner of a task may write.
pub fn task_content() -> impl Strategy<Value = TaskContent> + Clone {
    (
        select(&TITLES),
        option::of(select(&["", "short", "多字节\n🦀"][..])),
        select(&TaskStatus::ALL),
        select(&Priority::ALL),
        option::of(instant()),
    )
        .prop_map(
            |(title, description, status, priority, due_date)| TaskContent {
                title: build::title(title),
                description: description.map(build::description),
                status,
                priority,
                due_date,
            },
        )
}

/// A task of an owner's with a new id, filed under some of the owner's categories (by name).
pub fn task(owner: &User, categories: &[Category]) -> impl Strategy<Value = Task> + use<> {
    let owner = owner.id;
    let count = categories.len();
    let mut categories = categories.to_vec();
    categories.sort_by(|a, b| a.name.cmp(&b.name));
    (
        task_content(),
        subsequence(categories, 0..=count),
        instant(),
        instant(),
    )
        .prop_map(move |(content, categories, created_at, updated_at)| Task {
            id: build::id(),
            owner,
            content,
            version: Version::FIRST,
            categories,
            created_at,
            updated_at,
        })
}

/// Any page of the first few, of few items or of as many as there may be.
pub fn page_request() -> impl Strategy<Value = PageRequest> + Clone {
    let limit = proptest::prop_oneof![3 => 1..=4_u64, 1 => Just(*PageRequest::LIMIT.end())];
    (1..=4_u64, limit).prop_map(|(number, limit)| PageRequest::new(number, limit).unwrap())
}

/// Any query, which may ask for one of these categories.
pub fn task_query(categories: &[Category]) -> impl Strategy<Value = TaskQuery> + use<> {
    let ids: Vec<_> = categories.iter().map(|category| category.id).collect();
    let filter = (
        rarely(select(&TaskStatus::ALL)),
        rarely(select(&Priority::ALL)),
        rarely(select(ids)),
        rarely(instant()),
        rarely(instant()),
    )
        .prop_map(
            |(status, priority, category, due_from, due_to)| TaskFilter {
                status,
                priority,
                category,
                due_from,
                due_to,
            },
        );
    (page_request(), filter, select(&SortBy::ALL), any::<bool>()).prop_map(
        |(page, filter, sort_by, ascending)| TaskQuery {
            page,
            filter,
            sort_by,
            sort_order: if ascending {
                SortOrder::Asc
            } else {
                SortOrder::Desc
            },
        },
    )
}

/// Set in one of four: five filters together would let hardly a task pass.
fn rarely<S: Strategy>(values: S) -> impl Strategy<Value = Option<S::Value>> {
    option::weighted(0.25, values)
}
