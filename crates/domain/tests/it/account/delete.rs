//! Leaving for good. What a wrong password comes to is told in [`super::password`].

use tasks_domain::account::{
    Admission, DeleteAccount, PasswordError, SecurityEventKind, SessionRef,
};
use tasks_testkit::clock::noon;

use super::{Ports, ada, address, attempt, session_of};
use crate::unavailable;

pub(super) fn command(session: SessionRef) -> DeleteAccount {
    DeleteAccount {
        session,
        password: attempt(),
        address: address(),
    }
}

#[tokio::test]
async fn the_account_of_the_compared_password_is_erased_and_the_user_then_forgotten() {
    let user = ada();
    let session = session_of(&user);
    let mut ports = Ports::new().comparing(&user, true);
    ports
        .users
        .expect_delete()
        .once()
        .in_sequence(&mut ports.in_order)
        .withf(move |user, hash, now| {
            (*user, *now) == (session.user, noon()) && hash.expose() == "the hash"
        })
        .returning(|_, _, _| Ok(Admission::Granted));
    let ports = ports.forgetting(user.id).noting(
        SecurityEventKind::AccountDeleted,
        user.id,
        session.session,
    );
    let deleted = ports
        .service()
        .delete_account(&user, command(session))
        .await;
    assert!(deleted.is_ok());
}

#[tokio::test]
async fn a_store_that_fails_is_an_error_and_the_user_then_forgotten() {
    let user = ada();
    let mut ports = Ports::new().comparing(&user, true);
    ports
        .users
        .expect_delete()
        .once()
        .in_sequence(&mut ports.in_order)
        .returning(|_, _, _| Err(unavailable()));
    let ports = ports.forgetting(user.id);
    let command = command(session_of(&user));
    let failed = ports.service().delete_account(&user, command).await;
    assert!(matches!(failed, Err(PasswordError::Store(_))));
}
