//! Removing what nobody needs any more.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::{Clock, Timestamp};
use crate::store::StoreError;

/// What is left over when its time is past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leftover {
    /// Sessions that ended or expired, and have no refresh tokens left. One may have had a great many,
    /// which would go with it: so that a batch stays one, they go before, in batches of their own.
    Sessions,
    /// Refresh tokens that expired, and those of sessions that ended. Used ones of a session that goes on
    /// stay until they expire: that they come again tells of theft.
    RefreshTokens,
    /// Expired tokens of mails.
    MailTokens,
    /// Mails that were given up.
    DeadMails,
    /// Deleted tasks.
    DeletedTasks,
}

impl Leftover {
    /// Every kind, in the order in which to remove them: sessions after the tokens that keep them.
    pub const ALL: [Self; 5] = [
        Self::RefreshTokens,
        Self::Sessions,
        Self::MailTokens,
        Self::DeadMails,
        Self::DeletedTasks,
    ];

    /// The name in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::RefreshTokens => "refresh_tokens",
            Self::MailTokens => "mail_tokens",
            Self::DeadMails => "dead_mails",
            Self::DeletedTasks => "deleted_tasks",
        }
    }
}

/// What removing a batch comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// So many were removed; fewer than the limit if no more are left.
    Removed(u32),
    /// Another instance is at it; nothing was removed.
    Busy,
}

/// Port: removes leftovers from the store.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait Housekeeping: Send + Sync {
    /// Removes at most `limit` leftovers of one kind, in one transaction, whose time was past at
    /// `before`: refresh tokens that had expired, or whose session had ended; sessions that had ended,
    /// or had expired, unless they still have a refresh token; tokens of mails that had expired; mails that
    /// had been given up; tasks that had been deleted; each at that instant or earlier. One instance does
    /// so at a time.
    async fn remove(
        &self,
        what: Leftover,
        before: Timestamp,
        limit: u32,
    ) -> Result<Removal, StoreError>;
}

/// What an operator decides about how long something is kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Deleted tasks; `None` keeps them for ever.
    pub deleted_tasks: Option<Duration>,
}

/// Removes leftovers.
pub struct HousekeepingService {
    store: Arc<dyn Housekeeping>,
    clock: Arc<dyn Clock>,
    retention: Retention,
}

impl HousekeepingService {
    /// So many are removed at a time: few enough that other writes hardly wait for it.
    pub const BATCH: u32 = 500;
    /// Mails that were given up are kept for so long, for people to find out why.
    pub const DEAD_MAILS: Duration = Duration::from_hours(7 * 24);

    /// Removes leftovers from a store.
    pub fn new(store: Arc<dyn Housekeeping>, clock: Arc<dyn Clock>, retention: Retention) -> Self {
        Self {
            store,
            clock,
            retention,
        }
    }

    /// Removes the leftovers of one kind, batch after batch, and tells how many there were; fewer
    /// where another instance is at it too.
    pub async fn clean_up(&self, what: Leftover) -> Result<u64, StoreError> {
        let kept_for = match what {
            Leftover::Sessions | Leftover::RefreshTokens | Leftover::MailTokens => Duration::ZERO,
            Leftover::DeadMails => Self::DEAD_MAILS,
            Leftover::DeletedTasks => match self.retention.deleted_tasks {
                Some(kept_for) => kept_for,
                None => return Ok(0),
            },
        };
        let before = self.clock.now().minus(kept_for);
        let mut total = 0;
        while let Removal::Removed(removed) = self.store.remove(what, before, Self::BATCH).await? {
            total += u64::from(removed);
            if removed < Self::BATCH {
                break;
            }
        }
        Ok(total)
    }
}
