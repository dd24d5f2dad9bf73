//! The use cases of accounts over mocked ports.

mod authenticate;
mod lockout;
mod log_in;
mod log_out;
mod profile;
mod refresh;
mod register;
mod rotation;

use std::sync::Arc;
use std::time::Duration;

use tasks_domain::account::{
    AccountPorts, AccountService, MockPasswordHasher, MockSessionRepository, MockSignedInCache,
    MockTokenIssuer, MockUserRepository, SessionPolicy, TokenIssuer,
};
use tasks_testkit::clock::FrozenClock;
use tasks_testkit::fakes::{FakeIssuer, FakeTokens, RecordingMailer};
use tasks_testkit::ids::SequentialIds;

const POLICY: SessionPolicy = SessionPolicy {
    access_token_ttl: Duration::from_mins(15),
    refresh_token_ttl: Duration::from_hours(48),
};

/// The ports of a service: mocks where the call is the behaviour. A mock refuses every call that a
/// test does not expect, so that what is not expected here is asserted not to happen.
struct Ports {
    users: MockUserRepository,
    sessions: MockSessionRepository,
    cache: MockSignedInCache,
    hasher: MockPasswordHasher,
    issuer: Arc<dyn TokenIssuer>,
    tokens: FakeTokens,
    mailer: RecordingMailer,
    clock: FrozenClock,
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
            mailer: RecordingMailer::default(),
            clock: FrozenClock::at_noon(),
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

    fn service(self) -> AccountService {
        let ports = AccountPorts {
            users: Arc::new(self.users),
            sessions: Arc::new(self.sessions),
            cache: Arc::new(self.cache),
            hasher: Arc::new(self.hasher),
            issuer: self.issuer,
            tokens: Arc::new(self.tokens),
            mailer: Arc::new(self.mailer),
            clock: Arc::new(self.clock),
            ids: Arc::new(SequentialIds::default()),
        };
        AccountService::new(ports, POLICY)
    }
}
