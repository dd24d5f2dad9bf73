//! What was acknowledged stays.

use std::path::Path;

use tasks_domain::account::User;
use tasks_domain::task::{Task, TaskRepository};
use tasks_sqlite::SqliteStore;
use tasks_testkit::build;

use crate::{TestStore, open, user};

/// So many tasks at once, so that commits are shared.
const WRITERS: usize = 200;

/// Stores tasks, all at once; every one is acknowledged.
async fn create_at_once(store: &SqliteStore, owner: &User) -> Vec<Task> {
    let jobs: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (store, task) = (store.clone(), build::task(owner).build());
            tokio::spawn(async move {
                store.create(&task).await.unwrap();
                assert_eq!(store.find(task.id).await.unwrap(), Some(task.clone()));
                task
            })
        })
        .collect();
    let mut tasks = Vec::new();
    for job in jobs {
        tasks.push(job.await.unwrap());
    }
    tasks
}

async fn assert_stored(path: &Path, tasks: &[Task]) {
    let store = open(path);
    for task in tasks {
        assert_eq!(store.find(task.id).await.unwrap().as_ref(), Some(task));
    }
}

/// A kill leaves the file and the log as they are; the copy of them is what the next start finds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_write_survives_a_kill() {
    let test = TestStore::migrated();
    let ada = user(&test.store).await;
    let tasks = create_at_once(&test.store, &ada).await;

    let after = tempfile::tempdir().unwrap();
    for file in ["tasks.db", "tasks.db-wal"] {
        std::fs::copy(test.folder.path().join(file), after.path().join(file)).unwrap();
    }
    assert_stored(&after.path().join("tasks.db"), &tasks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_leaves_everything_in_the_file_and_no_log() {
    let test = TestStore::migrated();
    let ada = user(&test.store).await;
    let tasks = create_at_once(&test.store, &ada).await;
    test.store.close();

    let path = test.folder.path().join("tasks.db");
    assert!(!test.folder.path().join("tasks.db-wal").exists());
    assert_stored(&path, &tasks).await;
}
