//! The ports of stored accounts and sessions.

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::id::Id;
use crate::mail::NewMail;
use crate::rate_limit::{Decision, Quota};
use crate::store::StoreError;

use super::lockout::{FailedLogin, Locked};
use super::session::{ClientInfo, NewRefreshToken, NewSession, Session, SessionRef};
use super::user::{Credentials, Email, FullName, PasswordHash, TokenDigest, User};

/// An account that is to be made.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// The user.
    pub user: User,
    /// Of the password.
    pub password_hash: PasswordHash,
    /// The mail that asks to prove the address, for the outbox.
    pub mail: NewMail,
    /// The session that registering opens.
    pub session: NewSession,
}

/// What registering comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// The account, its session and its mail are stored.
    Registered,
    /// Another account has the address; nothing is stored.
    EmailTaken,
}

/// What a password that was right when it was compared comes to when the store acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is done, and failed logins are forgotten.
    Granted,
    /// The account is locked; nothing is stored.
    Locked(Locked),
    /// The account is gone, or has another password by now; nothing is stored.
    Outdated,
}

/// A password that is to be changed.
#[derive(Clone, Debug)]
pub struct PasswordChange {
    /// Whose it is.
    pub user: Id<User>,
    /// Of the old password, which was compared.
    pub old: PasswordHash,
    /// Of the new one.
    pub new: PasswordHash,
    /// The session that goes on.
    pub kept: Id<Session>,
}

/// Port: stored accounts.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait UserRepository: Send + Sync {
    /// Stores an account with its first session and the mail that asks to prove the address, all or
    /// nothing. Of any number of concurrent registrations of one address exactly one succeeds.
    async fn register(&self, account: NewAccount) -> Result<Registration, StoreError>;

    /// The account with that address and what logging in is judged by.
    async fn find_credentials(&self, email: &Email) -> Result<Option<Credentials>, StoreError>;

    /// Counts a failed login by the rule of [`LoginAttempts::after_failure`]. Concurrent failures
    /// are all counted.
    ///
    /// Costs as much as counting does also where nothing is counted, since the account is locked
    /// or does not exist: the time that it takes must not tell.
    ///
    /// [`LoginAttempts::after_failure`]: super::LoginAttempts::after_failure
    async fn record_failed_login(
        &self,
        email: &Email,
        now: Timestamp,
    ) -> Result<FailedLogin, StoreError>;

    /// Gives a user another name; `None` if the account is gone.
    async fn rename(
        &self,
        user: Id<User>,
        full_name: FullName,
        now: Timestamp,
    ) -> Result<Option<User>, StoreError>;

    /// Makes the user active whose verification token has the digest and works, and the user
    /// then. The token is used up, and verification mails to the address that wait leave the outbox:
    /// of any number of concurrent calls with one token exactly one gets a user.
    async fn verify_email(
        &self,
        token: &TokenDigest,
        now: Timestamp,
    ) -> Result<Option<User>, StoreError>;

    /// The user whose reset token has the digest and works.
    async fn find_by_reset_token(
        &self,
        token: &TokenDigest,
        now: Timestamp,
    ) -> Result<Option<Id<User>>, StoreError>;

    /// Gives the account another password whose reset token has the digest and works, and its id. In
    /// the same transaction the token is used up, reset mails to the address that wait leave the outbox,
    /// failed logins and a lock are forgotten, and every session ends. Of any number of concurrent calls
    /// with one token exactly one gets an id.
    async fn reset_password(
        &self,
        token: &TokenDigest,
        password_hash: PasswordHash,
        now: Timestamp,
    ) -> Result<Option<Id<User>>, StoreError>;

    /// Gives an account another password if it still has the old one, by the rule of
    /// [`LoginAttempts::after_success`](super::LoginAttempts::after_success). In the same transaction
    /// every session ends but the one that is kept, a reset token no longer works, and reset mails to
    /// the address that wait leave the outbox.
    async fn change_password(
        &self,
        change: PasswordChange,
        now: Timestamp,
    ) -> Result<Admission, StoreError>;

    /// Erases an account with everything that it owns, and every mail to its address, those that were
    /// given up too, if it still has the password of the hash and is not locked.
    async fn delete(
        &self,
        user: Id<User>,
        password_hash: PasswordHash,
        now: Timestamp,
    ) -> Result<Admission, StoreError>;
}

/// What presenting a refresh token comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The successor is stored, the token is used.
    Rotated {
        /// Which session goes on.
        session: SessionRef,
        /// Whose it is.
        user: User,
    },
    /// The token is unknown or expired.
    Refused,
    /// Its session ended before.
    Ended(SessionRef),
    /// A client's own retry used it a moment ago; the session lives.
    Retried(SessionRef),
    /// It was used before: its session is ended.
    Reused(SessionRef),
}

/// Port: stored sessions and their refresh tokens.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait SessionRepository: Send + Sync {
    /// Opens a session for somebody who knew the password of the hash, by the rule of
    /// [`LoginAttempts::after_success`](super::LoginAttempts::after_success): judged when it is
    /// stored, so that no guess gets past a lock that came meanwhile, and no old password past a new
    /// one. A refusal costs as much as [`UserRepository::record_failed_login`].
    ///
    /// In the same transaction the user's other sessions that have neither ended nor expired end, but for
    /// the [`Session::MAX_PER_USER`] − 1 that were used last, ties by id: of any number of concurrent calls
    /// none leaves more than there may be.
    async fn open(
        &self,
        user: Id<User>,
        password_hash: PasswordHash,
        session: NewSession,
        now: Timestamp,
    ) -> Result<Admission, StoreError>;

    /// A session that has neither ended nor expired.
    async fn find(&self, id: Id<Session>, now: Timestamp) -> Result<Option<Session>, StoreError>;

    /// A user's sessions that have neither ended nor expired, the newest first, ties by id in the same
    /// direction.
    async fn list(&self, user: Id<User>, now: Timestamp) -> Result<Vec<Session>, StoreError>;

    /// Ends a session; `false` if there is none, or it has ended or expired already.
    async fn end(&self, id: Id<Session>, now: Timestamp) -> Result<bool, StoreError>;

    /// Ends every session of a user.
    async fn end_all(&self, user: Id<User>, now: Timestamp) -> Result<(), StoreError>;

    /// The user of a session that has not ended; `None` also where the session is another user's.
    async fn find_signed_in(&self, session: SessionRef) -> Result<Option<User>, StoreError>;

    /// Exchanges a refresh token for its successor by the rule of
    /// [`RefreshTokenState::judge`](super::RefreshTokenState::judge), in one transaction: of any
    /// number of concurrent calls with one token exactly one gets [`Rotation::Rotated`]. It is
    /// judged as of the successor's `created_at`.
    async fn rotate(
        &self,
        presented: &TokenDigest,
        successor: NewRefreshToken,
        client: ClientInfo,
    ) -> Result<Rotation, StoreError>;

    /// Ends the session that a token belongs to, whether the token is used or not. `None` if no
    /// such token exists. Ending a session again is no error.
    async fn end_by_token(
        &self,
        presented: &TokenDigest,
        now: Timestamp,
    ) -> Result<Option<SessionRef>, StoreError>;
}

/// Port: remembers who is signed in, for at most 15 minutes, so that a request need not ask the
/// store.
///
/// It is never the truth: what it does not know is looked up, and when it fails it knows nothing.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait SignedInCache: Send + Sync {
    /// The user of a session if it is remembered, and otherwise a lease: the right to
    /// [`put`](SignedInCache::put) what the store says, unless something changes meanwhile.
    async fn get(&self, session: SessionRef) -> CacheLookup;

    /// The same, and where a user is remembered, counts a request of theirs as
    /// [`RateLimiter::hit`](crate::rate_limit::RateLimiter::hit) does: for a cache and a limiter that are one, which
    /// then need be asked once. `None` where nothing was counted, which is always where a cache is no limiter. With
    /// a miss there is a decision only where something went wrong after it was made.
    async fn get_and_count(
        &self,
        session: SessionRef,
        quota: Quota,
    ) -> (CacheLookup, Option<Decision>) {
        // A cache alone has no use for it.
        let _ = quota;
        (self.get(session).await, None)
    }

    /// Remembers the user of a session, unless the user was invalidated since the lease was given.
    async fn put(&self, session: SessionRef, user: &User, lease: Lease);

    /// Forgets a user with all sessions. Called after every change to a user or the end of a
    /// session, before the change is answered.
    async fn invalidate(&self, user: Id<User>);
}

/// What a cache knows of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheLookup {
    /// Its user.
    Hit(User),
    /// Nothing; the store has to be asked.
    Miss(Lease),
}

/// The state of a cache when it was asked, so that an older answer does not overwrite a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease(pub u64);
