//! Bad days: the server stops, dies, freezes or has no room; a caller goes away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tasks_domain::account::UserRepository;
use tasks_domain::health::HealthProbe;
use tasks_domain::store::StoreError;
use tasks_domain::task::{TaskQuery, TaskRepository};
use tasks_postgres::PgOptions;
use tasks_testkit::build;
use tasks_testkit::clock::noon;
use tasks_testkit::servers::{PostgresServer, Proxy};

use crate::{TestStore, client, connect, user};

/// Whatever happens to the database, a request is answered within this time.
const ANSWER: Duration = Duration::from_secs(5);

/// Requests of every kind at once are all refused in time.
async fn refuses(test: &TestStore, ada: &tasks_domain::account::User) {
    let began = Instant::now();
    let task = build::task(ada).build();
    let answers = join_all((0..8).map(|kind| {
        let (store, task) = (test.store.clone(), task.clone());
        let ada = ada.clone();
        async move {
            match kind {
                0 => store.check().await,
                1 => store.create(&task).await.map(|_| ()),
                2 => store.list(ada.id, &TaskQuery::default()).await.map(|_| ()),
                3 => store
                    .record_failed_login(&ada.email, noon())
                    .await
                    .map(|_| ()),
                _ => store.find(task.id).await.map(|_| ()),
            }
        }
    }))
    .await;
    assert!(began.elapsed() < ANSWER, "{:?}", began.elapsed());
    for answer in answers {
        assert!(
            matches!(answer, Err(StoreError::Unavailable(_))),
            "{answer:?}"
        );
    }
}

/// As soon as the server is back, so is the store.
async fn serves(test: &TestStore, ada: &tasks_domain::account::User) {
    let task = build::task(ada).build();
    test.store.create(&task).await.unwrap();
    assert_eq!(test.store.find(task.id).await.unwrap(), Some(task));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_is_refused_in_time_and_used_again_when_it_thaws() {
    let server = PostgresServer::start().await;
    let test = TestStore::on_server(&server).await;
    let ada = user(&test.store).await;
    // Idle connections to be verified, and none.
    join_all((0..6).map(|_| test.store.check())).await;
    server.freeze();
    refuses(&test, &ada).await;
    refuses(&test, &ada).await;
    server.thaw();
    serves(&test, &ada).await;
    let open = "SELECT state FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'";
    assert_eq!(test.query(open).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_or_killed_server_is_refused_in_time_and_used_again_when_it_is_back() {
    let server = PostgresServer::start().await;
    let test = TestStore::on_server(&server).await;
    let ada = user(&test.store).await;
    join_all((0..6).map(|_| test.store.check())).await;

    server.stop();
    refuses(&test, &ada).await;
    server.restart();
    serves(&test, &ada).await;

    server.kill();
    refuses(&test, &ada).await;
    server.restart();
    serves(&test, &ada).await;

    // All its connections are gone, and nobody is told.
    join_all((0..6).map(|_| test.store.check())).await;
    server.restart();
    join_all((0..6).map(|_| async { serves(&test, &ada).await })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_cut_or_silent_is_refused_in_time_and_used_again() {
    let server = PostgresServer::start().await;
    let mut test = TestStore::on_server(&server).await;
    let ada = user(&test.store).await;
    let direct = test.database.url.clone();
    let authority = direct.split(['@', '/']).nth(3).unwrap();
    let proxy = Proxy::to(authority);
    test.store = connect(&direct.replace(authority, &proxy.address()), 4);
    serves(&test, &ada).await;
    proxy.stall();
    refuses(&test, &ada).await;
    proxy.resume();
    serves(&test, &ada).await;
    proxy.cut();
    refuses(&test, &ada).await;
    proxy.resume();
    serves(&test, &ada).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_used_up_refuses_in_time_and_recovers() {
    let test = TestStore::migrated().await;
    let ada = user(&test.store).await;
    let store = connect(&test.database.url, 1);
    let size = 1 + PgOptions::OVERFLOW as usize;
    let mut locking = client(&test.database.url).await;
    let lock = locking.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE users").await.unwrap();

    let began = Instant::now();
    let waiting: Vec<_> = (0..size + 5)
        .map(|_| {
            let (store, email) = (store.clone(), ada.email.clone());
            tokio::spawn(async move { store.find_credentials(&email).await })
        })
        .collect();
    for answer in join_all(waiting).await {
        let answer = answer.unwrap();
        assert!(
            matches!(answer, Err(StoreError::Unavailable(_))),
            "{answer:?}"
        );
    }
    assert!(began.elapsed() < ANSWER, "{:?}", began.elapsed());
    let connections = test
        .query(
            "SELECT count(*)::text FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name = 'task-api'",
        )
        .await;
    assert!(connections[0].parse::<usize>().unwrap() <= size + 4);

    lock.rollback().await.unwrap();
    assert!(store.find_credentials(&ada.email).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_room_for_another_connection_is_unavailable() {
    let test = TestStore::migrated().await;
    test.execute(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 0', current_database()); \
         EXECUTE 'DROP ROLE IF EXISTS ' || quote_ident('r' || current_database()); \
         EXECUTE format('CREATE ROLE %I LOGIN PASSWORD ''marzipan''', 'r' || current_database()); END $$",
    )
    .await;
    let url = &test.database.url;
    let (_, place) = url.split_once('@').unwrap();
    let name = &test.database.name;
    let store = connect(&format!("postgres://r{name}:marzipan@{place}"), 1);
    let error = store.check().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(
        crate::chain(&error).contains("too many connections"),
        "{error:?}"
    );
    test.execute(
        "DO $$ BEGIN EXECUTE 'DROP ROLE ' || quote_ident('r' || current_database()); END $$",
    )
    .await;
}

/// A caller who goes away in the middle of a transaction leaves none open, and what was begun is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_request_leaves_no_transaction_open() {
    let test = TestStore::migrated().await;
    let ada = user(&test.store).await;
    let mut locking = client(&test.database.url).await;
    let lock = locking.transaction().await.unwrap();
    lock.batch_execute("SELECT 1 FROM users FOR UPDATE")
        .await
        .unwrap();

    let store = Arc::new(test.store.clone());
    let requests: Vec<_> = (0..3)
        .map(|_| {
            let (store, email) = (Arc::clone(&store), ada.email.clone());
            tokio::spawn(async move { store.record_failed_login(&email, noon()).await })
        })
        .collect();
    let waiting = "SELECT pid::text FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                   AND datname = current_database()";
    while test.query(waiting).await.len() < requests.len() {
        tokio::task::yield_now().await;
    }
    for request in &requests {
        request.abort();
    }
    join_all(requests).await;
    lock.rollback().await.unwrap();

    let open = "SELECT pid::text FROM pg_stat_activity WHERE datname = current_database() \
                AND (state LIKE 'idle in transaction%' OR wait_event_type = 'Lock')";
    while !test.query(open).await.is_empty() {
        tokio::task::yield_now().await;
    }
    let attempts = store.find_credentials(&ada.email).await.unwrap().unwrap();
    assert_eq!(attempts.attempts.failed, 3);
}
