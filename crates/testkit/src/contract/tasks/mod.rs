//! The contract of [`TaskRepository`](tasks_domain::task::TaskRepository).

mod list;
mod model;
mod totals;

use std::time::Duration;

use tasks_domain::account::User;
use tasks_domain::category::{Category, CategoryUpdate};
use tasks_domain::clock::Timestamp;
use tasks_domain::id::Id;
use tasks_domain::task::{
    Assignment, Priority, Task, TaskContent, TaskCreation, TaskFilter, TaskQuery, TaskStatus,
    TaskUpdate, Version,
};

pub use list::*;
pub use model::list_agrees_with_a_plain_model;
pub use totals::{
    totals_agree_with_the_tasks_after_concurrent_writes,
    totals_agree_with_the_tasks_after_every_write,
};

use super::Stores;
use super::scene::{
    assign, at_once, category, count, erase, find_category, find_task, task, titles, user,
    while_erasing,
};
use crate::build;
use crate::clock::noon;

suite! { ($) task_repository_contract runs tasks on "fresh [`Stores`](crate::contract::Stores)":
    a_task_reads_back_as_it_was_created,
    a_task_reads_back_with_every_status_and_priority,
    a_task_is_found_whoevers_it_is,
    an_unknown_task_is_not_found,
    a_task_of_an_owner_who_is_gone_is_not_stored,
    creations_concurrent_with_the_end_of_the_account_leave_no_task,
    changes_concurrent_with_the_end_of_the_account_are_told,
    an_update_writes_the_content_and_raises_the_version,
    an_update_clears_what_is_absent,
    an_update_keeps_the_categories,
    an_update_of_an_older_version_changes_nothing,
    an_update_of_what_is_gone_is_told,
    concurrent_updates_of_one_version_let_one_through,
    a_deleted_task_is_gone,
    a_task_with_categories_can_be_deleted,
    concurrent_deletions_delete_once,
    an_assigned_category_shows_in_the_task,
    categories_of_a_task_come_in_the_order_of_code_points,
    assigning_twice_is_told,
    concurrent_assignments_assign_once,
    assigning_what_is_gone_is_told,
    unassigning_takes_out_one_category,
    unassigning_what_is_not_assigned_is_told,
    a_category_can_be_assigned_again,
    a_list_shows_the_owners_tasks_only,
    a_list_hides_deleted_tasks,
    a_list_of_nothing_is_an_empty_page,
    a_list_begins_with_the_newest_unless_told_otherwise,
    a_list_filters_by_status,
    a_list_filters_by_priority,
    a_list_filters_by_category,
    a_list_by_a_foreign_category_is_empty,
    a_list_by_an_unknown_category_is_empty,
    a_list_filters_by_due_date_with_both_ends_included,
    a_range_open_at_one_end_takes_all_on_that_side,
    a_range_leaves_out_tasks_without_a_due_date,
    a_range_that_ends_before_it_begins_is_empty,
    filters_combine_with_and,
    a_list_sorts_by_creation,
    a_list_sorts_by_last_change,
    a_list_sorts_by_due_date_with_dateless_tasks_last,
    a_list_sorts_by_rank_of_priority,
    a_list_sorts_by_title_in_the_order_of_code_points,
    ties_are_broken_by_id_in_the_direction_of_the_sort,
    pages_never_overlap_or_skip,
    a_page_beyond_the_end_is_empty_with_the_right_total,
    a_page_at_a_huge_offset_is_empty,
    a_total_counts_what_the_filter_lets_pass,
    a_list_names_the_categories_of_each_task,
    list_agrees_with_a_plain_model,
    totals_agree_with_the_tasks_after_every_write,
    totals_agree_with_the_tasks_after_concurrent_writes,
}

async fn update(
    stores: &impl Stores,
    id: Id<Task>,
    expected: Version,
    content: &TaskContent,
    now: Timestamp,
) -> TaskUpdate {
    let tasks = stores.tasks();
    tasks.update(id, expected, content, now).await.unwrap()
}

async fn delete(stores: &impl Stores, task: &Task) -> bool {
    stores.tasks().delete(task.id, later()).await.unwrap()
}

async fn try_assign(stores: &impl Stores, task: &Task, category: &Category) -> Assignment {
    stores.tasks().assign(task.id, category.id).await.unwrap()
}

async fn unassign(stores: &impl Stores, task: &Task, category: &Category) -> bool {
    stores.tasks().unassign(task.id, category.id).await.unwrap()
}

/// An instant after noon that only microseconds can tell.
fn later() -> Timestamp {
    noon().plus(Duration::from_micros(1_234_567))
}

/// Content that differs from a built task's in every field.
fn other_content() -> TaskContent {
    TaskContent {
        title: build::title("Something else 🦀"),
        description: Some(build::description("At length.\nIn two lines.")),
        status: TaskStatus::Completed,
        priority: Priority::High,
        due_date: Some(later()),
    }
}

/// Nothing but what must be there; every field; the longest text; the ends of time.
pub async fn a_task_reads_back_as_it_was_created(stores: &impl Stores) {
    let owner = user(stores).await;
    let long_title = "題".repeat(200);
    let long_description = "🦀\n".repeat(1000);
    for build in [
        build::task(&owner),
        build::task(&owner)
            .title("Ünï ' \" \\ % _ ; -- 😀")
            .description("日本語\r\n\ttab")
            .status(TaskStatus::InProgress)
            .priority(Priority::Low)
            .due(noon().plus(Duration::from_micros(999_999)))
            .created_at(noon().plus(Duration::from_micros(1)))
            .updated_at(later()),
        build::task(&owner)
            .title(&long_title)
            .description(&long_description),
        build::task(&owner).description("").due(Timestamp::MAX),
        build::task(&owner)
            .due(Timestamp::MIN)
            .created_at(Timestamp::MIN),
        build::task(&owner).due(Timestamp::from_unix_micros(-1)),
    ] {
        let task = task(stores, build).await;
        assert_eq!(find_task(stores, &task).await, Some(task));
    }
}

/// None is mistaken for another.
pub async fn a_task_reads_back_with_every_status_and_priority(stores: &impl Stores) {
    let owner = user(stores).await;
    for status in TaskStatus::ALL {
        for priority in Priority::ALL {
            let build = build::task(&owner).status(status).priority(priority);
            let task = task(stores, build).await;
            assert_eq!(find_task(stores, &task).await, Some(task));
        }
    }
}

/// So that a caller can be told that it is somebody else's.
pub async fn a_task_is_found_whoevers_it_is(stores: &impl Stores) {
    for owner in [user(stores).await, user(stores).await] {
        let task = task(stores, build::task(&owner)).await;
        assert_eq!(find_task(stores, &task).await.unwrap().owner, owner.id);
    }
}

/// Nothing has an id that was never stored.
pub async fn an_unknown_task_is_not_found(stores: &impl Stores) {
    let owner = user(stores).await;
    task(stores, build::task(&owner)).await;
    let unknown = build::task(&owner).build();
    assert_eq!(find_task(stores, &unknown).await, None);
}

/// Whether the account was erased or never was.
pub async fn a_task_of_an_owner_who_is_gone_is_not_stored(stores: &impl Stores) {
    let (gone, other) = (user(stores).await, user(stores).await);
    erase(stores, &gone).await;
    for owner in [gone, build::user().build()] {
        let task = build::task(&owner).build();
        let outcome = stores.tasks().create(&task).await;
        assert_eq!(outcome.unwrap(), TaskCreation::NoOwner);
        assert_eq!(find_task(stores, &task).await, None);
    }
    task(stores, build::task(&other)).await;
}

/// What comes in time goes with the account, and what comes too late is told.
pub async fn creations_concurrent_with_the_end_of_the_account_leave_no_task(stores: &impl Stores) {
    let owner = user(stores).await;
    let made = while_erasing(stores, &owner, || {
        let (tasks, made) = (
            stores.tasks(),
            [(); 5].map(|()| build::task(&owner).build()),
        );
        async move {
            for task in &made {
                tasks.create(task).await.unwrap();
            }
            made
        }
    })
    .await;
    assert_eq!(made.len(), 20);
    for task in made.as_flattened() {
        assert_eq!(find_task(stores, task).await, None);
    }
    let late = stores.tasks().create(&build::task(&owner).build()).await;
    assert_eq!(late.unwrap(), TaskCreation::NoOwner);
}

/// Whatever they find there still: the task, the category, both or neither.
pub async fn changes_concurrent_with_the_end_of_the_account_are_told(stores: &impl Stores) {
    let owner = user(stores).await;
    let task = task(stores, build::task(&owner)).await;
    let category = category(stores, build::category(&owner)).await;
    while_erasing(stores, &owner, || {
        let (tasks, categories) = (stores.tasks(), stores.categories());
        let (task, category) = (task.id, category.id);
        async move {
            tasks.assign(task, category).await.unwrap();
            categories.update(category, None, None).await.unwrap();
            tasks.unassign(task, category).await.unwrap();
            let content = other_content();
            let updated = tasks.update(task, Version::FIRST, &content, later());
            updated.await.unwrap();
        }
    })
    .await;
    let outcome = try_assign(stores, &task, &category).await;
    assert_eq!(outcome, Assignment::Gone);
    let outcome = update(stores, task.id, task.version, &other_content(), later()).await;
    assert_eq!(outcome, TaskUpdate::Gone);
    let outcome = stores.categories().update(category.id, None, None).await;
    assert_eq!(outcome.unwrap(), CategoryUpdate::Gone);
    assert!(!unassign(stores, &task, &category).await);
    assert!(!delete(stores, &task).await);
}

/// One version after the other; other tasks stay as they are.
pub async fn an_update_writes_the_content_and_raises_the_version(stores: &impl Stores) {
    let owner = user(stores).await;
    let mut expected = task(stores, build::task(&owner)).await;
    let untouched = task(stores, build::task(&owner)).await;
    let contents = [other_content(), expected.content.clone()];
    for (content, at) in contents.into_iter().zip([later(), noon()]) {
        let outcome = update(stores, expected.id, expected.version, &content, at).await;
        expected.content = content;
        expected.version = expected.version.next();
        expected.updated_at = at;
        assert_eq!(outcome, TaskUpdate::Updated(expected.clone()));
        assert_eq!(find_task(stores, &expected).await.as_ref(), Some(&expected));
    }
    assert_eq!(expected.version.get(), 3);
    assert_eq!(find_task(stores, &untouched).await, Some(untouched));
}

/// A description and a due date can be taken away.
pub async fn an_update_clears_what_is_absent(stores: &impl Stores) {
    let owner = user(stores).await;
    let build = build::task(&owner).description("Once").due(later());
    let task = task(stores, build).await;
    let content = TaskContent {
        description: None,
        due_date: None,
        ..task.content.clone()
    };
    update(stores, task.id, task.version, &content, later()).await;
    assert_eq!(find_task(stores, &task).await.unwrap().content, content);
}

/// In its answer too, by name.
pub async fn an_update_keeps_the_categories(stores: &impl Stores) {
    let owner = user(stores).await;
    let task = task(stores, build::task(&owner)).await;
    let second = category(stores, build::category(&owner).name("Second")).await;
    let first = category(stores, build::category(&owner).name("First")).await;
    assign(stores, &task, &second).await;
    assign(stores, &task, &first).await;

    let outcome = update(stores, task.id, task.version, &other_content(), later()).await;

    let TaskUpdate::Updated(updated) = outcome else {
        panic!("not updated: {outcome:?}");
    };
    assert_eq!(updated.categories, [first, second]);
    assert_eq!(find_task(stores, &task).await, Some(updated));
}

/// Nor does one of a version that is still to come. The version that it is at is told.
pub async fn an_update_of_an_older_version_changes_nothing(stores: &impl Stores) {
    let owner = user(stores).await;
    let task = task(stores, build::task(&owner)).await;
    update(stores, task.id, task.version, &other_content(), later()).await;
    let found = find_task(stores, &task).await;
    let current = Version::FIRST.next();
    for stale in [
        Version::FIRST,
        current.next(),
        Version::parse(i64::MAX).unwrap(),
    ] {
        let outcome = update(stores, task.id, stale, &task.content, noon()).await;
        assert_eq!(outcome, TaskUpdate::Conflict(current));
    }
    assert_eq!(find_task(stores, &task).await, found);
}

/// Whether it never was or is deleted, and whatever the version.
pub async fn an_update_of_what_is_gone_is_told(stores: &impl Stores) {
    let owner = user(stores).await;
    let deleted = task(stores, build::task(&owner)).await;
    assert!(delete(stores, &deleted).await);
    for id in [deleted.id, build::id()] {
        for version in [Version::FIRST, Version::FIRST.next()] {
            let outcome = update(stores, id, version, &other_content(), later()).await;
            assert_eq!(outcome, TaskUpdate::Gone);
        }
    }
}

/// The other nineteen learn the version that the task is at, and the winner's content stays.
pub async fn concurrent_updates_of_one_version_let_one_through(stores: &impl Stores) {
    let owner = user(stores).await;
    let task = task(stores, build::task(&owner)).await;
    let outcomes = at_once(20, |n| {
        let (tasks, task) = (stores.tasks(), task.clone());
        let content = TaskContent {
            title: build::title(&format!("Attempt {n}")),
            ..task.content
        };
        async move {
            let outcome = tasks.update(task.id, task.version, &content, later()).await;
            outcome.unwrap()
        }
    })
    .await;
    let conflict = TaskUpdate::Conflict(Version::FIRST.next());
    assert_eq!(count(&outcomes, |outcome| *outcome == conflict), 19);
    let found = find_task(stores, &task).await.unwrap();
    assert_eq!(found.version, Version::FIRST.next());
    let updated = TaskUpdate::Updated(found);
    assert_eq!(count(&outcomes, |outcome| *outcome == updated), 1);
}

/// It is deleted once; others stay.
pub async fn a_deleted_task_is_gone(stores: &impl Stores) {
    let owner = user(stores).await;
    let deleted = task(stores, build::task(&owner).title("Deleted")).await;
    let other = task(stores, build::task(&owner).title("Other")).await;
    let unknown = build::task(&owner).build();

    assert!(delete(stores, &deleted).await);

    assert!(!delete(stores, &deleted).await);
    assert!(!delete(stores, &unknown).await);
    assert_eq!(find_task(stores, &deleted).await, None);
    assert_eq!(find_task(stores, &other).await, Some(other));
    let all = titles(stores, &owner, &TaskQuery::default()).await;
    assert_eq!(all, (vec!["Other".to_owned()], 1));
}

/// The category stays, without the task.
pub async fn a_task_with_categories_can_be_deleted(stores: &impl Stores) {
    let owner = user(stores).await;
    let task = task(stores, build::task(&owner)).await;
    let category = category(stores, build::category(&owner)).await;
    assign(stores, &task, &category).await;

    assert!(delete(stores, &task).await);

    assert_eq!(find_task(stores, &task).await, None);
    assert_eq!(listed_under(stores, &owner, &category).await, (vec![], 0));
    assert_eq!(find_category(stores, &category).await, Some(category));
}

/// One of twenty finds it there.
pub async fn concurrent_deletions_delete_once(stores: &impl Stores) {
    let owner = user(stores).await;
    let task = task(stores, build::task(&owner)).await;
    let outcomes = at_once(20, |_| {
        let (tasks, id) = (stores.tasks(), task.id);
        async move { tasks.delete(id, later()).await.unwrap() }
    })
    .await;
    assert_eq!(count(&outcomes, |was_there| *was_there), 1);
}

async fn listed_under(
    stores: &impl Stores,
    owner: &User,
    category: &Category,
) -> (Vec<String>, u64) {
    let query = TaskQuery {
        filter: TaskFilter {
            category: Some(category.id),
            ..TaskFilter::default()
        },
        ..TaskQuery::default()
    };
    titles(stores, owner, &query).await
}

/// At once and when it is read; neither version nor time changes, nor any other task.
pub async fn an_assigned_category_shows_in_the_task(stores: &impl Stores) {
    let owner = user(stores).await;
    let task = task(stores, build::task(&owner)).await;
    let other = self::task(stores, build::task(&owner)).await;
    let category = category(stores, build::category(&owner).color("#abcdef")).await;

    let assigned = assign(stores, &task, &category).await;

    let expected = Task {
        categories: vec![category],
        ..task
    };
    assert_eq!(assigned, expected);
    assert_eq!(find_task(stores, &expected).await, Some(expected));
    assert_eq!(find_task(stores, &other).await, Some(other));
}

/// Not in the order in which they were assigned.
pub async fn categories_of_a_task_come_in_the_order_of_code_points(stores: &impl Stores) {
    let owner = user(stores).await;
    let task = task(stores, build::task(&owner)).await;
    for name in ["😀😀😀", "apple", "～～～", "Ärger", "Zebra"] {
        let category = category(stores, build::category(&owner).name(name)).await;
        assign(stores, &task, &category).await;
    }
    let found = find_task(stores, &task).await.unwrap();
    let names: Vec<&str> = found.categories.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["Zebra", "apple", "Ärger", "～～～", "😀😀😀"]);
}

/// And the task is filed there once.
pub async fn assigning_twice_is_told(stores: &impl Stores) {
    let owner = user(stores).await;
    let task = task(stores, build::task(&owner)).await;
    let category = category(stores, build::category(&owner)).await;
    let assigned = assign(stores, &task, &category).await;
    assert_eq!(
        try_assign(stores, &task, &category).await,
        Assignment::AlreadyAssigned
    );
    assert_eq!(find_task(stores, &task).await, Some(assigned));
}

/// One of twenty files it.
pub async fn concurrent_assignments_assign_once(stores: &impl Stores) {
    let owner = user(stores).await;
    let task = task(stores, build::task(&owner)).await;
    let category = category(stores, build::category(&owner)).await;
    let outcomes = at_once(20, |_| {
        let (tasks, task, category) = (stores.tasks(), task.id, category.id);
        async move { tasks.assign(task, category).await.unwrap() }
    })
    .await;
    assert_eq!(count(&outcomes, |o| *o == Assignment::AlreadyAssigned), 19);
    assert_eq!(
        count(&outcomes, |o| matches!(o, Assignment::Assigned(_))),
        1
    );
}

/// Whether one of the two never was or is deleted, also where the task was filed there before.
pub async fn assigning_what_is_gone_is_told(stores: &impl Stores) {
    let owner = user(stores).await;
    let (here, gone) = (build::task(&owner), build::task(&owner));
    let (here, gone) = (task(stores, here).await, task(stores, gone).await);
    let kept = category(stores, build::category(&owner)).await;
    let erased = category(stores, build::category(&owner)).await;
    assign(stores, &gone, &kept).await;
    assign(stores, &here, &erased).await;
    assert!(delete(stores, &gone).await);
    assert!(stores.categories().delete(erased.id).await.unwrap());
    let no_task = build::task(&owner).build();
    let no_category = build::category(&owner).build();
    for (task, category) in [
        (&gone, &kept),
        (&no_task, &kept),
        (&here, &erased),
        (&here, &no_category),
        (&gone, &erased),
    ] {
        assert_eq!(try_assign(stores, task, category).await, Assignment::Gone);
    }
    assert_eq!(find_task(stores, &here).await.unwrap().categories, []);
}

/// The others stay; neither version nor time changes.
pub async fn unassigning_takes_out_one_category(stores: &impl Stores) {
    let owner = user(stores).await;
    let task = task(stores, build::task(&owner)).await;
    let kept = category(stores, build::category(&owner)).await;
    let taken = category(stores, build::category(&owner)).await;
    let other = self::task(stores, build::task(&owner)).await;
    let other = assign(stores, &other, &taken).await;
    assign(stores, &task, &kept).await;
    assign(stores, &task, &taken).await;

    assert!(unassign(stores, &task, &taken).await);

    let expected = Task {
        categories: vec![kept],
        ..task
    };
    assert_eq!(find_task(stores, &expected).await, Some(expected));
    assert_eq!(find_task(stores, &other).await, Some(other));
}

/// Never assigned, taken out before, or one of the two gone.
pub async fn unassigning_what_is_not_assigned_is_told(stores: &impl Stores) {
    let owner = user(stores).await;
    let task = task(stores, build::task(&owner)).await;
    let assigned = category(stores, build::category(&owner)).await;
    let never = category(stores, build::category(&owner)).await;
    assign(stores, &task, &assigned).await;
    assert!(!unassign(stores, &task, &never).await);
    assert!(!unassign(stores, &task, &build::category(&owner).build()).await);
    assert!(!unassign(stores, &build::task(&owner).build(), &assigned).await);
    assert!(unassign(stores, &task, &assigned).await);
    assert!(!unassign(stores, &task, &assigned).await);

    let erased = category(stores, build::category(&owner)).await;
    assign(stores, &task, &erased).await;
    assert!(stores.categories().delete(erased.id).await.unwrap());
    assert!(!unassign(stores, &task, &erased).await);

    let deleted = self::task(stores, build::task(&owner)).await;
    assign(stores, &deleted, &assigned).await;
    assert!(delete(stores, &deleted).await);
    assert!(!unassign(stores, &deleted, &assigned).await);
}

/// After it was taken out.
pub async fn a_category_can_be_assigned_again(stores: &impl Stores) {
    let owner = user(stores).await;
    let task = task(stores, build::task(&owner)).await;
    let category = category(stores, build::category(&owner)).await;
    let first = assign(stores, &task, &category).await;
    assert!(unassign(stores, &task, &category).await);
    assert_eq!(assign(stores, &task, &category).await, first);
}
