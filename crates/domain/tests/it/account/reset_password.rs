//! Choosing a new password by way of a mail.

use std::time::Duration;

use mockall::predicate::eq;
use tasks_domain::account::{
    HashError, OpaqueTokens, Password, PasswordHash, ResetPassword, ResetPasswordError,
    SecurityEventKind, User,
};
use tasks_domain::id::Id;
use tasks_domain::mail::MailKind;
use tasks_domain::store::StoreError;
use tasks_testkit::clock::noon;

use super::{Ports, ada, address, mail_token};
use crate::unavailable;

fn command() -> ResetPassword {
    ResetPassword {
        token: "token".to_owned().into(),
        new: Password::parse("Another-2!").unwrap(),
        address: address(),
    }
}

/// The token works, and is the user's, when the store is first asked.
fn knowing_the_token(mut ports: Ports, user: Id<User>) -> Ports {
    ports
        .users
        .expect_find_by_reset_token()
        .once()
        .with(eq(ports.tokens.digest("token")), eq(noon()))
        .returning(move |_, _| Ok(Some(user)));
    ports
}

/// What resetting comes to in the store, after which the user is forgotten.
fn resetting(
    user: Id<User>,
    outcome: impl FnOnce() -> Result<Option<Id<User>>, StoreError> + Send + 'static,
) -> Ports {
    let mut ports = knowing_the_token(Ports::new(), user).hashing("Another-2!");
    ports
        .users
        .expect_reset_password()
        .once()
        .in_sequence(&mut ports.in_order)
        .return_once(move |_, _, _| outcome());
    ports.forgetting(user)
}

/// Hashing takes a while, in which a token may expire.
#[tokio::test]
async fn the_token_is_judged_again_after_hashing_and_the_user_is_then_forgotten() {
    const HASHING: Duration = Duration::from_secs(2);
    let user = ada().id;
    let mut ports = knowing_the_token(Ports::new(), user);
    let (clock, digest) = (ports.clock.clone(), ports.tokens.digest("token"));
    ports
        .hasher
        .expect_hash()
        .once()
        .withf(|password| password.expose() == "Another-2!")
        .returning(move |_| {
            clock.advance(HASHING);
            Ok(PasswordHash::new("the new hash"))
        });
    ports
        .users
        .expect_reset_password()
        .once()
        .in_sequence(&mut ports.in_order)
        .withf(move |token, hash, now| {
            (token, *now) == (&digest, noon().plus(HASHING)) && hash.expose() == "the new hash"
        })
        .returning(move |_, _, _| Ok(Some(user)));
    let ports = ports
        .forgetting(user)
        .noting(SecurityEventKind::PasswordReset, user, None);
    assert!(ports.service().reset_password(command()).await.is_ok());
}

/// The mocks refuse to hash: that costs a lot, and must not be had with a made-up token.
#[tokio::test]
async fn an_unknown_token_is_refused_before_anything_is_hashed() {
    let mut ports = Ports::new();
    ports
        .users
        .expect_find_by_reset_token()
        .once()
        .returning(|_, _| Ok(None));
    let refused = ports.service().reset_password(command()).await;
    assert!(matches!(refused, Err(ResetPasswordError::InvalidToken)));
}

/// The other call may have been the same caller's, and its answer lost.
#[tokio::test]
async fn a_token_that_another_call_used_meanwhile_is_refused_and_the_user_then_forgotten() {
    let ports = resetting(ada().id, || Ok(None));
    let refused = ports.service().reset_password(command()).await;
    assert!(matches!(refused, Err(ResetPasswordError::InvalidToken)));
}

#[tokio::test]
async fn nothing_is_stored_if_the_password_cannot_be_hashed() {
    let mut ports = knowing_the_token(Ports::new(), ada().id);
    ports
        .hasher
        .expect_hash()
        .once()
        .returning(|_| Err(HashError::Overloaded));
    let failed = ports.service().reset_password(command()).await;
    assert!(matches!(
        failed,
        Err(ResetPasswordError::Hash(HashError::Overloaded))
    ));
}

#[tokio::test]
async fn a_store_that_fails_to_look_the_token_up_is_an_error() {
    let mut ports = Ports::new();
    ports
        .users
        .expect_find_by_reset_token()
        .once()
        .returning(|_, _| Err(unavailable()));
    let failed = ports.service().reset_password(command()).await;
    assert!(matches!(failed, Err(ResetPasswordError::Store(_))));
}

/// It may have stored everything, and only its answer is lost.
#[tokio::test]
async fn a_store_that_fails_to_reset_is_an_error_and_the_user_then_forgotten() {
    let ports = resetting(ada().id, || Err(unavailable()));
    let failed = ports.service().reset_password(command()).await;
    assert!(matches!(failed, Err(ResetPasswordError::Store(_))));
}

/// The mocks refuse a look-up: what it finds would tell by the time that it takes.
#[tokio::test]
async fn a_mail_waits_and_is_told_of_without_looking_anybody_up() {
    let (ports, kept) = Ports::new().adding_a_mail(Ok(()));
    let cause = ports.trace.0.clone();
    let service = ports.signalling().service();
    assert!(service.forgot_password(ada().email).await.is_ok());
    let mail = kept.lock().unwrap().take().unwrap();
    assert_eq!(mail.kind, MailKind::ResetPassword);
    assert_eq!((mail.to, mail.created_at), (ada().email, noon()));
    assert_eq!(mail.token, mail_token(mail.id));
    assert!(cause.is_some() && mail.cause == cause, "{:?}", mail.cause);
}

#[tokio::test]
async fn nobody_is_told_of_a_mail_that_could_not_be_stored() {
    let (ports, _) = Ports::new().adding_a_mail(Err(unavailable()));
    let failed = ports.service().forgot_password(ada().email).await;
    assert!(failed.is_err());
}
