//! Choosing a new password by way of a mail.

use std::net::IpAddr;

use secrecy::SecretString;
use tracing::instrument;

use crate::mail::MailKind;
use crate::store::StoreError;

use super::AccountService;
use super::event::SecurityEventKind;
use super::security::HashError;
use super::user::{Email, Password};

/// Who wants another password.
#[derive(Clone, Debug)]
pub struct ResetPassword {
    /// The token of the mail.
    pub token: SecretString,
    /// What their password is to be.
    pub new: Password,
    /// Where they call from.
    pub address: IpAddr,
}

/// Why there is no other password.
#[derive(Debug, thiserror::Error)]
pub enum ResetPasswordError {
    /// The token is unknown, used, replaced or expired.
    #[error("the token is not valid")]
    InvalidToken,
    /// The password could not be hashed.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AccountService {
    /// Sends a mail with which its reader can choose a new password, if an account has the address.
    /// Whether that is so, neither the answer nor its time tells.
    #[instrument(level = "debug", name = "forgot password", skip_all, fields(otel.status_code))]
    pub async fn forgot_password(&self, email: Email) -> Result<(), StoreError> {
        self.ask_for_mail(MailKind::ResetPassword, email).await
    }

    /// Gives an account another password, lifts its lock, and ends all its sessions.
    #[instrument(level = "debug", name = "reset password", skip_all, fields(otel.status_code))]
    pub async fn reset_password(&self, command: ResetPassword) -> Result<(), ResetPasswordError> {
        let ResetPassword {
            token,
            new,
            address,
        } = command;
        let token = self.digest(&token);
        let now = self.ports.clock.now();
        // Hashing costs a lot: nobody should have it done with a token that they made up.
        let found = self.ports.users.find_by_reset_token(&token, now).await?;
        let user = found.ok_or(ResetPasswordError::InvalidToken)?;
        let hash = self.ports.hasher.hash(new).await?;
        let now = self.ports.clock.now();
        let reset = self.ports.users.reset_password(&token, hash, now).await;
        // Also after a failure, which does not tell whether it was stored.
        self.ports.cache.invalidate(user).await;
        reset?.ok_or(ResetPasswordError::InvalidToken)?;
        self.record(SecurityEventKind::PasswordReset, Some(user), None, address);
        Ok(())
    }
}
