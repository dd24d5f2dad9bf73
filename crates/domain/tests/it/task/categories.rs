//! R083.

use tasks_domain::access::AccessError;
use tasks_domain::account::User;
use tasks_domain::category::Category;
use tasks_domain::task::{AssignCategoryError, Assignment, Task, UnassignCategoryError};
use tasks_testkit::build;

use super::{Ports, none};
use crate::unavailable;

fn own() -> (User, Task, Category) {
    let caller = build::user().build();
    let task = build::task(&caller).build();
    let category = build::category(&caller).build();
    (caller, task, category)
}

fn finding_both(task: &Task, category: &Category) -> Ports {
    Ports::finding(Some(task)).and_category(Some(category))
}

#[tokio::test]
async fn a_task_of_the_callers_is_filed_under_a_category_of_the_callers() {
    let (caller, task, category) = own();
    let mut ports = finding_both(&task, &category);
    let filed = Task {
        categories: vec![category.clone()],
        ..task.clone()
    };
    let answer = Assignment::Assigned(filed.clone());
    let ids = (task.id, category.id);
    ports
        .tasks
        .expect_assign()
        .once()
        .withf(move |task, category| (*task, *category) == ids)
        .return_once(|_, _| Ok(answer));
    let assigned = ports
        .service()
        .assign_category(&caller, task.id, category.id)
        .await;
    assert_eq!(assigned.unwrap(), filed);
}

#[tokio::test]
async fn a_task_is_filed_once() {
    let (caller, task, category) = own();
    let mut ports = finding_both(&task, &category);
    ports
        .tasks
        .expect_assign()
        .returning(|_, _| Ok(Assignment::AlreadyAssigned));
    let refused = ports
        .service()
        .assign_category(&caller, task.id, category.id)
        .await;
    assert!(matches!(refused, Err(AssignCategoryError::AlreadyAssigned)));
}

#[tokio::test]
async fn what_went_since_the_lookup_is_not_found() {
    let (caller, task, category) = own();
    let mut ports = finding_both(&task, &category);
    ports
        .tasks
        .expect_assign()
        .returning(|_, _| Ok(Assignment::Gone));
    let refused = ports
        .service()
        .assign_category(&caller, task.id, category.id)
        .await;
    assert!(matches!(
        refused,
        Err(AssignCategoryError::Access(AccessError::NotFound))
    ));
}

#[tokio::test]
async fn a_task_of_the_callers_is_taken_out_of_a_category() {
    let (caller, task, category) = own();
    let mut ports = finding_both(&task, &category);
    let ids = (task.id, category.id);
    ports
        .tasks
        .expect_unassign()
        .once()
        .withf(move |task, category| (*task, *category) == ids)
        .returning(|_, _| Ok(true));
    assert!(
        ports
            .service()
            .unassign_category(&caller, task.id, category.id)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_task_that_is_not_filed_there_is_not_found_there() {
    let (caller, task, category) = own();
    let mut ports = finding_both(&task, &category);
    ports.tasks.expect_unassign().returning(|_, _| Ok(false));
    let refused = ports
        .service()
        .unassign_category(&caller, task.id, category.id)
        .await;
    assert!(matches!(
        refused,
        Err(UnassignCategoryError::Access(AccessError::NotFound))
    ));
}

/// Both ways, the task before the category, and without a write.
#[tokio::test]
async fn both_have_to_be_there_and_the_callers() {
    let (caller, task, category) = own();
    let other = build::user().build();
    let (foreign_task, foreign_category) =
        (build::task(&other).build(), build::category(&other).build());
    for (found_task, found_category, expected) in [
        (None, None, AccessError::NotFound),
        (Some(&foreign_task), None, AccessError::Forbidden),
        (Some(&task), Some(None), AccessError::NotFound),
        (
            Some(&task),
            Some(Some(&foreign_category)),
            AccessError::Forbidden,
        ),
    ] {
        let ports = || match found_category {
            // The category is not even looked up.
            None => Ports::finding(found_task),
            Some(found_category) => Ports::finding(found_task).and_category(found_category),
        };
        let refused = ports()
            .service()
            .assign_category(&caller, task.id, category.id)
            .await;
        let Err(AssignCategoryError::Access(refused)) = refused else {
            panic!("not refused: {refused:?}");
        };
        assert_eq!(refused, expected);
        let refused = ports()
            .service()
            .unassign_category(&caller, task.id, category.id)
            .await;
        let Err(UnassignCategoryError::Access(refused)) = refused else {
            panic!("not refused: {refused:?}");
        };
        assert_eq!(refused, expected);
    }
}

#[tokio::test]
async fn a_store_that_fails_is_an_error_at_each_step() {
    let (caller, task, category) = own();
    let at_task = || {
        let mut ports = Ports::default();
        ports.tasks.expect_find().returning(|_| Err(unavailable()));
        ports
    };
    let at_category = || {
        let mut ports = Ports::finding(Some(&task));
        ports
            .categories
            .expect_find()
            .returning(|_| Err(unavailable()));
        ports
    };
    let at_writing = || {
        let mut ports = finding_both(&task, &category);
        ports
            .tasks
            .expect_assign()
            .returning(|_, _| Err(unavailable()));
        ports
            .tasks
            .expect_unassign()
            .returning(|_, _| Err(unavailable()));
        ports
    };
    for ports in [at_task(), at_category(), at_writing()] {
        let failed = ports
            .service()
            .assign_category(&caller, none(), none())
            .await;
        assert!(matches!(failed, Err(AssignCategoryError::Store(_))));
    }
    for ports in [at_task(), at_category(), at_writing()] {
        let failed = ports
            .service()
            .unassign_category(&caller, none(), none())
            .await;
        assert!(matches!(failed, Err(UnassignCategoryError::Store(_))));
    }
}
