//! What happens to accounts that somebody who watches over them wants to know.

use std::net::IpAddr;

use crate::id::Id;

use super::session::Session;
use super::user::User;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecurityEventKind {
    /// An account was made.
    AccountRegistered,
    /// A login with a wrong address or password, or to a locked account.
    LoginFailed,
    /// Somebody signed in gave a wrong password where theirs is asked for again.
    ReauthenticationFailed,
    /// A failure locked an account.
    AccountLocked,
    /// A refresh token that was used a while ago came again; its session was ended.
    RefreshReuseDetected,
    /// A session was ended.
    SessionEnded,
    /// All sessions of a user were ended at the user's wish.
    AllSessionsEnded,
    /// An address was proven.
    EmailVerified,
    /// A new password was chosen by somebody who knew the old one; other sessions were ended.
    PasswordChanged,
    /// A new password was chosen by somebody who got a mail; all sessions were ended.
    PasswordReset,
    /// An account was erased.
    AccountDeleted,
}

impl SecurityEventKind {
    /// The name in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccountRegistered => "account_registered",
            Self::LoginFailed => "login_failed",
            Self::ReauthenticationFailed => "reauthentication_failed",
            Self::AccountLocked => "account_locked",
            Self::RefreshReuseDetected => "refresh_reuse_detected",
            Self::SessionEnded => "session_ended",
            Self::AllSessionsEnded => "all_sessions_ended",
            Self::EmailVerified => "email_verified",
            Self::PasswordChanged => "password_changed",
            Self::PasswordReset => "password_reset",
            Self::AccountDeleted => "account_deleted",
        }
    }
}

/// Something that happened to an account. Holds nothing that is secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecurityEvent {
    /// What it was.
    pub kind: SecurityEventKind,
    /// To whom, as far as it is known.
    pub user: Option<Id<User>>,
    /// In which session, where it is about one.
    pub session: Option<Id<Session>>,
    /// From where.
    pub address: IpAddr,
}

/// Port: told what happened.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
pub trait SecurityLog: Send + Sync {
    /// Notes an event. Returns at once, and cannot fail.
    fn record(&self, event: SecurityEvent);
}
