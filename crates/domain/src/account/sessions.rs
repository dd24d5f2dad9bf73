//! Seeing and ending one's sessions.

use std::net::IpAddr;

use tracing::instrument;

use crate::access::{AccessError, Owned, owned_by};
use crate::id::Id;
use crate::store::StoreError;

use super::AccountService;
use super::event::SecurityEventKind;
use super::session::Session;
use super::user::User;

/// Why a session is not ended.
#[derive(Debug, thiserror::Error)]
pub enum EndSessionError {
    /// There is none, it is over already, or it is somebody else's.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Owned for Session {
    fn owner(&self) -> Id<User> {
        self.user
    }
}

impl AccountService {
    /// The caller's sessions that are not over, the newest first.
    #[instrument(level = "debug", name = "list sessions", skip_all, fields(otel.status_code))]
    pub async fn sessions(&self, caller: &User) -> Result<Vec<Session>, StoreError> {
        let now = self.ports.clock.now();
        self.ports.sessions.list(caller.id, now).await
    }

    /// Ends a session of the caller's, with its access tokens.
    #[instrument(level = "debug", name = "end session", skip_all, fields(otel.status_code))]
    pub async fn end_session(
        &self,
        caller: &User,
        id: Id<Session>,
        address: IpAddr,
    ) -> Result<(), EndSessionError> {
        let now = self.ports.clock.now();
        owned_by(caller, self.ports.sessions.find(id, now).await?)?;
        let ended = self.ports.sessions.end(id, now).await;
        // Also after a failure, which does not tell whether it was ended.
        self.ports.cache.invalidate(caller.id).await;
        if !ended? {
            return Err(AccessError::NotFound.into());
        }
        let kind = SecurityEventKind::SessionEnded;
        self.record(kind, Some(caller.id), Some(id), address);
        Ok(())
    }

    /// Ends all sessions of the caller's, the one of this call too.
    #[instrument(level = "debug", name = "end all sessions", skip_all, fields(otel.status_code))]
    pub async fn end_all_sessions(&self, caller: &User, address: IpAddr) -> Result<(), StoreError> {
        let now = self.ports.clock.now();
        let ended = self.ports.sessions.end_all(caller.id, now).await;
        // Also after a failure, which does not tell whether they were ended.
        self.ports.cache.invalidate(caller.id).await;
        ended?;
        let kind = SecurityEventKind::AllSessionsEnded;
        self.record(kind, Some(caller.id), None, address);
        Ok(())
    }
}
