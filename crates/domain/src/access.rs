//! Who may do what.

use crate::account::User;
use crate::id::Id;

/// Why a caller does not get at something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// There is no such thing, or it is deleted.
    #[error("not found")]
    NotFound,
    /// It belongs to somebody else.
    #[error("belongs to another user")]
    Forbidden,
}

/// Something that belongs to one user.
pub trait Owned {
    /// Whose it is.
    fn owner(&self) -> Id<User>;
}

/// The rule of ownership: a user gets at what is theirs, and at nothing else.
pub fn owned_by<T: Owned>(caller: &User, found: Option<T>) -> Result<T, AccessError> {
    let thing = found.ok_or(AccessError::NotFound)?;
    if thing.owner() == caller.id {
        Ok(thing)
    } else {
        Err(AccessError::Forbidden)
    }
}

/// An operator's rule that only users whose e-mail address is proven may work with tasks and categories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifiedOnly(pub bool);

/// The user's e-mail address is not proven, and the rule asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the e-mail address is not verified")]
pub struct EmailNotVerified;

impl VerifiedOnly {
    /// Whether the rule lets a user in.
    pub fn admit(self, user: &User) -> Result<(), EmailNotVerified> {
        if self.0 && !user.is_active {
            Err(EmailNotVerified)
        } else {
            Ok(())
        }
    }
}
