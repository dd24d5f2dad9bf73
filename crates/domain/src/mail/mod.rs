//! Mails that the service sends.

use secrecy::SecretString;

use crate::account::{Email, FullName};

/// What a mail is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MailKind {
    /// Asks the recipient to prove that the address is theirs.
    VerifyEmail,
    /// Lets the recipient choose a new password.
    ResetPassword,
}

impl MailKind {
    /// The name in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::ResetPassword => "reset_password",
        }
    }
}

/// A mail with a link that carries a token.
#[derive(Clone, Debug)]
pub struct Mail {
    /// What it is for.
    pub kind: MailKind,
    /// Where it goes.
    pub to: Email,
    /// How to address the recipient.
    pub name: FullName,
    /// The token of the link.
    pub token: SecretString,
}

/// Port: sends mails.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
pub trait Mailer: Send + Sync {
    /// Takes a mail over. It returns at once: a mail server's state changes no answer, and what
    /// becomes of the mail is the mailer's to report.
    fn send(&self, mail: Mail);
}
