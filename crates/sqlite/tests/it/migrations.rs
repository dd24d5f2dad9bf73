//! Migrations, there and back.

use tasks_domain::health::{HealthProbe, SchemaProbe, SchemaState};
use tasks_sqlite::{MigrationError, MigrationState, SqliteStore};

use crate::TestStore;

const FIRST: &str = "0001_accounts_tasks_categories";
const SECOND: &str = "0002_mail_sessions_housekeeping";
const THIRD: &str = "0003_outbox_trace_parent";
const FOURTH: &str = "0004_task_counts";

/// A row for every table of the first migration, as a program of then left them.
const ROWS: [&str; 7] = [
    "INSERT INTO users VALUES (zeroblob(16), 'ada@example.com', 'hash', 'Ada', 0, 2, NULL, \
     'token', 2000, 1000, 1000)",
    "INSERT INTO sessions VALUES (zeroblob(16), zeroblob(16), 1000, 1000, 2000, NULL, 'curl', \
     '192.0.2.1')",
    "INSERT INTO refresh_tokens VALUES (zeroblob(16), zeroblob(16), zeroblob(16), 'hash', 2000, \
     NULL, 1000)",
    "UPDATE uncounted_logins SET touched = 7",
    "INSERT INTO tasks VALUES (zeroblob(16), zeroblob(16), 'Title', NULL, 'pending', 2, NULL, \
     1500, 1, 1000, 1000)",
    "INSERT INTO categories VALUES (zeroblob(16), zeroblob(16), 'Garden', '#00ff00', 1000)",
    "INSERT INTO task_categories VALUES (zeroblob(16), zeroblob(16))",
];

fn schema(test: &TestStore) -> Vec<String> {
    test.query(
        "SELECT type || ' ' || name || ' ' || coalesce(sql, '') AS value FROM sqlite_schema \
         WHERE name NOT LIKE '%__diesel_schema_migrations%' ORDER BY value",
    )
}

/// A query of every table for the columns that it has now.
fn queries(test: &TestStore) -> Vec<String> {
    test.query(
        "SELECT 'SELECT concat_ws(''|'', ' || group_concat('quote(' || c.name || ')') || ') \
                 AS value FROM ' || t.name AS value \
         FROM sqlite_schema t JOIN pragma_table_info(t.name) c \
         WHERE t.type = 'table' AND t.name <> '__diesel_schema_migrations' GROUP BY t.name",
    )
}

fn rows(test: &TestStore, queries: &[String]) -> Vec<String> {
    queries.iter().flat_map(|query| test.query(query)).collect()
}

#[test]
fn up_down_up_leaves_no_trace() {
    let test = TestStore::empty();
    assert_eq!(
        test.store.migrate_up().unwrap(),
        [FIRST, SECOND, THIRD, FOURTH]
    );
    let up = schema(&test);
    assert!(up.iter().any(|thing| thing.starts_with("table tasks ")));
    assert!(test.store.migrate_up().unwrap().is_empty());

    for last in [FOURTH, THIRD, SECOND, FIRST] {
        assert_eq!(test.store.migrate_down().unwrap().as_deref(), Some(last));
    }
    assert_eq!(schema(&test), Vec::<String>::new());
    assert_eq!(test.store.migrate_down().unwrap(), None);

    assert_eq!(
        test.store.migrate_up().unwrap(),
        [FIRST, SECOND, THIRD, FOURTH]
    );
    assert_eq!(schema(&test), up);
}

#[test]
fn an_upgrade_keeps_every_row_and_so_does_going_back() {
    let test = TestStore::empty();
    test.store.migrate_up().unwrap();
    let fourth = schema(&test);
    let down = || test.store.migrate_down().unwrap();
    down();
    down();
    let second = schema(&test);
    down();
    for row in ROWS {
        test.execute(row);
    }
    let (first, of_first) = (schema(&test), queries(&test));
    let before = rows(&test, &of_first);
    assert_eq!(before.len(), ROWS.len());

    assert_eq!(test.store.migrate_up().unwrap(), [SECOND, THIRD, FOURTH]);
    assert_eq!(rows(&test, &of_first), before);
    assert_eq!(schema(&test), fourth);

    test.execute(
        "UPDATE users \
         SET password_reset_token_hash = 'token', password_reset_token_expires_at = 2000",
    );
    test.execute(
        "INSERT INTO outbox VALUES (zeroblob(16), 'verify_email', 'ada@example.com', 'token', \
         1000, 1000, 1, NULL, 'traceparent')",
    );
    assert_eq!(down().as_deref(), Some(FOURTH));
    assert_eq!(down().as_deref(), Some(THIRD));
    assert_eq!(schema(&test), second);
    let of_second = queries(&test);
    let with_mail = rows(&test, &of_second);
    assert_eq!(with_mail.len(), ROWS.len() + 1);

    assert_eq!(test.store.migrate_up().unwrap(), [THIRD, FOURTH]);
    assert_eq!(rows(&test, &of_second), with_mail);

    assert_eq!(down().as_deref(), Some(FOURTH));
    assert_eq!(down().as_deref(), Some(THIRD));
    assert_eq!(down().as_deref(), Some(SECOND));
    assert_eq!(rows(&test, &of_first), before);
    assert_eq!(schema(&test), first);

    assert_eq!(test.store.migrate_up().unwrap(), [SECOND, THIRD, FOURTH]);
    assert_eq!(rows(&test, &of_first), before);
    assert_eq!(schema(&test), fourth);
}

/// Each user's, without deleted ones.
#[test]
fn an_upgrade_counts_the_tasks_that_are_there() {
    let test = TestStore::empty();
    test.store.migrate_up().unwrap();
    test.store.migrate_down().unwrap();
    test.execute(
        "INSERT INTO users (id, email, password_hash, full_name, created_at, updated_at) \
         SELECT CAST('a user, number ' || value AS BLOB), value, '-', 'A user', 1, 1 \
         FROM json_each('[1, 2, 3]')",
    );
    test.execute(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 50) \
         INSERT INTO tasks (id, user_id, title, priority, deleted_at, created_at, updated_at) \
         SELECT CAST(printf('%016d', n) AS BLOB), CAST('a user, number ' || (1 + n % 2) AS BLOB), \
             'A task', 1 + n % 2 * (n % 5 = 0), CASE WHEN n % 7 = 0 THEN 1 END, 1, 1 FROM numbers",
    );
    assert_eq!(test.store.migrate_up().unwrap(), [FOURTH]);
    let counters = test.query(
        "SELECT concat_ws(' ', user_id, status, priority, total) AS value FROM task_counts \
         ORDER BY value",
    );
    assert_eq!(
        counters,
        [
            "a user, number 1 pending 1 22",
            "a user, number 2 pending 1 17",
            "a user, number 2 pending 2 4",
        ]
    );
}

#[test]
fn the_status_names_every_migration_and_changes_nothing() {
    let test = TestStore::empty();
    let state = |name: &str, applied, known| MigrationState {
        name: name.to_owned(),
        applied,
        known,
    };
    let path = test.folder.path().join("tasks.db");
    let status = || SqliteStore::migration_status(&path).unwrap();
    assert_eq!(
        status(),
        [FIRST, SECOND, THIRD, FOURTH].map(|name| state(name, false, true))
    );
    assert_eq!(
        test.query("SELECT name AS value FROM sqlite_schema"),
        Vec::<String>::new()
    );
    test.store.migrate_up().unwrap();
    test.store.migrate_down().unwrap();
    assert_eq!(
        status(),
        [
            state(FIRST, true, true),
            state(SECOND, true, true),
            state(THIRD, true, true),
            state(FOURTH, false, true)
        ]
    );
    test.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')");
    assert_eq!(
        status(),
        [
            state(FIRST, true, true),
            state(SECOND, true, true),
            state(THIRD, true, true),
            state(FOURTH, false, true),
            state("9999", true, false)
        ]
    );
}

#[test]
fn the_status_of_a_missing_database_makes_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a folder").join("tasks.db");
    let status = SqliteStore::migration_status(&path).unwrap();
    assert!(!status.is_empty() && status.iter().all(|state| !state.applied));
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn the_probe_tells_behind_current_and_ahead() {
    let test = TestStore::empty();
    assert_eq!(test.store.schema().await.unwrap(), SchemaState::Behind(4));
    test.store.migrate_up().unwrap();
    assert_eq!(test.store.schema().await.unwrap(), SchemaState::Current);
    test.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')");
    assert_eq!(test.store.schema().await.unwrap(), SchemaState::Ahead(1));
    test.store.check().await.unwrap();
}

#[test]
fn what_a_newer_program_migrated_is_not_reverted() {
    let test = TestStore::migrated();
    test.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')");
    let error = test.store.migrate_down().unwrap_err();
    assert!(matches!(error, MigrationError::Unknown(version) if version == "9999"));
}

/// Every foreign key has an index that begins with it, or deleting a user would scan.
#[test]
fn every_foreign_key_has_an_index() {
    let test = TestStore::migrated();
    let without = test.query(
        "SELECT t.name || '.' || f.\"from\" AS value \
         FROM sqlite_schema t JOIN pragma_foreign_key_list(t.name) f \
         WHERE t.type = 'table' AND NOT EXISTS ( \
             SELECT 1 FROM pragma_index_list(t.name) i JOIN pragma_index_info(i.name) c \
             WHERE i.partial = 0 AND c.seqno = 0 AND c.name = f.\"from\")",
    );
    assert_eq!(without, Vec::<String>::new());
}
