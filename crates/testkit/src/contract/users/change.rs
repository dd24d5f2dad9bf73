//! Choosing a new password knowing the old one.

use std::collections::HashSet;

use tasks_domain::account::{
    Admission, LoginAttempts, NewAccount, PasswordChange, PasswordHash, Rotation, User,
};
use tasks_domain::clock::Timestamp;
use tasks_domain::mail::{MailKind, Settlement};

use super::{
    ask, assert_unchanged, busy_account, has_password, left, lock, reset, settled_account, stored,
    verify,
};
use crate::build;
use crate::clock::{just_after, just_before, noon};
use crate::contract::Stores;
use crate::contract::scene::{
    Opened, at_once, attempts, claimed, count, fail_times, has_reset_token, mailed, open, present,
    settle, signed_in, user,
};

/// Changes an account's password from the one that it was made with.
async fn change(
    stores: &impl Stores,
    account: &NewAccount,
    old: &PasswordHash,
    at: Timestamp,
) -> Admission {
    let change = PasswordChange {
        user: account.user.id,
        old: old.clone(),
        new: build::password_hash("changed"),
        kept: account.session.id,
    };
    let outcome = stores.users().change_password(change, at).await;
    outcome.unwrap()
}

/// Nothing else of the user changes but the time, and nobody else. The address can still be proven.
pub async fn changing_stores_the_new_password_and_forgets_failures(stores: &impl Stores) {
    let account = settled_account(stores).await;
    let other = settled_account(stores).await;
    let verification = mailed(stores, MailKind::VerifyEmail, &account.user, noon()).await;
    for user in [&account.user, &other.user] {
        fail_times(stores, user, noon(), 4).await;
    }
    let at = just_after(noon());

    let outcome = change(stores, &account, &account.password_hash, at).await;

    assert_eq!(outcome, Admission::Granted);
    let expected = User {
        updated_at: at,
        ..account.user
    };
    let hash = build::password_hash("changed");
    assert!(has_password(stores, &expected, &hash).await);
    assert_eq!(attempts(stores, &expected).await, LoginAttempts::default());
    assert_eq!(stored(stores, &expected).await, expected);
    assert!(has_password(stores, &other.user, &other.password_hash).await);
    assert_eq!(attempts(stores, &other.user).await.failed, 4);
    assert_eq!(stored(stores, &other.user).await, other.user);
    assert!(verify(stores, &verification, at).await.is_some());
}

/// Its refresh token goes on working. Other users stay.
pub async fn changing_ends_every_session_but_the_kept_one(stores: &impl Stores) {
    let account = settled_account(stores).await;
    let (user, other) = (&account.user, user(stores).await);
    let ended = [open(stores, user).await, open(stores, user).await];
    let foreign = open(stores, &other).await;

    change(stores, &account, &account.password_hash, noon()).await;

    for Opened { session, token } in ended {
        assert_eq!(signed_in(stores, session).await, None);
        let outcome = present(stores, &token, noon()).await;
        assert_eq!(outcome, Rotation::Ended(session));
    }
    let kept = build::session_ref(user, &account.session);
    assert!(signed_in(stores, kept).await.is_some());
    let token = &account.session.refresh_token.digest;
    let outcome = present(stores, token, noon()).await;
    assert!(matches!(outcome, Rotation::Rotated { .. }));
    assert_eq!(signed_in(stores, foreign.session).await, Some(other));
}

/// Those that are being sent too. Verification goes on, and so do others' resets.
pub async fn changing_ends_the_reset_token_and_waiting_reset_mails(stores: &impl Stores) {
    let account = settled_account(stores).await;
    let (user, other) = (&account.user, settled_account(stores).await.user);
    let token = mailed(stores, MailKind::ResetPassword, user, noon()).await;
    let foreign = mailed(stores, MailKind::ResetPassword, &other, noon()).await;
    let at = just_after(noon());
    ask(stores, MailKind::ResetPassword, user, at).await;
    let being_sent = claimed(stores, at).await;
    ask(stores, MailKind::ResetPassword, user, just_after(at)).await;
    for user in [user, &other] {
        ask(stores, MailKind::VerifyEmail, user, at).await;
    }

    change(stores, &account, &account.password_hash, at).await;

    settle(stores, &being_sent, Settlement::Retry(at)).await;
    for token in [&token, &being_sent.token] {
        assert!(!has_reset_token(stores, token, at).await);
        assert_eq!(reset(stores, token, at).await, None);
    }
    assert!(has_reset_token(stores, &foreign, at).await);
    let expected = [user, &other].map(|user| (MailKind::VerifyEmail, user.email.clone()));
    assert_eq!(left(stores).await, HashSet::from(expected));
}

/// Somebody may have changed the password since it was compared.
pub async fn changing_with_an_outdated_hash_stores_nothing(stores: &impl Stores) {
    let (account, opened, token) = busy_account(stores, 4).await;
    let before = attempts(stores, &account.user).await;
    let outdated = build::password_hash("outdated");
    let outcome = change(stores, &account, &outdated, noon()).await;
    assert_eq!(outcome, Admission::Outdated);
    assert_unchanged(stores, &account, before, &opened, &token).await;
}

/// Up to its last moment.
pub async fn changing_under_a_lock_stores_nothing(stores: &impl Stores) {
    let (account, opened, token) = busy_account(stores, 5).await;
    let before = attempts(stores, &account.user).await;
    let last_moment = just_before(lock(noon()).until);
    let outcome = change(stores, &account, &account.password_hash, last_moment).await;
    assert_eq!(outcome, Admission::Locked(lock(noon())));
    assert_unchanged(stores, &account, before, &opened, &token).await;
}

/// The lock is forgotten with the failures.
pub async fn changing_when_the_lock_ends_is_granted(stores: &impl Stores) {
    let account = settled_account(stores).await;
    fail_times(stores, &account.user, noon(), 5).await;
    let at = lock(noon()).until;
    let outcome = change(stores, &account, &account.password_hash, at).await;
    assert_eq!(outcome, Admission::Granted);
    let attempts = attempts(stores, &account.user).await;
    assert_eq!(attempts, LoginAttempts::default());
}

/// No account is made.
pub async fn changing_without_an_account_is_refused(stores: &impl Stores) {
    let nobody = build::account(&build::user().build());
    let outcome = change(stores, &nobody, &nobody.password_hash, noon()).await;
    assert_eq!(outcome, Admission::Outdated);
    let found = stores.users().find_credentials(&nobody.user.email).await;
    assert!(found.unwrap().is_none());
}

/// One of twenty, and the password is that one's. To the others the old one is outdated.
pub async fn concurrent_changes_of_one_password_let_one_through(stores: &impl Stores) {
    let account = settled_account(stores).await;
    let hash = |n| build::password_hash(&format!("rival-{n}"));
    let outcomes = at_once(20, |n| {
        let users = stores.users();
        let change = PasswordChange {
            user: account.user.id,
            old: account.password_hash.clone(),
            new: hash(n),
            kept: account.session.id,
        };
        async move { users.change_password(change, noon()).await.unwrap() }
    })
    .await;
    assert_eq!(count(&outcomes, |o| *o == Admission::Granted), 1);
    assert_eq!(count(&outcomes, |o| *o == Admission::Outdated), 19);
    let winner = outcomes.iter().position(|o| *o == Admission::Granted);
    let hash = hash(winner.unwrap());
    assert!(has_password(stores, &account.user, &hash).await);
}

/// Opens nineteen sessions with the account's first password while that is replaced; whatever comes
/// first, none of them is left.
async fn race<F>(stores: &impl Stores, account: &NewAccount, replace: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let sessions: Vec<_> = (0..19).map(|_| build::session(noon())).collect();
    at_once(20, |n| {
        let session = sessions.get(n).cloned();
        let port = stores.sessions();
        let (user, hash) = (account.user.id, account.password_hash.clone());
        let replace = session.is_none().then(&replace);
        async move {
            if let Some(replace) = replace {
                return replace.await;
            }
            let opening = port.open(user, hash, session.unwrap(), noon()).await;
            let opening = opening.unwrap();
            assert!(!matches!(opening, Admission::Locked(_)), "{opening:?}");
        }
    })
    .await;
    for session in sessions {
        let session = build::session_ref(&account.user, &session);
        assert_eq!(signed_in(stores, session).await, None);
    }
}

/// Each is refused, or ended.
pub async fn sessions_opened_with_the_old_password_do_not_survive_a_change(stores: &impl Stores) {
    let account = settled_account(stores).await;
    race(stores, &account, || {
        let users = stores.users();
        let change = PasswordChange {
            user: account.user.id,
            old: account.password_hash.clone(),
            new: build::password_hash("new"),
            kept: account.session.id,
        };
        async move {
            let outcome = users.change_password(change, noon()).await;
            assert_eq!(outcome.unwrap(), Admission::Granted);
        }
    })
    .await;
    let kept = build::session_ref(&account.user, &account.session);
    assert!(signed_in(stores, kept).await.is_some());
}

/// Each is refused, or ended.
pub async fn sessions_opened_with_the_old_password_do_not_survive_a_reset(stores: &impl Stores) {
    let account = settled_account(stores).await;
    let token = mailed(stores, MailKind::ResetPassword, &account.user, noon()).await;
    race(stores, &account, || {
        let (users, token) = (stores.users(), token.clone());
        async move {
            let hash = build::password_hash("new");
            let outcome = users.reset_password(&token, hash, noon()).await;
            assert!(outcome.unwrap().is_some());
        }
    })
    .await;
}
