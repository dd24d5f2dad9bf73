//! Accounts: who may come in, and how long they stay.

mod authenticate;
mod change_password;
mod delete;
mod event;
mod lockout;
mod log_in;
mod log_out;
mod password;
mod profile;
mod refresh;
mod register;
mod repository;
mod reset_password;
mod security;
mod session;
mod sessions;
mod user;
mod verify_email;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

pub use authenticate::AuthenticateError;
pub use change_password::ChangePassword;
pub use delete::DeleteAccount;
pub use event::{SecurityEvent, SecurityEventKind, SecurityLog};
pub use lockout::{FailedLogin, Locked, LoginAttempts};
pub use log_in::{LogIn, LogInError};
pub use password::PasswordError;
pub use profile::UpdateProfileError;
pub use refresh::{Refresh, RefreshError};
pub use register::{Register, RegisterError};
pub use repository::{
    Admission, CacheLookup, Lease, NewAccount, PasswordChange, Registration, Rotation,
    SessionRepository, SignedInCache, UserRepository,
};
pub use reset_password::{ResetPassword, ResetPasswordError};
pub use security::{
    AccessClaims, AccessTokenError, HashError, OpaqueTokens, PasswordHasher, TokenIssuer,
};
pub use session::{
    ClientInfo, NewRefreshToken, NewSession, RefreshTokenState, RefreshVerdict, Session,
    SessionRef, TokenGrant,
};
pub use sessions::EndSessionError;
pub use user::{
    Credentials, Email, FullName, Password, PasswordAttempt, PasswordHash, TokenDigest, User,
};
pub use verify_email::VerifyEmailError;

#[cfg(any(test, feature = "mocks"))]
pub use event::MockSecurityLog;
#[cfg(any(test, feature = "mocks"))]
pub use repository::{MockSessionRepository, MockSignedInCache, MockUserRepository};
#[cfg(any(test, feature = "mocks"))]
pub use security::{MockOpaqueTokens, MockPasswordHasher, MockTokenIssuer};

use crate::BoxError;
use crate::clock::{Clock, Timestamp};
use crate::id::{Id, IdGenerator};
use crate::mail::{MailKind, MailTokens, NewMail, Outbox, OutboxSignal};
use crate::store::StoreError;
use crate::trace::CurrentTrace;

/// What an operator decides about sessions.
#[derive(Clone, Copy, Debug)]
pub struct SessionPolicy {
    /// How long an access token works.
    pub access_token_ttl: Duration,
    /// How long a refresh token works, and so how long a session lives without being used.
    pub refresh_token_ttl: Duration,
}

/// What the use cases of accounts need.
pub struct AccountPorts {
    /// Stored accounts.
    pub users: Arc<dyn UserRepository>,
    /// Stored sessions.
    pub sessions: Arc<dyn SessionRepository>,
    /// The signed-in users of late.
    pub cache: Arc<dyn SignedInCache>,
    /// Password hashes.
    pub hasher: Arc<dyn PasswordHasher>,
    /// Access tokens.
    pub issuer: Arc<dyn TokenIssuer>,
    /// Opaque tokens.
    pub tokens: Arc<dyn OpaqueTokens>,
    /// Mails that wait.
    pub outbox: Arc<dyn Outbox>,
    /// Who delivers them.
    pub outbox_signal: Arc<dyn OutboxSignal>,
    /// The tokens in mails.
    pub mail_tokens: Arc<dyn MailTokens>,
    /// Who is told what happens.
    pub security_log: Arc<dyn SecurityLog>,
    /// Which trace a mail is asked for in.
    pub trace: Arc<dyn CurrentTrace>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Ids.
    pub ids: Arc<dyn IdGenerator>,
}

/// The use cases of accounts, one to a module.
pub struct AccountService {
    ports: AccountPorts,
    policy: SessionPolicy,
}

impl AccountService {
    /// The use cases over these ports.
    pub fn new(ports: AccountPorts, policy: SessionPolicy) -> Self {
        Self { ports, policy }
    }

    /// A refresh token for the caller and what the store keeps of it.
    fn new_refresh_token(&self, now: Timestamp) -> (SecretString, NewRefreshToken) {
        let token = self.ports.tokens.refresh_token();
        let stored = NewRefreshToken {
            id: self.ports.ids.next(),
            digest: self.digest(&token),
            expires_at: now.plus(self.policy.refresh_token_ttl),
            created_at: now,
        };
        (token, stored)
    }

    /// What the store keeps of an opaque token.
    fn digest(&self, token: &SecretString) -> TokenDigest {
        self.ports.tokens.digest(token.expose_secret())
    }

    /// A mail for the outbox.
    fn new_mail(&self, kind: MailKind, to: Email, now: Timestamp) -> NewMail {
        let id = self.ports.ids.next();
        NewMail {
            id,
            kind,
            to,
            token: self.digest(&self.ports.mail_tokens.token(id)),
            created_at: now,
            cause: self.ports.trace.parent(),
        }
    }

    /// Puts a mail into the outbox. Who has the address, if anybody, is not looked up here: the time
    /// that this takes must not tell.
    async fn ask_for_mail(&self, kind: MailKind, to: Email) -> Result<(), StoreError> {
        let mail = self.new_mail(kind, to, self.ports.clock.now());
        self.ports.outbox.add(mail).await?;
        self.ports.outbox_signal.added();
        Ok(())
    }

    /// Notes what happened.
    fn record(
        &self,
        kind: SecurityEventKind,
        user: Option<Id<User>>,
        session: Option<Id<Session>>,
        address: IpAddr,
    ) {
        self.ports.security_log.record(SecurityEvent {
            kind,
            user,
            session,
            address,
        });
    }

    /// The answer to somebody who has just come in.
    fn grant(
        &self,
        user: User,
        session: Id<Session>,
        refresh_token: SecretString,
        now: Timestamp,
    ) -> Result<TokenGrant, BoxError> {
        let access_token = self.ports.issuer.issue(&AccessClaims {
            user: user.id,
            session,
            email: user.email.clone(),
            issued_at: now,
            expires_at: now.plus(self.policy.access_token_ttl),
            token_id: self.ports.ids.next_uuid(),
        })?;
        let expires_in = self.policy.access_token_ttl;
        Ok(TokenGrant {
            access_token,
            refresh_token,
            expires_in,
            user,
        })
    }
}
