//! Seeing and ending one's sessions.

use mockall::predicate::eq;
use tasks_domain::access::AccessError;
use tasks_domain::account::{EndSessionError, SecurityEventKind, Session, User};
use tasks_domain::store::StoreError;
use tasks_testkit::build;
use tasks_testkit::clock::noon;

use super::{POLICY, Ports, ada, address};
use crate::unavailable;

fn session(owner: &User) -> Session {
    Session {
        id: build::id(),
        user: owner.id,
        created_at: noon(),
        last_used_at: noon(),
        expires_at: noon().plus(POLICY.refresh_token_ttl),
        client: build::client(),
    }
}

fn finding(found: &Session) -> Ports {
    let mut ports = Ports::new();
    let answer = found.clone();
    ports
        .sessions
        .expect_find()
        .once()
        .with(eq(found.id), eq(noon()))
        .return_once(|_, _| Ok(Some(answer)));
    ports
}

fn ending(mut ports: Ports, session: &Session, ended: Result<bool, StoreError>) -> Ports {
    ports
        .sessions
        .expect_end()
        .once()
        .in_sequence(&mut ports.in_order)
        .with(eq(session.id), eq(noon()))
        .return_once(|_, _| ended);
    ports
}

fn ending_all(user: &User, ended: Result<(), StoreError>) -> Ports {
    let mut ports = Ports::new();
    ports
        .sessions
        .expect_end_all()
        .once()
        .in_sequence(&mut ports.in_order)
        .with(eq(user.id), eq(noon()))
        .return_once(|_, _| ended);
    ports
}

async fn end(ports: Ports, caller: &User, session: &Session) -> Result<(), EndSessionError> {
    let service = ports.service();
    service.end_session(caller, session.id, address()).await
}

#[tokio::test]
async fn the_caller_sees_their_own_sessions_as_the_store_lists_them() {
    let user = ada();
    let sessions = vec![session(&user), session(&user)];
    let listed = sessions.clone();
    let mut ports = Ports::new();
    ports
        .sessions
        .expect_list()
        .once()
        .with(eq(user.id), eq(noon()))
        .return_once(|_, _| Ok(listed));
    assert_eq!(ports.service().sessions(&user).await.unwrap(), sessions);
}

#[tokio::test]
async fn a_list_that_the_store_does_not_answer_is_an_error() {
    let mut ports = Ports::new();
    ports
        .sessions
        .expect_list()
        .once()
        .returning(|_, _| Err(unavailable()));
    assert!(ports.service().sessions(&ada()).await.is_err());
}

#[tokio::test]
async fn a_session_of_the_callers_ends_and_is_then_forgotten() {
    let user = ada();
    let session = session(&user);
    let ports = ending(finding(&session), &session, Ok(true))
        .forgetting(user.id)
        .noting(SecurityEventKind::SessionEnded, user.id, session.id);
    assert!(end(ports, &user, &session).await.is_ok());
}

#[tokio::test]
async fn somebody_elses_session_goes_on() {
    let session = session(&ada());
    let refused = end(finding(&session), &ada(), &session).await;
    assert!(matches!(
        refused,
        Err(EndSessionError::Access(AccessError::Forbidden))
    ));
}

#[tokio::test]
async fn no_session_is_not_found() {
    let user = ada();
    let mut ports = Ports::new();
    ports
        .sessions
        .expect_find()
        .once()
        .returning(|_, _| Ok(None));
    let refused = end(ports, &user, &session(&user)).await;
    assert!(matches!(
        refused,
        Err(EndSessionError::Access(AccessError::NotFound))
    ));
}

/// Another call ended it, and may not have got to forgetting it yet.
#[tokio::test]
async fn a_session_that_ended_meanwhile_is_not_found_and_forgotten_but_not_noted_again() {
    let user = ada();
    let session = session(&user);
    let ports = ending(finding(&session), &session, Ok(false)).forgetting(user.id);
    let refused = end(ports, &user, &session).await;
    assert!(matches!(
        refused,
        Err(EndSessionError::Access(AccessError::NotFound))
    ));
}

#[tokio::test]
async fn a_store_that_fails_to_find_is_an_error() {
    let user = ada();
    let mut ports = Ports::new();
    ports
        .sessions
        .expect_find()
        .once()
        .returning(|_, _| Err(unavailable()));
    let failed = end(ports, &user, &session(&user)).await;
    assert!(matches!(failed, Err(EndSessionError::Store(_))));
}

#[tokio::test]
async fn a_store_that_fails_to_end_is_an_error_and_the_session_then_forgotten() {
    let user = ada();
    let session = session(&user);
    let ports = ending(finding(&session), &session, Err(unavailable())).forgetting(user.id);
    let failed = end(ports, &user, &session).await;
    assert!(matches!(failed, Err(EndSessionError::Store(_))));
}

#[tokio::test]
async fn all_sessions_end_and_are_then_forgotten() {
    let user = ada();
    let ports = ending_all(&user, Ok(())).forgetting(user.id).noting(
        SecurityEventKind::AllSessionsEnded,
        user.id,
        None,
    );
    let ended = ports.service().end_all_sessions(&user, address()).await;
    assert!(ended.is_ok());
}

#[tokio::test]
async fn a_store_that_fails_to_end_all_is_an_error_and_they_are_then_forgotten() {
    let user = ada();
    let ports = ending_all(&user, Err(unavailable())).forgetting(user.id);
    let failed = ports.service().end_all_sessions(&user, address()).await;
    assert!(failed.is_err());
}
