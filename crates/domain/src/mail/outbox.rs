//! The ports of the outbox: where mails wait.

use async_trait::async_trait;

use crate::account::{Email, FullName, TokenDigest};
use crate::clock::Timestamp;
use crate::id::Id;
use crate::store::StoreError;
use crate::trace::TraceParent;

use super::{Mail, MailKind};

/// A mail that is asked for.
///
/// Whether there is anybody to send it to is found out when it is delivered: so asking costs the same
/// whether or not an account has the address.
#[derive(Clone, Debug)]
pub struct NewMail {
    /// Made by the server; its token is made from it.
    pub id: Id<Mail>,
    /// What it is for.
    pub kind: MailKind,
    /// Where it would go.
    pub to: Email,
    /// Of the token in its link.
    pub token: TokenDigest,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// The request that asked for it, if that was traced.
    pub cause: Option<TraceParent>,
}

/// A mail that one deliverer has for itself for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedMail {
    /// Which one.
    pub id: Id<Mail>,
    /// What it is for.
    pub kind: MailKind,
    /// Where it goes.
    pub to: Email,
    /// How to address the recipient.
    pub name: FullName,
    /// Of the token in its link.
    pub token: TokenDigest,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// The request that asked for it, if that was traced and can be read.
    pub cause: Option<TraceParent>,
    /// The how-manieth attempt this is, from 1: with the id, it names the claim.
    pub attempt: u32,
}

/// What looking for a mail to deliver comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// No mail is due.
    Idle,
    /// A mail was due that has no purpose any more; it is gone.
    Moot,
    /// This mail is to be sent.
    Claimed(ClaimedMail),
}

/// What becomes of a mail after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It was sent, and leaves the outbox.
    Sent,
    /// It is due again at this instant.
    Retry(Timestamp),
    /// It was given up at this instant. It stays for a while, for people to see.
    Dead(Timestamp),
}

/// How much is in the outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Mails that wait, those that are being sent included.
    pub waiting: u64,
    /// Mails that were given up.
    pub dead: u64,
    /// When the oldest mail that waits was asked for.
    pub oldest: Option<Timestamp>,
}

/// Port: mails that wait.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Adds a mail, due at once.
    async fn add(&self, mail: NewMail) -> Result<(), StoreError>;

    /// Claims one of the mails that are due, the one that has been due for longest: from now until
    /// `until` nobody else gets it. Of any number of concurrent calls each gets another mail.
    ///
    /// In the same transaction its token becomes the one that the recipient's account accepts, for
    /// [`MailKind::token_ttl`] from now, in place of any older one of its kind; and older mails of its
    /// kind to the same address leave the outbox.
    ///
    /// A mail is moot, and leaves the outbox, if no account has the address, if the address that it
    /// would prove is proven, or if a younger mail of its kind to the same address waits. Dead mails
    /// are never due.
    ///
    /// A mail that cannot be read, since somebody changed its row or the account's by hand, is due again at
    /// `until`, as if it were claimed, and the answer is [`StoreError::Corrupt`] all the same: so it is heard
    /// of, and the others are delivered meanwhile.
    async fn claim(&self, now: Timestamp, until: Timestamp) -> Result<Claim, StoreError>;

    /// Says what became of a claimed mail. Does nothing where the claim is over, since another has
    /// the mail, or it is gone.
    async fn settle(&self, mail: &ClaimedMail, settlement: Settlement) -> Result<(), StoreError>;

    /// How much is in the outbox now.
    async fn backlog(&self) -> Result<Backlog, StoreError>;
}

/// Port: tells whoever delivers that a mail waits, so that it need not wait until they look by
/// themselves.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
pub trait OutboxSignal: Send + Sync {
    /// A mail was just added. Returns at once.
    fn added(&self);
}
