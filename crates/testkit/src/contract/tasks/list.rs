//! The cases about lists.

use std::time::Duration;

use tasks_domain::account::User;
use tasks_domain::clock::Timestamp;
use tasks_domain::page::PageRequest;
use tasks_domain::task::{Priority, SortBy, SortOrder, Task, TaskFilter, TaskQuery, TaskStatus};

use super::super::Stores;
use super::super::scene::{assign, category, task, titles, user};
use super::{delete, listed_under};
use crate::build::{self, TaskBuilder};
use crate::clock::noon;

/// Tasks by what their titles say.
async fn tasks(stores: &impl Stores, builders: impl IntoIterator<Item = TaskBuilder>) -> Vec<Task> {
    let mut made = Vec::new();
    for builder in builders {
        made.push(task(stores, builder).await);
    }
    made
}

/// The titles on the first page of what passes a filter, the oldest first.
async fn filtered(stores: &impl Stores, owner: &User, filter: TaskFilter) -> Vec<String> {
    let query = TaskQuery {
        filter,
        sort_order: SortOrder::Asc,
        ..TaskQuery::default()
    };
    let (titles, total) = titles(stores, owner, &query).await;
    assert_eq!(total, u64::try_from(titles.len()).unwrap());
    titles
}

/// The titles on the first page of everything, sorted.
async fn sorted(stores: &impl Stores, owner: &User, by: SortBy, order: SortOrder) -> Vec<String> {
    let query = TaskQuery {
        sort_by: by,
        sort_order: order,
        ..TaskQuery::default()
    };
    titles(stores, owner, &query).await.0
}

/// Asserts the order of all tasks, and that the other direction is its mirror image.
async fn assert_sorts(stores: &impl Stores, owner: &User, by: SortBy, ascending: &[&str]) {
    assert_eq!(sorted(stores, owner, by, SortOrder::Asc).await, ascending);
    let mut descending = sorted(stores, owner, by, SortOrder::Desc).await;
    descending.reverse();
    assert_eq!(descending, ascending);
}

fn page(number: u64, limit: u64) -> PageRequest {
    PageRequest::new(number, limit).unwrap()
}

/// So many microseconds past noon.
fn at(micros: u64) -> Timestamp {
    noon().plus(Duration::from_micros(micros))
}

/// Nobody sees another's.
pub async fn a_list_shows_the_owners_tasks_only(stores: &impl Stores) {
    for owner in [user(stores).await, user(stores).await] {
        let title = owner.id.to_string();
        task(stores, build::task(&owner).title(&title)).await;
        let all = titles(stores, &owner, &TaskQuery::default()).await;
        assert_eq!(all, (vec![title], 1));
    }
}

/// Neither among the items nor in the total, whatever the filter.
pub async fn a_list_hides_deleted_tasks(stores: &impl Stores) {
    let owner = user(stores).await;
    let category = category(stores, build::category(&owner)).await;
    for title in ["Kept", "Deleted"] {
        let task = task(stores, build::task(&owner).title(title).due(noon())).await;
        assign(stores, &task, &category).await;
        if title == "Deleted" {
            assert!(delete(stores, &task).await);
        }
    }
    let kept = (vec!["Kept".to_owned()], 1);
    assert_eq!(titles(stores, &owner, &TaskQuery::default()).await, kept);
    assert_eq!(listed_under(stores, &owner, &category).await, kept);
    let due = TaskFilter {
        status: Some(TaskStatus::Pending),
        priority: Some(Priority::Medium),
        due_from: Some(noon()),
        due_to: Some(noon()),
        ..TaskFilter::default()
    };
    assert_eq!(filtered(stores, &owner, due).await, ["Kept"]);
}

/// As a new user has.
pub async fn a_list_of_nothing_is_an_empty_page(stores: &impl Stores) {
    let owner = user(stores).await;
    let query = TaskQuery::default();
    let page = stores.tasks().list(owner.id, &query).await.unwrap();
    assert_eq!((page.items.len(), page.total, page.pages()), (0, 0, 0));
}

/// Twenty of them.
pub async fn a_list_begins_with_the_newest_unless_told_otherwise(stores: &impl Stores) {
    let owner = user(stores).await;
    let builders = (0..21).map(|n| {
        build::task(&owner)
            .title(&format!("No. {n}"))
            .created_at(at(n))
    });
    tasks(stores, builders).await;
    let expected: Vec<String> = (1..21).rev().map(|n| format!("No. {n}")).collect();
    let first = titles(stores, &owner, &TaskQuery::default()).await;
    assert_eq!(first, (expected, 21));
}

/// Each status has its own.
pub async fn a_list_filters_by_status(stores: &impl Stores) {
    let owner = user(stores).await;
    let builders = TaskStatus::ALL.map(|s| build::task(&owner).title(s.as_str()).status(s));
    tasks(stores, builders).await;
    for status in TaskStatus::ALL {
        let filter = TaskFilter {
            status: Some(status),
            ..TaskFilter::default()
        };
        assert_eq!(filtered(stores, &owner, filter).await, [status.as_str()]);
    }
}

/// Each priority has its own.
pub async fn a_list_filters_by_priority(stores: &impl Stores) {
    let owner = user(stores).await;
    let builders = Priority::ALL.map(|p| build::task(&owner).title(p.as_str()).priority(p));
    // A title has three characters at least, and so has each name.
    tasks(stores, builders).await;
    for priority in Priority::ALL {
        let filter = TaskFilter {
            priority: Some(priority),
            ..TaskFilter::default()
        };
        assert_eq!(filtered(stores, &owner, filter).await, [priority.as_str()]);
    }
}

/// A task in two categories is found under each, once.
pub async fn a_list_filters_by_category(stores: &impl Stores) {
    let owner = user(stores).await;
    let first = category(stores, build::category(&owner)).await;
    let second = category(stores, build::category(&owner)).await;
    let empty = category(stores, build::category(&owner)).await;
    let in_both = task(stores, build::task(&owner).title("In both")).await;
    let in_second = task(stores, build::task(&owner).title("In second")).await;
    task(stores, build::task(&owner).title("In none")).await;
    assign(stores, &in_both, &first).await;
    assign(stores, &in_both, &second).await;
    assign(stores, &in_second, &second).await;
    for (category, expected) in [
        (first, vec!["In both"]),
        (second, vec!["In both", "In second"]),
        (empty, vec![]),
    ] {
        let filter = TaskFilter {
            category: Some(category.id),
            ..TaskFilter::default()
        };
        assert_eq!(filtered(stores, &owner, filter).await, expected);
    }
}

/// Although its owner has tasks there.
pub async fn a_list_by_a_foreign_category_is_empty(stores: &impl Stores) {
    let (owner, other) = (user(stores).await, user(stores).await);
    let foreign = category(stores, build::category(&other)).await;
    let theirs = task(stores, build::task(&other)).await;
    assign(stores, &theirs, &foreign).await;
    task(stores, build::task(&owner)).await;
    assert_eq!(listed_under(stores, &owner, &foreign).await, (vec![], 0));
    assert_eq!(listed_under(stores, &other, &foreign).await.1, 1);
}

/// Whether it never was or is deleted.
pub async fn a_list_by_an_unknown_category_is_empty(stores: &impl Stores) {
    let owner = user(stores).await;
    let deleted = category(stores, build::category(&owner)).await;
    let task = task(stores, build::task(&owner)).await;
    assign(stores, &task, &deleted).await;
    assert!(stores.categories().delete(deleted.id).await.unwrap());
    for category in [deleted, build::category(&owner).build()] {
        assert_eq!(listed_under(stores, &owner, &category).await, (vec![], 0));
    }
}

/// Tasks due at noon and one, two and three microseconds later, and one without a due date.
async fn due_tasks(stores: &impl Stores, owner: &User) {
    let due = |n: u64| {
        build::task(owner)
            .title(&format!("Due {n}"))
            .due(at(n))
            .created_at(at(n))
    };
    tasks(stores, (0..4).map(due)).await;
    task(stores, build::task(owner).title("Dateless")).await;
}

fn due(from: Option<Timestamp>, to: Option<Timestamp>) -> TaskFilter {
    TaskFilter {
        due_from: from,
        due_to: to,
        ..TaskFilter::default()
    }
}

/// To the microsecond; a range may be a single instant.
pub async fn a_list_filters_by_due_date_with_both_ends_included(stores: &impl Stores) {
    let owner = user(stores).await;
    due_tasks(stores, &owner).await;
    let middle = due(Some(at(1)), Some(at(2)));
    assert_eq!(filtered(stores, &owner, middle).await, ["Due 1", "Due 2"]);
    let instant = due(Some(at(2)), Some(at(2)));
    assert_eq!(filtered(stores, &owner, instant).await, ["Due 2"]);
    let outside = due(Some(at(4)), Some(at(5)));
    assert!(filtered(stores, &owner, outside).await.is_empty());
}

/// Each end may stand alone.
pub async fn a_range_open_at_one_end_takes_all_on_that_side(stores: &impl Stores) {
    let owner = user(stores).await;
    due_tasks(stores, &owner).await;
    let from = due(Some(at(2)), None);
    assert_eq!(filtered(stores, &owner, from).await, ["Due 2", "Due 3"]);
    let to = due(None, Some(at(1)));
    assert_eq!(filtered(stores, &owner, to).await, ["Due 0", "Due 1"]);
}

/// However wide the range is.
pub async fn a_range_leaves_out_tasks_without_a_due_date(stores: &impl Stores) {
    let owner = user(stores).await;
    due_tasks(stores, &owner).await;
    for range in [
        due(Some(Timestamp::MIN), Some(Timestamp::MAX)),
        due(Some(Timestamp::MIN), None),
        due(None, Some(Timestamp::MAX)),
    ] {
        assert_eq!(
            filtered(stores, &owner, range).await,
            ["Due 0", "Due 1", "Due 2", "Due 3"]
        );
    }
}

/// It is no error.
pub async fn a_range_that_ends_before_it_begins_is_empty(stores: &impl Stores) {
    let owner = user(stores).await;
    due_tasks(stores, &owner).await;
    for range in [
        due(Some(at(2)), Some(at(1))),
        due(Some(Timestamp::MAX), Some(Timestamp::MIN)),
    ] {
        assert!(filtered(stores, &owner, range).await.is_empty());
    }
}

/// A task passes if it passes each of them: every other task fails exactly one.
pub async fn filters_combine_with_and(stores: &impl Stores) {
    let owner = user(stores).await;
    let wanted = category(stores, build::category(&owner)).await;
    let right = build::task(&owner)
        .title("Right")
        .status(TaskStatus::InProgress)
        .priority(Priority::High)
        .due(at(5));
    let everywhere = [
        right.clone(),
        right
            .clone()
            .title("Wrong status")
            .status(TaskStatus::Completed),
        right
            .clone()
            .title("Wrong priority")
            .priority(Priority::Low),
        right.clone().title("Too early").due(at(3)),
        right.clone().title("Too late").due(at(7)),
        right.clone().title("Dateless").due(None),
    ];
    for builder in everywhere {
        let task = task(stores, builder.id(build::id())).await;
        assign(stores, &task, &wanted).await;
    }
    task(stores, right.title("Wrong category").id(build::id())).await;
    let filter = TaskFilter {
        status: Some(TaskStatus::InProgress),
        priority: Some(Priority::High),
        category: Some(wanted.id),
        due_from: Some(at(4)),
        due_to: Some(at(6)),
    };
    assert_eq!(filtered(stores, &owner, filter).await, ["Right"]);
}

/// To the microsecond.
pub async fn a_list_sorts_by_creation(stores: &impl Stores) {
    let owner = user(stores).await;
    let builders = [
        build::task(&owner)
            .title("Third")
            .created_at(at(2))
            .updated_at(at(2)),
        build::task(&owner)
            .title("First")
            .created_at(at(0))
            .updated_at(at(9)),
        build::task(&owner)
            .title("Second")
            .created_at(at(1))
            .updated_at(at(5)),
    ];
    tasks(stores, builders).await;
    assert_sorts(
        stores,
        &owner,
        SortBy::CreatedAt,
        &["First", "Second", "Third"],
    )
    .await;
}

/// A change moves a task to the end.
pub async fn a_list_sorts_by_last_change(stores: &impl Stores) {
    let owner = user(stores).await;
    let builders = [
        build::task(&owner)
            .title("Third")
            .created_at(at(0))
            .updated_at(at(7)),
        build::task(&owner)
            .title("First")
            .created_at(at(2))
            .updated_at(at(5)),
        build::task(&owner)
            .title("Second")
            .created_at(at(1))
            .updated_at(at(6)),
    ];
    let made = tasks(stores, builders).await;
    let by = SortBy::UpdatedAt;
    assert_sorts(stores, &owner, by, &["First", "Second", "Third"]).await;
    let first = made.get(1).unwrap();
    super::update(stores, first.id, first.version, &first.content, at(8)).await;
    assert_sorts(stores, &owner, by, &["Second", "Third", "First"]).await;
}

/// Last in either direction; among themselves by id in that direction.
pub async fn a_list_sorts_by_due_date_with_dateless_tasks_last(stores: &impl Stores) {
    let owner = user(stores).await;
    let builders = [
        build::task(&owner).title("Dateless 1"),
        build::task(&owner).title("Late").due(at(1)),
        build::task(&owner).title("Dateless 2"),
        build::task(&owner).title("Early").due(at(0)),
    ];
    tasks(stores, builders).await;
    assert_eq!(
        sorted(stores, &owner, SortBy::DueDate, SortOrder::Asc).await,
        ["Early", "Late", "Dateless 1", "Dateless 2"]
    );
    assert_eq!(
        sorted(stores, &owner, SortBy::DueDate, SortOrder::Desc).await,
        ["Late", "Early", "Dateless 2", "Dateless 1"]
    );
}

/// Not by letter, by which "high" would come before "low".
pub async fn a_list_sorts_by_rank_of_priority(stores: &impl Stores) {
    let owner = user(stores).await;
    let shuffled = [Priority::Medium, Priority::High, Priority::Low];
    let builders = shuffled.map(|p| build::task(&owner).title(p.as_str()).priority(p));
    tasks(stores, builders).await;
    assert_sorts(stores, &owner, SortBy::Priority, &["low", "medium", "high"]).await;
}

/// Capitals first, then small letters, then other letters, then emoji, as in no dictionary. The
/// last two are those that UTF-16 would swap.
pub async fn a_list_sorts_by_title_in_the_order_of_code_points(stores: &impl Stores) {
    let owner = user(stores).await;
    let ascending = [
        "Zebra",
        "apple",
        "apples",
        "zebra",
        "Ärger",
        "～～～",
        "😀😀😀",
    ];
    let builders = ascending.map(|title| build::task(&owner).title(title));
    tasks(stores, builders.into_iter().rev()).await;
    assert_sorts(stores, &owner, SortBy::Title, &ascending).await;
}

/// Whatever the tasks are sorted by, and in whatever order they were stored.
pub async fn ties_are_broken_by_id_in_the_direction_of_the_sort(stores: &impl Stores) {
    let owner = user(stores).await;
    let mut builders: Vec<TaskBuilder> = (0..5).map(|_| build::task(&owner).due(noon())).collect();
    builders.swap(0, 3);
    builders.swap(1, 4);
    let mut ascending: Vec<_> = tasks(stores, builders).await.iter().map(|t| t.id).collect();
    ascending.sort_unstable();
    for sort_by in SortBy::ALL {
        for sort_order in SortOrder::ALL {
            let query = TaskQuery {
                sort_by,
                sort_order,
                ..TaskQuery::default()
            };
            let page = stores.tasks().list(owner.id, &query).await.unwrap();
            let mut ids: Vec<_> = page.items.iter().map(|task| task.id).collect();
            if sort_order == SortOrder::Desc {
                ids.reverse();
            }
            assert_eq!(ids, ascending, "{sort_by:?} {sort_order:?}");
        }
    }
}

/// Although most tasks tie: the pages together are the list, whatever it is sorted by.
pub async fn pages_never_overlap_or_skip(stores: &impl Stores) {
    let owner = user(stores).await;
    let builder = |n: u64| {
        let due = (!n.is_multiple_of(3)).then(|| at(n % 2));
        let title = format!("Title {}", n % 2);
        build::task(&owner)
            .title(&title)
            .due(due)
            .created_at(at(n % 2))
    };
    tasks(stores, (0..11).map(builder)).await;
    for sort_by in SortBy::ALL {
        for sort_order in SortOrder::ALL {
            let mut query = TaskQuery {
                page: page(1, 100),
                sort_by,
                sort_order,
                ..TaskQuery::default()
            };
            let all = stores.tasks().list(owner.id, &query).await.unwrap();
            assert_eq!(all.items.len(), 11);
            let mut paged = Vec::new();
            for (number, length) in [(1, 3), (2, 3), (3, 3), (4, 2)] {
                query.page = page(number, 3);
                let page = stores.tasks().list(owner.id, &query).await.unwrap();
                assert_eq!(
                    (page.items.len(), page.total, page.pages()),
                    (length, 11, 4)
                );
                paged.extend(page.items);
            }
            assert_eq!(paged, all.items, "{sort_by:?} {sort_order:?}");
        }
    }
}

/// The first page past the last, and one far beyond.
pub async fn a_page_beyond_the_end_is_empty_with_the_right_total(stores: &impl Stores) {
    let owner = user(stores).await;
    tasks(stores, (0..4).map(|_| build::task(&owner))).await;
    for number in [3, 1000] {
        let query = TaskQuery {
            page: page(number, 2),
            ..TaskQuery::default()
        };
        assert_eq!(titles(stores, &owner, &query).await, (vec![], 4));
    }
}

/// Up to the greatest number that a store can skip.
pub async fn a_page_at_a_huge_offset_is_empty(stores: &impl Stores) {
    let owner = user(stores).await;
    task(stores, build::task(&owner)).await;
    let most = u64::try_from(i64::MAX).unwrap();
    for page in [page(most + 1, 1), page(most / 100 + 1, 100)] {
        assert!(page.offset() > i64::MAX - 100);
        let query = TaskQuery {
            page,
            ..TaskQuery::default()
        };
        assert_eq!(titles(stores, &owner, &query).await, (vec![], 1));
    }
}

/// On all pages, and nothing else.
pub async fn a_total_counts_what_the_filter_lets_pass(stores: &impl Stores) {
    let owner = user(stores).await;
    let builder = |n: u64| {
        let status = if n < 5 {
            TaskStatus::Completed
        } else {
            TaskStatus::Pending
        };
        build::task(&owner)
            .title(&format!("No. {n}"))
            .status(status)
            .created_at(at(n))
    };
    tasks(stores, (0..8).map(builder)).await;
    let query = TaskQuery {
        page: page(2, 2),
        filter: TaskFilter {
            status: Some(TaskStatus::Completed),
            ..TaskFilter::default()
        },
        ..TaskQuery::default()
    };
    let expected = ["No. 2", "No. 1"].map(str::to_owned).to_vec();
    assert_eq!(titles(stores, &owner, &query).await, (expected, 5));
}

/// By name, of each its own; also where the list is filtered by one of them.
pub async fn a_list_names_the_categories_of_each_task(stores: &impl Stores) {
    let owner = user(stores).await;
    let second = category(stores, build::category(&owner).name("Second")).await;
    let first = category(stores, build::category(&owner).name("First")).await;
    let in_both = task(stores, build::task(&owner).created_at(at(2))).await;
    let in_second = task(stores, build::task(&owner).created_at(at(1))).await;
    let in_none = task(stores, build::task(&owner).created_at(at(0))).await;
    let in_second = assign(stores, &in_second, &second).await;
    assign(stores, &in_both, &second).await;
    let in_both = assign(stores, &in_both, &first).await;
    assert_eq!(in_both.categories, [first.clone(), second]);

    let all = stores.tasks().list(owner.id, &TaskQuery::default()).await;
    assert_eq!(all.unwrap().items, [in_both.clone(), in_second, in_none]);
    let query = TaskQuery {
        filter: TaskFilter {
            category: Some(first.id),
            ..TaskFilter::default()
        },
        ..TaskQuery::default()
    };
    let under_first = stores.tasks().list(owner.id, &query).await;
    assert_eq!(under_first.unwrap().items, [in_both]);
}
