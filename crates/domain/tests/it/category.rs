//! R076.

use std::sync::Arc;

use tasks_domain::access::AccessError;
use tasks_domain::category::{
    Category, CategoryCreation, CategoryService, CategoryUpdate, CreateCategory,
    CreateCategoryError, DeleteCategoryError, EditCategory, EditCategoryError, GetCategoryError,
    ListCategoriesError, MockCategoryRepository,
};
use tasks_testkit::build;
use tasks_testkit::clock::{FrozenClock, noon};
use tasks_testkit::ids::SequentialIds;

use crate::unavailable;

fn service(categories: MockCategoryRepository) -> CategoryService {
    CategoryService::new(
        Arc::new(categories),
        Arc::new(FrozenClock::at_noon()),
        Arc::new(SequentialIds::default()),
    )
}

/// A store in which a lookup finds this. It refuses every other call.
fn finding(category: Option<&Category>) -> MockCategoryRepository {
    let mut categories = MockCategoryRepository::new();
    let category = category.cloned();
    categories
        .expect_find()
        .once()
        .return_once(|_| Ok(category));
    categories
}

fn work(color: Option<&str>) -> CreateCategory {
    CreateCategory {
        name: build::category_name("Work"),
        color: color.map(build::color),
    }
}

#[tokio::test]
async fn a_category_is_stored_as_it_is_answered_with_a_default_colour() {
    let caller = build::user().build();
    for (given, expected) in [(None, "#6366F1"), (Some("#abCDef"), "#abCDef")] {
        let mut categories = MockCategoryRepository::new();
        let (sender, stored) = std::sync::mpsc::channel();
        categories
            .expect_create()
            .once()
            .returning(move |category| {
                sender.send(category.clone()).unwrap();
                Ok(CategoryCreation::Created)
            });

        let category = service(categories)
            .create(&caller, work(given))
            .await
            .unwrap();

        assert_eq!(stored.recv().unwrap(), category);
        let expected = Category {
            id: category.id,
            owner: caller.id,
            name: build::category_name("Work"),
            color: build::color(expected),
            created_at: noon(),
        };
        assert_eq!(category, expected);
    }
}

#[tokio::test]
async fn a_taken_name_is_refused() {
    let caller = build::user().build();
    let mut categories = MockCategoryRepository::new();
    categories
        .expect_create()
        .returning(|_| Ok(CategoryCreation::NameTaken));
    let refused = service(categories).create(&caller, work(None)).await;
    assert!(matches!(refused, Err(CreateCategoryError::NameTaken)));

    let own = build::category(&caller).build();
    let mut categories = finding(Some(&own));
    categories
        .expect_update()
        .returning(|_, _, _| Ok(CategoryUpdate::NameTaken));
    let refused = service(categories)
        .edit(&caller, own.id, EditCategory::default())
        .await;
    assert!(matches!(refused, Err(EditCategoryError::NameTaken)));
}

/// The caller may be known from a cache still.
#[tokio::test]
async fn a_caller_whose_account_is_gone_is_told() {
    let mut categories = MockCategoryRepository::new();
    categories
        .expect_create()
        .once()
        .returning(|_| Ok(CategoryCreation::NoOwner));
    let caller = build::user().build();
    let refused = service(categories).create(&caller, work(None)).await;
    assert!(matches!(refused, Err(CreateCategoryError::OwnerGone)));
}

#[tokio::test]
async fn a_list_is_the_callers() {
    let caller = build::user().build();
    let all = vec![
        build::category(&caller).build(),
        build::category(&caller).build(),
    ];
    let mut categories = MockCategoryRepository::new();
    let (owner, answer) = (caller.id, all.clone());
    categories
        .expect_list()
        .once()
        .withf(move |user| *user == owner)
        .return_once(|_| Ok(answer));
    assert_eq!(service(categories).list(&caller).await.unwrap(), all);
}

#[tokio::test]
async fn a_category_is_shown_to_its_owner() {
    let caller = build::user().build();
    let own = build::category(&caller).build();
    let shown = service(finding(Some(&own))).get(&caller, own.id).await;
    assert_eq!(shown.unwrap(), own);
}

#[tokio::test]
async fn an_edit_passes_on_what_is_given() {
    let caller = build::user().build();
    let own = build::category(&caller).build();
    for (name, color) in [
        (None, None),
        (Some("Play"), None),
        (None, Some("#000000")),
        (Some("Play"), Some("#000000")),
    ] {
        let (name, color) = (name.map(build::category_name), color.map(build::color));
        let command = EditCategory {
            name: name.clone(),
            color: color.clone(),
        };
        let edited = Category {
            name: name.clone().unwrap_or(own.name.clone()),
            color: color.clone().unwrap_or(own.color.clone()),
            ..own.clone()
        };
        let mut categories = finding(Some(&own));
        let (id, answer) = (own.id, CategoryUpdate::Updated(edited.clone()));
        categories
            .expect_update()
            .once()
            .withf(move |given, n, c| (*given, n, c) == (id, &name, &color))
            .return_once(|_, _, _| Ok(answer));
        let outcome = service(categories).edit(&caller, own.id, command).await;
        assert_eq!(outcome.unwrap(), edited);
    }
}

#[tokio::test]
async fn a_category_of_the_callers_is_deleted() {
    let caller = build::user().build();
    let own = build::category(&caller).build();
    let mut categories = finding(Some(&own));
    categories
        .expect_delete()
        .once()
        .withf(move |id| *id == own.id)
        .returning(|_| Ok(true));
    assert!(service(categories).delete(&caller, own.id).await.is_ok());
}

/// Nothing is written.
#[tokio::test]
async fn a_category_has_to_be_there_and_the_callers() {
    let (caller, other) = (build::user().build(), build::user().build());
    let foreign = build::category(&other).build();
    let id = foreign.id;
    for (found, expected) in [
        (None, AccessError::NotFound),
        (Some(&foreign), AccessError::Forbidden),
    ] {
        let got = service(finding(found)).get(&caller, id).await;
        assert!(matches!(got, Err(GetCategoryError::Access(error)) if error == expected));
        let edited = service(finding(found))
            .edit(&caller, id, EditCategory::default())
            .await;
        assert!(matches!(edited, Err(EditCategoryError::Access(error)) if error == expected));
        let deleted = service(finding(found)).delete(&caller, id).await;
        assert!(matches!(deleted, Err(DeleteCategoryError::Access(error)) if error == expected));
    }
}

#[tokio::test]
async fn what_went_since_the_lookup_is_not_found() {
    let caller = build::user().build();
    let own = build::category(&caller).build();
    let mut categories = finding(Some(&own));
    categories
        .expect_update()
        .returning(|_, _, _| Ok(CategoryUpdate::Gone));
    let edited = service(categories)
        .edit(&caller, own.id, EditCategory::default())
        .await;
    assert!(matches!(
        edited,
        Err(EditCategoryError::Access(AccessError::NotFound))
    ));
    let mut categories = finding(Some(&own));
    categories.expect_delete().returning(|_| Ok(false));
    let deleted = service(categories).delete(&caller, own.id).await;
    assert!(matches!(
        deleted,
        Err(DeleteCategoryError::Access(AccessError::NotFound))
    ));
}

#[tokio::test]
async fn a_store_that_fails_is_an_error_at_each_step() {
    let caller = build::user().build();
    let own = build::category(&caller).build();
    let failing = |found: bool| {
        let mut categories = if found {
            finding(Some(&own))
        } else {
            MockCategoryRepository::new()
        };
        if !found {
            categories.expect_find().returning(|_| Err(unavailable()));
        }
        categories.expect_create().returning(|_| Err(unavailable()));
        categories.expect_list().returning(|_| Err(unavailable()));
        categories
            .expect_update()
            .returning(|_, _, _| Err(unavailable()));
        categories.expect_delete().returning(|_| Err(unavailable()));
        service(categories)
    };
    let created = failing(false).create(&caller, work(None)).await;
    assert!(matches!(created, Err(CreateCategoryError::Store(_))));
    let listed = failing(false).list(&caller).await;
    assert!(matches!(listed, Err(ListCategoriesError::Store(_))));
    let got = failing(false).get(&caller, own.id).await;
    assert!(matches!(got, Err(GetCategoryError::Store(_))));
    for found in [false, true] {
        let edited = failing(found)
            .edit(&caller, own.id, EditCategory::default())
            .await;
        assert!(matches!(edited, Err(EditCategoryError::Store(_))));
        let deleted = failing(found).delete(&caller, own.id).await;
        assert!(matches!(deleted, Err(DeleteCategoryError::Store(_))));
    }
}
