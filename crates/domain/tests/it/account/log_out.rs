//! Logging out.

use mockall::Sequence;
use tasks_domain::account::{LogOutError, OpaqueTokens, SessionRef};
use tasks_testkit::build;
use tasks_testkit::clock::noon;

use super::Ports;
use crate::unavailable;

#[tokio::test]
async fn the_session_ends_and_is_then_forgotten() {
    let session = SessionRef {
        user: build::id(),
        session: build::id(),
    };
    let mut ports = Ports::new();
    let digest = ports.tokens.digest("token");
    let mut in_order = Sequence::new();
    ports
        .sessions
        .expect_end_by_token()
        .once()
        .in_sequence(&mut in_order)
        .withf(move |presented, now| *presented == digest && *now == noon())
        .returning(move |_, _| Ok(Some(session)));
    ports
        .cache
        .expect_invalidate()
        .once()
        .in_sequence(&mut in_order)
        .withf(move |user| *user == session.user)
        .return_const(());
    let done = ports.service().log_out(&"token".to_owned().into()).await;
    assert!(done.is_ok());
}

#[tokio::test]
async fn an_unknown_token_is_no_error_and_nobody_is_forgotten() {
    let mut ports = Ports::new();
    ports
        .sessions
        .expect_end_by_token()
        .once()
        .returning(|_, _| Ok(None));
    assert!(
        ports
            .service()
            .log_out(&"unknown".to_owned().into())
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_store_that_fails_is_an_error() {
    let mut ports = Ports::new();
    ports
        .sessions
        .expect_end_by_token()
        .returning(|_, _| Err(unavailable()));
    let failed = ports.service().log_out(&"token".to_owned().into()).await;
    assert!(matches!(failed, Err(LogOutError::Store(_))));
}
