//! Leaving.

use tasks_domain::account::{Admission, FailedLogin, LoginAttempts, PasswordHash, Rotation, User};
use tasks_domain::clock::Timestamp;
use tasks_domain::housekeeping::{Leftover, Removal};
use tasks_domain::mail::{Claim, MailKind, Settlement};
use tasks_domain::task::TaskQuery;

use super::{
    ask, assert_unchanged, busy_account, has_password, lock, settled_account, stored, verify,
};
use crate::build;
use crate::clock::{just_before, noon};
use crate::contract::Stores;
use crate::contract::scene::{
    CLAIM, assign, at_once, attempts, category, claim, claimed, count, fail, fail_times,
    find_category, find_task, has_reset_token, present, register, settle, signed_in, task, titles,
};

async fn delete(
    stores: &impl Stores,
    user: &User,
    hash: &PasswordHash,
    at: Timestamp,
) -> Admission {
    let outcome = stores.users().delete(user.id, hash.clone(), at).await;
    outcome.unwrap()
}

/// Sessions, tokens, tasks, deleted ones too, categories, and mails that wait or are being sent.
pub async fn deleting_erases_everything_that_the_account_owns(stores: &impl Stores) {
    let (account, opened, reset_token) = busy_account(stores, 4).await;
    let user = &account.user;
    let rotation = present(stores, &opened.token, noon()).await;
    assert!(matches!(rotation, Rotation::Rotated { .. }));
    let verification = claimed(stores, noon()).await;
    ask(stores, MailKind::ResetPassword, user, noon()).await;
    let filed = task(stores, build::task(user)).await;
    let deleted = task(stores, build::task(user)).await;
    let file = category(stores, build::category(user)).await;
    assign(stores, &filed, &file).await;
    assign(stores, &deleted, &file).await;
    stores.tasks().delete(deleted.id, noon()).await.unwrap();

    let outcome = delete(stores, user, &account.password_hash, noon()).await;

    assert_eq!(outcome, Admission::Granted);
    let users = stores.users();
    let found = users.find_credentials(&user.email).await.unwrap();
    assert!(found.is_none());
    assert_eq!(signed_in(stores, opened.session).await, None);
    let listed = stores.sessions().list(user.id, noon()).await;
    assert_eq!(listed.unwrap(), []);
    for token in [&opened.token, &account.session.refresh_token.digest] {
        assert_eq!(present(stores, token, noon()).await, Rotation::Refused);
    }
    assert!(!has_reset_token(stores, &reset_token, noon()).await);
    assert_eq!(verify(stores, &verification.token, noon()).await, None);
    assert_eq!(find_task(stores, &filed).await, None);
    assert_eq!(find_category(stores, &file).await, None);
    // The mail that is being sent has left too: there is not even a moot one.
    let late = noon().plus(CLAIM);
    assert_eq!(claim(stores, late).await, Claim::Idle);
    settle(stores, &verification, Settlement::Retry(late)).await;
    assert_eq!(claim(stores, late).await, Claim::Idle);
}

/// So that the address does not stay: whatever is waiting, being sent, or given up. Not the mails to
/// others.
pub async fn deleting_takes_every_mail_to_the_address_along(stores: &impl Stores) {
    let account = settled_account(stores).await;
    let other = settled_account(stores).await.user;
    for user in [&account.user, &account.user, &other] {
        ask(stores, MailKind::ResetPassword, user, noon()).await;
        let mail = claimed(stores, noon()).await;
        settle(stores, &mail, Settlement::Dead(noon())).await;
    }
    for kind in MailKind::ALL {
        ask(stores, kind, &account.user, noon()).await;
    }
    claimed(stores, noon()).await;

    let hash = &account.password_hash;
    let outcome = delete(stores, &account.user, hash, noon()).await;

    assert_eq!(outcome, Admission::Granted);
    let late = noon().plus(CLAIM);
    assert_eq!(claim(stores, late).await, Claim::Idle);
    let housekeeping = stores.housekeeping();
    let removal = housekeeping.remove(Leftover::DeadMails, late, 100).await;
    assert_eq!(removal.unwrap(), Removal::Removed(1));
}

/// With all that is theirs.
pub async fn deleting_leaves_other_users_alone(stores: &impl Stores) {
    let leaving = settled_account(stores).await;
    let (account, opened, reset_token) = busy_account(stores, 4).await;
    let user = &account.user;
    let before = attempts(stores, user).await;
    let filed = task(stores, build::task(user).title("Stays")).await;
    let file = category(stores, build::category(user)).await;
    let filed = assign(stores, &filed, &file).await;

    delete(stores, &leaving.user, &leaving.password_hash, noon()).await;

    assert_eq!(find_task(stores, &filed).await, Some(filed));
    assert_eq!(find_category(stores, &file).await, Some(file));
    let listed = titles(stores, user, &TaskQuery::default()).await;
    assert_eq!(listed, (vec!["Stays".to_owned()], 1));
    assert_unchanged(stores, &account, before, &opened, &reset_token).await;
}

/// Whoever registers it has nothing of the one before.
pub async fn deleting_frees_the_address(stores: &impl Stores) {
    let old = settled_account(stores).await;
    task(stores, build::task(&old.user)).await;
    fail_times(stores, &old.user, noon(), 4).await;
    delete(stores, &old.user, &old.password_hash, noon()).await;
    let outcome = fail(stores, &old.user, noon()).await;
    assert_eq!(outcome, FailedLogin::NoAccount);

    let user = build::user().email(old.user.email.as_str()).build();
    let new = build::account(&user);
    register(stores, &new).await;

    assert_eq!(stored(stores, &user).await, user);
    assert!(has_password(stores, &user, &new.password_hash).await);
    assert_eq!(attempts(stores, &user).await, LoginAttempts::default());
    let (_, total) = titles(stores, &user, &TaskQuery::default()).await;
    assert_eq!(total, 0);
    let old_session = build::session_ref(&old.user, &old.session);
    assert_eq!(signed_in(stores, old_session).await, None);
    assert_eq!(claimed(stores, noon()).await.id, new.mail.id);
}

/// Somebody may have changed the password since it was compared.
pub async fn deleting_with_an_outdated_hash_erases_nothing(stores: &impl Stores) {
    let (account, opened, token) = busy_account(stores, 4).await;
    let before = attempts(stores, &account.user).await;
    let outdated = build::password_hash("outdated");
    let outcome = delete(stores, &account.user, &outdated, noon()).await;
    assert_eq!(outcome, Admission::Outdated);
    assert_unchanged(stores, &account, before, &opened, &token).await;
}

/// Up to its last moment.
pub async fn deleting_under_a_lock_erases_nothing(stores: &impl Stores) {
    let (account, opened, token) = busy_account(stores, 5).await;
    let (user, hash) = (&account.user, &account.password_hash);
    let before = attempts(stores, user).await;
    let last_moment = just_before(lock(noon()).until);
    let outcome = delete(stores, user, hash, last_moment).await;
    assert_eq!(outcome, Admission::Locked(lock(noon())));
    assert_unchanged(stores, &account, before, &opened, &token).await;
}

/// At the very instant at which it no longer holds.
pub async fn deleting_when_the_lock_ends_is_granted(stores: &impl Stores) {
    let account = settled_account(stores).await;
    fail_times(stores, &account.user, noon(), 5).await;
    let at = lock(noon()).until;
    let outcome = delete(stores, &account.user, &account.password_hash, at).await;
    assert_eq!(outcome, Admission::Granted);
}

/// One that never was, or was deleted before.
pub async fn deleting_without_an_account_is_refused(stores: &impl Stores) {
    let account = settled_account(stores).await;
    let (user, hash) = (&account.user, &account.password_hash);
    assert_eq!(delete(stores, user, hash, noon()).await, Admission::Granted);
    assert_eq!(
        delete(stores, user, hash, noon()).await,
        Admission::Outdated
    );
    let nobody = build::user().build();
    let outcome = delete(stores, &nobody, hash, noon()).await;
    assert_eq!(outcome, Admission::Outdated);
}

/// One of twenty; to the others the account is gone.
pub async fn concurrent_deletions_let_one_through(stores: &impl Stores) {
    let account = settled_account(stores).await;
    let outcomes = at_once(20, |_| {
        let (users, user) = (stores.users(), account.user.id);
        let hash = account.password_hash.clone();
        async move { users.delete(user, hash, noon()).await.unwrap() }
    })
    .await;
    assert_eq!(count(&outcomes, |o| *o == Admission::Granted), 1);
    assert_eq!(count(&outcomes, |o| *o == Admission::Outdated), 19);
}
