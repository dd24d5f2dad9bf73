//! What is in the tables: values that break a rule, foreign keys, and what a refused login writes.

use std::time::Duration;

use tasks_domain::account::{
    FailedLogin, LoginAttempts, SessionOpening, SessionRepository, UserRepository,
};
use tasks_domain::store::StoreError;
use tasks_domain::task::{Assignment, TaskFilter, TaskQuery};
use tasks_testkit::build;
use tasks_testkit::clock::noon;
use tasks_testkit::contract::Stores;
use tasks_testkit::servers::PostgresServer;

use crate::{TestStore, client, user};

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_value_that_breaks_a_rule_is_named_and_not_told() {
    let test = TestStore::migrated().await;
    let ada = user(&test.store).await;
    let task = build::task(&ada).build();
    test.tasks().create(&task).await.unwrap();
    for (column, value) in [
        ("title", "'x'"),
        ("due_date", "'infinity'"),
        ("created_at", "'-infinity'"),
        ("updated_at", "'0044-03-15 BC'"),
    ] {
        let sql = format!("SELECT quote_nullable({column}) FROM tasks");
        let stored = test.query(&sql).await;
        test.execute(&format!("UPDATE tasks SET {column} = {value}"))
            .await;
        let error = test.tasks().find(task.id).await.unwrap_err();
        let expected = format!("tasks.{column}");
        assert!(
            matches!(&error, StoreError::Corrupt { what } if *what == expected),
            "{error:?}"
        );
        test.execute(&format!("UPDATE tasks SET {column} = {}", stored[0]))
            .await;
    }
    assert_eq!(test.tasks().find(task.id).await.unwrap(), Some(task));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_takes_everything_along() {
    let test = TestStore::migrated().await;
    let ada = user(&test.store).await;
    let (kept, deleted) = (build::task(&ada).build(), build::task(&ada).build());
    let category = build::category(&ada).build();
    test.tasks().create(&kept).await.unwrap();
    test.tasks().create(&deleted).await.unwrap();
    test.categories().create(&category).await.unwrap();
    let assigned = test.tasks().assign(kept.id, category.id).await.unwrap();
    assert!(matches!(assigned, Assignment::Assigned(_)));
    assert!(test.tasks().delete(deleted.id, noon()).await.unwrap());

    test.execute("DELETE FROM users").await;
    for table in [
        "sessions",
        "refresh_tokens",
        "tasks",
        "categories",
        "task_categories",
    ] {
        let rows = test.query(&format!("SELECT 'a row' FROM {table}")).await;
        assert_eq!(rows, Vec::<String>::new(), "{table}");
    }
}

/// The rules never let a task get there; if one does, the list does not tell.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_by_somebody_elses_category_is_empty_even_if_a_task_is_in_it() {
    let test = TestStore::migrated().await;
    let ada = user(&test.store).await;
    let bob = user(&test.store).await;
    let task = build::task(&ada).build();
    test.tasks().create(&task).await.unwrap();
    let category = build::category(&bob).build();
    test.categories().create(&category).await.unwrap();
    test.tasks().assign(task.id, category.id).await.unwrap();
    let query = TaskQuery {
        filter: TaskFilter {
            category: Some(category.id),
            ..TaskFilter::default()
        },
        ..TaskQuery::default()
    };
    for owner in [ada.id, bob.id] {
        let page = test.tasks().list(owner, &query).await.unwrap();
        assert_eq!((page.total, page.items), (0, Vec::new()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_of_nobody_is_refused() {
    let test = TestStore::migrated().await;
    let error = test
        .tasks()
        .create(&build::task(&build::user().build()).build())
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Other(_)), "{error:?}");
}

/// The database's own collation would sort otherwise; on the shared server it may not.
#[tokio::test(flavor = "multi_thread")]
async fn what_sorts_by_code_point_says_so_itself() {
    let test = TestStore::migrated().await;
    let columns = test
        .query(
            "SELECT c.relname || '.' || a.attname FROM pg_attribute a \
             JOIN pg_class c ON c.oid = a.attrelid JOIN pg_collation l ON l.oid = a.attcollation \
             WHERE c.relkind = 'r' AND l.collname = 'C' \
             AND (c.relname, a.attname) IN (('tasks', 'title'), ('categories', 'name')) ORDER BY 1",
        )
        .await;
    assert_eq!(columns, ["categories.name", "tasks.title"]);
}

/// The time of a commit is the time of what it writes. A refusal that wrote nothing would tell that
/// there is no such account, or that it is locked; one that wrote a row of a table would leave its
/// dead versions behind.
#[tokio::test(flavor = "multi_thread")]
async fn every_refused_login_writes_to_the_log_and_leaves_nothing_behind() {
    // A server of one's own: the log is everybody's.
    let server = PostgresServer::start().await;
    let test = TestStore::on_server(&server).await;
    let store = &test.store;
    let ada = user(store).await;
    let unknown = build::email("nobody@example.com");
    let observer = client(&test.database.url).await;
    observer
        .batch_execute("ALTER TABLE users SET (autovacuum_enabled = off)")
        .await
        .unwrap();
    let flushed = || async {
        let sql = "SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn";
        let row = observer
            .query_one(&format!("SELECT ({sql})::text"), &[])
            .await
            .unwrap();
        row.get::<_, String>(0).parse::<u64>().unwrap()
    };
    let soon = noon().plus(Duration::from_secs(1));

    let before = flushed().await;
    let outcome = store.record_failed_login(&ada.email, noon()).await.unwrap();
    assert_eq!(outcome, FailedLogin::Counted);
    assert!(flushed().await > before);
    for _ in 1..LoginAttempts::MAX_FAILED {
        store.record_failed_login(&ada.email, noon()).await.unwrap();
    }

    let before = flushed().await;
    let outcome = store.record_failed_login(&unknown, noon()).await.unwrap();
    assert_eq!(outcome, FailedLogin::NoAccount);
    assert!(flushed().await > before);

    let before = flushed().await;
    let outcome = store.record_failed_login(&ada.email, noon()).await.unwrap();
    assert!(matches!(outcome, FailedLogin::StillLocked(_)));
    assert!(flushed().await > before);

    let before = flushed().await;
    let outcome = store
        .open(ada.id, build::session(soon), soon)
        .await
        .unwrap();
    assert!(matches!(outcome, SessionOpening::Locked(_)));
    assert!(flushed().await > before);

    let before = flushed().await;
    let outcome = store
        .open(build::id(), build::session(soon), soon)
        .await
        .unwrap();
    assert_eq!(outcome, SessionOpening::NoAccount);
    assert!(flushed().await > before);

    let tables = test
        .query("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        .await;
    assert!(!tables.contains(&"uncounted_logins".to_owned()));
}
