//! Logging out.

use secrecy::SecretString;

use crate::store::StoreError;

use super::AccountService;

/// Why somebody is not logged out.
#[derive(Debug, thiserror::Error)]
pub enum LogOutError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AccountService {
    /// Ends the session of a refresh token, used or not. An unknown token is no error: whoever
    /// presents it is out.
    pub async fn log_out(&self, refresh_token: &SecretString) -> Result<(), LogOutError> {
        let presented = self.digest(refresh_token);
        let now = self.ports.clock.now();
        if let Some(session) = self.ports.sessions.end_by_token(&presented, now).await? {
            self.ports.cache.invalidate(session.user).await;
        }
        Ok(())
    }
}
