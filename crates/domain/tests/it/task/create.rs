//! R050.

use tasks_domain::clock::Timestamp;
use tasks_domain::task::{
    CreateTask, CreateTaskError, Priority, TaskCreation, TaskStatus, Version,
};
use tasks_testkit::build;
use tasks_testkit::clock::{just_after, just_before, noon};

use super::Ports;
use crate::unavailable;

fn command() -> CreateTask {
    CreateTask {
        title: build::title("Water the plants"),
        description: None,
        due_date: None,
        priority: None,
    }
}

fn storing(mut ports: Ports) -> Ports {
    ports
        .tasks
        .expect_create()
        .once()
        .returning(|_| Ok(TaskCreation::Created));
    ports
}

#[tokio::test]
async fn what_is_not_said_has_its_default() {
    let caller = build::user().build();
    let task = storing(Ports::default())
        .service()
        .create(&caller, command())
        .await
        .unwrap();
    assert_eq!(task, build::task(&caller).id(task.id).build());
    assert_eq!(task.content.priority, Priority::Medium);
    assert_eq!(task.content.status, TaskStatus::Pending);
    assert_eq!((task.version, task.version.get()), (Version::FIRST, 1));
    assert_eq!((task.created_at, task.updated_at), (noon(), noon()));
    assert!(task.categories.is_empty());
}

#[tokio::test]
async fn what_is_said_is_stored_as_it_is_answered() {
    let caller = build::user().build();
    let due = just_after(noon());
    let command = CreateTask {
        description: Some(build::description("All of them")),
        due_date: Some(due),
        priority: Some(Priority::High),
        ..command()
    };
    let mut ports = Ports::default();
    let (sender, stored) = std::sync::mpsc::channel();
    ports.tasks.expect_create().once().returning(move |task| {
        sender.send(task.clone()).unwrap();
        Ok(TaskCreation::Created)
    });

    let task = ports.service().create(&caller, command).await.unwrap();

    let expected = build::task(&caller)
        .id(task.id)
        .description("All of them")
        .due(due)
        .priority(Priority::High);
    assert_eq!(task, expected.build());
    assert_eq!(stored.recv().unwrap(), task);
}

#[tokio::test]
async fn a_due_date_that_is_not_in_the_future_is_refused_and_nothing_is_stored() {
    let caller = build::user().build();
    for due in [noon(), just_before(noon()), Timestamp::MIN] {
        let command = CreateTask {
            due_date: Some(due),
            ..command()
        };
        let refused = Ports::default().service().create(&caller, command).await;
        assert!(
            matches!(refused, Err(CreateTaskError::DueDate(invalid)) if invalid.code == "past")
        );
    }
}

/// The caller may be known from a cache still.
#[tokio::test]
async fn a_caller_whose_account_is_gone_is_told() {
    let mut ports = Ports::default();
    ports
        .tasks
        .expect_create()
        .once()
        .returning(|_| Ok(TaskCreation::NoOwner));
    let refused = ports
        .service()
        .create(&build::user().build(), command())
        .await;
    assert!(matches!(refused, Err(CreateTaskError::OwnerGone)));
}

#[tokio::test]
async fn a_store_that_fails_is_an_error() {
    let mut ports = Ports::default();
    ports
        .tasks
        .expect_create()
        .returning(|_| Err(unavailable()));
    let failed = ports
        .service()
        .create(&build::user().build(), command())
        .await;
    assert!(matches!(failed, Err(CreateTaskError::Store(_))));
}
