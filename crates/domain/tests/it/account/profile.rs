//! Changing one's own profile.

use tasks_domain::account::{UpdateProfileError, User};
use tasks_testkit::build;
use tasks_testkit::clock::noon;

use super::Ports;
use crate::unavailable;

#[tokio::test]
async fn another_name_is_stored_and_the_user_then_forgotten() {
    let user = build::user().full_name("Before").build();
    let renamed = User {
        full_name: build::full_name("After"),
        ..user.clone()
    };
    let mut ports = Ports::new();
    let (id, answer) = (user.id, renamed.clone());
    ports
        .users
        .expect_rename()
        .once()
        .in_sequence(&mut ports.in_order)
        .withf(move |user, name, now| *user == id && name.as_str() == "After" && *now == noon())
        .return_once(move |_, _, _| Ok(Some(answer)));
    let updated = ports
        .forgetting(id)
        .service()
        .update_profile(&user, Some(build::full_name("After")))
        .await;
    assert_eq!(updated.unwrap(), renamed);
}

#[tokio::test]
async fn what_changes_nothing_is_not_stored() {
    let user = build::user().full_name("Same").build();
    for name in [None, Some(build::full_name("Same"))] {
        let updated = Ports::new().service().update_profile(&user, name).await;
        assert_eq!(updated.unwrap(), user);
    }
}

#[tokio::test]
async fn a_user_who_is_gone_is_told() {
    let mut ports = Ports::new();
    ports.users.expect_rename().returning(|_, _, _| Ok(None));
    ports.cache.expect_invalidate().return_const(());
    let user = build::user().build();
    let refused = ports
        .service()
        .update_profile(&user, Some(build::full_name("After")))
        .await;
    assert!(matches!(refused, Err(UpdateProfileError::NoAccount)));
}

#[tokio::test]
async fn a_store_that_fails_is_an_error_and_the_user_then_forgotten() {
    let mut ports = Ports::new();
    ports
        .users
        .expect_rename()
        .once()
        .in_sequence(&mut ports.in_order)
        .returning(|_, _, _| Err(unavailable()));
    let user = build::user().build();
    let failed = ports
        .forgetting(user.id)
        .service()
        .update_profile(&user, Some(build::full_name("After")))
        .await;
    assert!(matches!(failed, Err(UpdateProfileError::Store(_))));
}
