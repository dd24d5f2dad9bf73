//! Recognising a signed-in user by an access token.

use tracing::instrument;

use crate::rate_limit::{Decision, Quota};
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
        let session = claims.session_ref();
        let looked_up = self.ports.cache.get(session).await;
        self.signed_in(session, looked_up).await
    }

    /// The same, with the decision on a request against the user's quota, if the cache could tell both at once.
    /// Where there is none, the request is not counted yet.
    #[instrument(level = "debug", name = "authenticate", skip_all, fields(otel.status_code))]
    pub async fn authenticate_and_count(
        &self,
        claims: &AccessClaims,
        quota: Quota,
    ) -> (Result<User, AuthenticateError>, Option<Decision>) {
        let session = claims.session_ref();
        let (looked_up, decision) = self.ports.cache.get_and_count(session, quota).await;
        (self.signed_in(session, looked_up).await, decision)
    }

    async fn signed_in(
        &self,
        session: SessionRef,
        looked_up: CacheLookup,
    ) -> Result<User, AuthenticateError> {
        let lease = match looked_up {
            CacheLookup::Hit(user) => return Ok(user),
            CacheLookup::Miss(lease) => lease,
        };
        let found = self.ports.sessions.find_signed_in(session).await?;
        let user = found.ok_or(AuthenticateError::SessionEnded)?;
        self.ports.cache.put(session, &user, lease).await;
        Ok(user)
    }
}
