//! The ports of what is secret: password hashes and tokens.

use async_trait::async_trait;
use secrecy::SecretString;
use uuid::Uuid;

use crate::BoxError;
use crate::clock::Timestamp;
use crate::id::Id;

use super::session::{Session, SessionRef};
use super::user::{Email, Password, PasswordAttempt, PasswordHash, TokenDigest, User};

/// Why a password was neither hashed nor compared.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// Too many wait already. Trying again later may help.
    #[error("too many passwords wait to be hashed")]
    Overloaded,
    /// Anything else: a bug.
    #[error("the password hasher failed")]
    Failed(#[source] BoxError),
}

/// Port: hashes and compares passwords, on a bounded number of threads of its own.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait PasswordHasher: Send + Sync {
    /// The salted hash of a password. Two calls differ.
    async fn hash(&self, password: Password) -> Result<PasswordHash, HashError>;

    /// Whether the attempt is the password of the hash.
    ///
    /// Takes the same time whatever the answer, and also without a hash (nobody's password), or
    /// where the attempt is not [comparable](PasswordAttempt::comparable); both are `false`.
    async fn verify(
        &self,
        attempt: PasswordAttempt,
        hash: Option<PasswordHash>,
    ) -> Result<bool, HashError>;
}

/// What an access token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessClaims {
    /// Who may act.
    pub user: Id<User>,
    /// In which session.
    pub session: Id<Session>,
    /// The user's address when the token was made.
    pub email: Email,
    /// When it was made.
    pub issued_at: Timestamp,
    /// From when on it no longer works.
    pub expires_at: Timestamp,
    /// Different in every token.
    pub token_id: Uuid,
}

impl AccessClaims {
    /// Who may act in which session.
    pub fn session_ref(&self) -> SessionRef {
        SessionRef {
            user: self.user,
            session: self.session,
        }
    }
}

/// Why an access token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessTokenError {
    /// It was good once.
    #[error("the access token is expired")]
    Expired,
    /// It was never good, or not yet.
    #[error("the access token is not valid")]
    Invalid,
}

/// Port: makes and checks signed access tokens.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
pub trait TokenIssuer: Send + Sync {
    /// Signs the claims, whose times are cut to the second.
    fn issue(&self, claims: &AccessClaims) -> Result<SecretString, BoxError>;

    /// The claims of a token, if it was signed with the current or the previous key and `now`
    /// is within its time, give or take 5 s.
    fn verify(&self, token: &str, now: Timestamp) -> Result<AccessClaims, AccessTokenError>;
}

/// Port: makes opaque tokens of 32 random bytes, and digests of any.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
pub trait OpaqueTokens: Send + Sync {
    /// 64 hex characters.
    fn refresh_token(&self) -> SecretString;

    /// The SHA-256 of any token, also of one that was never made here.
    fn digest(&self, token: &str) -> TokenDigest;
}
