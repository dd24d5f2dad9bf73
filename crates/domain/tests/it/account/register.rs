//! R033.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::ExposeSecret;
use tasks_domain::account::{
    AccessClaims, HashError, NewAccount, OpaqueTokens, Password, PasswordHash, Register,
    RegisterError, Registration, TokenIssuer, User,
};
use tasks_domain::mail::MailKind;
use tasks_testkit::build;
use tasks_testkit::clock::noon;
use tasks_testkit::fakes::FakeIssuer;

use super::{POLICY, Ports};
use crate::unavailable;

fn command() -> Register {
    Register {
        email: build::email("ada@example.com"),
        password: Password::parse("Correct-1!").unwrap(),
        full_name: build::full_name("Ada Lovelace"),
        client: build::client(),
    }
}

fn hashing(mut ports: Ports) -> Ports {
    ports
        .hasher
        .expect_hash()
        .once()
        .withf(|password| password.expose() == "Correct-1!")
        .returning(|_| Ok(PasswordHash::new("the hash")));
    ports
}

#[tokio::test]
async fn it_stores_an_account_that_is_not_active_and_signs_its_user_in() {
    let mut ports = hashing(Ports::new());
    let (tokens, mailer) = (ports.tokens.clone(), ports.mailer.clone());
    let stored: Arc<Mutex<Option<NewAccount>>> = Arc::default();
    let keep = stored.clone();
    ports
        .users
        .expect_register()
        .once()
        .returning(move |account| {
            *keep.lock().unwrap() = Some(account);
            Ok(Registration::Registered)
        });

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
    assert_eq!(account.password_hash.expose(), "the hash");

    // Of the tokens the store gets the digests only.
    let [mail] = mailer.sent().try_into().unwrap();
    let digest = tokens.digest(mail.token.expose_secret());
    assert_eq!(account.verification.digest, digest);
    let a_day_later = noon().plus(Duration::from_hours(24));
    assert_eq!(account.verification.expires_at, a_day_later);
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

#[tokio::test]
async fn a_mail_asks_to_prove_the_address_once_the_account_is_stored() {
    let mut ports = hashing(Ports::new());
    let (mailer, early) = (ports.mailer.clone(), ports.mailer.clone());
    ports.users.expect_register().returning(move |_| {
        assert!(early.sent().is_empty());
        Ok(Registration::Registered)
    });
    ports.service().register(command()).await.unwrap();
    let [mail] = mailer.sent().try_into().unwrap();
    assert_eq!(mail.kind, MailKind::VerifyEmail);
    assert_eq!(mail.to, build::email("ada@example.com"));
    assert_eq!(mail.name, build::full_name("Ada Lovelace"));
}

#[tokio::test]
async fn a_taken_address_is_refused_and_no_mail_is_sent() {
    let mut ports = hashing(Ports::new());
    let mailer = ports.mailer.clone();
    ports
        .users
        .expect_register()
        .returning(|_| Ok(Registration::EmailTaken));
    let refused = ports.service().register(command()).await;
    assert!(matches!(refused, Err(RegisterError::EmailTaken)));
    assert!(mailer.sent().is_empty());
}

#[tokio::test]
async fn no_mail_is_sent_if_the_store_fails() {
    let mut ports = hashing(Ports::new());
    let mailer = ports.mailer.clone();
    ports
        .users
        .expect_register()
        .returning(|_| Err(unavailable()));
    let failed = ports.service().register(command()).await;
    assert!(matches!(failed, Err(RegisterError::Store(_))));
    assert!(mailer.sent().is_empty());
}

#[tokio::test]
async fn nothing_is_stored_if_the_password_cannot_be_hashed() {
    let mut ports = Ports::new();
    ports
        .hasher
        .expect_hash()
        .returning(|_| Err(HashError::Overloaded));
    let failed = ports.service().register(command()).await;
    assert!(matches!(
        failed,
        Err(RegisterError::Hash(HashError::Overloaded))
    ));
}

#[tokio::test]
async fn a_token_that_cannot_be_signed_is_an_error() {
    let mut ports = hashing(Ports::unable_to_sign());
    ports
        .users
        .expect_register()
        .returning(|_| Ok(Registration::Registered));
    let failed = ports.service().register(command()).await;
    assert!(matches!(failed, Err(RegisterError::Token(_))));
}
