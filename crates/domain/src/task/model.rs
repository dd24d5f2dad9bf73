//! A task, and the values that make one.

use crate::access::Owned;
use crate::account::User;
use crate::category::Category;
use crate::clock::Timestamp;
use crate::id::Id;
use crate::text::{Invalid, text_value};

/// Something that a user has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Made by the server.
    pub id: Id<Task>,
    /// Whose it is.
    pub owner: Id<User>,
    /// What its owner writes.
    pub content: TaskContent,
    /// How often its content was written.
    pub version: Version,
    /// Under which names it is filed, by name.
    pub categories: Vec<Category>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its content was last written.
    pub updated_at: Timestamp,
}

impl Owned for Task {
    fn owner(&self) -> Id<User> {
        self.owner
    }
}

/// What the owner of a task writes: the part that a version counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskContent {
    /// What is to do, in a line.
    pub title: TaskTitle,
    /// What is to do, at length.
    pub description: Option<TaskDescription>,
    /// How far it is.
    pub status: TaskStatus,
    /// How much it matters.
    pub priority: Priority,
    /// When it has to be done.
    pub due_date: Option<Timestamp>,
}

text_value! {
    /// A task's title: 3 to 200 characters.
    TaskTitle, 3..=200
}

text_value! {
    /// A task's description: at most 2000 characters.
    TaskDescription, 0..=2000
}

/// How far a task is. A new one is pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TaskStatus {
    /// Not begun.
    #[default]
    Pending,
    /// Begun.
    InProgress,
    /// Done.
    Completed,
}

impl TaskStatus {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::Pending, Self::InProgress, Self::Completed];

    /// The name on the wire and in stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
        }
    }

    /// The status of that name.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        one_of(Self::ALL, Self::as_str, raw)
    }
}

/// How much a task matters. Sorts by rank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Less than the others.
    Low,
    /// As much as most.
    #[default]
    Medium,
    /// More than the others.
    High,
}

impl Priority {
    /// Every priority, by rank.
    pub const ALL: [Self; 3] = [Self::Low, Self::Medium, Self::High];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// The priority of that name.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        one_of(Self::ALL, Self::as_str, raw)
    }
}

/// How often a task's content was written, from 1: what tells a caller that it changed meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(i64);

impl Version {
    /// Of a new task.
    pub const FIRST: Self = Self(1);

    /// Checks a version.
    pub fn parse(raw: i64) -> Result<Self, Invalid> {
        if raw >= Self::FIRST.0 {
            Ok(Self(raw))
        } else {
            Err(Invalid::new("range", "must be at least 1"))
        }
    }

    /// The number.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Of the task after one more change.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// The rule of due dates: one that is set has to lie in the future.
pub fn due_in_future(due_date: Timestamp, now: Timestamp) -> Result<(), Invalid> {
    if due_date > now {
        Ok(())
    } else {
        Err(Invalid::new("past", "must be in the future"))
    }
}

/// The value of that name, or which names there are.
pub(super) fn one_of<T: Copy, const N: usize>(
    all: [T; N],
    name: fn(T) -> &'static str,
    raw: &str,
) -> Result<T, Invalid> {
    all.into_iter()
        .find(|value| name(*value) == raw)
        .ok_or_else(|| {
            Invalid::new(
                "one_of",
                format!("must be one of {}", all.map(name).join(", ")),
            )
        })
}
