//! What traces tell of the store.

#[path = "../../../diesel-trace/src/tests/collector.rs"]
mod collector;

use diesel::dsl::sql;
use diesel::sql_types::BigInt;
use tasks_domain::category::{self, CategoryCreation};
use tasks_domain::mail::{MailKind, Outbox};
use tasks_domain::task::{TaskQuery, TaskUpdate};
use tasks_testkit::clock::noon;
use tracing::Instrument;

use super::*;
use collector::{UseCase, outcomes};

#[tokio::test]
async fn a_statement_is_a_child_of_the_use_case_that_asked_and_tells_no_value() {
    let opened = Opened::with_one_reader();
    let store = &opened.store;
    let ada = user(store).await;
    let secret = "A recognisable title";
    let task = build::task(&ada).title(secret).build();
    let [creating, listing, updating, finding] = [(); 4].map(|()| UseCase::begin());

    store
        .create(&task)
        .instrument(creating.span.clone())
        .await
        .unwrap();
    // Of nobody: it belongs to no use case.
    store.create(&build::task(&ada).build()).await.unwrap();
    let page = TaskQuery::default();
    let list = store.list(ada.id, &page);
    list.instrument(listing.span.clone()).await.unwrap();
    let update = store.update(task.id, task.version, &task.content, noon());
    let updated = update.instrument(updating.span.clone()).await.unwrap();
    assert!(matches!(updated, TaskUpdate::Updated(_)));
    store
        .find(task.id)
        .instrument(finding.span.clone())
        .await
        .unwrap();
    store.list(ada.id, &page).await.unwrap();

    let insert = ("INSERT tasks", None);
    let select = ("SELECT tasks", None);
    let categories = ("SELECT task_categories", None);
    let commit = ("COMMIT", None);
    for (use_case, expected) in [
        (&creating, &[insert, commit][..]),
        (&listing, &[select]),
        (&updating, &[("UPDATE tasks", None), categories, commit]),
        (&finding, &[select]),
    ] {
        let statements = use_case.statements();
        assert_eq!(outcomes(&statements), expected);
        for statement in &statements {
            assert_eq!(statement.field("db.system.name"), Some("sqlite"));
            assert!(!format!("{statement:?}").contains(secret));
        }
        assert_eq!(use_case.recorded().field("otel.status_code"), None);
    }
}

/// Each of them waits for the disk.
#[tokio::test]
async fn a_shared_commit_is_in_the_trace_of_everyone_who_waits_for_it() {
    let opened = Opened::migrated();
    let store = &opened.store;
    let ada = user(store).await;
    let (release, busy) = occupy(store).await;
    let use_cases = [(); 3].map(|()| UseCase::begin());
    let mut jobs = Vec::new();
    for use_case in &use_cases {
        let (store, task) = (store.clone(), build::task(&ada).build());
        let span = use_case.span.clone();
        jobs.push(tokio::spawn(
            async move { store.create(&task).await }.instrument(span),
        ));
        yield_now().await;
    }
    drop(release);
    busy.await.unwrap().unwrap();
    for job in jobs {
        job.await.unwrap().unwrap();
    }
    for use_case in &use_cases {
        let statements = use_case.statements();
        assert_eq!(
            outcomes(&statements),
            [("INSERT tasks", None), ("COMMIT", None)]
        );
    }
}

#[tokio::test]
async fn a_statement_that_fails_is_marked_and_so_is_the_use_case_unless_it_expects_that() {
    let opened = Opened::migrated();
    let store = &opened.store;
    let ada = user(store).await;
    let categories: &dyn category::CategoryRepository = store;
    let category = build::category(&ada).build();
    categories.create(&category).await.unwrap();
    let [refused, failing] = [(); 2].map(|()| UseCase::begin());

    let again = build::category(&ada).name(category.name.as_str()).build();
    let create = categories.create(&again);
    let created = create.instrument(refused.span.clone()).await.unwrap();
    assert_eq!(created, CategoryCreation::NameTaken);
    let statements = refused.statements();
    let violation = ("INSERT categories", Some("unique_violation"));
    assert_eq!(outcomes(&statements), [violation, ("COMMIT", None)]);
    assert_eq!(refused.recorded().field("otel.status_code"), None);

    while store.migrate_down().unwrap().is_some() {}
    let mail = build::mail(MailKind::ResetPassword, &ada.email);
    let add = store.add(mail);
    add.instrument(failing.span.clone()).await.unwrap_err();
    let statements = failing.statements();
    let broken = ("INSERT outbox", Some("database_error"));
    assert_eq!(outcomes(&statements), [broken, ("COMMIT", None)]);
    assert_eq!(failing.recorded().field("otel.status_code"), Some("ERROR"));
}

#[tokio::test]
async fn a_commit_that_fails_is_marked() {
    let opened = Opened::migrated();
    let use_case = UseCase::begin();
    let losing = opened.store.write(|connection| {
        connection.batch_execute("PRAGMA defer_foreign_keys = ON")?;
        connection
            .batch_execute("INSERT INTO task_categories VALUES (zeroblob(16), zeroblob(16))")?;
        Ok(())
    });
    losing.instrument(use_case.span.clone()).await.unwrap_err();
    assert_eq!(
        outcomes(&use_case.statements()),
        [
            ("PRAGMA", None),
            ("INSERT task_categories", None),
            ("COMMIT", Some("foreign_key_violation"))
        ]
    );
}

/// Somebody changed it by hand.
#[tokio::test]
async fn a_mail_that_cannot_be_read_fails_the_use_case() {
    let opened = Opened::migrated();
    let store = &opened.store;
    user(store).await;
    let spoil =
        store.write(|connection| Ok(connection.batch_execute("UPDATE users SET full_name = ''")?));
    spoil.await.unwrap();
    let use_case = UseCase::begin();
    let claim = store.claim(noon(), noon());
    claim.instrument(use_case.span.clone()).await.unwrap_err();
    assert_eq!(use_case.recorded().field("otel.status_code"), Some("ERROR"));
}

/// In place of rows.
#[tokio::test]
async fn a_query_that_fails_is_marked() {
    let opened = Opened::migrated();
    let use_case = UseCase::begin();
    let failing = opened.store.read(|connection| {
        let query = sql::<BigInt>("abs((SELECT count(*) - 9223372036854775807 - 1 FROM tasks))");
        Ok(diesel::select(query).get_result::<i64>(connection)?)
    });
    failing.instrument(use_case.span.clone()).await.unwrap_err();
    assert_eq!(
        outcomes(&use_case.statements()),
        [("SELECT tasks", Some("database_error"))]
    );
    assert_eq!(use_case.recorded().field("otel.status_code"), Some("ERROR"));
}
