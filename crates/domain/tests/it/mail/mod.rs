//! Mails that the service sends.

mod backoff;
mod deliver;

use std::collections::HashSet;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use mockall::predicate::eq;
use tasks_domain::mail::{
    Claim, ClaimedMail, Delivery, DeliveryService, Mail, MailError, MailKind, MockMailTokens,
    MockMailer, MockOutbox, Settlement,
};
use tasks_domain::store::StoreError;
use tasks_testkit::build;
use tasks_testkit::clock::{FrozenClock, noon};

/// The ports of a deliverer. The mocks refuse what a test does not expect.
struct Ports {
    outbox: MockOutbox,
    mailer: MockMailer,
    tokens: MockMailTokens,
    clock: FrozenClock,
}

impl Ports {
    fn new() -> Self {
        Self {
            outbox: MockOutbox::new(),
            mailer: MockMailer::new(),
            tokens: MockMailTokens::new(),
            clock: FrozenClock::at_noon(),
        }
    }

    /// The outbox is looked into.
    fn claiming(mut self, claim: Result<Claim, StoreError>) -> Self {
        self.outbox.expect_claim().once().return_once(|_, _| claim);
        self
    }

    /// A mail is due, and its token can be made.
    fn due(self, mail: &ClaimedMail) -> Self {
        let mut ports = self.claiming(Ok(Claim::Claimed(mail.clone())));
        ports
            .tokens
            .expect_token_again()
            .once()
            .with(eq(mail.id), eq(mail.token.clone()))
            .returning(|_, _| Some("the token".to_owned().into()));
        ports
    }

    /// A mail is tried.
    fn sending(mut self, answer: Result<(), MailError>) -> Self {
        self.mailer.expect_send().once().return_once(|_| answer);
        self
    }

    /// This becomes of the mail.
    fn settling(mut self, mail: &ClaimedMail, settlement: Settlement) -> Self {
        self.outbox
            .expect_settle()
            .once()
            .with(eq(mail.clone()), eq(settlement))
            .returning(|_, _| Ok(()));
        self
    }

    fn service(self) -> DeliveryService {
        DeliveryService::new(
            Arc::new(self.outbox),
            Arc::new(self.mailer),
            Arc::new(self.tokens),
            Arc::new(self.clock),
        )
    }

    async fn deliver_next(self) -> Result<Delivery, StoreError> {
        self.service().deliver_next().await
    }
}

/// A mail of noon that is tried for the first time.
fn mail() -> ClaimedMail {
    ClaimedMail {
        id: build::id(),
        kind: MailKind::ResetPassword,
        to: build::email("ada@example.com"),
        name: build::full_name("Ada Lovelace"),
        token: build::digest("the token"),
        created_at: noon(),
        cause: Some(build::trace_parent()),
        attempt: 1,
    }
}

fn out_of_reach() -> MailError {
    MailError::Unavailable("switched off by a test".into())
}

#[test]
fn links_work_for_a_day_to_prove_an_address_and_for_an_hour_to_reset_a_password() {
    let ttl = MailKind::VerifyEmail.token_ttl();
    assert_eq!(ttl, Duration::from_hours(24));
    let ttl = MailKind::ResetPassword.token_ttl();
    assert_eq!(ttl, Duration::from_hours(1));
}

#[test]
fn every_kind_has_a_name_of_its_own() {
    let names = MailKind::ALL.map(MailKind::as_str);
    assert_eq!(names, ["verify_email", "reset_password"]);
    assert_eq!(HashSet::from(names).len(), MailKind::ALL.len());
}

#[test]
fn an_error_has_its_cause_as_its_source() {
    let cause = || "the cause".into();
    for error in [MailError::Unavailable(cause()), MailError::Refused(cause())] {
        assert_eq!(error.source().unwrap().to_string(), "the cause");
        assert!(!error.to_string().contains("the cause"));
    }
}

#[test]
fn no_token_shows_in_a_debug_format() {
    let claimed = mail();
    let sent = Mail {
        id: claimed.id,
        kind: claimed.kind,
        to: claimed.to.clone(),
        name: claimed.name.clone(),
        token: "hidden".to_owned().into(),
        cause: claimed.cause.clone(),
    };
    let shown = format!("{sent:?} {claimed:?}");
    assert!(!shown.contains("hidden") && !shown.contains(claimed.token.expose()));
}
