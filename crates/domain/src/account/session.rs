//! Sessions: a login and the chain of refresh tokens that descends from it.

use std::net::IpAddr;
use std::time::Duration;

use secrecy::SecretString;

use crate::clock::Timestamp;
use crate::id::Id;

use super::user::{TokenDigest, User};

/// A login with its family of refresh tokens. Of the tokens at most one is unused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Made by the server; every access token names it.
    pub id: Id<Session>,
    /// Whose it is.
    pub user: Id<User>,
    /// When the user logged in.
    pub created_at: Timestamp,
    /// When it was last opened or refreshed.
    pub last_used_at: Timestamp,
    /// When it ends if it is not refreshed.
    pub expires_at: Timestamp,
    /// Where it was last used from.
    pub client: ClientInfo,
}

impl Session {
    /// So many sessions of a user may go on at once: more than anybody has devices, and few enough to be
    /// listed and ended in one go, however many a stolen password was used for.
    pub const MAX_PER_USER: usize = 100;
}

/// Which session of which user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionRef {
    /// Whose it is.
    pub user: Id<User>,
    /// Which one.
    pub session: Id<Session>,
}

/// Who calls, as far as it can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientInfo {
    /// The `User-Agent`, cut to [`ClientInfo::MAX_USER_AGENT`] characters.
    pub user_agent: Option<String>,
    /// The address that the request came from.
    pub address: IpAddr,
}

impl ClientInfo {
    /// How much of a `User-Agent` is kept, in characters: enough to recognise a device.
    pub const MAX_USER_AGENT: usize = 256;

    /// The caller with a user agent of a bounded length and without NUL characters.
    pub fn new(user_agent: Option<&str>, address: IpAddr) -> Self {
        let user_agent = user_agent.map(|text| {
            text.chars()
                .filter(|c| *c != '\0')
                .take(Self::MAX_USER_AGENT)
                .collect()
        });
        Self {
            user_agent,
            address,
        }
    }
}

/// What a store keeps of a refresh token.
#[derive(Clone, Debug)]
pub struct NewRefreshToken {
    /// Made by the server.
    pub id: Id<NewRefreshToken>,
    /// Of the token, unique over all tokens.
    pub digest: TokenDigest,
    /// The first instant at which it no longer works.
    pub expires_at: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A session that is to be opened.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Made by the server.
    pub id: Id<Session>,
    /// Where it is opened from.
    pub client: ClientInfo,
    /// Its first refresh token; its times are the session's.
    pub refresh_token: NewRefreshToken,
}

/// A stored refresh token, as far as it decides whether it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshTokenState {
    /// The first instant at which it no longer works.
    pub expires_at: Timestamp,
    /// When it was exchanged for its successor.
    pub used_at: Option<Timestamp>,
    /// Whether its session was ended.
    pub session_ended: bool,
}

/// What to do with a refresh token that somebody presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshVerdict {
    /// Exchange it.
    Exchange,
    /// Refuse it: it is expired.
    Refuse,
    /// Refuse it: its session ended.
    RefuseEnded,
    /// Refuse it: a client's own retry or second tab has just used it. The session lives.
    RefuseRetry,
    /// Refuse it and end its session: it was used a while ago, so it is taken for stolen.
    EndSession,
}

impl RefreshTokenState {
    /// For so long after its use a token that comes again is a client's own retry.
    pub const RETRY_GRACE: Duration = Duration::from_secs(10);

    /// The rule of the rotation: each token is good once.
    pub fn judge(self, now: Timestamp) -> RefreshVerdict {
        if self.session_ended {
            return RefreshVerdict::RefuseEnded;
        }
        match self.used_at {
            Some(used_at) if now.since(used_at) > Self::RETRY_GRACE => RefreshVerdict::EndSession,
            Some(_) => RefreshVerdict::RefuseRetry,
            None if self.expires_at <= now => RefreshVerdict::Refuse,
            None => RefreshVerdict::Exchange,
        }
    }
}

/// What somebody who has come in gets.
#[derive(Clone, Debug)]
pub struct TokenGrant {
    /// For every request.
    pub access_token: SecretString,
    /// For the next grant, once.
    pub refresh_token: SecretString,
    /// How long the access token works.
    pub expires_in: Duration,
    /// Who came in.
    pub user: User,
}
