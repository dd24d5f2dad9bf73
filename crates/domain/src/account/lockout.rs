//! The rule of the lockout: a number of failed logins in a row locks the account for a while.

use std::time::Duration;

use crate::clock::Timestamp;

/// An account's failed logins in a row, and its lock. Stores keep it; this module decides it.
///
/// An adapter reads it, applies one of the rules below and writes the result, all under one lock
/// on the row, so that concurrent failures are all counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoginAttempts {
    /// Failures since the last success or the end of the last lock.
    pub failed: u32,
    /// The first instant at which the lock no longer holds.
    pub locked_until: Option<Timestamp>,
}

/// A lock holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locked {
    /// The first instant at which it no longer does.
    pub until: Timestamp,
}

/// What a failed login comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedLogin {
    /// It was counted.
    Counted,
    /// It was counted, and locked the account.
    LockedNow(Locked),
    /// The account was locked already; nothing was counted.
    StillLocked(Locked),
    /// There is no such account.
    NoAccount,
}

impl LoginAttempts {
    /// This many failures in a row lock the account.
    pub const MAX_FAILED: u32 = 5;
    /// For this long.
    pub const LOCK: Duration = Duration::from_mins(15);

    /// The lock, if one holds.
    pub fn locked(self, now: Timestamp) -> Option<Locked> {
        self.locked_until
            .filter(|until| *until > now)
            .map(|until| Locked { until })
    }

    /// The account after one more failure.
    ///
    /// Failures under a lock do not prolong it; the first one after a lock counts from one.
    #[must_use]
    pub fn after_failure(self, now: Timestamp) -> (Self, FailedLogin) {
        if let Some(locked) = self.locked(now) {
            return (self, FailedLogin::StillLocked(locked));
        }
        let before = if self.locked_until.is_some() {
            0
        } else {
            self.failed
        };
        let failed = before.saturating_add(1);
        if failed < Self::MAX_FAILED {
            return (
                Self {
                    failed,
                    locked_until: None,
                },
                FailedLogin::Counted,
            );
        }
        let until = now.plus(Self::LOCK);
        (
            Self {
                failed,
                locked_until: Some(until),
            },
            FailedLogin::LockedNow(Locked { until }),
        )
    }

    /// The account after a success, which a lock refuses.
    pub fn after_success(self, now: Timestamp) -> Result<Self, Locked> {
        self.locked(now).map_or(Ok(Self::default()), Err)
    }
}
