//! Asking for the password: at a login, and again before what cannot be undone.

use std::net::IpAddr;

use crate::store::StoreError;

use super::AccountService;
use super::event::SecurityEventKind;
use super::lockout::{FailedLogin, Locked};
use super::repository::Admission;
use super::security::HashError;
use super::session::SessionRef;
use super::user::{Credentials, Email, PasswordAttempt};

/// Why a password does not let somebody do something.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// No account has that address and that password. Which of the two is wrong is not said.
    #[error("wrong e-mail address or password")]
    Wrong,
    /// Too many failures: the account is locked, whatever the password.
    #[error("the account is locked")]
    Locked(Locked),
    /// The password could not be hashed or compared.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Who gives a password.
pub(super) struct Attempt<'a> {
    pub(super) email: &'a Email,
    pub(super) password: PasswordAttempt,
    pub(super) address: IpAddr,
    /// Of somebody who is signed in already.
    pub(super) session: Option<SessionRef>,
}

impl Attempt<'_> {
    fn failed(&self) -> SecurityEventKind {
        match self.session {
            None => SecurityEventKind::LoginFailed,
            Some(_) => SecurityEventKind::ReauthenticationFailed,
        }
    }
}

impl AccountService {
    /// The credentials of whoever knows the password. A failure counts towards the lockout.
    ///
    /// Every refusal takes the same way (look up, compare, record), so that its time does not tell
    /// whether the account exists or is locked. A right password is judged by what is done with it:
    /// the store that does it says whether the account is locked, see [`AccountService::admitted`].
    pub(super) async fn check_password(
        &self,
        attempt: &Attempt<'_>,
    ) -> Result<Credentials, PasswordError> {
        let found = self.ports.users.find_credentials(attempt.email).await?;
        let hash = found
            .as_ref()
            .map(|credentials| credentials.password_hash.clone());
        let password = attempt.password.clone();
        let is_right = self.ports.hasher.verify(password, hash).await?;
        let known = attempt.session.map(|session| session.user);
        let user = known.or_else(|| Some(found.as_ref()?.user.id));
        if let Some(credentials) = found.filter(|_| is_right) {
            return Ok(credentials);
        }
        let now = self.ports.clock.now();
        let outcome = self
            .ports
            .users
            .record_failed_login(attempt.email, now)
            .await?;
        let session = attempt.session.map(|session| session.session);
        let record = |kind| self.record(kind, user, session, attempt.address);
        record(attempt.failed());
        match outcome {
            FailedLogin::Counted | FailedLogin::NoAccount => Err(PasswordError::Wrong),
            FailedLogin::LockedNow(locked) => {
                record(SecurityEventKind::AccountLocked);
                Err(PasswordError::Locked(locked))
            }
            FailedLogin::StillLocked(locked) => Err(PasswordError::Locked(locked)),
        }
    }

    /// What the store made of a right password.
    pub(super) fn admitted(
        &self,
        attempt: &Attempt<'_>,
        credentials: &Credentials,
        admission: Admission,
    ) -> Result<(), PasswordError> {
        let error = match admission {
            Admission::Granted => return Ok(()),
            Admission::Locked(locked) => PasswordError::Locked(locked),
            Admission::Outdated => PasswordError::Wrong,
        };
        self.record(
            attempt.failed(),
            Some(credentials.user.id),
            attempt.session.map(|session| session.session),
            attempt.address,
        );
        Err(error)
    }
}
