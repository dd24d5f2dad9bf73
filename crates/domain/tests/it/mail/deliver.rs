//! Delivering one mail.

use std::time::Duration;

use mockall::Sequence;
use mockall::predicate::eq;
use secrecy::ExposeSecret;
use tasks_domain::clock::Timestamp;
use tasks_domain::mail::{
    Claim, ClaimedMail, Delivery, DeliveryService, MailError, MailKind, Settlement,
};
use tasks_testkit::clock::{just_after, just_before, noon};

use super::{Ports, mail, out_of_reach};
use crate::unavailable;

const A_DAY: Duration = Duration::from_hours(24);

fn refused() -> MailError {
    MailError::Refused("no such mailbox".into())
}

/// A mail that waits since so long before noon.
fn waiting_since(created_at: Timestamp) -> ClaimedMail {
    ClaimedMail {
        created_at,
        attempt: 300,
        ..mail()
    }
}

/// Due but its token cannot be made; the mocks refuse to send it.
fn of_an_unknown_secret(mail: &ClaimedMail) -> Ports {
    let mut ports = Ports::new().claiming(Ok(Claim::Claimed(mail.clone())));
    ports
        .tokens
        .expect_token_again()
        .once()
        .returning(|_, _| None);
    ports
}

/// The outbox fails after the attempt.
fn losing_the_outbox(mut ports: Ports) -> Ports {
    ports
        .outbox
        .expect_settle()
        .once()
        .returning(|_, _| Err(unavailable()));
    ports
}

/// Two deliverers would send one mail otherwise.
#[test]
fn a_claim_outlasts_an_attempt() {
    assert!(DeliveryService::CLAIM > DeliveryService::ATTEMPT);
}

#[tokio::test]
async fn a_claim_begins_now_and_holds_for_its_time() {
    let mut ports = Ports::new();
    ports
        .outbox
        .expect_claim()
        .once()
        .with(eq(noon()), eq(noon().plus(DeliveryService::CLAIM)))
        .returning(|_, _| Ok(Claim::Idle));
    assert!(ports.deliver_next().await.is_ok());
}

#[tokio::test]
async fn nothing_is_sent_where_nothing_is_due() {
    let idle = Ports::new().claiming(Ok(Claim::Idle)).deliver_next().await;
    assert!(matches!(idle, Ok(Delivery::Idle)));
}

#[tokio::test]
async fn nothing_is_sent_where_a_mail_has_no_purpose_any_more() {
    let moot = Ports::new().claiming(Ok(Claim::Moot)).deliver_next().await;
    assert!(matches!(moot, Ok(Delivery::Moot)));
}

#[tokio::test]
async fn a_mail_is_sent_with_its_token_and_cause_and_only_then_leaves_the_outbox() {
    for kind in MailKind::ALL {
        let due = ClaimedMail { kind, ..mail() };
        let mut ports = Ports::new().due(&due);
        let mut in_order = Sequence::new();
        let expected = due.clone();
        ports
            .mailer
            .expect_send()
            .once()
            .in_sequence(&mut in_order)
            .withf(move |mail| {
                (mail.id, mail.kind) == (expected.id, expected.kind)
                    && (&mail.to, &mail.name) == (&expected.to, &expected.name)
                    && mail.token.expose_secret() == "the token"
                    && mail.cause.is_some()
                    && mail.cause == expected.cause
            })
            .returning(|_| Ok(()));
        ports
            .outbox
            .expect_settle()
            .once()
            .in_sequence(&mut in_order)
            .with(eq(due), eq(Settlement::Sent))
            .returning(|_, _| Ok(()));
        let sent = ports.deliver_next().await;
        assert!(matches!(sent, Ok(Delivery::Sent(sent)) if sent == kind));
    }
}

/// However old it is: it is the mail server that takes it.
#[tokio::test]
async fn an_old_mail_that_is_taken_at_last_is_sent() {
    let old = waiting_since(noon().minus(3 * A_DAY));
    let ports = Ports::new().due(&old).sending(Ok(()));
    let sent = ports.settling(&old, Settlement::Sent).deliver_next().await;
    assert!(matches!(sent, Ok(Delivery::Sent(_))));
}

/// The attempt may have taken long: what counts is when it failed.
#[tokio::test]
async fn a_mail_that_cannot_be_sent_now_is_tried_again_later_than_its_failure() {
    const HANGING: Duration = Duration::from_secs(20);
    let due = mail();
    let mut ports = Ports::new().due(&due);
    let clock = ports.clock.clone();
    ports.mailer.expect_send().once().returning(move |_| {
        clock.advance(HANGING);
        Err(out_of_reach())
    });
    let (claimed, failed_at) = (due.clone(), noon().plus(HANGING));
    ports
        .outbox
        .expect_settle()
        .once()
        .withf(move |mail, settlement| {
            let first = DeliveryService::FIRST_RETRY;
            *mail == claimed
                && matches!(settlement, Settlement::Retry(at)
                    if failed_at < *at && at.since(failed_at) <= first)
        })
        .returning(|_, _| Ok(()));
    let retried = ports.deliver_next().await;
    assert!(matches!(
        retried,
        Ok(Delivery::Retried(
            MailKind::ResetPassword,
            MailError::Unavailable(_)
        ))
    ));
}

#[tokio::test]
async fn a_mail_whose_recipient_is_refused_is_given_up_at_once() {
    let due = mail();
    let ports = Ports::new().due(&due).sending(Err(refused()));
    let ports = ports.settling(&due, Settlement::Dead(noon()));
    let dead = ports.deliver_next().await;
    assert!(matches!(
        dead,
        Ok(Delivery::Dead(
            MailKind::ResetPassword,
            MailError::Refused(_)
        ))
    ));
}

#[tokio::test]
async fn a_mail_is_given_up_once_it_is_a_day_old() {
    let a_day_ago = noon().minus(A_DAY);
    for created_at in [just_before(a_day_ago), a_day_ago] {
        let old = waiting_since(created_at);
        let ports = Ports::new().due(&old).sending(Err(out_of_reach()));
        let ports = ports.settling(&old, Settlement::Dead(noon()));
        let dead = ports.deliver_next().await;
        assert!(matches!(
            dead,
            Ok(Delivery::Dead(_, MailError::Unavailable(_)))
        ));
    }
}

#[tokio::test]
async fn a_mail_is_not_given_up_before_it_is_a_day_old() {
    let young = waiting_since(just_after(noon().minus(A_DAY)));
    let mut ports = Ports::new().due(&young).sending(Err(out_of_reach()));
    ports
        .outbox
        .expect_settle()
        .once()
        .withf(|_, settlement| matches!(settlement, Settlement::Retry(_)))
        .returning(|_, _| Ok(()));
    let retried = ports.deliver_next().await;
    assert!(matches!(retried, Ok(Delivery::Retried(..))));
}

/// Another instance may know the secret.
#[tokio::test]
async fn a_mail_whose_token_cannot_be_made_is_not_sent_and_tried_again() {
    let mut ports = of_an_unknown_secret(&mail());
    ports
        .outbox
        .expect_settle()
        .once()
        .withf(|_, settlement| matches!(settlement, Settlement::Retry(at) if *at > noon()))
        .returning(|_, _| Ok(()));
    let retried = ports.deliver_next().await;
    assert!(matches!(
        retried,
        Ok(Delivery::Retried(_, MailError::Unavailable(_)))
    ));
}

#[tokio::test]
async fn a_mail_whose_token_could_not_be_made_for_a_day_is_given_up() {
    let old = waiting_since(noon().minus(A_DAY));
    let ports = of_an_unknown_secret(&old).settling(&old, Settlement::Dead(noon()));
    let dead = ports.deliver_next().await;
    assert!(matches!(dead, Ok(Delivery::Dead(..))));
}

#[tokio::test]
async fn an_outbox_that_fails_is_an_error_at_each_step() {
    let due = mail();
    let at_claim = Ports::new().claiming(Err(unavailable()));
    let at_settling = [Ok(()), Err(out_of_reach()), Err(refused())]
        .map(|sent| losing_the_outbox(Ports::new().due(&due).sending(sent)));
    let without_token = losing_the_outbox(of_an_unknown_secret(&due));
    for ports in [at_claim, without_token].into_iter().chain(at_settling) {
        assert!(ports.deliver_next().await.is_err());
    }
}

/// The mail server has it: the claim must not run out while the next mails are sent.
#[tokio::test]
async fn a_mail_that_was_sent_is_noted_before_anything_else_once_the_outbox_answers() {
    let due = mail();
    let mut ports = losing_the_outbox(Ports::new().due(&due).sending(Ok(())));
    ports
        .outbox
        .expect_settle()
        .once()
        .returning(|_, _| Err(unavailable()));
    let ports = ports
        .settling(&due, Settlement::Sent)
        .claiming(Ok(Claim::Idle));
    let service = ports.service();
    for _ in 0..2 {
        assert!(service.deliver_next().await.is_err());
    }
    let noted = service.deliver_next().await;
    assert!(matches!(noted, Ok(Delivery::Sent(kind)) if kind == due.kind));
    assert!(matches!(service.deliver_next().await, Ok(Delivery::Idle)));
}
