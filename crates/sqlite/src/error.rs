//! What `SQLite`'s errors mean: the one place that looks into them.

use diesel::ConnectionError;
use diesel::result::{DatabaseErrorKind, Error};
use tasks_domain::store::StoreError;

/// Why a job failed. Unlike a [`StoreError`] it can be told to every job of a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// Trying again later may help.
    #[error("{0}")]
    Unavailable(String),
    /// The file or a value in it is damaged.
    #[error("{0}")]
    Corrupt(String),
    /// A bug.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// The failure that a message of `SQLite`'s tells of. Diesel does not hand out `SQLite`'s result
    /// codes; the texts are those of `sqlite3_errstr`, which have not changed for many years.
    fn from_message(message: &str) -> Self {
        const UNAVAILABLE: [&str; 10] = [
            "database is locked",
            "database table is locked",
            "database or disk is full",
            "attempt to write a readonly database",
            "disk I/O error",
            "unable to open database file",
            "out of memory",
            "locking protocol",
            // Migrations are pending, as readiness says.
            "no such table",
            "no such column",
        ];
        const CORRUPT: [&str; 3] = [
            "file is not a database",
            "database disk image is malformed",
            "malformed database schema",
        ];
        let is_one_of = |known: &[&str]| known.iter().any(|text| message.contains(text));
        if is_one_of(&UNAVAILABLE) {
            Self::Unavailable(message.to_owned())
        } else if is_one_of(&CORRUPT) {
            Self::Corrupt(message.to_owned())
        } else {
            Self::Other(message.to_owned())
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if let Error::RollbackErrorOnCommit { commit_error, .. } = error {
            // The cause; that the rollback failed too follows from it.
            return Self::from(*commit_error);
        }
        let message = error.to_string();
        if let Error::DeserializationError(_) = error {
            Self::Corrupt(message)
        } else {
            Self::from_message(&message)
        }
    }
}

impl From<ConnectionError> for Failure {
    fn from(error: ConnectionError) -> Self {
        Self::from_message(&error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(reason) => Self::Unavailable(reason.to_string()),
            StoreError::Corrupt { what } => Self::Corrupt(what),
            StoreError::Other(reason) => Self::Other(reason.to_string()),
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unavailable(reason) => Self::Unavailable(reason.into()),
            Failure::Corrupt(what) => Self::corrupt(what),
            Failure::Other(reason) => Self::Other(reason.into()),
        }
    }
}

/// Whether a statement was refused because these columns have to be unique together, written
/// as `SQLite` does: `users.email`, or `categories.user_id, categories.name`.
pub(crate) fn is_taken(error: &Error, columns: &str) -> bool {
    if let Error::DatabaseError(DatabaseErrorKind::UniqueViolation, information) = error {
        information
            .message()
            .strip_prefix("UNIQUE constraint failed: ")
            .is_some_and(|failed| failed == columns)
    } else {
        false
    }
}

/// Whether a statement was refused because something that it refers to is not there. `SQLite` does not
/// say what.
pub(crate) fn is_dangling(error: &Error) -> bool {
    matches!(
        error,
        Error::DatabaseError(DatabaseErrorKind::ForeignKeyViolation, _)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_sqlite_tells_whether_trying_again_may_help() {
        for message in [
            "database is locked",
            "database or disk is full",
            "attempt to write a readonly database",
            "disk I/O error",
            "unable to open database file",
            "no such table: tasks",
        ] {
            assert!(
                matches!(Failure::from_message(message), Failure::Unavailable(_)),
                "{message}"
            );
        }
        for message in ["database disk image is malformed", "file is not a database"] {
            assert!(
                matches!(Failure::from_message(message), Failure::Corrupt(_)),
                "{message}"
            );
        }
        assert!(matches!(
            Failure::from_message("near \"FORM\": syntax error"),
            Failure::Other(_)
        ));
    }

    #[test]
    fn a_failure_of_the_commit_is_told_and_not_that_of_the_rollback_after_it() {
        let database_error = |message: &str| {
            Box::new(Error::DatabaseError(
                DatabaseErrorKind::Unknown,
                Box::new(message.to_owned()),
            ))
        };
        let error = Error::RollbackErrorOnCommit {
            rollback_error: database_error("cannot rollback - no transaction is active"),
            commit_error: database_error("disk I/O error"),
        };
        assert_eq!(
            Failure::from(error),
            Failure::Unavailable("disk I/O error".to_owned())
        );
    }
}
