//! What a list of tasks can be asked for.

use crate::category::Category;
use crate::clock::Timestamp;
use crate::id::Id;
use crate::page::PageRequest;
use crate::text::Invalid;

use super::model::{Priority, TaskStatus, one_of};

/// Which tasks, in which order, and which page of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskQuery {
    /// Which page.
    pub page: PageRequest,
    /// Which tasks.
    pub filter: TaskFilter,
    /// By what they sort. Ties are broken by id, in the same direction.
    pub sort_by: SortBy,
    /// In which direction.
    pub sort_order: SortOrder,
}

/// Which tasks: those that pass every filter that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// Of that status.
    pub status: Option<TaskStatus>,
    /// Of that priority.
    pub priority: Option<Priority>,
    /// Filed under that category of the caller's; under anybody else's there are none.
    pub category: Option<Id<Category>>,
    /// Due then or later.
    pub due_from: Option<Timestamp>,
    /// Due then or earlier.
    pub due_to: Option<Timestamp>,
}

/// By what tasks sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SortBy {
    /// When they were made.
    #[default]
    CreatedAt,
    /// When they were last changed.
    UpdatedAt,
    /// When they are due. Tasks without a due date come last in either direction.
    DueDate,
    /// How much they matter, by rank.
    Priority,
    /// Their titles, by code point.
    Title,
}

impl SortBy {
    /// Every order.
    pub const ALL: [Self; 5] = [
        Self::CreatedAt,
        Self::UpdatedAt,
        Self::DueDate,
        Self::Priority,
        Self::Title,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CreatedAt => "created_at",
            Self::UpdatedAt => "updated_at",
            Self::DueDate => "due_date",
            Self::Priority => "priority",
            Self::Title => "title",
        }
    }

    /// The order of that name.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        one_of(Self::ALL, Self::as_str, raw)
    }
}

/// In which direction tasks sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SortOrder {
    /// The greatest first.
    #[default]
    Desc,
    /// The least first.
    Asc,
}

impl SortOrder {
    /// Both directions.
    pub const ALL: [Self; 2] = [Self::Desc, Self::Asc];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Desc => "desc",
            Self::Asc => "asc",
        }
    }

    /// The direction of that name.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        one_of(Self::ALL, Self::as_str, raw)
    }
}
