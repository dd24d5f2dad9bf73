//! What Postgres's errors mean: the one place that looks into them.

use std::error::Error as _;

use deadpool::managed::PoolError;
use diesel::result::{DatabaseErrorKind, Error};
use tasks_domain::store::StoreError;
use tokio_postgres::error::SqlState;

/// Why a unit of work failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// The connection ended, and whatever was not committed with it.
    #[error("{0}")]
    Lost(String),
    /// Postgres took the work back because of another transaction; doing it again may succeed.
    #[error("{0}")]
    Conflict(String),
    /// Trying again later may help.
    #[error("{0}")]
    Unavailable(String),
    /// A stored value breaks a rule.
    #[error("{0}")]
    Corrupt(String),
    /// A bug.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// The same where it befell a commit: one that lost its connection may have happened, so it is
    /// not to be done again.
    pub(crate) fn of_commit(self) -> Self {
        if let Self::Lost(reason) = self {
            Self::Unavailable(reason)
        } else {
            self
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
        let Error::DatabaseError(kind, _) = error else {
            return if let Error::DeserializationError(_) = error {
                Self::Corrupt(message)
            } else {
                Self::Other(message)
            };
        };
        match kind {
            DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::ClosedConnection => {
                Self::Lost(message)
            }
            DatabaseErrorKind::SerializationFailure => Self::Conflict(message),
            DatabaseErrorKind::ReadOnlyTransaction => Self::Unavailable(message),
            DatabaseErrorKind::UniqueViolation
            | DatabaseErrorKind::ForeignKeyViolation
            | DatabaseErrorKind::NotNullViolation
            | DatabaseErrorKind::CheckViolation
            | DatabaseErrorKind::RestrictViolation
            | DatabaseErrorKind::ExclusionViolation => Self::Other(message),
            // Diesel does not hand out the SQLSTATE, and the message is in the server's language;
            // where it is not English, the retry is all that is lost.
            _ if message == "deadlock detected" => Self::Conflict(message),
            _ if message.starts_with("terminating connection") => Self::Lost(message),
            // A time-out, a shutdown, a full disk, a table that a pending migration is to make: what
            // else can go wrong with statements that are fixed and tested is of the moment.
            _ => Self::Unavailable(message),
        }
    }
}

impl From<PoolError<ConnectFailure>> for Failure {
    fn from(error: PoolError<ConnectFailure>) -> Self {
        Self::Unavailable(match error {
            PoolError::Timeout(_) => "no connection to the database was to be had in time".into(),
            PoolError::Closed => "the database is closed".into(),
            PoolError::Backend(failure) => failure.to_string(),
            error @ (PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_)) => {
                error.to_string()
            }
        })
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
            Failure::Lost(reason) | Failure::Conflict(reason) | Failure::Unavailable(reason) => {
                Self::Unavailable(reason.into())
            }
            Failure::Corrupt(what) => Self::corrupt(what),
            Failure::Other(reason) => Self::Other(reason.into()),
        }
    }
}

/// Why there is no connection: in own words, since the server's name the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot connect to the database: {0}")]
pub(crate) struct ConnectFailure(String);

impl From<&tokio_postgres::Error> for ConnectFailure {
    fn from(error: &tokio_postgres::Error) -> Self {
        Self(match error.code() {
            Some(code) if code.code().starts_with("28") => "it refuses the credentials".to_owned(),
            Some(code) if *code == SqlState::INVALID_CATALOG_NAME => {
                "there is no database of that name".to_owned()
            }
            Some(code) if *code == SqlState::TOO_MANY_CONNECTIONS => {
                "it has too many connections".to_owned()
            }
            Some(code) if *code == SqlState::CANNOT_CONNECT_NOW => {
                "it is starting up or shutting down".to_owned()
            }
            Some(code) => format!("it refuses (SQLSTATE {})", code.code()),
            None => match error.source() {
                Some(cause) => format!("{error}: {cause}"),
                None => error.to_string(),
            },
        })
    }
}

impl From<diesel::ConnectionError> for ConnectFailure {
    fn from(error: diesel::ConnectionError) -> Self {
        Self(error.to_string())
    }
}

impl From<Error> for ConnectFailure {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

impl From<&'static str> for ConnectFailure {
    fn from(reason: &'static str) -> Self {
        Self(reason.to_owned())
    }
}

/// The constraints whose breaking is an outcome and no failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Constraint {
    /// A category's name is unique among its owner's.
    CategoryName,
    /// The owner of a task exists.
    TaskOwner,
    /// The owner of a category exists.
    CategoryOwner,
    /// A task that is filed exists.
    FiledTask,
    /// A category under which a task is filed exists.
    FiledCategory,
}

impl Constraint {
    /// The one that refused a statement.
    pub(crate) fn broken(error: &Error) -> Option<Self> {
        let Error::DatabaseError(
            DatabaseErrorKind::UniqueViolation | DatabaseErrorKind::ForeignKeyViolation,
            information,
        ) = error
        else {
            return None;
        };
        match information.constraint_name()? {
            "categories_user_id_name_key" => Some(Self::CategoryName),
            "tasks_user_id_fkey" => Some(Self::TaskOwner),
            "categories_user_id_fkey" => Some(Self::CategoryOwner),
            "task_categories_task_id_fkey" => Some(Self::FiledTask),
            "task_categories_category_id_fkey" => Some(Self::FiledCategory),
            _ => None,
        }
    }
}
