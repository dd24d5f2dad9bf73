//! A back-up of a service that goes on writing, taken and restored as `docs/operations.md` tells.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Text;
use serde_json::Value;

use crate::support::{Client, PASSWORD, Setup, Signal, eventually};

/// What an operator goes by.
const MANUAL: &str = include_str!("../../docs/operations.md");
/// The manual's command, up to the statement that copies.
const COMMAND: &str = "sqlite3 -readonly /var/lib/task-api/tasks.db \"";
/// Where the manual's copy goes.
const COPY: &str = "/var/backups/task-api/tasks.db";
/// How many clients write all the time.
const WRITERS: usize = 4;
/// So many writes are acknowledged before the back-up begins, and again after it.
const ENOUGH: usize = 100;

/// A task as it was acknowledged: its path, and what the service said of it.
type Acknowledged = (String, Value);

/// Does what the manual's command does: opens the file to read only, and runs its statement.
fn back_up(database: &Path, copy: &Path) {
    let (_, rest) = MANUAL.split_once(COMMAND).expect("the manual's command");
    let (statement, _) = rest.split_once('"').unwrap();
    assert!(statement.contains(COPY), "{statement}");
    let statement = statement.replace(COPY, copy.to_str().unwrap());
    let url = format!("file:{}?mode=ro", database.display());
    let mut connection = SqliteConnection::establish(&url).unwrap();
    connection.batch_execute(&statement).unwrap();
}

/// What `SQLite` says of a copy, which is the whole of it: there is nothing beside it.
fn integrity(copy: &Path) -> String {
    let mut connection = SqliteConnection::establish(copy.to_str().unwrap()).unwrap();
    let check = sql::<Text>("(SELECT group_concat(integrity_check) FROM pragma_integrity_check)");
    diesel::select(check).get_result(&mut connection).unwrap()
}

/// Ends the writers, also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Backs up while several clients write; returns what was acknowledged before the back-up began.
fn back_up_under_load(client: &Client, database: &Path, copy: &Path) -> Vec<Acknowledged> {
    let over = AtomicBool::new(false);
    let acknowledged: Mutex<Vec<Acknowledged>> = Mutex::default();
    let so_far = || acknowledged.lock().unwrap().len();
    let writing_goes_on = |since: usize| {
        eventually("writing goes on", || {
            (so_far() >= since + ENOUGH).then_some(())
        });
    };
    let mut before = Vec::new();
    thread::scope(|scope| {
        let _over = Over(&over);
        for writer in 0..WRITERS {
            let (over, acknowledged) = (&over, &acknowledged);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let task = client.create_task(&format!("Of writer {writer}"));
                    acknowledged.lock().unwrap().push(task);
                }
            });
        }
        writing_goes_on(0);
        eventually("a back-up during which writes are acknowledged", || {
            // A copy that is there already is not overwritten.
            fs::remove_file(copy).ok();
            before.clone_from(&acknowledged.lock().unwrap());
            back_up(database, copy);
            (so_far() > before.len()).then_some(())
        });
        writing_goes_on(so_far());
    });
    before
}

#[test]
fn a_back_up_under_load_has_every_write_that_was_acknowledged_before_it() {
    let key = "k".repeat(32);
    let original = Setup::new().with("JWT_SECRET_KEY", &key);
    let service = original.start();
    let (client, grant) = service.register("ada@example.com");
    let copy = original.folder().join("copy.db");
    let before = back_up_under_load(&client, &original.database(), &copy);
    assert_eq!(service.stop(Signal::Terminate).status, 0);
    assert_eq!(integrity(&copy), "ok");

    let restored = Setup::new().with("JWT_SECRET_KEY", &key);
    fs::create_dir(restored.database().parent().unwrap()).unwrap();
    fs::copy(&copy, restored.database()).unwrap();
    let service = restored.start();
    let client = service.signed_in(&grant);
    assert_eq!(client.get("/health").body["status"], "healthy");
    for (path, task) in &before {
        assert_eq!(&client.get(path).body, task);
    }
    // It is not only there to be looked at.
    let login = service.client().log_in("ada@example.com", PASSWORD);
    assert_eq!(login.status, 200, "{login:?}");
    let (path, task) = service.signed_in(&login.body).create_task("Restored");
    assert_eq!(client.get(&path).body, task);
    assert_eq!(service.stop(Signal::Terminate).status, 0);
}
