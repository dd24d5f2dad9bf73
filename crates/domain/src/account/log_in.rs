//! Logging in.

use crate::BoxError;
use crate::store::StoreError;

use super::AccountService;
use super::lockout::{FailedLogin, Locked};
use super::repository::SessionOpening;
use super::security::HashError;
use super::session::{ClientInfo, NewSession, TokenGrant};
use super::user::{Email, PasswordAttempt};

/// Who wants to come in.
#[derive(Clone, Debug)]
pub struct LogIn {
    /// Their address.
    pub email: Email,
    /// What they say their password is.
    pub password: PasswordAttempt,
    /// Where they call from.
    pub client: ClientInfo,
}

/// Why somebody does not come in.
#[derive(Debug, thiserror::Error)]
pub enum LogInError {
    /// No account has that address and that password. Which of the two is wrong is not said.
    #[error("wrong e-mail address or password")]
    InvalidCredentials,
    /// Too many failures: the account is locked, whatever the password.
    #[error("the account is locked")]
    Locked(Locked),
    /// The password could not be compared.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The access token could not be signed.
    #[error("the access token could not be signed")]
    Token(#[source] BoxError),
}

impl AccountService {
    /// Opens a session for somebody who knows the password.
    ///
    /// Every refusal takes the same way (look up, compare, record), so that its time does not tell
    /// whether the account exists or is locked.
    pub async fn log_in(&self, command: LogIn) -> Result<TokenGrant, LogInError> {
        let LogIn {
            email,
            password,
            client,
        } = command;
        let found = self.ports.users.find_credentials(&email).await?;
        let hash = found
            .as_ref()
            .map(|credentials| credentials.password_hash.clone());
        let is_right = self.ports.hasher.verify(password, hash).await?;
        let now = self.ports.clock.now();
        let Some(credentials) = found.filter(|_| is_right) else {
            return Err(
                match self.ports.users.record_failed_login(&email, now).await? {
                    FailedLogin::Counted | FailedLogin::NoAccount => LogInError::InvalidCredentials,
                    FailedLogin::LockedNow(locked) | FailedLogin::StillLocked(locked) => {
                        LogInError::Locked(locked)
                    }
                },
            );
        };
        let user = credentials.user;
        let (refresh_token, stored_token) = self.new_refresh_token(now);
        let session = self.ports.ids.next();
        let new_session = NewSession {
            id: session,
            client,
            refresh_token: stored_token,
        };
        match self.ports.sessions.open(user.id, new_session, now).await? {
            SessionOpening::Opened => {}
            SessionOpening::Locked(locked) => return Err(LogInError::Locked(locked)),
            SessionOpening::NoAccount => return Err(LogInError::InvalidCredentials),
        }
        self.grant(user, session, refresh_token, now)
            .map_err(LogInError::Token)
    }
}
