//! Recognising a signed-in user by an access token.

use tracing::instrument;

use crate::store::StoreError;

use super::AccountService;
use super::repository::CacheLookup;
use super::security::{AccessClaims, AccessTokenError};
use super::session::SessionRef;
use super::user::User;

/// Why a caller is not recognised.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticateError {
    /// The session ended, or the account is gone.
    #[error("the session has ended")]
    SessionEnded,
    /// The store failed: nobody is anonymous because a store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AccountService {
    /// The claims of an access token that is good now. Asks no store.
    pub fn verify_access_token(&self, token: &str) -> Result<AccessClaims, AccessTokenError> {
        self.ports.issuer.verify(token, self.ports.clock.now())
    }

    /// The user of an access token, if its session has not ended: from the cache, or from the
    /// store and then into the cache.
    #[instrument(level = "debug", name = "authenticate", skip_all, fields(otel.status_code))]
    pub async fn authenticate(&self, claims: &AccessClaims) -> Result<User, AuthenticateError> {
        let session = SessionRef {
            user: claims.user,
            session: claims.session,
        };
        let lease = match self.ports.cache.get(session).await {
            CacheLookup::Hit(user) => return Ok(user),
            CacheLookup::Miss(lease) => lease,
        };
        let found = self.ports.sessions.find_signed_in(session).await?;
        let user = found.ok_or(AuthenticateError::SessionEnded)?;
        self.ports.cache.put(session, &user, lease).await;
        Ok(user)
    }
}
