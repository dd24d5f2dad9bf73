//! Accounts: who may come in, and how long they stay.

mod authenticate;
mod lockout;
mod log_in;
mod log_out;
mod profile;
mod refresh;
mod register;
mod repository;
mod security;
mod session;
mod user;

use std::sync::Arc;
use std::time::Duration;

pub use authenticate::AuthenticateError;
pub use lockout::{FailedLogin, Locked, LoginAttempts};
pub use log_in::{LogIn, LogInError};
pub use log_out::LogOutError;
pub use profile::UpdateProfileError;
pub use refresh::{Refresh, RefreshError};
pub use register::{Register, RegisterError};
pub use repository::{
    CacheLookup, Lease, NewAccount, Registration, Rotation, SessionOpening, SessionRepository,
    SignedInCache, UserRepository,
};
pub use security::{
    AccessClaims, AccessTokenError, HashError, OpaqueTokens, PasswordHasher, TokenIssuer,
};
pub use session::{
    ClientInfo, NewRefreshToken, NewSession, RefreshTokenState, RefreshVerdict, Session,
    SessionRef, TokenGrant,
};
pub use user::{
    Credentials, Email, FullName, Password, PasswordAttempt, PasswordHash, TokenDigest, User,
    VerificationToken,
};

#[cfg(any(test, feature = "mocks"))]
pub use repository::{MockSessionRepository, MockSignedInCache, MockUserRepository};
#[cfg(any(test, feature = "mocks"))]
pub use security::{MockOpaqueTokens, MockPasswordHasher, MockTokenIssuer};

use crate::BoxError;
use crate::clock::{Clock, Timestamp};
use crate::id::IdGenerator;
use crate::mail::Mailer;

/// How long a verification mail's link works.
pub const VERIFICATION_TOKEN_TTL: Duration = Duration::from_hours(24);

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
    /// Mails.
    pub mailer: Arc<dyn Mailer>,
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
    fn new_refresh_token(&self, now: Timestamp) -> (secrecy::SecretString, NewRefreshToken) {
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
    fn digest(&self, token: &secrecy::SecretString) -> TokenDigest {
        self.ports
            .tokens
            .digest(secrecy::ExposeSecret::expose_secret(token))
    }

    /// The answer to somebody who has just come in.
    fn grant(
        &self,
        user: User,
        session: crate::id::Id<Session>,
        refresh_token: secrecy::SecretString,
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
