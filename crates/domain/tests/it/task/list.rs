//! R057, and reading one task.

use tasks_domain::access::AccessError;
use tasks_domain::page::{Page, PageRequest};
use tasks_domain::task::{
    GetTaskError, ListTasksError, Priority, SortBy, SortOrder, TaskFilter, TaskQuery, TaskStatus,
};
use tasks_testkit::build;
use tasks_testkit::clock::{just_after, noon};

use super::{Ports, none};
use crate::unavailable;

#[tokio::test]
async fn a_list_asks_for_the_callers_tasks_exactly_as_it_was_asked() {
    let caller = build::user().build();
    let query = TaskQuery {
        page: PageRequest::new(2, 1).unwrap(),
        filter: TaskFilter {
            status: Some(TaskStatus::Pending),
            priority: Some(Priority::High),
            category: Some(build::id()),
            due_from: Some(noon()),
            due_to: Some(just_after(noon())),
        },
        sort_by: SortBy::Title,
        sort_order: SortOrder::Asc,
    };
    let page = Page {
        items: vec![build::task(&caller).build()],
        total: 2,
        request: query.page,
    };
    let mut ports = Ports::default();
    let (owner, asked, answer) = (caller.id, query.clone(), page.clone());
    ports
        .tasks
        .expect_list()
        .once()
        .withf(move |user, query| *user == owner && *query == asked)
        .return_once(|_, _| Ok(answer));
    let listed = ports.service().list(&caller, &query).await.unwrap();
    assert_eq!(listed, page);
    assert_eq!(listed.pages(), 2);
}

#[test]
fn a_list_begins_with_the_newest_twenty_unless_told_otherwise() {
    let query = TaskQuery::default();
    assert_eq!(
        (query.sort_by, query.sort_order),
        (SortBy::CreatedAt, SortOrder::Desc)
    );
    assert_eq!((query.page.number(), query.page.limit()), (1, 20));
    assert_eq!(query.filter, TaskFilter::default());
}

#[tokio::test]
async fn a_list_of_a_store_that_fails_is_an_error() {
    let mut ports = Ports::default();
    ports
        .tasks
        .expect_list()
        .returning(|_, _| Err(unavailable()));
    let caller = build::user().build();
    let failed = ports.service().list(&caller, &TaskQuery::default()).await;
    assert!(matches!(failed, Err(ListTasksError::Store(_))));
}

#[tokio::test]
async fn a_task_is_shown_to_its_owner_only() {
    let (owner, other) = (build::user().build(), build::user().build());
    let task = build::task(&owner).build();
    let shown = Ports::finding(Some(&task))
        .service()
        .get(&owner, task.id)
        .await;
    assert_eq!(shown.unwrap(), task);
    let refused = Ports::finding(Some(&task))
        .service()
        .get(&other, task.id)
        .await;
    assert!(matches!(
        refused,
        Err(GetTaskError::Access(AccessError::Forbidden))
    ));
    let refused = Ports::finding(None).service().get(&owner, none()).await;
    assert!(matches!(
        refused,
        Err(GetTaskError::Access(AccessError::NotFound))
    ));
}

#[tokio::test]
async fn a_task_of_a_store_that_fails_is_an_error() {
    let mut ports = Ports::default();
    ports.tasks.expect_find().returning(|_| Err(unavailable()));
    let failed = ports.service().get(&build::user().build(), none()).await;
    assert!(matches!(failed, Err(GetTaskError::Store(_))));
}
