//! Staying: a refresh token for a new pair.

use secrecy::SecretString;
use tracing::instrument;

use crate::BoxError;
use crate::store::StoreError;

use super::AccountService;
use super::event::SecurityEventKind;
use super::repository::Rotation;
use super::session::{ClientInfo, TokenGrant};

/// Who wants to stay.
#[derive(Clone, Debug)]
pub struct Refresh {
    /// What they present as a refresh token.
    pub refresh_token: SecretString,
    /// Where they call from.
    pub client: ClientInfo,
}

/// Why somebody does not stay.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The token is unknown, expired, or of a session that ended.
    #[error("the refresh token is not valid")]
    Invalid,
    /// The token was used before.
    #[error("the refresh token was used before")]
    Used,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The access token could not be signed.
    #[error("the access token could not be signed")]
    Token(#[source] BoxError),
}

impl AccountService {
    /// Exchanges a refresh token, which is good once, for a new pair. A token that was used a
    /// while ago is taken for stolen and ends its session.
    #[instrument(level = "debug", name = "refresh", skip_all, fields(otel.status_code))]
    pub async fn refresh(&self, command: Refresh) -> Result<TokenGrant, RefreshError> {
        let Refresh {
            refresh_token: presented,
            client,
        } = command;
        let address = client.address;
        let now = self.ports.clock.now();
        let (refresh_token, successor) = self.new_refresh_token(now);
        let presented = self.digest(&presented);
        match self
            .ports
            .sessions
            .rotate(&presented, successor, client)
            .await?
        {
            Rotation::Rotated { session, user } => self
                .grant(user, session.session, refresh_token, now)
                .map_err(RefreshError::Token),
            Rotation::Refused => Err(RefreshError::Invalid),
            Rotation::Ended(session) => {
                // Its end may have been stored without anybody hearing of it.
                self.ports.cache.invalidate(session.user).await;
                Err(RefreshError::Invalid)
            }
            Rotation::Retried(_) => Err(RefreshError::Used),
            Rotation::Reused(session) => {
                self.ports.cache.invalidate(session.user).await;
                self.record(
                    SecurityEventKind::RefreshReuseDetected,
                    Some(session.user),
                    Some(session.session),
                    address,
                );
                Err(RefreshError::Used)
            }
        }
    }
}
