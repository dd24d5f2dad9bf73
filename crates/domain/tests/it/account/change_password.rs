//! Changing one's password. What a wrong current password comes to is told in [`super::password`].

use tasks_domain::account::{
    Admission, ChangePassword, HashError, Password, PasswordError, SecurityEventKind, SessionRef,
};
use tasks_testkit::clock::noon;

use super::{Ports, ada, address, attempt, session_of};
use crate::unavailable;

pub(super) fn command(session: SessionRef) -> ChangePassword {
    ChangePassword {
        session,
        current: attempt(),
        new: Password::parse("Another-2!").unwrap(),
        address: address(),
    }
}

#[tokio::test]
async fn the_new_password_replaces_the_compared_one_and_the_user_is_then_forgotten() {
    let user = ada();
    let session = session_of(&user);
    let mut ports = Ports::new().comparing(&user, true).hashing("Another-2!");
    ports
        .users
        .expect_change_password()
        .once()
        .in_sequence(&mut ports.in_order)
        .withf(move |change, now| {
            (change.user, change.kept, *now) == (session.user, session.session, noon())
                && change.old.expose() == "the hash"
                && change.new.expose() == "the new hash"
        })
        .returning(|_, _| Ok(Admission::Granted));
    let ports = ports.forgetting(user.id).noting(
        SecurityEventKind::PasswordChanged,
        user.id,
        session.session,
    );
    let changed = ports
        .service()
        .change_password(&user, command(session))
        .await;
    assert!(changed.is_ok());
}

#[tokio::test]
async fn nothing_is_stored_if_the_new_password_cannot_be_hashed() {
    let user = ada();
    let mut ports = Ports::new().comparing(&user, true);
    ports
        .hasher
        .expect_hash()
        .once()
        .returning(|_| Err(HashError::Overloaded));
    let command = command(session_of(&user));
    let failed = ports.service().change_password(&user, command).await;
    assert!(matches!(
        failed,
        Err(PasswordError::Hash(HashError::Overloaded))
    ));
}

#[tokio::test]
async fn a_store_that_fails_is_an_error_and_the_user_then_forgotten() {
    let user = ada();
    let mut ports = Ports::new().comparing(&user, true).hashing("Another-2!");
    ports
        .users
        .expect_change_password()
        .once()
        .in_sequence(&mut ports.in_order)
        .returning(|_, _| Err(unavailable()));
    let ports = ports.forgetting(user.id);
    let command = command(session_of(&user));
    let failed = ports.service().change_password(&user, command).await;
    assert!(matches!(failed, Err(PasswordError::Store(_))));
}
