//! The use cases of accounts over mocked ports.

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
mod reset_password;
mod rotation;
mod sessions;
mod verify_email;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mockall::Sequence;
use mockall::predicate::eq;
use tasks_domain::account::{
    AccountPorts, AccountService, Credentials, LoginAttempts, MockPasswordHasher, MockSecurityLog,
    MockSessionRepository, MockSignedInCache, MockTokenIssuer, MockUserRepository, OpaqueTokens,
    PasswordAttempt, PasswordHash, SecurityEvent, SecurityEventKind, Session, SessionPolicy,
    SessionRef, TokenDigest, TokenIssuer, User,
};
use tasks_domain::id::Id;
use tasks_domain::mail::{Mail, MockMailTokens, MockOutbox, MockOutboxSignal, NewMail};
use tasks_domain::store::StoreError;
use tasks_testkit::build;
use tasks_testkit::clock::FrozenClock;
use tasks_testkit::fakes::{FakeIssuer, FakeTokens, FakeTrace};
use tasks_testkit::ids::SequentialIds;

const POLICY: SessionPolicy = SessionPolicy {
    access_token_ttl: Duration::from_mins(15),
    refresh_token_ttl: Duration::from_hours(48),
};

/// Who calls.
fn ada() -> User {
    build::user().email("ada@example.com").build()
}

/// A session of a user's.
fn session_of(user: &User) -> SessionRef {
    SessionRef {
        user: user.id,
        session: build::id(),
    }
}

/// Where the calls come from.
fn address() -> IpAddr {
    build::client().address
}

/// The password of [`ada`], as far as the hasher says so.
fn attempt() -> PasswordAttempt {
    PasswordAttempt::new("Correct-1!")
}

/// What the store keeps of the token of a mail.
fn mail_token(mail: Id<Mail>) -> TokenDigest {
    FakeTokens::default().digest(&format!("token of {mail}"))
}

/// The ports of a service: mocks where the call is the behaviour. A mock refuses every call that a
/// test does not expect, so that what is not expected here is asserted not to happen.
struct Ports {
    users: MockUserRepository,
    sessions: MockSessionRepository,
    cache: MockSignedInCache,
    hasher: MockPasswordHasher,
    issuer: Arc<dyn TokenIssuer>,
    tokens: FakeTokens,
    outbox: MockOutbox,
    outbox_signal: MockOutboxSignal,
    mail_tokens: MockMailTokens,
    security_log: MockSecurityLog,
    trace: FakeTrace,
    clock: FrozenClock,
    /// Of the calls that have to come one after the other.
    in_order: Sequence,
}

impl Ports {
    fn new() -> Self {
        Self {
            users: MockUserRepository::new(),
            sessions: MockSessionRepository::new(),
            cache: MockSignedInCache::new(),
            hasher: MockPasswordHasher::new(),
            issuer: Arc::new(FakeIssuer),
            tokens: FakeTokens::default(),
            outbox: MockOutbox::new(),
            outbox_signal: MockOutboxSignal::new(),
            mail_tokens: MockMailTokens::new(),
            security_log: MockSecurityLog::new(),
            trace: FakeTrace(Some(build::trace_parent())),
            clock: FrozenClock::at_noon(),
            in_order: Sequence::new(),
        }
    }

    /// With an issuer that cannot sign.
    fn unable_to_sign() -> Self {
        let mut issuer = MockTokenIssuer::new();
        issuer
            .expect_issue()
            .once()
            .returning(|_| Err("no key".into()));
        Self {
            issuer: Arc::new(issuer),
            ..Self::new()
        }
    }

    /// The user is found by the address, and the attempt compared with the user's hash.
    fn comparing(mut self, user: &User, is_right: bool) -> Self {
        let found = Credentials {
            user: user.clone(),
            password_hash: PasswordHash::new("the hash"),
            attempts: LoginAttempts::default(),
        };
        self.users
            .expect_find_credentials()
            .once()
            .with(eq(user.email.clone()))
            .return_once(move |_| Ok(Some(found)));
        self.hasher
            .expect_verify()
            .once()
            .withf(|attempt, hash| {
                attempt.comparable() == Some("Correct-1!")
                    && hash
                        .as_ref()
                        .is_some_and(|hash| hash.expose() == "the hash")
            })
            .return_once(move |_, _| Ok(is_right));
        self
    }

    /// A new password is hashed.
    fn hashing(mut self, expected: &'static str) -> Self {
        self.hasher
            .expect_hash()
            .once()
            .withf(move |password| password.expose() == expected)
            .return_once(|_| Ok(PasswordHash::new("the new hash")));
        self
    }

    /// A mail gets its token.
    fn making_a_mail_token(mut self) -> Self {
        self.mail_tokens
            .expect_token()
            .once()
            .returning(|mail| format!("token of {mail}").into());
        self
    }

    /// A mail gets into the outbox, unless the store fails, and is kept.
    fn adding_a_mail(self, added: Result<(), StoreError>) -> (Self, Arc<Mutex<Option<NewMail>>>) {
        let mut ports = self.making_a_mail_token();
        let kept: Arc<Mutex<Option<NewMail>>> = Arc::default();
        let keep = kept.clone();
        ports
            .outbox
            .expect_add()
            .once()
            .in_sequence(&mut ports.in_order)
            .return_once(move |mail| {
                *keep.lock().unwrap() = Some(mail);
                added
            });
        (ports, kept)
    }

    /// Whoever delivers is told of a mail, after what was expected to be done before.
    fn signalling(mut self) -> Self {
        self.outbox_signal
            .expect_added()
            .once()
            .in_sequence(&mut self.in_order)
            .return_const(());
        self
    }

    /// The user is forgotten, after what was expected to be done before.
    fn forgetting(mut self, user: Id<User>) -> Self {
        self.cache
            .expect_invalidate()
            .once()
            .in_sequence(&mut self.in_order)
            .with(eq(user))
            .return_const(());
        self
    }

    /// An event is noted, with the address of the call.
    fn noting(
        mut self,
        kind: SecurityEventKind,
        user: impl Into<Option<Id<User>>>,
        session: impl Into<Option<Id<Session>>>,
    ) -> Self {
        let event = SecurityEvent {
            kind,
            user: user.into(),
            session: session.into(),
            address: address(),
        };
        self.security_log
            .expect_record()
            .once()
            .with(eq(event))
            .return_const(());
        self
    }

    fn service(self) -> AccountService {
        let ports = AccountPorts {
            users: Arc::new(self.users),
            sessions: Arc::new(self.sessions),
            cache: Arc::new(self.cache),
            hasher: Arc::new(self.hasher),
            issuer: self.issuer,
            tokens: Arc::new(self.tokens),
            outbox: Arc::new(self.outbox),
            outbox_signal: Arc::new(self.outbox_signal),
            mail_tokens: Arc::new(self.mail_tokens),
            security_log: Arc::new(self.security_log),
            trace: Arc::new(self.trace),
            clock: Arc::new(self.clock),
            ids: Arc::new(SequentialIds::default()),
        };
        AccountService::new(ports, POLICY)
    }
}
