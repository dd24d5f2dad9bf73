//! Migrations, there and back.

use tasks_domain::health::{HealthProbe, SchemaProbe, SchemaState};
use tasks_sqlite::{MigrationError, MigrationState, SqliteStore};

use crate::TestStore;

const FIRST: &str = "0001_accounts_tasks_categories";

fn schema(test: &TestStore) -> Vec<String> {
    test.query(
        "SELECT type || ' ' || name || ' ' || coalesce(sql, '') AS value FROM sqlite_schema \
         WHERE name NOT LIKE '%__diesel_schema_migrations%' ORDER BY value",
    )
}

#[test]
fn up_down_up_leaves_no_trace() {
    let test = TestStore::empty();
    assert_eq!(test.store.migrate_up().unwrap(), [FIRST]);
    let up = schema(&test);
    assert!(up.iter().any(|thing| thing.starts_with("table tasks ")));
    assert!(test.store.migrate_up().unwrap().is_empty());

    assert_eq!(test.store.migrate_down().unwrap().as_deref(), Some(FIRST));
    assert_eq!(schema(&test), Vec::<String>::new());
    assert_eq!(test.store.migrate_down().unwrap(), None);

    assert_eq!(test.store.migrate_up().unwrap(), [FIRST]);
    assert_eq!(schema(&test), up);
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
    assert_eq!(status(), [state(FIRST, false, true)]);
    assert_eq!(
        test.query("SELECT name AS value FROM sqlite_schema"),
        Vec::<String>::new()
    );
    test.store.migrate_up().unwrap();
    assert_eq!(status(), [state(FIRST, true, true)]);
    test.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')");
    assert_eq!(
        status(),
        [state(FIRST, true, true), state("9999", true, false)]
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
    assert_eq!(test.store.schema().await.unwrap(), SchemaState::Behind(1));
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
