//! Choosing a new password by way of a mail.

use std::collections::HashSet;

use tasks_domain::account::{LoginAttempts, Rotation, User};
use tasks_domain::mail::{MailKind, Settlement};

use super::{ask, has_password, left, reset, settled_account, stored};
use crate::build;
use crate::clock::{just_after, just_before, noon};
use crate::contract::Stores;
use crate::contract::scene::{
    Opened, at_once, attempts, claimed, count, fail_times, find_by_reset_token, has_reset_token,
    mailed, open, password_hash, present, settle, signed_in, user,
};

/// Up to the microsecond before, for its own user, and it is not used up by asking.
pub async fn a_reset_token_works_until_it_expires(stores: &impl Stores) {
    let (user, other) = (user(stores).await, user(stores).await);
    mailed(stores, MailKind::ResetPassword, &other, noon()).await;
    let token = mailed(stores, MailKind::ResetPassword, &user, noon()).await;
    let expiry = noon().plus(MailKind::ResetPassword.token_ttl());
    assert_eq!(find_by_reset_token(stores, &token, expiry).await, None);
    assert_eq!(reset(stores, &token, expiry).await, None);
    let last_moment = just_before(expiry);
    let found = find_by_reset_token(stores, &token, last_moment).await;
    assert_eq!(found, Some(user.id));
    assert_eq!(reset(stores, &token, last_moment).await, Some(user.id));
}

/// Nothing else of the user changes but the time, and nobody else.
pub async fn resetting_stores_the_new_password(stores: &impl Stores) {
    let (user, other) = (user(stores).await, user(stores).await);
    let others_hash = password_hash(stores, &other).await;
    mailed(stores, MailKind::ResetPassword, &other, noon()).await;
    let token = mailed(stores, MailKind::ResetPassword, &user, noon()).await;
    let (at, hash) = (just_after(noon()), build::password_hash("new"));

    let users = stores.users();
    let outcome = users.reset_password(&token, hash.clone(), at).await;

    assert_eq!(outcome.unwrap(), Some(user.id));
    assert!(has_password(stores, &user, &hash).await);
    let expected = User {
        updated_at: at,
        ..user
    };
    assert_eq!(stored(stores, &expected).await, expected);
    assert!(has_password(stores, &other, &others_hash).await);
    assert_eq!(stored(stores, &other).await, other);
}

/// The second time it is unknown.
pub async fn resetting_uses_the_token_up(stores: &impl Stores) {
    let user = user(stores).await;
    let token = mailed(stores, MailKind::ResetPassword, &user, noon()).await;
    assert_eq!(reset(stores, &token, noon()).await, Some(user.id));
    assert!(!has_reset_token(stores, &token, noon()).await);
    let users = stores.users();
    let again = users
        .reset_password(&token, build::password_hash("again"), noon())
        .await;
    assert_eq!(again.unwrap(), None);
    let hash = build::password_hash("reset");
    assert!(has_password(stores, &user, &hash).await);
}

/// With every token of them. Other users stay.
pub async fn resetting_ends_every_session(stores: &impl Stores) {
    let account = settled_account(stores).await;
    let (user, other) = (account.user.clone(), user(stores).await);
    let first = Opened {
        session: build::session_ref(&user, &account.session),
        token: account.session.refresh_token.digest,
    };
    let second = open(stores, &user).await;
    let foreign = open(stores, &other).await;
    let token = mailed(stores, MailKind::ResetPassword, &user, noon()).await;

    reset(stores, &token, noon()).await;

    for Opened { session, token } in [first, second] {
        assert_eq!(signed_in(stores, session).await, None);
        let outcome = present(stores, &token, noon()).await;
        assert_eq!(outcome, Rotation::Ended(session));
    }
    let sessions = stores.sessions().list(user.id, noon()).await;
    assert_eq!(sessions.unwrap(), []);
    assert_eq!(signed_in(stores, foreign.session).await, Some(other));
    let reopened = open(stores, &user).await;
    assert!(signed_in(stores, reopened.session).await.is_some());
}

/// Whoever gets the mail is the owner, whoever guessed.
pub async fn resetting_lifts_a_lock_and_forgets_failures(stores: &impl Stores) {
    for failures in [4, 5] {
        let user = user(stores).await;
        let token = mailed(stores, MailKind::ResetPassword, &user, noon()).await;
        fail_times(stores, &user, noon(), failures).await;
        assert_eq!(reset(stores, &token, noon()).await, Some(user.id));
        assert_eq!(attempts(stores, &user).await, LoginAttempts::default());
    }
}

/// Those that are being sent too. Not the mails of the other kind, nor to others.
pub async fn resetting_takes_waiting_reset_mails_along(stores: &impl Stores) {
    let user = settled_account(stores).await.user;
    let other = settled_account(stores).await.user;
    ask(stores, MailKind::ResetPassword, &user, noon()).await;
    let being_sent = claimed(stores, noon()).await;
    let at = just_after(noon());
    ask(stores, MailKind::ResetPassword, &user, at).await;
    ask(stores, MailKind::VerifyEmail, &user, at).await;
    ask(stores, MailKind::ResetPassword, &other, at).await;

    assert!(reset(stores, &being_sent.token, at).await.is_some());

    settle(stores, &being_sent, Settlement::Retry(at)).await;
    let expected = HashSet::from([
        (MailKind::VerifyEmail, user.email.clone()),
        (MailKind::ResetPassword, other.email.clone()),
    ]);
    assert_eq!(left(stores).await, expected);
}

/// One of twenty gets through, and the password is that one's.
pub async fn concurrent_resets_with_one_token_let_one_through(stores: &impl Stores) {
    let user = user(stores).await;
    let token = mailed(stores, MailKind::ResetPassword, &user, noon()).await;
    let hash = |n| build::password_hash(&format!("rival-{n}"));
    let outcomes = at_once(20, |n| {
        let (users, token, hash) = (stores.users(), token.clone(), hash(n));
        async move { users.reset_password(&token, hash, noon()).await.unwrap() }
    })
    .await;
    assert_eq!(count(&outcomes, |o| *o == Some(user.id)), 1);
    assert_eq!(count(&outcomes, Option::is_none), 19);
    let winner = outcomes.iter().position(Option::is_some).unwrap();
    assert!(has_password(stores, &user, &hash(winner)).await);
}

/// Neither a password nor the end of a session or a lock.
pub async fn a_refused_reset_stores_nothing(stores: &impl Stores) {
    let user = user(stores).await;
    let hash = password_hash(stores, &user).await;
    let opened = open(stores, &user).await;
    let token = mailed(stores, MailKind::ResetPassword, &user, noon()).await;
    fail_times(stores, &user, noon(), 5).await;
    let locked = attempts(stores, &user).await;
    let expiry = noon().plus(MailKind::ResetPassword.token_ttl());
    for token in [&token, &build::digest("unknown")] {
        assert_eq!(reset(stores, token, expiry).await, None);
    }
    assert!(has_password(stores, &user, &hash).await);
    assert_eq!(attempts(stores, &user).await, locked);
    assert_eq!(
        signed_in(stores, opened.session).await.as_ref(),
        Some(&user)
    );
    assert_eq!(stored(stores, &user).await, user);
}
