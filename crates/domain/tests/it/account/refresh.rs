//! A refresh token for a new pair.

use secrecy::ExposeSecret;
use tasks_domain::account::{
    OpaqueTokens, Refresh, RefreshError, Rotation, SecurityEventKind, TokenIssuer,
};
use tasks_testkit::build;
use tasks_testkit::clock::noon;
use tasks_testkit::fakes::FakeIssuer;

use super::{POLICY, Ports, ada, session_of};
use crate::unavailable;

fn command() -> Refresh {
    Refresh {
        refresh_token: "presented".to_owned().into(),
        client: build::client(),
    }
}

fn rotating(mut ports: Ports, rotation: Rotation) -> Ports {
    ports
        .sessions
        .expect_rotate()
        .once()
        .in_sequence(&mut ports.in_order)
        .return_once(|_, _, _| Ok(rotation));
    ports
}

#[tokio::test]
async fn a_good_token_is_exchanged_for_a_new_pair_of_the_same_session() {
    let user = ada();
    let session = session_of(&user);
    let mut ports = Ports::new();
    let tokens = ports.tokens.clone();
    let (sender, rotated) = std::sync::mpsc::channel();
    let rotation = Rotation::Rotated {
        session,
        user: user.clone(),
    };
    ports
        .sessions
        .expect_rotate()
        .once()
        .return_once(move |presented, successor, client| {
            sender.send((presented.clone(), successor, client)).unwrap();
            Ok(rotation)
        });

    let grant = ports.service().refresh(command()).await.unwrap();

    let (presented, successor, client) = rotated.recv().unwrap();
    assert_eq!(presented, tokens.digest("presented"));
    assert_eq!(client, build::client());
    let granted = tokens.digest(grant.refresh_token.expose_secret());
    assert_eq!(successor.digest, granted);
    assert_eq!(successor.created_at, noon());
    assert_eq!(successor.expires_at, noon().plus(POLICY.refresh_token_ttl));
    let claims = FakeIssuer
        .verify(grant.access_token.expose_secret(), noon())
        .unwrap();
    assert_eq!((claims.user, claims.session), (user.id, session.session));
    assert_eq!(claims.expires_at, noon().plus(POLICY.access_token_ttl));
    assert_eq!(grant.user, user);
}

#[tokio::test]
async fn a_token_that_is_no_good_is_refused() {
    let ports = rotating(Ports::new(), Rotation::Refused);
    let refused = ports.service().refresh(command()).await;
    assert!(matches!(refused, Err(RefreshError::Invalid)));
}

#[tokio::test]
async fn a_retry_is_refused_and_the_session_stays_remembered() {
    let session = session_of(&ada());
    let ports = rotating(Ports::new(), Rotation::Retried(session));
    let refused = ports.service().refresh(command()).await;
    assert!(matches!(refused, Err(RefreshError::Used)));
}

/// Its end may have been stored by a call that did not hear of it.
#[tokio::test]
async fn a_token_of_a_session_that_ended_is_refused_and_the_session_forgotten() {
    let session = session_of(&ada());
    let ports = rotating(Ports::new(), Rotation::Ended(session)).forgetting(session.user);
    let refused = ports.service().refresh(command()).await;
    assert!(matches!(refused, Err(RefreshError::Invalid)));
}

#[tokio::test]
async fn reuse_is_refused_and_noted_and_the_session_forgotten() {
    let session = session_of(&ada());
    let ports = rotating(Ports::new(), Rotation::Reused(session))
        .forgetting(session.user)
        .noting(
            SecurityEventKind::RefreshReuseDetected,
            session.user,
            session.session,
        );
    let refused = ports.service().refresh(command()).await;
    assert!(matches!(refused, Err(RefreshError::Used)));
}

#[tokio::test]
async fn a_store_that_fails_is_an_error() {
    let mut ports = Ports::new();
    ports
        .sessions
        .expect_rotate()
        .returning(|_, _, _| Err(unavailable()));
    let failed = ports.service().refresh(command()).await;
    assert!(matches!(failed, Err(RefreshError::Store(_))));
}

#[tokio::test]
async fn a_token_that_cannot_be_signed_is_an_error() {
    let user = ada();
    let session = session_of(&user);
    let ports = rotating(Ports::unable_to_sign(), Rotation::Rotated { session, user });
    let failed = ports.service().refresh(command()).await;
    assert!(matches!(failed, Err(RefreshError::Token(_))));
}
