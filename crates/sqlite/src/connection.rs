//! Opening the file: the lock beside it, and what every connection is set to.

use std::fs::{File, OpenOptions, TryLockError, create_dir_all};
use std::io;
use std::path::{Path, PathBuf};

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use tasks_diesel_trace::StatementSpans;

use crate::error::Failure;

/// The oldest `SQLite` that keeps every commit: before 3.51.3 two connections in WAL mode could
/// lose some (the "WAL-reset" data race).
const OLDEST_SQLITE: [u32; 3] = [3, 51, 3];

/// For so long a statement waits for a lock of another process (a back-up, a shell), in
/// milliseconds: less than the 5 s in which every request is answered.
const BUSY_TIMEOUT_MS: u32 = 2_000;

/// What traces call `SQLite`.
pub(crate) const SYSTEM: &str = "sqlite";

/// Why a database cannot be opened, in one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or the file cannot be made or written to.
    #[error("cannot write to {}: {reason}", path.display())]
    NotWritable {
        /// Which of them.
        path: PathBuf,
        /// What the operating system says.
        reason: io::Error,
    },
    /// Another process has it open. Two would each count and remember for themselves.
    #[error("the database {} is in use by another process", path.display())]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// What is there is no database, or no longer one.
    #[error("{} is not an SQLite database or is damaged: {reason}", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What `SQLite` says.
        reason: String,
    },
    /// `SQLite` refuses for another reason.
    #[error("cannot open the database {}: {reason}", path.display())]
    Refused {
        /// The database.
        path: PathBuf,
        /// What `SQLite` says.
        reason: String,
    },
    /// The `SQLite` that the program was built with could lose data.
    #[error("cannot open the database {} with SQLite {found}: it takes 3.51.3 or newer", path.display())]
    SqliteTooOld {
        /// The database.
        path: PathBuf,
        /// The version of the library.
        found: String,
    },
    /// The operating system gives no thread.
    #[error("cannot start a thread for the database {}: {reason}", path.display())]
    NoThread {
        /// The database.
        path: PathBuf,
        /// What the operating system says.
        reason: io::Error,
    },
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Reader,
    Writer,
    /// Reads, and never waits for a lock.
    InPlace,
}

/// A database file that this process has to itself, as long as the value lives.
pub(crate) struct DatabaseFile {
    path: PathBuf,
    /// Absolute, so that `SQLite` does not take it for a URI or for `:memory:`.
    url: String,
    _lock: File,
}

impl DatabaseFile {
    /// Makes folder and file where they are missing, and takes the lock.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let not_writable = |path: &Path| {
            let path = path.to_owned();
            move |reason| OpenError::NotWritable { path, reason }
        };
        let path = std::path::absolute(path).map_err(not_writable(path))?;
        if let Some(folder) = path.parent() {
            create_dir_all(folder).map_err(not_writable(folder))?;
        }
        open_private(&path).map_err(not_writable(&path))?;
        // The same file by another name has the same lock.
        let path = path.canonicalize().map_err(not_writable(&path))?;
        let Some(url) = path.to_str().map(str::to_owned) else {
            return Err(OpenError::Refused {
                path,
                reason: "the path is not UTF-8".to_owned(),
            });
        };

        let mut lock_path = path.clone().into_os_string();
        lock_path.push(".lock");
        let lock_path = PathBuf::from(lock_path);
        let lock = open_private(&lock_path).map_err(not_writable(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path,
                url,
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path }),
            Err(TryLockError::Error(reason)) => Err(OpenError::NotWritable {
                path: lock_path,
                reason,
            }),
        }
    }

    /// The first connection: also judges library and file.
    pub(crate) fn connect_first(&self, role: Role) -> Result<SqliteConnection, OpenError> {
        let refused = |failure: Failure| match failure {
            Failure::Corrupt(reason) => OpenError::Damaged {
                path: self.path.clone(),
                reason,
            },
            Failure::Unavailable(reason) | Failure::Other(reason) => OpenError::Refused {
                path: self.path.clone(),
                reason,
            },
        };
        let mut connection = self.connect(role).map_err(refused)?;
        // Counting makes SQLite read and understand the whole schema.
        let (version, journal, _): (String, String, i64) =
            diesel::select(sql::<(Text, Text, BigInt)>(
                "sqlite_version(), \
                 (SELECT journal_mode FROM pragma_journal_mode), \
                 (SELECT count(*) FROM sqlite_schema)",
            ))
            .get_result(&mut connection)
            .map_err(|error| refused(error.into()))?;
        if !is_new_enough(&version) {
            return Err(OpenError::SqliteTooOld {
                path: self.path.clone(),
                found: version,
            });
        }
        if journal != "wal" {
            return Err(refused(Failure::Other(
                "its file system cannot share memory, which the write-ahead log needs".to_owned(),
            )));
        }
        Ok(connection)
    }

    /// A connection, set up.
    ///
    /// `busy_timeout` comes first, since the others may already have to wait. What is not set
    /// keeps its default: a page cache of 2 MB a connection and no memory map, so that memory
    /// stays bounded.
    pub(crate) fn connect(&self, role: Role) -> Result<SqliteConnection, Failure> {
        let mut connection = SqliteConnection::establish(&self.url)?;
        connection.batch_execute(&format!("PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}"))?;
        connection.batch_execute("PRAGMA journal_mode = WAL")?;
        // Every commit is on the disk before it is acknowledged.
        connection.batch_execute("PRAGMA synchronous = FULL")?;
        connection.batch_execute("PRAGMA foreign_keys = ON")?;
        // A container's root file system may be read-only, so there may be no place for temporary files.
        connection.batch_execute("PRAGMA temp_store = MEMORY")?;
        if role != Role::Writer {
            connection.batch_execute("PRAGMA query_only = ON")?;
        }
        if role == Role::InPlace {
            connection.batch_execute("PRAGMA busy_timeout = 0")?;
        }
        connection.set_instrumentation(StatementSpans::new(SYSTEM));
        Ok(connection)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// A connection that only reads, without the lock, for looking at a database that another process
/// may have open. Of a missing file it sees an empty database, and makes none.
pub(crate) fn inspect(path: &Path) -> Result<SqliteConnection, Failure> {
    let url = match path.canonicalize() {
        Ok(path) => {
            let path = path
                .to_string_lossy()
                .replace('%', "%25")
                .replace('?', "%3F")
                .replace('#', "%23");
            format!("file:{path}?mode=ro")
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => ":memory:".to_owned(),
        Err(error) => return Err(Failure::Unavailable(format!("{}: {error}", path.display()))),
    };
    let mut connection = SqliteConnection::establish(&url)?;
    connection.batch_execute(&format!("PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}"))?;
    Ok(connection)
}

/// Opens a file for writing without changing it; a new one is nobody else's to read, since it
/// holds or guards password hashes. `SQLite` gives the files beside it the same mode.
fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn is_new_enough(version: &str) -> bool {
    let mut found = version.split('.').map(|part| part.parse().unwrap_or(0));
    let found = [(); 3].map(|()| found.next().unwrap_or(0));
    found >= OLDEST_SQLITE
}

/// A thread's connection: opened again when it is needed after it was given up.
pub(crate) struct Slot {
    file: std::sync::Arc<DatabaseFile>,
    role: Role,
    connection: Option<SqliteConnection>,
}

impl Slot {
    pub(crate) fn new(
        file: std::sync::Arc<DatabaseFile>,
        role: Role,
        connection: SqliteConnection,
    ) -> Self {
        Self {
            file,
            role,
            connection: Some(connection),
        }
    }

    pub(crate) fn get(&mut self) -> Result<&mut SqliteConnection, Failure> {
        if self.connection.is_none() {
            tracing::warn!(role = ?self.role, "opening the database again");
        }
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.file.connect(self.role)?,
        };
        Ok(self.connection.insert(connection))
    }

    /// Gives up a connection that may be in a state nobody knows. `SQLite` rolls back whatever
    /// transaction is still open on it.
    pub(crate) fn discard(&mut self) {
        self.connection = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(QueryableByName)]
    struct Setting {
        #[diesel(sql_type = Text)]
        value: String,
    }

    fn setting(connection: &mut SqliteConnection, pragma: &str) -> String {
        let query = format!("SELECT CAST({pragma} AS TEXT) AS value FROM pragma_{pragma}");
        diesel::sql_query(query.replace("CAST(busy_timeout", "CAST(timeout"))
            .get_result::<Setting>(connection)
            .unwrap()
            .value
    }

    #[test]
    fn every_connection_is_durable_and_keeps_foreign_keys() {
        let folder = tempfile::tempdir().unwrap();
        let file = DatabaseFile::open(&folder.path().join("tasks.db")).unwrap();
        for (role, query_only, timeout) in [
            (Role::Writer, "0", "2000"),
            (Role::Reader, "1", "2000"),
            (Role::InPlace, "1", "0"),
        ] {
            let connection = &mut file.connect(role).unwrap();
            assert_eq!(setting(connection, "journal_mode"), "wal");
            assert_eq!(setting(connection, "synchronous"), "2");
            assert_eq!(setting(connection, "foreign_keys"), "1");
            assert_eq!(setting(connection, "busy_timeout"), timeout);
            assert_eq!(setting(connection, "query_only"), query_only);
        }
    }

    #[test]
    fn versions_of_sqlite_compare_by_number() {
        assert!(is_new_enough("3.51.3"));
        assert!(is_new_enough("3.53.0"));
        assert!(is_new_enough("4.0.0"));
        assert!(!is_new_enough("3.51.2"));
        assert!(!is_new_enough("3.9.9"));
    }
}
