//! What is in the tables: values that break a rule, foreign keys, and what a refused login writes.

use std::time::Duration;

use tasks_domain::account::{
    Admission, FailedLogin, LoginAttempts, SessionRepository, UserRepository,
};
use tasks_domain::housekeeping::{Housekeeping, Leftover, Removal};
use tasks_domain::store::StoreError;
use tasks_domain::task::{Assignment, TaskFilter, TaskQuery};
use tasks_testkit::build;
use tasks_testkit::clock::noon;
use tasks_testkit::contract::Stores;

use crate::{TestStore, user};

#[tokio::test]
async fn a_stored_value_that_breaks_a_rule_is_named_and_not_told() {
    let test = TestStore::migrated();
    let ada = user(&test.store).await;
    let task = build::task(&ada).build();
    test.tasks().create(&task).await.unwrap();
    for (column, value) in [
        ("title", "'x'"),
        ("due_date", "9223372036854775807"),
        ("created_at", "9223372036854775807"),
    ] {
        let stored = test.query(&format!(
            "SELECT coalesce(quote({column}), 'NULL') AS value FROM tasks"
        ));
        test.execute(&format!("UPDATE tasks SET {column} = {value}"));
        let error = test.tasks().find(task.id).await.unwrap_err();
        let expected = format!("tasks.{column}");
        assert!(
            matches!(&error, StoreError::Corrupt { what } if *what == expected),
            "{error:?}"
        );
        test.execute(&format!("UPDATE tasks SET {column} = {}", stored[0]));
    }
    assert_eq!(test.tasks().find(task.id).await.unwrap(), Some(task));
}

#[tokio::test]
async fn a_user_takes_everything_along() {
    let test = TestStore::migrated();
    let store = &test.store;
    let ada = user(store).await;
    let (kept, deleted) = (build::task(&ada).build(), build::task(&ada).build());
    let category = build::category(&ada).build();
    test.tasks().create(&kept).await.unwrap();
    test.tasks().create(&deleted).await.unwrap();
    test.categories().create(&category).await.unwrap();
    let assigned = test.tasks().assign(kept.id, category.id).await.unwrap();
    assert!(matches!(assigned, Assignment::Assigned(_)));
    assert!(test.tasks().delete(deleted.id, noon()).await.unwrap());

    let mut connection = test.connection();
    diesel::RunQueryDsl::execute(
        diesel::sql_query("PRAGMA foreign_keys = ON"),
        &mut connection,
    )
    .unwrap();
    diesel::RunQueryDsl::execute(diesel::sql_query("DELETE FROM users"), &mut connection).unwrap();
    for table in [
        "sessions",
        "refresh_tokens",
        "tasks",
        "categories",
        "task_categories",
        "task_counts",
    ] {
        let rows = test.query(&format!("SELECT '{table}' AS value FROM {table}"));
        assert_eq!(rows, Vec::<String>::new());
    }
}

/// The rules never let a task get there; if one does, the list does not tell.
#[tokio::test]
async fn a_list_by_somebody_elses_category_is_empty_even_if_a_task_is_in_it() {
    let test = TestStore::migrated();
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

/// The time of a commit is the time of what it writes. A refusal that wrote less would tell that
/// there is no such account, or that it is locked.
#[tokio::test]
async fn every_refused_login_writes_the_same_amount() {
    let test = TestStore::migrated();
    let store = &test.store;
    let ada = user(store).await;
    let log = test.folder.path().join("tasks.db-wal");
    let log_size = || log.metadata().unwrap().len();
    let unknown = build::email("nobody@example.com");

    let before = log_size();
    let outcome = store.record_failed_login(&ada.email, noon()).await.unwrap();
    assert_eq!(outcome, FailedLogin::Counted);
    let counted = log_size() - before;
    assert!(counted > 0);

    let before = log_size();
    let outcome = store.record_failed_login(&unknown, noon()).await.unwrap();
    assert_eq!(outcome, FailedLogin::NoAccount);
    assert_eq!(log_size() - before, counted);

    for _ in 1..LoginAttempts::MAX_FAILED {
        store.record_failed_login(&ada.email, noon()).await.unwrap();
    }
    let before = log_size();
    let outcome = store.record_failed_login(&ada.email, noon()).await.unwrap();
    assert!(matches!(outcome, FailedLogin::StillLocked(_)));
    assert_eq!(log_size() - before, counted);

    let soon = noon().plus(Duration::from_secs(1));
    let credentials = store.find_credentials(&ada.email).await.unwrap();
    let (right, wrong) = (
        credentials.unwrap().password_hash,
        build::password_hash("another"),
    );
    let mut refusals = Vec::new();
    for (user, hash) in [
        (ada.id, right.clone()),
        (ada.id, wrong),
        (build::id(), right),
    ] {
        let before = log_size();
        let session = build::session(soon);
        refusals.push(store.open(user, hash, session, soon).await.unwrap());
        assert_eq!(log_size() - before, counted);
    }
    assert!(matches!(
        refusals[..],
        [
            Admission::Locked(_),
            Admission::Outdated,
            Admission::Outdated
        ]
    ));
}

/// A session is over since it ended or since it expired, a refresh token since it expired or since its session
/// ended; a token of a mail verifies or resets. Both together are a batch.
#[tokio::test]
async fn a_batch_of_leftovers_keeps_its_limit_whatever_they_are_left_by() {
    let test = TestStore::migrated();
    for email in ["a@example.com", "b@example.com", "c@example.com"] {
        let user = build::user().email(email).build();
        test.store.register(build::account(&user)).await.unwrap();
    }
    for statement in [
        "UPDATE sessions SET ended_at = 1 WHERE rowid = 1",
        "UPDATE sessions SET expires_at = 1 WHERE rowid > 1",
        "UPDATE refresh_tokens SET expires_at = 1 WHERE rowid > 1",
        "UPDATE users SET verification_token_hash = email, verification_token_expires_at = 1 \
         WHERE rowid = 1",
        "UPDATE users SET password_reset_token_hash = email, password_reset_token_expires_at = 1 \
         WHERE rowid > 1",
    ] {
        test.execute(statement);
    }
    for what in [
        Leftover::RefreshTokens,
        Leftover::Sessions,
        Leftover::MailTokens,
    ] {
        for removed in [2, 1, 0] {
            let removal = test.store.remove(what, noon(), 2).await.unwrap();
            assert_eq!(removal, Removal::Removed(removed), "{what:?}");
        }
    }
}

/// By whatever statement somebody writes who knows nothing of counters.
#[tokio::test]
async fn counters_are_right_whoever_writes() {
    let test = TestStore::migrated();
    for email in ["a@example.com", "b@example.com"] {
        let user = build::user().email(email).build();
        test.store.register(build::account(&user)).await.unwrap();
    }
    let mut connection = test.connection();
    let mut execute = |sql: &str| {
        diesel::RunQueryDsl::execute(diesel::sql_query(sql), &mut connection).unwrap();
    };
    execute("PRAGMA foreign_keys = ON");
    let insert = "tasks (id, user_id, title, status, priority, deleted_at, created_at, updated_at)";
    let values = "SELECT CAST(printf('%016d', n) AS BLOB), users.id, 'A task', \
                  CASE n % 3 WHEN 0 THEN 'pending' WHEN 1 THEN 'in_progress' ELSE 'completed' END, \
                  1 + n / 3 % 3, CASE WHEN n % 7 = 0 THEN 1 END, 1, 1 FROM numbers JOIN users \
                  ON (n % 2 = 0) = (email = 'a@example.com') WHERE TRUE";
    let numbers = |to: u8| {
        format!(
            "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {to})"
        )
    };
    for statement in [
        format!("{} INSERT INTO {insert} {values}", numbers(60)),
        format!("{} INSERT OR IGNORE INTO {insert} {values}", numbers(70)),
        format!(
            "{} INSERT INTO {insert} {values} ON CONFLICT (id) DO UPDATE SET priority = 1",
            numbers(80)
        ),
        "UPDATE tasks SET status = 'completed' WHERE priority = 1".to_owned(),
        "UPDATE OR IGNORE tasks SET priority = 3 WHERE status = 'pending'".to_owned(),
        "UPDATE tasks SET title = 'Another', updated_at = 2".to_owned(),
        "UPDATE tasks SET deleted_at = 2 WHERE title = 'Another' AND priority = 2".to_owned(),
        "UPDATE tasks SET deleted_at = NULL, status = 'pending' WHERE deleted_at = 1".to_owned(),
        "UPDATE tasks SET user_id = (SELECT min(id) FROM users) WHERE status = 'completed'"
            .to_owned(),
        "DELETE FROM tasks WHERE priority = 3".to_owned(),
        "DELETE FROM users WHERE id = (SELECT max(id) FROM users)".to_owned(),
        "DELETE FROM tasks".to_owned(),
    ] {
        execute(&statement);
        let wrong = "SELECT hex(user_id) || status || priority || total AS value FROM ( \
             SELECT user_id, status, priority, total FROM task_counts WHERE total <> 0 \
             UNION ALL SELECT user_id, status, priority, count(*) FROM tasks \
             WHERE deleted_at IS NULL GROUP BY user_id, status, priority) \
             GROUP BY user_id, status, priority, total HAVING count(*) <> 2";
        assert_eq!(test.query(wrong), Vec::<String>::new(), "{statement}");
    }
}
