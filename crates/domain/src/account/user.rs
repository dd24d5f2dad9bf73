//! A user, and the values that make one.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use crate::clock::Timestamp;
use crate::id::Id;
use crate::text::{Invalid, no_nul, text_value};

use super::lockout::LoginAttempts;

/// Somebody who has an account.
///
/// A user's password hash is no part of it, so that it cannot get into an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Made by the server.
    pub id: Id<User>,
    /// Unique over all users.
    pub email: Email,
    /// How to address them.
    pub full_name: FullName,
    /// Whether the e-mail address is proven to be theirs.
    pub is_active: bool,
    /// When the account was made.
    pub created_at: Timestamp,
    /// When the account last changed.
    pub updated_at: Timestamp,
}

text_value! {
    /// A user's name: 1 to 200 characters.
    FullName, 1..=200
}

/// An e-mail address as HTML's `input type=email` takes it, trimmed and in lower case, so that
/// comparing two needs no regard to case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Email(String);

impl Email {
    /// The longest address that mail can carry (RFC 5321), in characters.
    pub const MAX_LENGTH: usize = 254;
    /// The longest label of a domain name (RFC 1034), in characters.
    const MAX_LABEL: usize = 63;

    /// Trims, lower-cases and checks an address.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        no_nul(raw)?;
        let address = raw.trim();
        if address.chars().count() > Self::MAX_LENGTH {
            return Err(Invalid::new(
                "length",
                format!("must be at most {} characters", Self::MAX_LENGTH),
            ));
        }
        let well_formed = address.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty()
                && local
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || ".!#$%&'*+/=?^_`{|}~-".contains(c))
                && !local.contains("..")
                && domain.split('.').all(Self::is_label)
        });
        if !well_formed {
            return Err(Invalid::new(
                "format",
                "must be an e-mail address like name@example.com",
            ));
        }
        Ok(Self(address.to_ascii_lowercase()))
    }

    fn is_label(label: &str) -> bool {
        (1..=Self::MAX_LABEL).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A password that an account may have.
#[derive(Clone, Debug)]
pub struct Password(SecretString);

impl Password {
    /// The fewest characters.
    pub const MIN_CHARACTERS: usize = 8;
    /// The most bytes of UTF-8: bcrypt reads no more.
    pub const MAX_BYTES: usize = 72;
    /// Of these a password has at least one.
    pub const SPECIAL: &'static str = "!@#$%^&*";

    /// Checks a password, which is taken as it is, outer white space included.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        no_nul(raw)?;
        if raw.chars().count() < Self::MIN_CHARACTERS || raw.len() > Self::MAX_BYTES {
            return Err(Invalid::new(
                "length",
                format!(
                    "must be at least {} characters and at most {} bytes",
                    Self::MIN_CHARACTERS,
                    Self::MAX_BYTES
                ),
            ));
        }
        let strong = raw.chars().any(char::is_uppercase)
            && raw.chars().any(|c| c.is_ascii_digit())
            && raw.chars().any(|c| Self::SPECIAL.contains(c));
        if !strong {
            return Err(Invalid::new(
                "weak",
                format!(
                    "must have an upper-case letter, a digit and one of {}",
                    Self::SPECIAL
                ),
            ));
        }
        Ok(Self(raw.into()))
    }

    /// The password, for hashing it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// What somebody says their password is.
#[derive(Clone, Debug)]
pub struct PasswordAttempt(SecretString);

impl PasswordAttempt {
    /// Takes anything: what no account can have is wrong, not invalid.
    pub fn new(raw: &str) -> Self {
        Self(raw.into())
    }

    /// The attempt, if any account could have such a password. What is longer than bcrypt
    /// reads must not be compared, or a longer password would match a shorter one.
    pub fn comparable(&self) -> Option<&str> {
        let raw = self.0.expose_secret();
        (raw.len() <= Password::MAX_BYTES && !raw.contains('\0')).then_some(raw)
    }
}

/// A password's hash, in the form that the hasher gave it.
#[derive(Clone)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Takes a hash from the hasher or the store.
    pub fn new(hash: impl Into<String>) -> Self {
        Self(hash.into())
    }

    /// The hash, for the store and the hasher.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(***)")
    }
}

/// The SHA-256 of an opaque token in lower-case hex: what a store keeps instead of the token.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TokenDigest(String);

impl TokenDigest {
    /// Takes a digest from the digester or the store.
    pub fn new(hex: impl Into<String>) -> Self {
        Self(hex.into())
    }

    /// The digest, for the store.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(***)")
    }
}

/// What logging in is judged by.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Whose they are.
    pub user: User,
    /// Of the password.
    pub password_hash: PasswordHash,
    /// The failures of late.
    pub attempts: LoginAttempts,
}
