//! Random writes, after each of which every total agrees with the tasks that are there.

use proptest::collection;
use proptest::prelude::{Just, Strategy, any};
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use tasks_domain::account::User;
use tasks_domain::housekeeping::Leftover;
use tasks_domain::page::PageRequest;
use tasks_domain::task::{
    Priority, Task, TaskContent, TaskCreation, TaskFilter, TaskQuery, TaskStatus, TaskUpdate,
};

use super::super::Stores;
use super::super::scene::{assign, at_once, category, count, erase, task, user};
use super::{later, update};
use crate::tokio::runtime::Handle;
use crate::tokio::task::block_in_place;
use crate::{build, strategy};

/// How many stories are tried, of how many writes each: enough to meet every pair of kinds, and few enough
/// that a store that syncs every write to a disk is done in seconds.
const STORIES: u32 = 6;
const WRITES: usize = 30;

/// Something that happens to one of two users, or to one of that user's tasks, if there are any.
#[derive(Clone, Debug)]
enum Write {
    Create(TaskContent),
    Edit(Index, TaskContent),
    /// Of a version that the task is not at.
    EditTooLate(Index, TaskContent),
    File(Index),
    Delete(Index),
    /// Whatever is deleted, of whomever, for good.
    Purge,
    /// The account, after which there is a new one.
    Erase,
}

fn write() -> impl Strategy<Value = Write> {
    let content = strategy::task_content;
    proptest::prop_oneof![
        8 => content().prop_map(Write::Create),
        6 => (any::<Index>(), content()).prop_map(|(task, content)| Write::Edit(task, content)),
        1 => (any::<Index>(), content()).prop_map(|(task, content)| Write::EditTooLate(task, content)),
        1 => any::<Index>().prop_map(Write::File),
        3 => any::<Index>().prop_map(Write::Delete),
        2 => Just(Write::Purge),
        1 => Just(Write::Erase),
    ]
}

/// Whatever is written, in whatever order.
pub async fn totals_agree_with_the_tasks_after_every_write(stores: &impl Stores) {
    let inputs = collection::vec((any::<bool>(), write()), WRITES);
    let config = Config {
        cases: STORIES,
        // What fails is shrunk and shown; it is not kept in a file beside the source.
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&inputs, |story| {
        // The runner is synchronous.
        block_in_place(|| Handle::current().block_on(live(stores, story)));
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

async fn live(stores: &impl Stores, story: Vec<(bool, Write)>) {
    let mut lives = [
        (user(stores).await, Vec::new()),
        (user(stores).await, Vec::new()),
    ];
    for (first, write) in story {
        let [one, other] = &mut lives;
        let (life, bystander) = if first { (one, other) } else { (other, one) };
        happen(stores, &mut life.0, &mut life.1, write.clone()).await;
        assert_totals(stores, &life.0, &life.1, &write).await;
        assert_totals(stores, &bystander.0, &bystander.1, &write).await;
    }
}

/// Does it, and keeps the tasks that are there then.
async fn happen(stores: &impl Stores, owner: &mut User, tasks: &mut Vec<Task>, write: Write) {
    match write {
        Write::Create(content) => {
            let task = Task {
                content,
                ..build::task(owner).build()
            };
            let outcome = stores.tasks().create(&task).await;
            assert_eq!(outcome.unwrap(), TaskCreation::Created);
            tasks.push(task);
        }
        Write::Edit(index, content) => {
            let Some(task) = chosen(tasks, index) else {
                return;
            };
            let outcome = update(stores, task.id, task.version, &content, later()).await;
            let TaskUpdate::Updated(updated) = outcome else {
                panic!("not updated: {outcome:?}");
            };
            *task = updated;
        }
        Write::EditTooLate(index, content) => {
            let Some(task) = chosen(tasks, index) else {
                return;
            };
            let version = task.version.next();
            let outcome = update(stores, task.id, version, &content, later()).await;
            assert_eq!(outcome, TaskUpdate::Conflict(task.version));
        }
        Write::File(index) => {
            let Some(task) = chosen(tasks, index) else {
                return;
            };
            let file = category(stores, build::category(owner)).await;
            assign(stores, task, &file).await;
        }
        Write::Delete(index) => {
            let Some(id) = chosen(tasks, index).map(|task| task.id) else {
                return;
            };
            for was_there in [true, false] {
                let deleted = stores.tasks().delete(id, later()).await;
                assert_eq!(deleted.unwrap(), was_there);
            }
            tasks.retain(|task| task.id != id);
        }
        Write::Purge => {
            let housekeeping = stores.housekeeping();
            let removing = housekeeping.remove(Leftover::DeletedTasks, later(), 100);
            removing.await.unwrap();
        }
        Write::Erase => {
            erase(stores, owner).await;
            assert_totals(stores, owner, &[], &Write::Erase).await;
            let late = build::task(owner).build();
            let outcome = stores.tasks().create(&late).await;
            assert_eq!(outcome.unwrap(), TaskCreation::NoOwner);
            assert_totals(stores, owner, &[], &Write::Erase).await;
            *owner = user(stores).await;
            tasks.clear();
        }
    }
}

fn chosen(tasks: &mut [Task], index: Index) -> Option<&mut Task> {
    let number = tasks.len();
    if number == 0 {
        return None;
    }
    tasks.get_mut(index.index(number))
}

/// For every filter of status and priority.
async fn assert_totals(stores: &impl Stores, owner: &User, tasks: &[Task], after: &Write) {
    let statuses = TaskStatus::ALL.map(Some).into_iter().chain([None]);
    for status in statuses {
        for priority in Priority::ALL.map(Some).into_iter().chain([None]) {
            let passes = |task: &Task| {
                status.is_none_or(|status| task.content.status == status)
                    && priority.is_none_or(|priority| task.content.priority == priority)
            };
            let query = TaskQuery {
                filter: TaskFilter {
                    status,
                    priority,
                    ..TaskFilter::default()
                },
                page: PageRequest::new(1, 1).unwrap(),
                ..TaskQuery::default()
            };
            let page = stores.tasks().list(owner.id, &query).await.unwrap();
            let total = u64::try_from(count(tasks, passes)).unwrap();
            assert_eq!(page.total, total, "{:?} after {after:?}", query.filter);
        }
    }
}

/// Which make, move in both directions between the same two kinds, and delete.
pub async fn totals_agree_with_the_tasks_after_concurrent_writes(stores: &impl Stores) {
    let owner = user(stores).await;
    let (from, to) = (TaskStatus::Pending, TaskStatus::Completed);
    let mut tasks = Vec::new();
    for number in 0..20 {
        let status = if number % 2 == 0 { from } else { to };
        tasks.push(task(stores, build::task(&owner).status(status)).await);
    }
    let outcomes = at_once(tasks.len(), |number| {
        let old = tasks.get(number).cloned().unwrap();
        let (port, new) = (stores.tasks(), build::task(&owner).build());
        async move {
            match number % 5 {
                0 => {
                    let outcome = port.create(&new).await.unwrap();
                    assert_eq!(outcome, TaskCreation::Created);
                    vec![old, new]
                }
                1 => {
                    assert!(port.delete(old.id, later()).await.unwrap());
                    vec![]
                }
                _ => {
                    let status = if old.content.status == from { to } else { from };
                    let content = TaskContent {
                        status,
                        ..old.content
                    };
                    let outcome = port.update(old.id, old.version, &content, later()).await;
                    let TaskUpdate::Updated(task) = outcome.unwrap() else {
                        panic!("not updated");
                    };
                    vec![task]
                }
            }
        }
    })
    .await;
    let left: Vec<Task> = outcomes.into_iter().flatten().collect();
    assert_eq!(left.len(), 20);
    assert_totals(stores, &owner, &left, &Write::Purge).await;
}
