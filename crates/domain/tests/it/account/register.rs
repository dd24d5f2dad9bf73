//! R033.

use std::sync::{Arc, Mutex};

use secrecy::ExposeSecret;
use tasks_domain::account::{
    AccessClaims, HashError, NewAccount, OpaqueTokens, Password, Register, RegisterError,
    Registration, SecurityEvent, SecurityEventKind, TokenIssuer, User,
};
use tasks_domain::mail::MailKind;
use tasks_domain::store::StoreError;
use tasks_testkit::build;
use tasks_testkit::clock::noon;
use tasks_testkit::fakes::FakeIssuer;

use super::{POLICY, Ports, address, mail_token};
use crate::unavailable;

type Stored = Arc<Mutex<Option<NewAccount>>>;

fn command() -> Register {
    Register {
        email: build::email("ada@example.com"),
        password: Password::parse("Correct-1!").unwrap(),
        full_name: build::full_name("Ada Lovelace"),
        client: build::client(),
    }
}

/// What every registration needs that gets as far as the store, which answers so.
fn storing(ports: Ports, answer: Result<Registration, StoreError>) -> (Ports, Stored) {
    let mut ports = ports.hashing("Correct-1!").making_a_mail_token();
    let stored = Stored::default();
    let keep = stored.clone();
    ports
        .users
        .expect_register()
        .once()
        .in_sequence(&mut ports.in_order)
        .return_once(move |account| {
            *keep.lock().unwrap() = Some(account);
            answer
        });
    (ports, stored)
}

/// Whoever delivers and whoever watches are told.
fn telling(ports: Ports) -> Ports {
    let mut ports = ports.signalling();
    ports
        .security_log
        .expect_record()
        .once()
        .withf(|event| event.kind == SecurityEventKind::AccountRegistered)
        .return_const(());
    ports
}

#[tokio::test]
async fn it_stores_an_account_that_is_not_active_and_signs_its_user_in() {
    let (ports, stored) = storing(Ports::new(), Ok(Registration::Registered));
    let tokens = ports.tokens.clone();
    let ports = telling(ports);

    let grant = ports.service().register(command()).await.unwrap();

    let account = stored.lock().unwrap().take().unwrap();
    let expected = User {
        id: account.user.id,
        email: build::email("ada@example.com"),
        full_name: build::full_name("Ada Lovelace"),
        is_active: false,
        created_at: noon(),
        updated_at: noon(),
    };
    assert_eq!(account.user, expected);
    assert_eq!(grant.user, expected);
    assert_eq!(account.password_hash.expose(), "the new hash");

    // Of the token the store gets the digest only.
    let refresh_token = account.session.refresh_token;
    let digest = tokens.digest(grant.refresh_token.expose_secret());
    assert_eq!(refresh_token.digest, digest);
    assert_eq!(refresh_token.created_at, noon());
    let end = noon().plus(POLICY.refresh_token_ttl);
    assert_eq!(refresh_token.expires_at, end);
    assert_eq!(account.session.client, build::client());

    let claims = FakeIssuer
        .verify(grant.access_token.expose_secret(), noon())
        .unwrap();
    let expected = AccessClaims {
        user: account.user.id,
        session: account.session.id,
        email: account.user.email,
        issued_at: noon(),
        expires_at: noon().plus(POLICY.access_token_ttl),
        token_id: claims.token_id,
    };
    assert_eq!(claims, expected);
    assert_eq!(grant.expires_in, POLICY.access_token_ttl);
}

/// The same transaction stores both; only then does anybody hear of the mail.
#[tokio::test]
async fn a_mail_that_asks_to_prove_the_address_is_stored_with_the_account_and_then_told_of() {
    let (ports, stored) = storing(Ports::new(), Ok(Registration::Registered));
    let cause = ports.trace.0.clone();
    telling(ports).service().register(command()).await.unwrap();
    let mail = stored.lock().unwrap().take().unwrap().mail;
    assert_eq!(mail.kind, MailKind::VerifyEmail);
    assert_eq!(mail.to, build::email("ada@example.com"));
    assert_eq!(mail.created_at, noon());
    assert_eq!(mail.token, mail_token(mail.id));
    assert!(cause.is_some() && mail.cause == cause, "{:?}", mail.cause);
}

#[tokio::test]
async fn a_new_account_is_noted_with_its_first_session() {
    let (ports, stored) = storing(Ports::new(), Ok(Registration::Registered));
    let mut ports = ports.signalling();
    let (sender, noted) = std::sync::mpsc::channel();
    ports
        .security_log
        .expect_record()
        .once()
        .returning(move |event| sender.send(event).unwrap());
    ports.service().register(command()).await.unwrap();
    let account = stored.lock().unwrap().take().unwrap();
    let expected = SecurityEvent {
        kind: SecurityEventKind::AccountRegistered,
        user: Some(account.user.id),
        session: Some(account.session.id),
        address: address(),
    };
    assert_eq!(noted.recv(), Ok(expected));
}

#[tokio::test]
async fn a_taken_address_is_refused_and_nobody_is_told_of_anything() {
    let (ports, _) = storing(Ports::new(), Ok(Registration::EmailTaken));
    let refused = ports.service().register(command()).await;
    assert!(matches!(refused, Err(RegisterError::EmailTaken)));
}

#[tokio::test]
async fn nobody_is_told_of_anything_if_the_store_fails() {
    let (ports, _) = storing(Ports::new(), Err(unavailable()));
    let failed = ports.service().register(command()).await;
    assert!(matches!(failed, Err(RegisterError::Store(_))));
}

#[tokio::test]
async fn nothing_is_stored_if_the_password_cannot_be_hashed() {
    let mut ports = Ports::new();
    ports
        .hasher
        .expect_hash()
        .once()
        .returning(|_| Err(HashError::Overloaded));
    let failed = ports.service().register(command()).await;
    assert!(matches!(
        failed,
        Err(RegisterError::Hash(HashError::Overloaded))
    ));
}

#[tokio::test]
async fn a_token_that_cannot_be_signed_is_an_error() {
    let (ports, _) = storing(Ports::unable_to_sign(), Ok(Registration::Registered));
    let failed = telling(ports).service().register(command()).await;
    assert!(matches!(failed, Err(RegisterError::Token(_))));
}
