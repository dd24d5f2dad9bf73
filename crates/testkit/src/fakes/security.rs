//! Passwords, tokens and security events that a test can read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use tasks_domain::BoxError;
use tasks_domain::account::{
    AccessClaims, AccessTokenError, Email, HashError, OpaqueTokens, Password, PasswordAttempt,
    PasswordHash, PasswordHasher, SecurityEvent, SecurityLog, TokenDigest, TokenIssuer,
};
use tasks_domain::clock::Timestamp;
use tasks_domain::id::Id;
use uuid::Uuid;

use super::Switch;
use crate::build;

/// Hashes `secret` to `hash:1:secret`, with another number each time.
#[derive(Clone, Debug, Default)]
pub struct FakeHasher {
    salt: Arc<AtomicU64>,
    overloaded: Switch,
}

impl FakeHasher {
    /// Makes every call fail with [`HashError::Overloaded`], or work again.
    pub fn overload(&self, overloaded: bool) {
        self.overloaded.turn(overloaded);
    }

    fn admit(&self) -> Result<(), HashError> {
        if self.overloaded.is_on() {
            return Err(HashError::Overloaded);
        }
        Ok(())
    }
}

#[async_trait]
impl PasswordHasher for FakeHasher {
    async fn hash(&self, password: Password) -> Result<PasswordHash, HashError> {
        self.admit()?;
        let salt = self.salt.fetch_add(1, Ordering::Relaxed);
        Ok(PasswordHash::new(format!(
            "hash:{salt}:{}",
            password.expose()
        )))
    }

    async fn verify(
        &self,
        attempt: PasswordAttempt,
        hash: Option<PasswordHash>,
    ) -> Result<bool, HashError> {
        self.admit()?;
        let password = hash.as_ref().and_then(|hash| {
            let (_, password) = hash.expose().strip_prefix("hash:")?.split_once(':')?;
            Some(password)
        });
        Ok(password.is_some() && password == attempt.comparable())
    }
}

/// Access tokens that say everything in the open:
/// `user.session.issued_at.expires_at.token_id.email`, the times in seconds, the address in hex.
#[derive(Clone, Copy, Debug, Default)]
pub struct FakeIssuer;

impl FakeIssuer {
    /// By how much the clocks may differ.
    const LEEWAY: Duration = Duration::from_secs(5);

    fn read(token: &str) -> Option<AccessClaims> {
        let mut parts = token.split('.');
        let claims = AccessClaims {
            user: Id::new(parts.next()?.parse().ok()?),
            session: Id::new(parts.next()?.parse().ok()?),
            issued_at: from_seconds(parts.next()?)?,
            expires_at: from_seconds(parts.next()?)?,
            token_id: parts.next()?.parse::<Uuid>().ok()?,
            email: Email::parse(&from_hex(parts.next()?)?).ok()?,
        };
        parts.next().is_none().then_some(claims)
    }
}

fn from_seconds(text: &str) -> Option<Timestamp> {
    Timestamp::from_unix_micros(text.parse::<i64>().ok()?.checked_mul(1_000_000)?)
}

fn to_hex(text: &str) -> String {
    text.bytes()
        .flat_map(|byte| [byte >> 4, byte & 0xf])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

fn from_hex(text: &str) -> Option<String> {
    let digits: Vec<u8> = text
        .chars()
        .map(|c| u8::try_from(c.to_digit(16)?).ok())
        .collect::<Option<_>>()?;
    let bytes = digits
        .chunks_exact(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| byte * 16 + digit))
        .collect();
    String::from_utf8(bytes).ok()
}

impl TokenIssuer for FakeIssuer {
    fn issue(&self, claims: &AccessClaims) -> Result<SecretString, BoxError> {
        let email = to_hex(claims.email.as_str());
        Ok(format!(
            "{}.{}.{}.{}.{}.{email}",
            claims.user,
            claims.session,
            claims.issued_at.unix_seconds(),
            claims.expires_at.unix_seconds(),
            claims.token_id,
        )
        .into())
    }

    fn verify(&self, token: &str, now: Timestamp) -> Result<AccessClaims, AccessTokenError> {
        let claims = Self::read(token).ok_or(AccessTokenError::Invalid)?;
        if now > claims.expires_at.plus(Self::LEEWAY) {
            return Err(AccessTokenError::Expired);
        }
        if now.plus(Self::LEEWAY) < claims.issued_at {
            return Err(AccessTokenError::Invalid);
        }
        Ok(claims)
    }
}

/// Opaque tokens that count. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct FakeTokens(Arc<AtomicU64>);

impl FakeTokens {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

impl OpaqueTokens for FakeTokens {
    fn refresh_token(&self) -> SecretString {
        format!("{:064x}", self.next()).into()
    }

    fn digest(&self, token: &str) -> TokenDigest {
        build::digest(token)
    }
}

/// Keeps every security event. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct RecordingSecurityLog(Arc<Mutex<Vec<SecurityEvent>>>);

impl RecordingSecurityLog {
    /// All events so far, the oldest first.
    pub fn events(&self) -> Vec<SecurityEvent> {
        self.0.lock().unwrap().clone()
    }
}

impl SecurityLog for RecordingSecurityLog {
    fn record(&self, event: SecurityEvent) {
        self.0.lock().unwrap().push(event);
    }
}
