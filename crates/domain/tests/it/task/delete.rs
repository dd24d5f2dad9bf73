//! R069.

use tasks_domain::access::AccessError;
use tasks_domain::task::DeleteTaskError;
use tasks_testkit::build;
use tasks_testkit::clock::noon;

use super::{Ports, none};
use crate::unavailable;

#[tokio::test]
async fn a_task_of_the_callers_is_deleted_now() {
    let caller = build::user().build();
    let task = build::task(&caller).build();
    let mut ports = Ports::finding(Some(&task));
    ports
        .tasks
        .expect_delete()
        .once()
        .withf(move |id, now| (*id, *now) == (task.id, noon()))
        .returning(|_, _| Ok(true));
    assert!(ports.service().delete(&caller, task.id).await.is_ok());
}

#[tokio::test]
async fn somebody_elses_task_is_not_deleted() {
    let task = build::task(&build::user().build()).build();
    let other = build::user().build();
    let refused = Ports::finding(Some(&task))
        .service()
        .delete(&other, task.id)
        .await;
    assert!(matches!(
        refused,
        Err(DeleteTaskError::Access(AccessError::Forbidden))
    ));
}

#[tokio::test]
async fn no_task_and_a_deleted_one_are_not_found() {
    let refused = Ports::finding(None)
        .service()
        .delete(&build::user().build(), none())
        .await;
    assert!(matches!(
        refused,
        Err(DeleteTaskError::Access(AccessError::NotFound))
    ));
}

#[tokio::test]
async fn of_two_deletions_at_once_the_second_does_not_find_the_task() {
    let caller = build::user().build();
    let task = build::task(&caller).build();
    let mut ports = Ports::finding(Some(&task));
    ports.tasks.expect_delete().returning(|_, _| Ok(false));
    let refused = ports.service().delete(&caller, task.id).await;
    assert!(matches!(
        refused,
        Err(DeleteTaskError::Access(AccessError::NotFound))
    ));
}

#[tokio::test]
async fn a_store_that_fails_is_an_error_at_each_step() {
    let caller = build::user().build();
    let task = build::task(&caller).build();
    let mut at_lookup = Ports::default();
    at_lookup
        .tasks
        .expect_find()
        .returning(|_| Err(unavailable()));
    let mut at_deletion = Ports::finding(Some(&task));
    at_deletion
        .tasks
        .expect_delete()
        .returning(|_, _| Err(unavailable()));
    for ports in [at_lookup, at_deletion] {
        let failed = ports.service().delete(&caller, task.id).await;
        assert!(matches!(failed, Err(DeleteTaskError::Store(_))));
    }
}
