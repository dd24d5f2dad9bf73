//! R041. What a password does not let in is told in [`super::password`].

use secrecy::ExposeSecret;
use tasks_domain::account::{
    Admission, LogIn, LogInError, OpaqueTokens, PasswordError, TokenIssuer,
};
use tasks_testkit::build;
use tasks_testkit::clock::noon;
use tasks_testkit::fakes::FakeIssuer;

use super::{POLICY, Ports, ada, attempt};
use crate::unavailable;

pub(super) fn command() -> LogIn {
    LogIn {
        email: build::email("ada@example.com"),
        password: attempt(),
        client: build::client(),
    }
}

#[tokio::test]
async fn the_right_password_opens_a_session_and_the_user_is_then_forgotten() {
    let user = ada();
    let mut ports = Ports::new().comparing(&user, true);
    let tokens = ports.tokens.clone();
    let (sender, opened) = std::sync::mpsc::channel();
    ports
        .sessions
        .expect_open()
        .once()
        .in_sequence(&mut ports.in_order)
        .returning(move |user, hash, session, now| {
            sender.send((user, hash, session, now)).unwrap();
            Ok(Admission::Granted)
        });

    let grant = ports
        .forgetting(user.id)
        .service()
        .log_in(command())
        .await
        .unwrap();

    let (owner, hash, session, now) = opened.recv().unwrap();
    assert_eq!((owner, now), (user.id, noon()));
    assert_eq!(hash.expose(), "the hash");
    assert_eq!(session.client, build::client());
    let granted = tokens.digest(grant.refresh_token.expose_secret());
    assert_eq!(session.refresh_token.digest, granted);
    let end = noon().plus(POLICY.refresh_token_ttl);
    assert_eq!(session.refresh_token.expires_at, end);
    let claims = FakeIssuer
        .verify(grant.access_token.expose_secret(), noon())
        .unwrap();
    assert_eq!((claims.user, claims.session), (user.id, session.id));
    assert_eq!(grant.user, user);
}

#[tokio::test]
async fn a_token_that_cannot_be_signed_is_an_error() {
    let user = ada();
    let mut ports = Ports::unable_to_sign().comparing(&user, true);
    ports
        .sessions
        .expect_open()
        .once()
        .returning(|_, _, _, _| Ok(Admission::Granted));
    let failed = ports.forgetting(user.id).service().log_in(command()).await;
    assert!(matches!(failed, Err(LogInError::Token(_))));
}

#[tokio::test]
async fn a_store_that_fails_to_open_the_session_is_an_error_and_the_user_then_forgotten() {
    let user = ada();
    let mut ports = Ports::new().comparing(&user, true);
    ports
        .sessions
        .expect_open()
        .once()
        .in_sequence(&mut ports.in_order)
        .returning(|_, _, _, _| Err(unavailable()));
    let failed = ports.forgetting(user.id).service().log_in(command()).await;
    assert!(matches!(
        failed,
        Err(LogInError::Password(PasswordError::Store(_)))
    ));
}
