//! Opening: what is made, and what is refused in one clear line.

use std::path::Path;

use tasks_sqlite::{OpenError, SqliteOptions, SqliteStore};

use crate::{TestStore, open};

fn refusal(path: &Path) -> OpenError {
    let error = SqliteStore::open(path, SqliteOptions::default())
        .err()
        .unwrap();
    let line = error.to_string();
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.contains(path.to_str().unwrap()), "{line}");
    error
}

#[test]
fn missing_folders_and_the_file_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/tasks.db");
    open(&path).close();
    assert!(path.is_file());
}

#[cfg(unix)]
#[test]
fn the_files_are_nobody_elses_to_read() {
    use std::os::unix::fs::PermissionsExt;
    let test = TestStore::migrated();
    for file in ["tasks.db", "tasks.db-wal", "tasks.db.lock"] {
        let metadata = test.folder.path().join(file).metadata().unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{file}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below = file.join("sub");
    let error = SqliteStore::open(&below.join("tasks.db"), SqliteOptions::default())
        .err()
        .unwrap();
    assert!(matches!(&error, OpenError::NotWritable { path, .. } if *path == below));
    assert!(
        error.to_string().contains(below.to_str().unwrap()),
        "{error}"
    );
}

#[test]
fn a_folder_is_no_database() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(
        refusal(folder.path()),
        OpenError::NotWritable { .. }
    ));
}

#[test]
fn another_kind_of_file_is_no_database_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tasks.db");
    let letter = "Dear Ada, this is a letter and not a database. ".repeat(100);
    std::fs::write(&path, &letter).unwrap();
    assert!(matches!(refusal(&path), OpenError::Damaged { .. }));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), letter);
}

#[test]
fn a_damaged_database_is_refused() {
    let test = TestStore::migrated();
    test.store.close();
    let path = test.folder.path().join("tasks.db");
    let mut bytes = std::fs::read(&path).unwrap();
    // The header stays; the schema behind it does not.
    bytes[100..4096].fill(0xA5);
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(refusal(&path), OpenError::Damaged { .. }));
}

#[test]
fn a_database_has_one_user_at_a_time() {
    let test = TestStore::migrated();
    let path = test.folder.path().join("tasks.db");
    assert!(matches!(refusal(&path), OpenError::InUse { .. }));
    #[cfg(unix)]
    {
        let link = test.folder.path().join("link.db");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let by_another_name = SqliteStore::open(&link, SqliteOptions::default());
        assert!(matches!(
            by_another_name.err(),
            Some(OpenError::InUse { .. })
        ));
    }
    test.store.close();
    open(&path).close();
}
