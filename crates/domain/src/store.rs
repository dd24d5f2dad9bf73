//! What a store answers when it does not answer.

use crate::BoxError;

/// A store's failure. Expected outcomes are never errors: a port returns them as values.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached, is full, is read-only, is overloaded, or did not answer in time. Trying
    /// again later may help.
    #[error("the store is not available")]
    Unavailable(#[source] BoxError),
    /// The store holds something that no rule allows. Trying again does not help.
    #[error("the store holds a value that cannot be read: {what}")]
    Corrupt {
        /// Table and column, or what else tells where to look.
        what: String,
    },
    /// Anything else: a bug.
    #[error("the store failed")]
    Other(#[source] BoxError),
}

impl StoreError {
    /// A value in the store that breaks a rule of the domain.
    pub fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }
}
