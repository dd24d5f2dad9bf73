//! Logging out.

use std::net::IpAddr;

use secrecy::SecretString;
use tracing::instrument;

use crate::store::StoreError;

use super::AccountService;
use super::event::SecurityEventKind;

impl AccountService {
    /// Ends the session of a refresh token, used or not. An unknown token is no error: whoever
    /// presents it is out.
    #[instrument(level = "debug", name = "log out", skip_all, fields(otel.status_code))]
    pub async fn log_out(
        &self,
        refresh_token: &SecretString,
        address: IpAddr,
    ) -> Result<(), StoreError> {
        let presented = self.digest(refresh_token);
        let now = self.ports.clock.now();
        if let Some(ended) = self.ports.sessions.end_by_token(&presented, now).await? {
            self.ports.cache.invalidate(ended.user).await;
            self.record(
                SecurityEventKind::SessionEnded,
                Some(ended.user),
                Some(ended.session),
                address,
            );
        }
        Ok(())
    }
}
