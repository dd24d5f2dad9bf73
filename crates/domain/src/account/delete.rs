//! Leaving for good.

use std::net::IpAddr;

use tracing::instrument;

use super::AccountService;
use super::event::SecurityEventKind;
use super::password::{Attempt, PasswordError};
use super::session::SessionRef;
use super::user::{PasswordAttempt, User};

/// Who wants to leave.
#[derive(Clone, Debug)]
pub struct DeleteAccount {
    /// The session that they call in.
    pub session: SessionRef,
    /// What they say their password is.
    pub password: PasswordAttempt,
    /// Where they call from.
    pub address: IpAddr,
}

impl AccountService {
    /// Erases the caller's account with everything that it owns. A wrong password counts towards the
    /// lockout, and a lock refuses the right one too.
    #[instrument(level = "debug", name = "delete account", skip_all, fields(otel.status_code))]
    pub async fn delete_account(
        &self,
        caller: &User,
        command: DeleteAccount,
    ) -> Result<(), PasswordError> {
        let DeleteAccount {
            session,
            password,
            address,
        } = command;
        let attempt = Attempt {
            email: &caller.email,
            password,
            address,
            session: Some(session),
        };
        let credentials = self.check_password(&attempt).await?;
        let (hash, now) = (credentials.password_hash.clone(), self.ports.clock.now());
        let deleted = self.ports.users.delete(caller.id, hash, now).await;
        // Also after a failure, which does not tell whether it was done.
        self.ports.cache.invalidate(caller.id).await;
        self.admitted(&attempt, &credentials, deleted?)?;
        self.record(
            SecurityEventKind::AccountDeleted,
            Some(caller.id),
            Some(session.session),
            address,
        );
        Ok(())
    }
}
