//! Proving an address.

use std::collections::HashSet;
use std::time::Duration;

use tasks_domain::account::User;
use tasks_domain::mail::{Claim, MailKind, Settlement};

use super::{ask, has_password, left, reset, settled_account, stored, verify};
use crate::build;
use crate::clock::{just_after, just_before, noon};
use crate::contract::Stores;
use crate::contract::scene::{
    at_once, claim, claimed, count, has_reset_token, mailed, open, password_hash, settle,
    signed_in, user,
};

/// Nothing else of the user changes but the time, and nobody else.
pub async fn verifying_makes_the_user_active(stores: &impl Stores) {
    let (user, other) = (user(stores).await, user(stores).await);
    mailed(stores, MailKind::VerifyEmail, &other, noon()).await;
    let token = mailed(stores, MailKind::VerifyEmail, &user, noon()).await;
    let session = open(stores, &user).await.session;
    let at = noon().plus(Duration::from_micros(1_000_001));

    let verified = verify(stores, &token, at).await;

    let expected = User {
        is_active: true,
        updated_at: at,
        ..user
    };
    assert_eq!(verified.as_ref(), Some(&expected));
    assert_eq!(stored(stores, &expected).await, expected);
    assert_eq!(signed_in(stores, session).await, Some(expected));
    assert_eq!(stored(stores, &other).await, other);
}

/// The second time it is unknown.
pub async fn verifying_uses_the_token_up(stores: &impl Stores) {
    let user = user(stores).await;
    let token = mailed(stores, MailKind::VerifyEmail, &user, noon()).await;
    let verified = verify(stores, &token, noon()).await;
    assert!(verified.is_some());
    assert_eq!(verify(stores, &token, just_after(noon())).await, None);
    assert_eq!(stored(stores, &user).await, verified.unwrap());
}

/// Up to the microsecond before.
pub async fn a_verification_token_works_until_it_expires(stores: &impl Stores) {
    let (late, in_time) = (user(stores).await, user(stores).await);
    let expiry = noon().plus(MailKind::VerifyEmail.token_ttl());
    let token = mailed(stores, MailKind::VerifyEmail, &late, noon()).await;
    assert_eq!(verify(stores, &token, expiry).await, None);
    assert_eq!(stored(stores, &late).await, late);
    let token = mailed(stores, MailKind::VerifyEmail, &in_time, noon()).await;
    assert!(verify(stores, &token, just_before(expiry)).await.is_some());
}

/// Only that of the youngest mail works.
pub async fn a_replaced_verification_token_does_nothing(stores: &impl Stores) {
    let user = user(stores).await;
    let at = just_after(noon());
    let older = mailed(stores, MailKind::VerifyEmail, &user, noon()).await;
    let younger = mailed(stores, MailKind::VerifyEmail, &user, at).await;
    assert_eq!(verify(stores, &older, at).await, None);
    assert_eq!(stored(stores, &user).await, user);
    assert!(verify(stores, &younger, at).await.is_some());
}

/// A reset token proves nothing, and a verification token changes no password.
pub async fn a_token_of_the_other_kind_or_of_none_does_nothing(stores: &impl Stores) {
    let user = user(stores).await;
    let hash = password_hash(stores, &user).await;
    let verification = mailed(stores, MailKind::VerifyEmail, &user, noon()).await;
    let resetting = mailed(stores, MailKind::ResetPassword, &user, noon()).await;
    for token in [&resetting, &build::digest("unknown")] {
        assert_eq!(verify(stores, token, noon()).await, None);
    }
    for token in [&verification, &build::digest("unknown")] {
        assert!(!has_reset_token(stores, token, noon()).await);
        assert_eq!(reset(stores, token, noon()).await, None);
    }
    assert_eq!(stored(stores, &user).await, user);
    assert!(has_password(stores, &user, &hash).await);
    // Both still work.
    assert!(verify(stores, &verification, noon()).await.is_some());
    assert_eq!(reset(stores, &resetting, noon()).await, Some(user.id));
}

/// Those that are being sent too. Not the mails of the other kind, nor to others.
pub async fn verifying_takes_waiting_verification_mails_along(stores: &impl Stores) {
    let user = settled_account(stores).await.user;
    let other = settled_account(stores).await.user;
    ask(stores, MailKind::VerifyEmail, &user, noon()).await;
    let being_sent = claimed(stores, noon()).await;
    let at = just_after(noon());
    ask(stores, MailKind::VerifyEmail, &user, at).await;
    ask(stores, MailKind::ResetPassword, &user, at).await;
    ask(stores, MailKind::VerifyEmail, &other, at).await;

    assert!(verify(stores, &being_sent.token, at).await.is_some());

    settle(stores, &being_sent, Settlement::Retry(at)).await;
    let expected = HashSet::from([
        (MailKind::ResetPassword, user.email.clone()),
        (MailKind::VerifyEmail, other.email.clone()),
    ]);
    // Left to be claimed they would be moot: here they are gone.
    for _ in &expected {
        assert!(matches!(claim(stores, at).await, Claim::Claimed(_)));
    }
    assert_eq!(claim(stores, at).await, Claim::Idle);
    assert_eq!(left(stores).await, expected);
}

/// One of twenty gets the user.
pub async fn concurrent_verifications_with_one_token_let_one_through(stores: &impl Stores) {
    let user = user(stores).await;
    let token = mailed(stores, MailKind::VerifyEmail, &user, noon()).await;
    let outcomes = at_once(20, |_| {
        let (users, token) = (stores.users(), token.clone());
        async move { users.verify_email(&token, noon()).await.unwrap() }
    })
    .await;
    assert_eq!(count(&outcomes, Option::is_some), 1);
    assert!(stored(stores, &user).await.is_active);
}
