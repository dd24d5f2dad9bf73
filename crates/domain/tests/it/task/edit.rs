//! R063.

use tasks_domain::access::AccessError;
use tasks_domain::clock::Timestamp;
use tasks_domain::patch::Patch;
use tasks_domain::task::{
    EditTask, EditTaskError, Priority, Task, TaskContent, TaskStatus, TaskUpdate, Version,
};
use tasks_testkit::build;
use tasks_testkit::clock::{just_after, just_before, noon};

use super::{Ports, none};
use crate::unavailable;

/// A patch of the third version that changes nothing.
fn nothing() -> EditTask {
    EditTask {
        version: version(3),
        title: None,
        description: Patch::Keep,
        status: None,
        priority: None,
        due_date: Patch::Keep,
    }
}

fn version(number: i64) -> Version {
    Version::parse(number).unwrap()
}

/// An overdue task at its third version.
fn overdue(owner: &tasks_domain::account::User) -> Task {
    build::task(owner)
        .description("Once")
        .due(just_before(noon()))
        .version(3)
        .build()
}

/// A store that takes this content for the task's third version.
fn taking(mut ports: Ports, task: &Task, content: TaskContent) -> Ports {
    let id = task.id;
    let updated = Task {
        content: content.clone(),
        version: version(4),
        updated_at: noon(),
        ..task.clone()
    };
    ports
        .tasks
        .expect_update()
        .once()
        .withf(move |task, expected, written, now| {
            (*task, *expected, written, *now) == (id, version(3), &content, noon())
        })
        .return_once(|_, _, _, _| Ok(TaskUpdate::Updated(updated)));
    ports
}

/// A patch, and the content that it makes of another.
type Case = (EditTask, fn(&mut TaskContent));

#[tokio::test]
async fn any_subset_of_the_five_fields_is_changed_and_the_rest_stays() {
    let caller = build::user().build();
    let task = overdue(&caller);
    let all = EditTask {
        title: Some(build::title("Another")),
        description: Patch::Set(build::description("At length")),
        status: Some(TaskStatus::InProgress),
        priority: Some(Priority::Low),
        due_date: Patch::Set(just_after(noon())),
        ..nothing()
    };
    let (title, description) = (all.title.clone(), all.description.clone());
    let (status, priority, due_date) = (all.status, all.priority, all.due_date);
    let cases: [Case; 8] = [
        (EditTask { title, ..nothing() }, |content| {
            content.title = build::title("Another");
        }),
        (
            EditTask {
                description,
                ..nothing()
            },
            |content| {
                content.description = Some(build::description("At length"));
            },
        ),
        (
            EditTask {
                description: Patch::Clear,
                ..nothing()
            },
            |content| {
                content.description = None;
            },
        ),
        (
            EditTask {
                status,
                ..nothing()
            },
            |content| {
                content.status = TaskStatus::InProgress;
            },
        ),
        (
            EditTask {
                priority,
                ..nothing()
            },
            |content| {
                content.priority = Priority::Low;
            },
        ),
        (
            EditTask {
                due_date,
                ..nothing()
            },
            |content| {
                content.due_date = Some(just_after(noon()));
            },
        ),
        (
            EditTask {
                due_date: Patch::Clear,
                ..nothing()
            },
            |content| {
                content.due_date = None;
            },
        ),
        (all, |content| {
            *content = TaskContent {
                title: build::title("Another"),
                description: Some(build::description("At length")),
                status: TaskStatus::InProgress,
                priority: Priority::Low,
                due_date: Some(just_after(noon())),
            };
        }),
    ];
    for (command, change) in cases {
        let mut content = task.content.clone();
        change(&mut content);
        let ports = taking(Ports::finding(Some(&task)), &task, content.clone());
        let edited = ports
            .service()
            .edit(&caller, task.id, command)
            .await
            .unwrap();
        assert_eq!(edited.content, content);
        assert_eq!((edited.version, edited.updated_at), (version(4), noon()));
    }
}

#[tokio::test]
async fn an_overdue_task_can_be_completed_by_sending_the_whole_object_back() {
    let caller = build::user().build();
    let task = overdue(&caller);
    let command = EditTask {
        title: Some(task.content.title.clone()),
        status: Some(TaskStatus::Completed),
        due_date: Patch::Set(task.content.due_date.unwrap()),
        ..nothing()
    };
    let content = TaskContent {
        status: TaskStatus::Completed,
        ..task.content.clone()
    };
    let ports = taking(Ports::finding(Some(&task)), &task, content);
    let edited = ports.service().edit(&caller, task.id, command).await;
    assert_eq!(edited.unwrap().content.status, TaskStatus::Completed);
}

#[tokio::test]
async fn another_due_date_has_to_be_in_the_future() {
    let caller = build::user().build();
    let task = overdue(&caller);
    for due in [noon(), Timestamp::MIN] {
        let command = EditTask {
            due_date: Patch::Set(due),
            ..nothing()
        };
        let refused = Ports::finding(Some(&task))
            .service()
            .edit(&caller, task.id, command)
            .await;
        assert!(matches!(refused, Err(EditTaskError::DueDate(invalid)) if invalid.code == "past"));
    }
}

#[tokio::test]
async fn what_changes_nothing_writes_nothing() {
    let caller = build::user().build();
    let task = overdue(&caller);
    let the_same = EditTask {
        title: Some(task.content.title.clone()),
        description: Patch::Set(build::description("Once")),
        status: Some(task.content.status),
        priority: Some(task.content.priority),
        due_date: Patch::Set(task.content.due_date.unwrap()),
        ..nothing()
    };
    for command in [nothing(), the_same] {
        let edited = Ports::finding(Some(&task))
            .service()
            .edit(&caller, task.id, command)
            .await;
        assert_eq!(edited.unwrap(), task);
    }
}

#[tokio::test]
async fn another_version_is_refused_without_a_write_also_if_nothing_would_change() {
    let caller = build::user().build();
    let task = overdue(&caller);
    for seen in [2, 4, i64::MAX] {
        for title in [None, Some(build::title("Another"))] {
            let command = EditTask {
                version: version(seen),
                title,
                ..nothing()
            };
            let ports = Ports::finding(Some(&task));
            let refused = ports.service().edit(&caller, task.id, command).await;
            let Err(EditTaskError::VersionConflict { current }) = refused else {
                panic!("not refused: {refused:?}");
            };
            assert_eq!(current, version(3));
        }
    }
}

#[tokio::test]
async fn a_version_that_changed_since_the_lookup_is_refused() {
    let caller = build::user().build();
    let task = overdue(&caller);
    let mut ports = Ports::finding(Some(&task));
    let outcome = TaskUpdate::Conflict(version(5));
    ports
        .tasks
        .expect_update()
        .once()
        .return_once(|_, _, _, _| Ok(outcome));
    let refused = ports.service().edit(&caller, task.id, renamed()).await;
    let Err(EditTaskError::VersionConflict { current }) = refused else {
        panic!("not refused: {refused:?}");
    };
    assert_eq!(current, version(5));
}

fn renamed() -> EditTask {
    EditTask {
        title: Some(build::title("Another")),
        ..nothing()
    }
}

#[tokio::test]
async fn a_task_that_went_since_the_lookup_is_not_found() {
    let caller = build::user().build();
    let task = overdue(&caller);
    let mut ports = Ports::finding(Some(&task));
    ports
        .tasks
        .expect_update()
        .returning(|_, _, _, _| Ok(TaskUpdate::Gone));
    let refused = ports.service().edit(&caller, task.id, renamed()).await;
    assert!(matches!(
        refused,
        Err(EditTaskError::Access(AccessError::NotFound))
    ));
}

/// Everything about this patch is wrong: what is wrong first is told.
#[tokio::test]
async fn refusals_come_in_order_access_then_due_date_then_version() {
    let (caller, other) = (build::user().build(), build::user().build());
    let task = overdue(&caller);
    let wrong = || EditTask {
        version: version(2),
        due_date: Patch::Set(noon()),
        ..nothing()
    };
    let missing = Ports::finding(None)
        .service()
        .edit(&caller, none(), wrong())
        .await;
    assert!(matches!(
        missing,
        Err(EditTaskError::Access(AccessError::NotFound))
    ));
    let foreign = Ports::finding(Some(&task))
        .service()
        .edit(&other, task.id, wrong())
        .await;
    assert!(matches!(
        foreign,
        Err(EditTaskError::Access(AccessError::Forbidden))
    ));
    let own = Ports::finding(Some(&task))
        .service()
        .edit(&caller, task.id, wrong())
        .await;
    assert!(matches!(own, Err(EditTaskError::DueDate(_))));
}

#[tokio::test]
async fn a_store_that_fails_is_an_error_at_each_step() {
    let caller = build::user().build();
    let task = overdue(&caller);
    let mut at_lookup = Ports::default();
    at_lookup
        .tasks
        .expect_find()
        .returning(|_| Err(unavailable()));
    let mut at_update = Ports::finding(Some(&task));
    at_update
        .tasks
        .expect_update()
        .returning(|_, _, _, _| Err(unavailable()));
    for ports in [at_lookup, at_update] {
        let failed = ports.service().edit(&caller, task.id, renamed()).await;
        assert!(matches!(failed, Err(EditTaskError::Store(_))));
    }
}
