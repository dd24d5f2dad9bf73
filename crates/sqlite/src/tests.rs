//! What the module tests have in common, and the tests of the threads.

mod spans;

use std::sync::mpsc;
use std::task::{Context, Waker};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use tasks_domain::account::{Registration, User, UserRepository};
use tasks_domain::health::{HealthProbe, PoolProbe, PoolState};
use tasks_domain::task::{Task, TaskRepository};
use tasks_testkit::build;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, yield_now};

use super::*;
use crate::schema::tasks;
use crate::values::StoredId;

/// A store in a folder of its own.
pub(crate) struct Opened {
    pub(crate) store: SqliteStore,
    _folder: TempDir,
}

impl Opened {
    pub(crate) fn migrated() -> Self {
        Self::with(SqliteOptions::default())
    }

    pub(crate) fn with_one_reader() -> Self {
        Self::with(SqliteOptions {
            readers: NonZeroUsize::MIN,
        })
    }

    pub(crate) fn with(options: SqliteOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("tasks.db"), options).unwrap();
        store.migrate_up().unwrap();
        Self {
            store,
            _folder: folder,
        }
    }
}

/// A stored user.
pub(crate) async fn user(store: &SqliteStore) -> User {
    let user = build::user().build();
    let outcome = store.register(build::account(&user)).await.unwrap();
    assert_eq!(outcome, Registration::Registered);
    user
}

/// Keeps the writer busy until the sender is dropped, so that what is asked meanwhile becomes
/// one batch.
async fn occupy(store: &SqliteStore) -> (mpsc::Sender<()>, JoinHandle<Result<(), StoreError>>) {
    let (release, released) = mpsc::channel::<()>();
    let (started, has_started) = oneshot::channel();
    let busy = write(store, move |_| {
        let _ = started.send(());
        let _ = released.recv();
        Ok(())
    })
    .await;
    has_started.await.unwrap();
    (release, busy)
}

/// Queues a job. On a runtime of one thread a task has queued its job after one turn.
async fn write<T: Send + 'static>(
    store: &SqliteStore,
    work: impl FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
) -> JoinHandle<Result<T, StoreError>> {
    let store = store.clone();
    let job = tokio::spawn(async move { store.write(work).await });
    yield_now().await;
    job
}

async fn create(store: &SqliteStore, task: &Task) -> JoinHandle<Result<(), StoreError>> {
    let (store, task) = (store.clone(), task.clone());
    let job = tokio::spawn(async move { store.create(&task).await.map(|_created| ()) });
    yield_now().await;
    job
}

async fn is_stored(store: &SqliteStore, task: &Task) -> bool {
    store.find(task.id).await.unwrap().is_some()
}

fn erase(connection: &mut SqliteConnection, task: &Task) -> Result<(), Failure> {
    diesel::delete(tasks::table.find(StoredId::from(task.id))).execute(connection)?;
    Ok(())
}

#[tokio::test]
async fn a_failed_job_takes_back_what_it_did_and_nothing_else() {
    let opened = Opened::migrated();
    let store = &opened.store;
    let ada = user(store).await;
    let tasks = [(); 3].map(|()| build::task(&ada).build());
    store.create(&tasks[1]).await.unwrap();

    let (release, busy) = occupy(store).await;
    let before = create(store, &tasks[0]).await;
    let erased = tasks[1].clone();
    let failing = write(store, move |connection| -> Result<(), _> {
        erase(connection, &erased)?;
        Err(Failure::Corrupt("here".to_owned()))
    })
    .await;
    let erased = tasks[1].clone();
    let panicking = write(store, move |connection| -> Result<(), _> {
        erase(connection, &erased)?;
        panic!("as the test wants it")
    })
    .await;
    let after = create(store, &tasks[2]).await;
    drop(release);

    busy.await.unwrap().unwrap();
    before.await.unwrap().unwrap();
    let failure = failing.await.unwrap().unwrap_err();
    assert!(matches!(failure, StoreError::Corrupt { what } if what == "here"));
    let failure = panicking.await.unwrap().unwrap_err();
    assert!(matches!(failure, StoreError::Other(_)));
    after.await.unwrap().unwrap();
    for task in &tasks {
        assert!(is_stored(store, task).await);
    }
}

#[tokio::test]
async fn no_job_of_a_lost_transaction_is_acknowledged() {
    let opened = Opened::migrated();
    let store = &opened.store;
    let ada = user(store).await;
    let tasks = [(); 2].map(|()| build::task(&ada).build());

    let (release, busy) = occupy(store).await;
    let before = create(store, &tasks[0]).await;
    // What SQLite does by itself when, say, the disk is full.
    let losing = write(store, |connection| -> Result<(), _> {
        connection.batch_execute("ROLLBACK")?;
        Err(Failure::Unavailable("disk I/O error".to_owned()))
    })
    .await;
    let after = create(store, &tasks[1]).await;
    drop(release);

    for lost in [busy, before, losing] {
        let failure = lost.await.unwrap().unwrap_err();
        assert!(matches!(failure, StoreError::Unavailable(_)), "{failure:?}");
    }
    after.await.unwrap().unwrap();
    assert!(!is_stored(store, &tasks[0]).await);
    assert!(is_stored(store, &tasks[1]).await);
}

#[tokio::test]
async fn a_full_disk_is_unavailable_until_there_is_room_again() {
    let opened = Opened::migrated();
    let store = &opened.store;
    let ada = user(store).await;
    let limit_pages = |pages: &'static str| {
        store.write(move |connection| {
            Ok(connection.batch_execute(&format!("PRAGMA max_page_count = {pages}"))?)
        })
    };
    // SQLite takes the size that the file has already for the least.
    limit_pages("1").await.unwrap();

    let mut stored = Vec::new();
    let refused = loop {
        let task = build::task(&ada).description(&"x".repeat(2000)).build();
        match store.create(&task).await {
            Ok(_) => stored.push(task),
            Err(error) => break (task, error),
        }
    };
    assert!(
        matches!(refused.1, StoreError::Unavailable(_)),
        "{refused:?}"
    );
    store.check().await.unwrap();

    limit_pages("1000000").await.unwrap();
    store.create(&refused.0).await.unwrap();
    stored.push(refused.0);
    for task in &stored {
        assert!(is_stored(store, task).await);
    }
}

#[tokio::test]
async fn a_read_only_database_is_unavailable() {
    let opened = Opened::migrated();
    let store = &opened.store;
    let ada = user(store).await;
    let task = build::task(&ada).build();
    let query_only = |on: &'static str| {
        store.write(move |connection| {
            Ok(connection.batch_execute(&format!("PRAGMA query_only = {on}"))?)
        })
    };
    query_only("ON").await.unwrap();
    let error = store.create(&task).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    query_only("OFF").await.unwrap();
    store.create(&task).await.unwrap();
}

#[tokio::test]
async fn a_job_that_nobody_waits_for_any_more_is_not_begun() {
    let opened = Opened::migrated();
    let store = &opened.store;
    let ada = user(store).await;
    let tasks = [(); 2].map(|()| build::task(&ada).build());

    let (release, busy) = occupy(store).await;
    let dropped = create(store, &tasks[0]).await;
    let kept = create(store, &tasks[1]).await;
    dropped.abort();
    assert!(dropped.await.unwrap_err().is_cancelled());
    drop(release);
    busy.await.unwrap().unwrap();
    kept.await.unwrap().unwrap();

    assert!(!is_stored(store, &tasks[0]).await);
    assert!(is_stored(store, &tasks[1]).await);
}

#[tokio::test]
async fn a_full_queue_is_unavailable() {
    let opened = Opened::migrated();
    let store = &opened.store;
    let (release, busy) = occupy(store).await;
    let mut queued = Vec::new();
    while queued.len() < writer::QUEUE {
        queued.push(write(store, |_| Ok(())).await);
    }
    let error = store.write(|_| Ok(())).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    drop(release);
    busy.await.unwrap().unwrap();
    for job in queued {
        job.await.unwrap().unwrap();
    }
    store.write(|_| Ok(())).await.unwrap();
}

#[tokio::test]
async fn a_reader_that_panicked_in_a_transaction_shows_no_old_snapshot() {
    let opened = Opened::with_one_reader();
    let store = &opened.store;
    let ada = user(store).await;
    let task = build::task(&ada).build();
    let panicking = store.read(|connection| -> Result<(), _> {
        connection.transaction(|connection| {
            tasks::table.count().get_result::<i64>(connection)?;
            panic!("as the test wants it")
        })
    });
    assert!(matches!(panicking.await, Err(StoreError::Other(_))));
    store.create(&task).await.unwrap();
    assert!(is_stored(store, &task).await);
}

#[tokio::test]
async fn futures_may_be_dropped_at_any_point() {
    let opened = Opened::migrated();
    let store = &opened.store;
    let ada = user(store).await;
    let context = &mut Context::from_waker(Waker::noop());
    for polls in 0..200 {
        let task = build::task(&ada).build();
        let mut writing = Box::pin(store.create(&task));
        let mut reading = Box::pin(store.find(task.id));
        for _ in 0..polls {
            let done = writing.as_mut().poll(context).is_ready();
            if done || reading.as_mut().poll(context).is_ready() {
                break;
            }
            std::thread::yield_now();
        }
    }
    let task = build::task(&ada).build();
    store.create(&task).await.unwrap();
    assert!(is_stored(store, &task).await);
}

#[tokio::test]
async fn closing_waits_for_what_is_queued_and_refuses_what_comes_later() {
    let opened = Opened::migrated();
    let store = &opened.store;
    let ada = user(store).await;
    let tasks = [(); 20].map(|()| build::task(&ada).build());
    let mut queued = Vec::new();
    for task in &tasks {
        queued.push(create(store, task).await);
    }
    store.clone().close();
    for job in queued {
        job.await.unwrap().unwrap();
    }
    let error = store.create(&build::task(&ada).build()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    let error = store.check().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn the_threads_end_with_the_last_handle() {
    let Opened { store, _folder } = Opened::migrated();
    let path = store.0.file.path().to_owned();
    let Threads { writer, readers } = std::mem::take(&mut *store.0.threads.lock().unwrap());
    let other = store.clone();
    drop(store);
    other.check().await.unwrap();
    drop(other);
    // Would wait for ever if one of them went on.
    join(readers);
    join(writer);
    SqliteStore::open(&path, SqliteOptions::default()).unwrap();
}

#[tokio::test]
async fn a_busy_thread_and_what_waits_for_it_are_counted() {
    let Opened { store, _folder } = Opened::with_one_reader();
    let (release, occupied) = occupy(&store).await;
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { user(&store).await }
    });
    while store.pool().waiting == 0 {
        yield_now().await;
    }
    let state = PoolState {
        idle: 1,
        in_use: 1,
        waiting: 1,
    };
    assert_eq!(store.pool(), state);
    drop(release);
    occupied.await.unwrap().unwrap();
    waiting.await.unwrap();
    let idle = PoolState {
        idle: 2,
        ..PoolState::default()
    };
    // A thread answers just before it is at rest.
    while store.pool() != idle {
        yield_now().await;
    }
}

/// What `.cargo/config.toml` asks for: no locks that nobody needs, and no plan that depends on values.
#[test]
fn sqlite_is_compiled_as_it_should_be() {
    #[derive(QueryableByName)]
    struct Compiled {
        #[diesel(sql_type = diesel::sql_types::Text)]
        compile_options: String,
    }

    let opened = Opened::migrated();
    let connection = &mut opened.store.connect().unwrap();
    let compiled: Vec<Compiled> = diesel::sql_query("PRAGMA compile_options")
        .load(connection)
        .unwrap();
    let is = |option: &str| compiled.iter().any(|one| one.compile_options == option);
    for wanted in ["THREADSAFE=2", "DEFAULT_MEMSTATUS=0", "ENABLE_QPSG"] {
        assert!(is(wanted), "{wanted}");
    }
    for unwanted in ["ENABLE_MEMORY_MANAGEMENT", "ENABLE_API_ARMOR"] {
        assert!(!is(unwanted), "{unwanted}");
    }
}
