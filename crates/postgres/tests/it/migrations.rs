//! Migrations, there and back.

use futures_util::future::join_all;
use tasks_domain::account::UserRepository;
use tasks_domain::health::{HealthProbe, SchemaProbe, SchemaState};
use tasks_domain::mail::{Claim, Mail, Outbox};
use tasks_postgres::{MigrationError, MigrationState};
use tasks_testkit::build;
use tasks_testkit::clock::{just_after, noon};
use tasks_testkit::servers::PostgresServer;

use crate::{TestStore, chain, connect};

const FIRST: &str = "0001_accounts_tasks_categories";
const SECOND: &str = "0002_mail_sessions_housekeeping";
const THIRD: &str = "0003_outbox_trace_parent";
const FOURTH: &str = "0004_task_counts";

const FIRST_UP: &str =
    include_str!("../../../../migrations/postgres/0001_accounts_tasks_categories/up.sql");
/// What the second migration adds to tables of the first.
const NEW_COLUMNS: &str = "password_reset_token_hash,password_reset_token_expires_at";

/// Everything that a migration can leave behind, each in a line.
async fn schema(test: &TestStore) -> Vec<String> {
    test.query(
        "WITH ours AS (SELECT oid FROM pg_namespace WHERE nspname = 'public') \
         SELECT concat_ws(' ', 'relation', c.relkind, c.relname, pg_get_indexdef(i.indexrelid)) \
         FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid \
         WHERE c.relnamespace IN (TABLE ours) AND c.relname NOT LIKE '\\_\\_diesel%' \
         UNION ALL \
         SELECT concat_ws(' ', 'column', c.relname, a.attnum, a.attname, \
                          format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attcollation, \
                          pg_get_expr(d.adbin, d.adrelid)) \
         FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'r' \
         LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
         WHERE c.relnamespace IN (TABLE ours) AND a.attnum > 0 AND NOT a.attisdropped \
         AND c.relname NOT LIKE '\\_\\_diesel%' \
         UNION ALL \
         SELECT concat_ws(' ', 'constraint', c.relname, conname, pg_get_constraintdef(n.oid)) \
         FROM pg_constraint n JOIN pg_class c ON c.oid = n.conrelid \
         WHERE n.connamespace IN (TABLE ours) AND c.relname NOT LIKE '\\_\\_diesel%' \
         UNION ALL \
         SELECT concat_ws(' ', 'type', t.typname, e.enumsortorder, e.enumlabel) \
         FROM pg_type t LEFT JOIN pg_enum e ON e.enumtypid = t.oid \
         WHERE t.typnamespace IN (TABLE ours) AND t.typname NOT LIKE '%\\_\\_diesel%' \
         UNION ALL \
         SELECT 'function ' || proname FROM pg_proc WHERE pronamespace IN (TABLE ours) \
         UNION ALL \
         SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid \
         WHERE c.relnamespace IN (TABLE ours) AND NOT t.tgisinternal \
         ORDER BY 1",
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn up_down_up_leaves_no_trace() {
    let test = TestStore::empty().await;
    let store = &test.store;
    assert_eq!(schema(&test).await, Vec::<String>::new());
    assert_eq!(
        store.migrate_up().await.unwrap(),
        [FIRST, SECOND, THIRD, FOURTH]
    );
    let up = schema(&test).await;
    for thing in [
        "relation r tasks",
        "column tasks 5 status task_status t 0 'pending'::task_status",
        "type task_priority 1 low",
        "type task_priority 3 high",
        "type mail_kind 1 verify_email",
        "constraint categories categories_user_id_name_key UNIQUE (user_id, name)",
        "constraint outbox outbox_attempts_check CHECK ((attempts >= 0))",
        "column outbox 9 trace_parent text f 100",
        "function count_tasks",
    ] {
        assert!(up.iter().any(|line| line == thing), "{thing}: {up:#?}");
    }
    assert!(store.migrate_up().await.unwrap().is_empty());

    for last in [FOURTH, THIRD, SECOND] {
        let reverted = store.migrate_down().await.unwrap();
        assert_eq!(reverted.as_deref(), Some(last));
    }
    let first = TestStore::empty().await;
    first.execute(FIRST_UP).await;
    assert_eq!(schema(&test).await, schema(&first).await);
    let reverted = store.migrate_down().await.unwrap();
    assert_eq!(reverted.as_deref(), Some(FIRST));
    assert_eq!(schema(&test).await, Vec::<String>::new());
    assert_eq!(store.migrate_down().await.unwrap(), None);

    assert_eq!(
        store.migrate_up().await.unwrap(),
        [FIRST, SECOND, THIRD, FOURTH]
    );
    assert_eq!(schema(&test).await, up);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_first_version_stored_is_still_there() {
    let test = TestStore::empty().await;
    let store = &test.store;
    store.migrate_up().await.unwrap();
    for _ in [SECOND, THIRD, FOURTH] {
        store.migrate_down().await.unwrap();
    }
    let token = build::digest("of a mail that the first version sent");
    test.execute(&format!(
        "INSERT INTO users (id, email, password_hash, full_name, verification_token_hash, \
             verification_token_expires_at, created_at, updated_at) \
         SELECT md5('user ' || u)::uuid, u || '@example.com', '-', 'A user', \
             CASE WHEN u = 0 THEN '{}' ELSE md5('token ' || u) END, \
             timestamptz '9999-01-01', now(), now() FROM generate_series(0, 9) u; \
         INSERT INTO sessions (id, user_id, created_at, last_used_at, expires_at, ip_address) \
         SELECT id, id, now(), now(), now(), '192.0.2.1' FROM users; \
         INSERT INTO refresh_tokens (id, user_id, session_id, token_hash, expires_at, created_at) \
         SELECT id, id, id, md5(id::text), now(), now() FROM users; \
         INSERT INTO tasks (id, user_id, title, created_at, updated_at) \
         SELECT id, id, 'A task', now(), now() FROM users; \
         INSERT INTO categories (id, user_id, name, color, created_at) \
         SELECT id, id, 'A category', '#6366F1', now() FROM users; \
         INSERT INTO task_categories (task_id, category_id) SELECT id, id FROM users",
        token.expose()
    ))
    .await;
    let rows = || async {
        let mut rows = Vec::new();
        for table in [
            "users",
            "sessions",
            "refresh_tokens",
            "tasks",
            "categories",
            "task_categories",
        ] {
            let json = format!("to_jsonb({table}) - '{{{NEW_COLUMNS}}}'::text[]");
            let sql = format!("SELECT '{table} ' || ({json})::text FROM {table} ORDER BY 1");
            rows.extend(test.query(&sql).await);
        }
        rows
    };
    let before = rows().await;
    assert_eq!(before.len(), 60);
    assert_eq!(store.migrate_up().await.unwrap(), [SECOND, THIRD, FOURTH]);
    assert_eq!(rows().await, before);

    let verified = store.verify_email(&token, noon()).await.unwrap();
    assert_eq!(verified.unwrap().email.as_str(), "0@example.com");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_the_second_version_stored_is_still_sent() {
    let test = TestStore::migrated().await;
    for _ in [THIRD, FOURTH] {
        test.store.migrate_down().await.unwrap();
    }
    let (user, mail) = (build::user().build(), build::id::<Mail>());
    test.execute(&format!(
        "INSERT INTO users (id, email, password_hash, full_name, created_at, updated_at) \
         VALUES ('{}', '{email}', '-', 'Ada', now(), now()); \
         INSERT INTO outbox (id, kind, recipient, token_hash, created_at, due_at) \
         VALUES ('{}', 'verify_email', '{email}', md5('token'), '2020-01-01', '2020-01-01')",
        user.id.uuid(),
        mail.uuid(),
        email = user.email.as_str(),
    ))
    .await;
    assert_eq!(test.store.migrate_up().await.unwrap(), [THIRD, FOURTH]);
    let claim = test.store.claim(noon(), just_after(noon())).await.unwrap();
    let Claim::Claimed(claimed) = claim else {
        panic!("{claim:?}");
    };
    assert_eq!((claimed.id, claimed.cause), (mail, None));
}

/// Each user's, without deleted ones.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_counts_the_tasks_that_are_there() {
    let test = TestStore::migrated().await;
    test.store.migrate_down().await.unwrap();
    test.execute(
        "INSERT INTO users (id, email, password_hash, full_name, created_at, updated_at) \
         SELECT md5('user ' || u)::uuid, u, '-', 'A user', now(), now() \
         FROM generate_series(1, 3) u; \
         INSERT INTO tasks (id, user_id, title, priority, deleted_at, created_at, updated_at) \
         SELECT md5('task ' || n)::uuid, md5('user ' || 1 + n % 2)::uuid, 'A task', \
             CASE WHEN n % 2 = 1 AND n % 5 = 0 THEN 'medium' ELSE 'low' END::task_priority, \
             CASE WHEN n % 7 = 0 THEN now() END, now(), now() FROM generate_series(1, 50) n",
    )
    .await;
    assert_eq!(test.store.migrate_up().await.unwrap(), [FOURTH]);
    let counters = "SELECT concat_ws(' ', email, status, priority, total) \
                    FROM task_counts JOIN users ON users.id = user_id ORDER BY 1";
    assert_eq!(
        test.query(counters).await,
        ["1 pending low 22", "2 pending low 17", "2 pending medium 4"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_instances_at_once_one_migrates() {
    let test = TestStore::empty().await;
    let stores: Vec<_> = (0..5).map(|_| connect(&test.database.url, 1)).collect();
    let outcomes = join_all(stores.iter().map(tasks_postgres::PgStore::migrate_up)).await;
    let applied: Vec<_> = outcomes.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(applied, [FIRST, SECOND, THIRD, FOURTH]);
    assert_eq!(test.store.schema().await.unwrap(), SchemaState::Current);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_names_every_migration_and_changes_nothing() {
    let test = TestStore::empty().await;
    let state = |name: &str, applied, known| MigrationState {
        name: name.to_owned(),
        applied,
        known,
    };
    let status = || async { test.store.migration_status().await.unwrap() };
    assert_eq!(
        status().await,
        [FIRST, SECOND, THIRD, FOURTH].map(|name| state(name, false, true))
    );
    let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(test.query(tables).await, Vec::<String>::new());
    test.store.migrate_up().await.unwrap();
    assert_eq!(
        status().await,
        [FIRST, SECOND, THIRD, FOURTH].map(|name| state(name, true, true))
    );
    test.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')")
        .await;
    assert_eq!(
        status().await,
        [
            state(FIRST, true, true),
            state(SECOND, true, true),
            state(THIRD, true, true),
            state(FOURTH, true, true),
            state("9999", true, false)
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_tells_behind_current_and_ahead() {
    let test = TestStore::empty().await;
    let store = &test.store;
    assert_eq!(store.schema().await.unwrap(), SchemaState::Behind(4));
    store.migrate_up().await.unwrap();
    assert_eq!(store.schema().await.unwrap(), SchemaState::Current);
    test.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')")
        .await;
    assert_eq!(store.schema().await.unwrap(), SchemaState::Ahead(1));
    store.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_newer_program_migrated_is_not_reverted() {
    let test = TestStore::migrated().await;
    test.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')")
        .await;
    let error = test.store.migrate_down().await.unwrap_err();
    assert!(matches!(error, MigrationError::Unknown(version) if version == "9999"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_not_a_migration_that_failed() {
    let test = TestStore::empty().await;
    test.execute("CREATE TABLE tasks (id int)").await;
    let error = test.store.migrate_up().await.unwrap_err();
    assert!(matches!(error, MigrationError::Failed(_)), "{error:?}");
    assert!(chain(&error).contains("already exists"), "{error:?}");

    let server = PostgresServer::start().await;
    let url = server.url("postgres");
    server.stop();
    let store = connect(&url, 1);
    for error in [
        store.migrate_up().await.unwrap_err(),
        store.migrate_down().await.unwrap_err(),
        store.migration_status().await.unwrap_err(),
    ] {
        assert!(matches!(error, MigrationError::Unreachable(_)), "{error:?}");
    }
}

/// Every foreign key has an index that begins with it, or deleting a user would scan.
#[tokio::test(flavor = "multi_thread")]
async fn every_foreign_key_has_an_index() {
    let test = TestStore::migrated().await;
    let without = test
        .query(
            "SELECT conname::text FROM pg_constraint c WHERE contype = 'f' AND NOT EXISTS ( \
                 SELECT 1 FROM pg_index i WHERE i.indrelid = c.conrelid \
                 AND i.indpred IS NULL AND i.indkey[0] = c.conkey[1])",
        )
        .await;
    assert_eq!(without, Vec::<String>::new());
}
