//! The contract of [`CategoryRepository`](tasks_domain::category::CategoryRepository).

use std::time::Duration;

use tasks_domain::account::User;
use tasks_domain::category::{Category, CategoryCreation, CategoryName, CategoryUpdate, Color};
use tasks_domain::id::Id;
use tasks_domain::task::{TaskFilter, TaskQuery};

use super::Stores;
use super::scene::{
    assign, at_once, category, count, erase, find_category, find_task, task, titles, user,
    while_erasing,
};
use crate::build;
use crate::clock::noon;

suite! { ($) category_repository_contract runs categories on "fresh [`Stores`](crate::contract::Stores)":
    a_category_reads_back_as_it_was_created,
    an_unknown_category_is_not_found,
    a_taken_name_stores_nothing,
    a_category_of_an_owner_who_is_gone_is_not_stored,
    creations_concurrent_with_the_end_of_the_account_leave_no_category,
    names_that_differ_in_case_are_two,
    two_owners_may_use_one_name,
    concurrent_creations_of_one_name_let_one_in,
    a_list_is_the_owners_in_the_order_of_code_points,
    an_owner_without_categories_has_an_empty_list,
    an_update_changes_what_is_given,
    an_update_to_a_taken_name_changes_nothing,
    an_update_may_repeat_its_own_name,
    an_update_may_take_a_name_of_another_owner,
    an_update_sets_the_old_name_free,
    an_update_of_what_is_gone_is_told,
    concurrent_updates_to_one_name_let_one_through,
    an_update_shows_in_the_tasks,
    a_deleted_category_is_gone,
    deleting_sets_the_name_free,
    deleting_takes_its_assignments_and_leaves_its_tasks,
}

async fn list(stores: &impl Stores, owner: &User) -> Vec<Category> {
    stores.categories().list(owner.id).await.unwrap()
}

async fn create(stores: &impl Stores, category: &Category) -> CategoryCreation {
    stores.categories().create(category).await.unwrap()
}

async fn update(
    stores: &impl Stores,
    id: Id<Category>,
    name: Option<CategoryName>,
    color: Option<Color>,
) -> CategoryUpdate {
    stores.categories().update(id, name, color).await.unwrap()
}

async fn delete(stores: &impl Stores, category: &Category) -> bool {
    stores.categories().delete(category.id).await.unwrap()
}

/// Every field, the colour as it was given, the time to the microsecond.
pub async fn a_category_reads_back_as_it_was_created(stores: &impl Stores) {
    let owner = user(stores).await;
    let at = noon().plus(Duration::from_micros(987_654));
    let long = "名".repeat(50);
    for build in [
        build::category(&owner),
        build::category(&owner)
            .name("Büro 🏢 λ")
            .color("#aBcDeF")
            .created_at(at),
        build::category(&owner).name(&long),
    ] {
        let category = category(stores, build).await;
        assert_eq!(find_category(stores, &category).await, Some(category));
    }
}

/// Nothing has an id that was never stored.
pub async fn an_unknown_category_is_not_found(stores: &impl Stores) {
    let owner = user(stores).await;
    category(stores, build::category(&owner)).await;
    let unknown = build::category(&owner).build();
    assert_eq!(find_category(stores, &unknown).await, None);
}

/// The first one stays.
pub async fn a_taken_name_stores_nothing(stores: &impl Stores) {
    let owner = user(stores).await;
    let first = category(stores, build::category(&owner).name("Work")).await;
    let second = build::category(&owner)
        .name("Work")
        .color("#000000")
        .build();
    assert_eq!(create(stores, &second).await, CategoryCreation::NameTaken);
    assert_eq!(find_category(stores, &second).await, None);
    assert_eq!(list(stores, &owner).await, [first]);
}

/// Whether the account was erased or never was, and whether it had one of the name or not.
pub async fn a_category_of_an_owner_who_is_gone_is_not_stored(stores: &impl Stores) {
    let (gone, other) = (user(stores).await, user(stores).await);
    category(stores, build::category(&gone).name("Work")).await;
    erase(stores, &gone).await;
    for owner in [gone, build::user().build()] {
        let category = build::category(&owner).name("Work").build();
        let outcome = create(stores, &category).await;
        assert_eq!(outcome, CategoryCreation::NoOwner);
        assert_eq!(find_category(stores, &category).await, None);
    }
    category(stores, build::category(&other).name("Work")).await;
}

/// What comes in time goes with the account, and what comes too late is told.
pub async fn creations_concurrent_with_the_end_of_the_account_leave_no_category(
    stores: &impl Stores,
) {
    let owner = user(stores).await;
    let made = while_erasing(stores, &owner, || {
        let categories = stores.categories();
        let made = [(); 5].map(|()| build::category(&owner).build());
        async move {
            for category in &made {
                let outcome = categories.create(category).await.unwrap();
                assert_ne!(outcome, CategoryCreation::NameTaken);
            }
            made
        }
    })
    .await;
    assert_eq!(made.len(), 20);
    for category in made.as_flattened() {
        assert_eq!(find_category(stores, category).await, None);
    }
    let late = create(stores, &build::category(&owner).build()).await;
    assert_eq!(late, CategoryCreation::NoOwner);
}

/// Of letters of any alphabet.
pub async fn names_that_differ_in_case_are_two(stores: &impl Stores) {
    let owner = user(stores).await;
    for name in ["Work", "work", "ÄRGER", "ärger"] {
        category(stores, build::category(&owner).name(name)).await;
    }
    assert_eq!(list(stores, &owner).await.len(), 4);
}

/// A name is unique among one owner's only.
pub async fn two_owners_may_use_one_name(stores: &impl Stores) {
    for owner in [user(stores).await, user(stores).await] {
        let own = category(stores, build::category(&owner).name("Work")).await;
        assert_eq!(list(stores, &owner).await, [own]);
    }
}

/// One of twenty is stored.
pub async fn concurrent_creations_of_one_name_let_one_in(stores: &impl Stores) {
    let owner = user(stores).await;
    let outcomes = at_once(20, |_| {
        let categories = stores.categories();
        let category = build::category(&owner).name("Work").build();
        async move { categories.create(&category).await.unwrap() }
    })
    .await;
    assert_eq!(
        count(&outcomes, |outcome| *outcome == CategoryCreation::Created),
        1
    );
    assert_eq!(list(stores, &owner).await.len(), 1);
}

/// Capitals first, then small letters, then other letters, then emoji.
pub async fn a_list_is_the_owners_in_the_order_of_code_points(stores: &impl Stores) {
    let (owner, other) = (user(stores).await, user(stores).await);
    category(stores, build::category(&other).name("Foreign")).await;
    let mut expected = Vec::new();
    let sorted = [
        "Zebra",
        "apple",
        "apples",
        "zebra",
        "Ärger",
        "～～～",
        "😀😀😀",
    ];
    for name in sorted {
        expected.push(build::category(&owner).name(name));
    }
    for build in expected.iter().rev() {
        category(stores, build.clone()).await;
    }
    let expected: Vec<Category> = expected
        .into_iter()
        .map(build::CategoryBuilder::build)
        .collect();
    assert_eq!(list(stores, &owner).await, expected);
}

/// As a new user has.
pub async fn an_owner_without_categories_has_an_empty_list(stores: &impl Stores) {
    let owner = user(stores).await;
    assert_eq!(list(stores, &owner).await, []);
}

/// One of the two, both or neither; the rest stays as it is.
pub async fn an_update_changes_what_is_given(stores: &impl Stores) {
    let owner = user(stores).await;
    let mut expected = category(stores, build::category(&owner).name("Before")).await;
    let untouched = category(stores, build::category(&owner)).await;
    for (name, color) in [
        (None, None),
        (Some("After ✅"), None),
        (None, Some("#00ff00")),
        (Some("At last"), Some("#FF0000")),
    ] {
        let (name, color) = (name.map(build::category_name), color.map(build::color));
        let outcome = update(stores, expected.id, name.clone(), color.clone()).await;
        expected.name = name.unwrap_or(expected.name);
        expected.color = color.unwrap_or(expected.color);
        assert_eq!(outcome, CategoryUpdate::Updated(expected.clone()));
        assert_eq!(
            find_category(stores, &expected).await.as_ref(),
            Some(&expected)
        );
    }
    assert_eq!(find_category(stores, &untouched).await, Some(untouched));
}

/// The colour stays too.
pub async fn an_update_to_a_taken_name_changes_nothing(stores: &impl Stores) {
    let owner = user(stores).await;
    category(stores, build::category(&owner).name("Taken")).await;
    let other = category(stores, build::category(&owner)).await;
    let name = Some(build::category_name("Taken"));
    let outcome = update(stores, other.id, name, Some(build::color("#123456"))).await;
    assert_eq!(outcome, CategoryUpdate::NameTaken);
    assert_eq!(find_category(stores, &other).await, Some(other));
}

/// A client that sends the whole object back is no rival of itself.
pub async fn an_update_may_repeat_its_own_name(stores: &impl Stores) {
    let owner = user(stores).await;
    let own = category(stores, build::category(&owner)).await;
    let outcome = update(stores, own.id, Some(own.name.clone()), None).await;
    assert_eq!(outcome, CategoryUpdate::Updated(own));
}

/// A name is unique among one owner's only.
pub async fn an_update_may_take_a_name_of_another_owner(stores: &impl Stores) {
    let (owner, other) = (user(stores).await, user(stores).await);
    let foreign = category(stores, build::category(&other)).await;
    let mut own = category(stores, build::category(&owner)).await;
    let outcome = update(stores, own.id, Some(foreign.name.clone()), None).await;
    own.name = foreign.name;
    assert_eq!(outcome, CategoryUpdate::Updated(own));
}

/// For the next one.
pub async fn an_update_sets_the_old_name_free(stores: &impl Stores) {
    let owner = user(stores).await;
    let first = category(stores, build::category(&owner).name("Work")).await;
    update(stores, first.id, Some(build::category_name("Play")), None).await;
    category(stores, build::category(&owner).name("Work")).await;
}

/// Whether it never was or is deleted, and whether the name is taken or not.
pub async fn an_update_of_what_is_gone_is_told(stores: &impl Stores) {
    let owner = user(stores).await;
    let taken = category(stores, build::category(&owner)).await;
    let deleted = category(stores, build::category(&owner)).await;
    assert!(delete(stores, &deleted).await);
    for id in [deleted.id, build::id()] {
        for name in [None, Some(taken.name.clone())] {
            assert_eq!(update(stores, id, name, None).await, CategoryUpdate::Gone);
        }
    }
}

/// Of ten categories that want one name one gets it.
pub async fn concurrent_updates_to_one_name_let_one_through(stores: &impl Stores) {
    let owner = user(stores).await;
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(category(stores, build::category(&owner)).await.id);
    }
    let outcomes = at_once(ids.len(), |n| {
        let (categories, id) = (stores.categories(), *ids.get(n).unwrap());
        let name = Some(build::category_name("Wanted"));
        async move { categories.update(id, name, None).await.unwrap() }
    })
    .await;
    assert_eq!(
        count(&outcomes, |o| matches!(o, CategoryUpdate::Updated(_))),
        1
    );
    assert_eq!(count(&outcomes, |o| *o == CategoryUpdate::NameTaken), 9);
}

/// They name their categories as these are now, and sort them anew.
pub async fn an_update_shows_in_the_tasks(stores: &impl Stores) {
    let owner = user(stores).await;
    let first = category(stores, build::category(&owner).name("Aaa")).await;
    let second = category(stores, build::category(&owner).name("Bbb")).await;
    let task = task(stores, build::task(&owner)).await;
    assign(stores, &task, &first).await;
    let filed = assign(stores, &task, &second).await;

    let outcome = update(stores, first.id, Some(build::category_name("Ccc")), None).await;

    let CategoryUpdate::Updated(first) = outcome else {
        panic!("not updated: {outcome:?}");
    };
    let found = find_task(stores, &task).await.unwrap();
    assert_eq!(found.categories, [second, first]);
    assert_eq!(found.updated_at, filed.updated_at);
}

/// It is deleted once; others stay.
pub async fn a_deleted_category_is_gone(stores: &impl Stores) {
    let owner = user(stores).await;
    let deleted = category(stores, build::category(&owner)).await;
    let other = category(stores, build::category(&owner)).await;
    assert!(delete(stores, &deleted).await);
    assert!(!delete(stores, &deleted).await);
    assert_eq!(find_category(stores, &deleted).await, None);
    assert_eq!(list(stores, &owner).await, [other]);
}

/// For the next one.
pub async fn deleting_sets_the_name_free(stores: &impl Stores) {
    let owner = user(stores).await;
    let first = category(stores, build::category(&owner).name("Work")).await;
    assert!(delete(stores, &first).await);
    category(stores, build::category(&owner).name("Work")).await;
}

/// The tasks stay in their other categories; version and time do not change.
pub async fn deleting_takes_its_assignments_and_leaves_its_tasks(stores: &impl Stores) {
    let owner = user(stores).await;
    let deleted = category(stores, build::category(&owner)).await;
    let kept = category(stores, build::category(&owner)).await;
    let task = task(stores, build::task(&owner)).await;
    assign(stores, &task, &deleted).await;
    let mut expected = assign(stores, &task, &kept).await;

    assert!(delete(stores, &deleted).await);

    expected.categories = vec![kept];
    assert_eq!(find_task(stores, &task).await.as_ref(), Some(&expected));
    let in_deleted = TaskQuery {
        filter: TaskFilter {
            category: Some(deleted.id),
            ..TaskFilter::default()
        },
        ..TaskQuery::default()
    };
    assert_eq!(titles(stores, &owner, &in_deleted).await, (vec![], 0));
    let all = titles(stores, &owner, &TaskQuery::default()).await;
    assert_eq!(all, (vec![expected.content.title.into_string()], 1));
}
