//! Proving an address: the token of a mail comes back, or another mail is asked for.

use std::net::IpAddr;

use secrecy::SecretString;
use tracing::instrument;

use crate::mail::MailKind;
use crate::store::StoreError;

use super::AccountService;
use super::event::SecurityEventKind;
use super::user::{Email, User};

/// Why a token from a mail does nothing.
#[derive(Debug, thiserror::Error)]
pub enum VerifyEmailError {
    /// It is unknown, used, replaced or expired.
    #[error("the token is not valid")]
    InvalidToken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AccountService {
    /// Takes the address for proven to which the token was sent.
    #[instrument(level = "debug", name = "verify email", skip_all, fields(otel.status_code))]
    pub async fn verify_email(
        &self,
        token: &SecretString,
        address: IpAddr,
    ) -> Result<User, VerifyEmailError> {
        let now = self.ports.clock.now();
        let verified = self
            .ports
            .users
            .verify_email(&self.digest(token), now)
            .await?;
        let user = verified.ok_or(VerifyEmailError::InvalidToken)?;
        self.ports.cache.invalidate(user.id).await;
        self.record(
            SecurityEventKind::EmailVerified,
            Some(user.id),
            None,
            address,
        );
        Ok(user)
    }

    /// Sends another verification mail, if an account has the address and has not proven it. Whether
    /// that is so, neither the answer nor its time tells.
    #[instrument(level = "debug", name = "resend verification", skip_all, fields(otel.status_code))]
    pub async fn resend_verification(&self, email: Email) -> Result<(), StoreError> {
        self.ask_for_mail(MailKind::VerifyEmail, email).await
    }
}
