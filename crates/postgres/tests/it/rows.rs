//! What is in the tables: values that break a rule, foreign keys, and what a refused login writes.

use std::time::Duration;

use tasks_domain::account::{
    Admission, FailedLogin, LoginAttempts, SessionRepository, UserRepository,
};
use tasks_domain::mail::{MailKind, Outbox};
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
        "task_counts",
    ] {
        let rows = test.query(&format!("SELECT 'a row' FROM {table}")).await;
        assert_eq!(rows, Vec::<String>::new(), "{table}");
    }
}

/// Counts what is left.
async fn rows(test: &TestStore) -> Vec<String> {
    let mut rows = Vec::new();
    for table in [
        "users",
        "sessions",
        "refresh_tokens",
        "tasks",
        "categories",
        "task_categories",
        "task_counts",
        "outbox",
    ] {
        let count = format!("SELECT '{table} ' || count(*) FROM {table} HAVING count(*) > 0");
        rows.extend(test.query(&count).await);
    }
    rows
}

/// Though a statement may take only so long. What others have stays.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_with_a_great_many_tasks_and_tokens_is_erased_at_once() {
    let test = TestStore::migrated().await;
    let store = &test.store;
    user(store).await;
    let others = rows(&test).await;
    let ada = user(store).await;
    test.execute(&format!(
        "INSERT INTO categories (id, user_id, name, color, created_at) \
         SELECT md5('category ' || c)::uuid, id, 'Category ' || c, '#6366F1', now() \
         FROM users, generate_series(0, 99) c WHERE id = '{0}'; \
         INSERT INTO tasks (id, user_id, title, description, deleted_at, created_at, updated_at) \
         SELECT md5('task ' || t)::uuid, id, 'Task ' || t, repeat('x', 200), \
             CASE WHEN t % 10 = 0 THEN now() END, now(), now() \
         FROM users, generate_series(1, 50000) t WHERE id = '{0}'; \
         INSERT INTO task_categories (task_id, category_id) \
         SELECT md5('task ' || t)::uuid, md5('category ' || t % 100)::uuid \
         FROM generate_series(1, 50000, 5) t; \
         INSERT INTO sessions (id, user_id, created_at, last_used_at, expires_at, ended_at, ip_address) \
         SELECT md5('session ' || s)::uuid, '{0}', now(), now(), now(), now(), '192.0.2.1' \
         FROM generate_series(0, 9999) s; \
         INSERT INTO refresh_tokens (id, user_id, session_id, token_hash, expires_at, created_at) \
         SELECT md5('token ' || t)::uuid, '{0}', md5('session ' || t % 10000)::uuid, md5('token ' || t), \
             now(), now() \
         FROM generate_series(1, 100000) t",
        ada.id
    ))
    .await;
    test.execute("VACUUM ANALYZE").await;
    for kind in MailKind::ALL {
        store.add(build::mail(kind, &ada.email)).await.unwrap();
    }
    let credentials = store.find_credentials(&ada.email).await.unwrap().unwrap();
    let deleted = store.delete(ada.id, credentials.password_hash, noon());
    assert_eq!(deleted.await.unwrap(), Admission::Granted);
    assert_eq!(rows(&test).await, others);
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

    let hash = store.find_credentials(&ada.email).await.unwrap().unwrap();
    let (right, wrong) = (hash.password_hash, build::password_hash("another"));
    for (user, hash) in [(ada.id, &right), (ada.id, &wrong), (build::id(), &right)] {
        let before = flushed().await;
        let session = build::session(soon);
        let outcome = store.open(user, hash.clone(), session, soon).await.unwrap();
        assert_ne!(outcome, Admission::Granted);
        assert!(flushed().await > before, "{outcome:?}");
    }

    let tables = test
        .query("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        .await;
    assert!(!tables.contains(&"uncounted_logins".to_owned()));
}

/// By whatever statement somebody writes who knows nothing of counters.
#[tokio::test(flavor = "multi_thread")]
async fn counters_are_right_whoever_writes() {
    let test = TestStore::migrated().await;
    let insert = "INSERT INTO tasks (id, user_id, title, status, priority, deleted_at, created_at, updated_at) \
                  SELECT md5('task ' || n)::uuid, md5('user ' || n % 2)::uuid, 'A task', \
                  (ARRAY['pending', 'in_progress', 'completed'])[1 + n % 3]::task_status, \
                  (ARRAY['low', 'medium', 'high'])[1 + n / 3 % 3]::task_priority, \
                  CASE WHEN n % 7 = 0 THEN now() END, now(), now() FROM generate_series";
    test.execute(
        "INSERT INTO users (id, email, password_hash, full_name, created_at, updated_at) \
         SELECT md5('user ' || n)::uuid, n, '-', 'A user', now(), now() FROM generate_series(0, 3) n",
    )
    .await;
    for statement in [
        format!("{insert}(1, 60) n"),
        format!("{insert}(1, 70) n ON CONFLICT DO NOTHING"),
        format!("{insert}(1, 80) n ON CONFLICT (id) DO UPDATE SET priority = 'low'"),
        "UPDATE tasks SET status = 'completed' WHERE priority = 'low'".to_owned(),
        "UPDATE tasks SET title = 'Another', updated_at = '2000-01-01'".to_owned(),
        "UPDATE tasks SET deleted_at = '2000-01-01' WHERE deleted_at IS NULL AND priority = 'high'"
            .to_owned(),
        "UPDATE tasks SET deleted_at = NULL, status = 'pending' WHERE deleted_at = '2000-01-01'"
            .to_owned(),
        "UPDATE tasks SET user_id = md5('user 2')::uuid WHERE status = 'completed'".to_owned(),
        "DELETE FROM tasks WHERE priority = 'high'".to_owned(),
        "DELETE FROM users WHERE id = md5('user 2')::uuid".to_owned(),
        "BEGIN; DELETE FROM tasks; ROLLBACK".to_owned(),
        "TRUNCATE tasks CASCADE".to_owned(),
        format!("{insert}(1, 60) n"),
        "DELETE FROM tasks".to_owned(),
    ] {
        test.execute(&statement).await;
        let wrong = "SELECT concat_ws(' ', user_id, status, priority, total) FROM ( \
             SELECT user_id, status, priority, total FROM task_counts WHERE total <> 0 \
             UNION ALL SELECT user_id, status, priority, count(*) FROM tasks \
             WHERE deleted_at IS NULL GROUP BY user_id, status, priority) AS counters \
             GROUP BY user_id, status, priority, total HAVING count(*) <> 2";
        assert_eq!(test.query(wrong).await, Vec::<String>::new(), "{statement}");
    }
}
