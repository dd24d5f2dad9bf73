//! Proving an address, and asking for another mail.

use tasks_domain::account::{OpaqueTokens, SecurityEventKind, User, VerifyEmailError};
use tasks_domain::mail::MailKind;
use tasks_testkit::build;
use tasks_testkit::clock::noon;

use super::{Ports, ada, address, mail_token};
use crate::unavailable;

async fn verify(ports: Ports) -> Result<User, VerifyEmailError> {
    let token = "token".to_owned().into();
    ports.service().verify_email(&token, address()).await
}

#[tokio::test]
async fn the_token_of_a_mail_proves_the_address_and_the_user_is_then_forgotten() {
    let user = build::user().active().build();
    let verified = user.clone();
    let mut ports = Ports::new();
    let digest = ports.tokens.digest("token");
    ports
        .users
        .expect_verify_email()
        .once()
        .in_sequence(&mut ports.in_order)
        .withf(move |token, now| *token == digest && *now == noon())
        .return_once(|_, _| Ok(Some(verified)));
    let ports = ports
        .forgetting(user.id)
        .noting(SecurityEventKind::EmailVerified, user.id, None);
    assert_eq!(verify(ports).await.unwrap(), user);
}

#[tokio::test]
async fn a_token_that_is_no_good_is_refused_and_not_noted() {
    let mut ports = Ports::new();
    ports
        .users
        .expect_verify_email()
        .once()
        .returning(|_, _| Ok(None));
    let refused = verify(ports).await;
    assert!(matches!(refused, Err(VerifyEmailError::InvalidToken)));
}

#[tokio::test]
async fn a_store_that_fails_is_an_error() {
    let mut ports = Ports::new();
    ports
        .users
        .expect_verify_email()
        .once()
        .returning(|_, _| Err(unavailable()));
    let failed = verify(ports).await;
    assert!(matches!(failed, Err(VerifyEmailError::Store(_))));
}

/// The mocks refuse a look-up: what it finds would tell by the time that it takes.
#[tokio::test]
async fn another_mail_waits_and_is_told_of_without_looking_anybody_up() {
    let (ports, kept) = Ports::new().adding_a_mail(Ok(()));
    let cause = ports.trace.0.clone();
    let service = ports.signalling().service();
    assert!(service.resend_verification(ada().email).await.is_ok());
    let mail = kept.lock().unwrap().take().unwrap();
    assert_eq!(mail.kind, MailKind::VerifyEmail);
    assert_eq!((mail.to, mail.created_at), (ada().email, noon()));
    assert_eq!(mail.token, mail_token(mail.id));
    assert!(cause.is_some() && mail.cause == cause, "{:?}", mail.cause);
}

#[tokio::test]
async fn nobody_is_told_of_a_mail_that_could_not_be_stored() {
    let (ports, _) = Ports::new().adding_a_mail(Err(unavailable()));
    let failed = ports.service().resend_verification(ada().email).await;
    assert!(failed.is_err());
}
