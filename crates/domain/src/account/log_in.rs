//! Logging in.

use tracing::instrument;

use crate::BoxError;

use super::AccountService;
use super::password::{Attempt, PasswordError};
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
    /// The password does not let them in.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The access token could not be signed.
    #[error("the access token could not be signed")]
    Token(#[source] BoxError),
}

impl AccountService {
    /// Opens a session for somebody who knows the password. Of a great many sessions it ends the one that
    /// was unused for longest.
    #[instrument(level = "debug", name = "log in", skip_all, fields(otel.status_code))]
    pub async fn log_in(&self, command: LogIn) -> Result<TokenGrant, LogInError> {
        let LogIn {
            email,
            password,
            client,
        } = command;
        let attempt = Attempt {
            email: &email,
            password,
            address: client.address,
            session: None,
        };
        let credentials = self.check_password(&attempt).await?;
        let now = self.ports.clock.now();
        let (refresh_token, stored_token) = self.new_refresh_token(now);
        let session = self.ports.ids.next();
        let new_session = NewSession {
            id: session,
            client,
            refresh_token: stored_token,
        };
        let opening = self
            .ports
            .sessions
            .open(
                credentials.user.id,
                credentials.password_hash.clone(),
                new_session,
                now,
            )
            .await;
        // Another session may have ended for it; also after a failure, which does not tell.
        self.ports.cache.invalidate(credentials.user.id).await;
        let opening = opening.map_err(PasswordError::from)?;
        self.admitted(&attempt, &credentials, opening)?;
        self.grant(credentials.user, session, refresh_token, now)
            .map_err(LogInError::Token)
    }
}
