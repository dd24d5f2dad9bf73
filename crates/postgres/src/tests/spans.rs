//! What traces tell of the store.

#[path = "../../../diesel-trace/src/tests/collector.rs"]
pub(super) mod collector;

use diesel::dsl::sql;
use diesel::sql_types::Integer;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use futures_util::FutureExt;
use tasks_domain::account::{Registration, User, UserRepository};
use tasks_domain::mail::Outbox;
use tasks_domain::task::{TaskCreation, TaskQuery, TaskRepository, TaskUpdate};
use tasks_testkit::build;
use tasks_testkit::clock::noon;
use tokio_postgres::NoTls;
use tracing::Instrument;

use super::*;
use crate::error::Failure;
use crate::work::Kind;
use collector::{UseCase, outcomes};

pub(super) async fn migrated() -> (Opened, User) {
    let opened = Opened::empty().await;
    opened.store.migrate_up().await.unwrap();
    let user = build::user().build();
    let outcome = opened.store.register(build::account(&user)).await.unwrap();
    assert_eq!(outcome, Registration::Registered);
    (opened, user)
}

/// A connection beside the store's own.
async fn client(database: &Database) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(&database.url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_a_child_of_the_use_case_that_asked_and_tells_no_value() {
    let (opened, ada) = migrated().await;
    let store = &opened.store;
    let secret = "A recognisable title";
    let task = build::task(&ada).title(secret).build();
    let page = TaskQuery::default();
    let [creating, listing, updating, finding] = [(); 4].map(|()| UseCase::begin());

    let create = store.create(&task);
    create.instrument(creating.span.clone()).await.unwrap();
    // Of nobody: it belongs to no use case.
    store.create(&build::task(&ada).build()).await.unwrap();
    let list = store.list(ada.id, &page);
    list.instrument(listing.span.clone()).await.unwrap();
    let update = store.update(task.id, task.version, &task.content, noon());
    let updated = update.instrument(updating.span.clone()).await.unwrap();
    assert!(matches!(updated, TaskUpdate::Updated(_)));
    let find = store.find(task.id);
    find.instrument(finding.span.clone()).await.unwrap();
    store.list(ada.id, &page).await.unwrap();
    // All of it went over one connection.
    assert_eq!(store.places.status().size, 1);

    for (use_case, expected) in [
        (&creating, ("INSERT tasks", None)),
        (&listing, ("SELECT tasks", None)),
        (&updating, ("UPDATE tasks", None)),
        (&finding, ("SELECT tasks", None)),
    ] {
        let statements = use_case.statements();
        assert_eq!(outcomes(&statements), [expected]);
        for statement in &statements {
            assert_eq!(statement.field("db.system.name"), Some("postgresql"));
            assert!(!format!("{statement:?}").contains(secret));
        }
        assert_eq!(use_case.recorded().field("otel.status_code"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_one_connection_have_statements_of_their_own() {
    let (opened, ada) = migrated().await;
    let store = opened.store.clone();
    ended(on_a_worker(move || async move {
        let page = TaskQuery::default();
        // From here on both statements are prepared, and nothing else is sent before them.
        store.find(build::id()).await.unwrap();
        store.list(ada.id, &page).await.unwrap();
        let _held = store.places.piped().await;
        let use_cases = [(); 3].map(|()| UseCase::begin());
        let [first, second, third] = &use_cases;
        let find = store.find(build::id()).instrument(first.span.clone());
        let list = store.list(ada.id, &page).instrument(second.span.clone());
        let find_again = store.find(build::id()).instrument(third.span.clone());
        let (found, listed, found_again) = futures_util::join!(find, list, find_again);
        assert_eq!((found.unwrap(), found_again.unwrap()), (None, None));
        assert_eq!(listed.unwrap().total, 0);
        for use_case in use_cases {
            assert_eq!(outcomes(&use_case.statements()), [("SELECT tasks", None)]);
        }
    }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_begins_and_ends_in_the_trace() {
    let (opened, _) = migrated().await;
    let use_case = UseCase::begin();
    let account = build::account(&build::user().build());
    let register = opened.store.register(account);
    register.instrument(use_case.span.clone()).await.unwrap();
    let statements = use_case.statements();
    let outcomes = outcomes(&statements);
    assert!(outcomes.starts_with(&[("BEGIN", None), ("INSERT users", None)]));
    assert!(outcomes.ends_with(&[("INSERT outbox", None), ("COMMIT", None)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_fails_is_marked_though_the_use_case_expects_that() {
    let (opened, _) = migrated().await;
    let task = build::task(&build::user().build()).build();
    let use_case = UseCase::begin();
    let create = opened.store.create(&task);
    let created = create.instrument(use_case.span.clone()).await.unwrap();
    assert_eq!(created, TaskCreation::NoOwner);
    assert_eq!(
        outcomes(&use_case.statements()),
        [("INSERT tasks", Some("foreign_key_violation"))]
    );
    assert_eq!(use_case.recorded().field("otel.status_code"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_under_a_statement_marks_it_and_the_use_case() {
    let (opened, ada) = migrated().await;
    let task = build::task(&ada).build();
    opened.store.create(&task).await.unwrap();
    let mut other = client(&opened.database).await;
    let locking = other.transaction().await.unwrap();
    let lock = "SELECT FROM tasks FOR UPDATE";
    locking.batch_execute(lock).await.unwrap();
    let observer = client(&opened.database).await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE wait_event_type = 'Lock' AND datname = current_database()";

    // One that answers with a count, and one that answers with rows.
    for returns_rows in [false, true] {
        let use_case = UseCase::begin();
        let (store, task) = (opened.store.clone(), task.clone());
        let change = async move {
            if returns_rows {
                let update = store.update(task.id, task.version, &task.content, noon());
                update.await.map(drop)
            } else {
                TaskRepository::delete(&store, task.id, noon())
                    .await
                    .map(drop)
            }
        };
        let changing = tokio::spawn(change.instrument(use_case.span.clone()));
        while observer.query(end, &[]).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        changing.await.unwrap().unwrap_err();
        assert_eq!(
            outcomes(&use_case.statements()),
            [("UPDATE tasks", Some("database_error"))],
            "{returns_rows}"
        );
        assert_eq!(use_case.recorded().field("otel.status_code"), Some("ERROR"));
    }
}

/// In place of rows.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_fails_in_a_transaction_is_marked_and_not_what_comes_after_it() {
    let (opened, _) = migrated().await;
    let use_case = UseCase::begin();
    let work = opened.store.transact((), |session, ()| {
        Box::pin(async move {
            let query = sql::<Integer>("1 / (SELECT count(*)::int FROM tasks)");
            Ok(diesel::select(query).get_result::<i32>(session).await?)
        })
    });
    work.instrument(use_case.span.clone()).await.unwrap_err();
    let failed = ("SELECT tasks", Some("database_error"));
    assert_eq!(
        outcomes(&use_case.statements()),
        [("BEGIN", None), failed, ("ROLLBACK", None)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_is_given_up_ends_with_its_unit_of_work() {
    let (opened, ada) = migrated().await;
    let [given_up, panicking, next] = [(); 3].map(|()| UseCase::begin());
    let work = opened.store.read((), |session, ()| {
        Box::pin(async move {
            let begun = session.batch_execute("SELECT 1").now_or_never();
            assert_eq!(begun, None);
            Ok(())
        })
    });
    work.instrument(given_up.span.clone()).await.unwrap();
    let work = opened.store.read((), |session, ()| {
        Box::pin(async move {
            let begun = session.batch_execute("SELECT 1").now_or_never();
            panic!("on purpose: {begun:?}")
        })
    });
    let panicked: Result<(), _> = work.instrument(panicking.span.clone()).await;
    panicked.unwrap_err();

    let page = TaskQuery::default();
    let list = opened.store.list(ada.id, &page);
    list.instrument(next.span.clone()).await.unwrap();
    for use_case in [given_up, panicking] {
        let statements = use_case.statements();
        assert_eq!(outcomes(&statements), [("SELECT", Some("cancelled"))]);
    }
    assert_eq!(outcomes(&next.statements()), [("SELECT tasks", None)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_try_has_its_statements() {
    let (opened, _) = migrated().await;
    let use_case = UseCase::begin();
    let work = opened.store.run(Kind::Read, (), |session, ()| {
        Box::pin(async move {
            let sql = "DO $$ BEGIN RAISE 'no' USING ERRCODE = '40001'; END $$";
            session.batch_execute(sql).await.map_err(Failure::from)
        })
    });
    work.instrument(use_case.span.clone()).await.unwrap_err();
    let failed = ("DO", Some("serialization_failure"));
    assert_eq!(outcomes(&use_case.statements()), [failed, failed]);
}

/// Somebody changed it by hand.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_cannot_be_read_fails_the_use_case() {
    let (opened, _) = migrated().await;
    let spoil = "UPDATE users SET full_name = ''";
    client(&opened.database)
        .await
        .batch_execute(spoil)
        .await
        .unwrap();
    let use_case = UseCase::begin();
    let claim = opened.store.claim(noon(), noon());
    claim.instrument(use_case.span.clone()).await.unwrap_err();
    assert_eq!(use_case.recorded().field("otel.status_code"), Some("ERROR"));
}
