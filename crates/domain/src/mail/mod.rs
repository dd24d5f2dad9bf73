//! Mails that the service sends, by way of an outbox.
//!
//! A mail is a row that is stored in the transaction that causes it, and delivered afterwards: so
//! no request waits for a mail server, and no mail is lost that was promised.

mod deliver;
mod outbox;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;

pub use deliver::{Delivery, DeliveryService};
pub use outbox::{Backlog, Claim, ClaimedMail, NewMail, Outbox, OutboxSignal, Settlement};

#[cfg(any(test, feature = "mocks"))]
pub use outbox::{MockOutbox, MockOutboxSignal};

use crate::BoxError;
use crate::account::{Email, FullName, TokenDigest};
use crate::id::Id;
use crate::trace::TraceParent;

/// What a mail is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MailKind {
    /// Asks the recipient to prove that the address is theirs.
    VerifyEmail,
    /// Lets the recipient choose a new password.
    ResetPassword,
}

impl MailKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::VerifyEmail, Self::ResetPassword];

    /// The name in stores, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::ResetPassword => "reset_password",
        }
    }

    /// How long the link of a mail works: a new password is wanted now, an address may be proven
    /// tomorrow.
    pub const fn token_ttl(self) -> Duration {
        match self {
            Self::VerifyEmail => Duration::from_hours(24),
            Self::ResetPassword => Duration::from_hours(1),
        }
    }
}

/// A mail with a link that carries a token.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Which one: the same at every attempt to deliver it.
    pub id: Id<Mail>,
    /// What it is for.
    pub kind: MailKind,
    /// Where it goes.
    pub to: Email,
    /// How to address the recipient.
    pub name: FullName,
    /// The token of the link.
    pub token: SecretString,
    /// The request that asked for it, if that was traced.
    pub cause: Option<TraceParent>,
}

/// Why a mail was not sent.
#[derive(Debug)]
pub enum MailError {
    /// The mail server is out of reach, busy, or does not want it now. Trying again later may help.
    Unavailable(BoxError),
    /// The mail server does not take mail for this recipient. Trying again does not help.
    Refused(BoxError),
}

impl fmt::Display for MailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable(_) => "the mail server cannot be used",
            Self::Refused(_) => "the mail server refuses the recipient",
        })
    }
}

impl std::error::Error for MailError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unavailable(source) | Self::Refused(source) => Some(source.as_ref()),
        }
    }
}

/// Port: sends mails.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Sends a mail. Ok once somebody else has taken responsibility for it. Answers within
    /// [`DeliveryService::ATTEMPT`].
    async fn send(&self, mail: &Mail) -> Result<(), MailError>;
}

/// Port: makes the tokens of links in mails, from a mail's id and a secret of the service: so a mail
/// that is sent again has the same link, and no store holds it.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
pub trait MailTokens: Send + Sync {
    /// The token of a new mail: 32 bytes in 43 URL-safe characters.
    fn token(&self, mail: Id<Mail>) -> SecretString;

    /// The token of a mail, if it can be made again: with the secret of now or the one before, the
    /// one whose token has the digest.
    fn token_again(&self, mail: Id<Mail>, digest: &TokenDigest) -> Option<SecretString>;
}
