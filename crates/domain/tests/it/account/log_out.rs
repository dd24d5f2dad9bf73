//! Logging out.

use tasks_domain::account::{OpaqueTokens, SecurityEventKind};
use tasks_domain::store::StoreError;
use tasks_testkit::clock::noon;

use super::{Ports, ada, address, session_of};
use crate::unavailable;

async fn log_out(ports: Ports) -> Result<(), StoreError> {
    let token = "token".to_owned().into();
    ports.service().log_out(&token, address()).await
}

#[tokio::test]
async fn the_session_ends_and_is_then_forgotten() {
    let session = session_of(&ada());
    let mut ports = Ports::new();
    let digest = ports.tokens.digest("token");
    ports
        .sessions
        .expect_end_by_token()
        .once()
        .in_sequence(&mut ports.in_order)
        .withf(move |presented, now| *presented == digest && *now == noon())
        .returning(move |_, _| Ok(Some(session)));
    let ports = ports.forgetting(session.user).noting(
        SecurityEventKind::SessionEnded,
        session.user,
        session.session,
    );
    assert!(log_out(ports).await.is_ok());
}

#[tokio::test]
async fn an_unknown_token_is_no_error_and_nobody_is_forgotten() {
    let mut ports = Ports::new();
    ports
        .sessions
        .expect_end_by_token()
        .once()
        .returning(|_, _| Ok(None));
    assert!(log_out(ports).await.is_ok());
}

#[tokio::test]
async fn a_store_that_fails_is_an_error() {
    let mut ports = Ports::new();
    ports
        .sessions
        .expect_end_by_token()
        .once()
        .returning(|_, _| Err(unavailable()));
    assert!(log_out(ports).await.is_err());
}
