//! Changing one's password, knowing the old one.

use std::net::IpAddr;

use tracing::instrument;

use super::AccountService;
use super::event::SecurityEventKind;
use super::password::{Attempt, PasswordError};
use super::repository::PasswordChange;
use super::session::SessionRef;
use super::user::{Password, PasswordAttempt, User};

/// Who wants another password.
#[derive(Clone, Debug)]
pub struct ChangePassword {
    /// The session that they change it in, which goes on.
    pub session: SessionRef,
    /// What they say their password is.
    pub current: PasswordAttempt,
    /// What it is to be.
    pub new: Password,
    /// Where they call from.
    pub address: IpAddr,
}

impl AccountService {
    /// Gives the caller another password, and ends all other sessions. A wrong current password
    /// counts towards the lockout, and a lock refuses the right one too: else somebody who found an
    /// open session could go on guessing here.
    #[instrument(level = "debug", name = "change password", skip_all, fields(otel.status_code))]
    pub async fn change_password(
        &self,
        caller: &User,
        command: ChangePassword,
    ) -> Result<(), PasswordError> {
        let ChangePassword {
            session,
            current,
            new,
            address,
        } = command;
        let attempt = Attempt {
            email: &caller.email,
            password: current,
            address,
            session: Some(session),
        };
        let credentials = self.check_password(&attempt).await?;
        let change = PasswordChange {
            user: caller.id,
            old: credentials.password_hash.clone(),
            new: self.ports.hasher.hash(new).await?,
            kept: session.session,
        };
        let now = self.ports.clock.now();
        let changed = self.ports.users.change_password(change, now).await;
        // Also after a failure, which does not tell whether it was stored.
        self.ports.cache.invalidate(caller.id).await;
        self.admitted(&attempt, &credentials, changed?)?;
        self.record(
            SecurityEventKind::PasswordChanged,
            Some(caller.id),
            Some(session.session),
            address,
        );
        Ok(())
    }
}
