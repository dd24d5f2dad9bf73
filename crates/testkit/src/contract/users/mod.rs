//! The contract of [`UserRepository`](tasks_domain::account::UserRepository).

mod change;
mod delete;
mod reset;
mod verify;

use std::collections::HashSet;
use std::time::Duration;

use tasks_domain::account::{
    Email, FailedLogin, Locked, LoginAttempts, NewAccount, PasswordHash, Registration, Rotation,
    SessionRef, TokenDigest, User,
};
use tasks_domain::clock::Timestamp;
use tasks_domain::id::Id;
use tasks_domain::mail::{Claim, ClaimedMail, MailKind};

pub use change::*;
pub use delete::*;
pub use reset::*;
pub use verify::*;

use super::Stores;
use super::scene::{
    Opened, add, at_once, attempts, claim, claimed, count, fail, fail_times, has_reset_token,
    mailed, open, password_hash, register, rotate, send_all, signed_in, user,
};
use crate::build;
use crate::clock::{just_before, noon};

suite! { ($) user_repository_contract runs users on "fresh [`Stores`](crate::contract::Stores)":
    an_account_reads_back_as_it_was_registered,
    an_unknown_address_has_no_account,
    a_taken_address_stores_nothing,
    registering_opens_the_first_session,
    registering_stores_the_mail,
    concurrent_registrations_of_one_address_let_one_in,
    four_failed_logins_are_counted_and_the_fifth_locks,
    failed_logins_under_a_lock_do_not_prolong_it,
    the_first_failed_login_after_a_lock_counts_from_one,
    concurrent_failed_logins_are_all_counted,
    concurrent_failed_logins_lock_at_exactly_five,
    a_failed_login_without_an_account_is_told,
    failed_logins_of_one_account_leave_others_alone,
    a_new_name_is_stored_with_its_time,
    a_user_who_is_gone_gets_no_new_name,
    verifying_makes_the_user_active,
    verifying_uses_the_token_up,
    a_verification_token_works_until_it_expires,
    a_replaced_verification_token_does_nothing,
    a_token_of_the_other_kind_or_of_none_does_nothing,
    verifying_takes_waiting_verification_mails_along,
    concurrent_verifications_with_one_token_let_one_through,
    a_reset_token_works_until_it_expires,
    resetting_stores_the_new_password,
    resetting_uses_the_token_up,
    resetting_ends_every_session,
    resetting_lifts_a_lock_and_forgets_failures,
    resetting_takes_waiting_reset_mails_along,
    concurrent_resets_with_one_token_let_one_through,
    a_refused_reset_stores_nothing,
    changing_stores_the_new_password_and_forgets_failures,
    changing_ends_every_session_but_the_kept_one,
    changing_ends_the_reset_token_and_waiting_reset_mails,
    changing_with_an_outdated_hash_stores_nothing,
    changing_under_a_lock_stores_nothing,
    changing_when_the_lock_ends_is_granted,
    changing_without_an_account_is_refused,
    concurrent_changes_of_one_password_let_one_through,
    sessions_opened_with_the_old_password_do_not_survive_a_change,
    sessions_opened_with_the_old_password_do_not_survive_a_reset,
    deleting_erases_everything_that_the_account_owns,
    deleting_takes_every_mail_to_the_address_along,
    deleting_leaves_other_users_alone,
    deleting_frees_the_address,
    deleting_with_an_outdated_hash_erases_nothing,
    deleting_under_a_lock_erases_nothing,
    deleting_when_the_lock_ends_is_granted,
    deleting_without_an_account_is_refused,
    concurrent_deletions_let_one_through,
}

/// Every field that logging in needs is there, also of an active user with a name of many bytes.
pub async fn an_account_reads_back_as_it_was_registered(stores: &impl Stores) {
    let at = noon().plus(Duration::from_micros(123_456));
    let plain = build::user().build();
    let other = build::user()
        .full_name("Žofie 🦀 李")
        .active()
        .created_at(at)
        .build();
    for user in [plain, other] {
        let account = build::account(&user);
        register(stores, &account).await;
        let found = stores
            .users()
            .find_credentials(&user.email)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(found.user, user);
        assert_eq!(found.password_hash.expose(), account.password_hash.expose());
        assert_eq!(found.attempts, LoginAttempts::default());
    }
}

/// Nobody has an address that nobody registered.
pub async fn an_unknown_address_has_no_account(stores: &impl Stores) {
    user(stores).await;
    let found = stores
        .users()
        .find_credentials(&build::email("nobody@example.com"))
        .await;
    assert!(found.unwrap().is_none());
}

/// Neither the second account nor its session nor its mail.
pub async fn a_taken_address_stores_nothing(stores: &impl Stores) {
    let first = user(stores).await;
    let second = build::user()
        .email(first.email.as_str())
        .full_name("Mallory")
        .build();
    let account = build::account(&second);

    let outcome = stores.users().register(account.clone()).await;

    assert_eq!(outcome.unwrap(), Registration::EmailTaken);
    let found = stores
        .users()
        .find_credentials(&first.email)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.user, first);
    let session = build::session_ref(&second, &account.session);
    assert_eq!(signed_in(stores, session).await, None);
    let token = account.session.refresh_token.digest;
    let outcome = rotate(stores, &token, build::refresh_token(noon())).await;
    assert_eq!(outcome, Rotation::Refused);
    // The second account's mail, if there were one, would be the one to be sent.
    let mail = claimed(stores, noon()).await;
    assert_eq!(mail.name, first.full_name);
    assert_ne!(mail.id, account.mail.id);
    assert_eq!(claim(stores, noon()).await, Claim::Idle);
}

/// The user is signed in, and the refresh token works.
pub async fn registering_opens_the_first_session(stores: &impl Stores) {
    let user = build::user().build();
    let account = build::account(&user);
    let session = build::session_ref(&user, &account.session);

    register(stores, &account).await;

    assert_eq!(signed_in(stores, session).await.as_ref(), Some(&user));
    let token = account.session.refresh_token.digest;
    let outcome = rotate(stores, &token, build::refresh_token(noon())).await;
    assert_eq!(outcome, Rotation::Rotated { session, user });
}

/// It waits, due at once.
pub async fn registering_stores_the_mail(stores: &impl Stores) {
    let user = build::user().build();
    let account = build::account(&user);
    register(stores, &account).await;
    let expected = ClaimedMail {
        id: account.mail.id,
        kind: MailKind::VerifyEmail,
        to: user.email,
        name: user.full_name,
        token: account.mail.token,
        created_at: account.mail.created_at,
        cause: account.mail.cause,
        attempt: 1,
    };
    assert_eq!(claimed(stores, noon()).await, expected);
    assert_eq!(claim(stores, noon()).await, Claim::Idle);
}

/// One of twenty registrations gets the address, and the address is that user's.
pub async fn concurrent_registrations_of_one_address_let_one_in(stores: &impl Stores) {
    let rivals: Vec<User> = (0..20)
        .map(|_| build::user().email("one@example.com").build())
        .collect();
    let outcomes = at_once(rivals.len(), |n| {
        let (users, account) = (stores.users(), build::account(rivals.get(n).unwrap()));
        async move { users.register(account).await.unwrap() }
    })
    .await;

    assert_eq!(
        count(&outcomes, |outcome| *outcome == Registration::Registered),
        1
    );
    let winner = outcomes
        .iter()
        .position(|outcome| *outcome == Registration::Registered);
    let found = stores
        .users()
        .find_credentials(&build::email("one@example.com"))
        .await;
    assert_eq!(
        Some(&found.unwrap().unwrap().user),
        rivals.get(winner.unwrap())
    );
}

fn lock(at: Timestamp) -> Locked {
    Locked {
        until: at.plus(LoginAttempts::LOCK),
    }
}

/// The lock begins with the fifth failure, for fifteen minutes.
pub async fn four_failed_logins_are_counted_and_the_fifth_locks(stores: &impl Stores) {
    let user = user(stores).await;
    let at = noon().plus(Duration::from_micros(1));
    for failed in 1..=4 {
        assert_eq!(fail(stores, &user, at).await, FailedLogin::Counted);
        assert_eq!(
            attempts(stores, &user).await,
            LoginAttempts {
                failed,
                locked_until: None
            }
        );
    }

    assert_eq!(
        fail(stores, &user, at).await,
        FailedLogin::LockedNow(lock(at))
    );

    let until = at.plus(Duration::from_mins(15));
    assert_eq!(attempts(stores, &user).await.locked_until, Some(until));
}

/// Whoever keeps guessing learns nothing and changes nothing.
pub async fn failed_logins_under_a_lock_do_not_prolong_it(stores: &impl Stores) {
    let user = user(stores).await;
    fail_times(stores, &user, noon(), 5).await;
    let locked = attempts(stores, &user).await;
    let last_moment = just_before(lock(noon()).until);
    for at in [noon(), last_moment] {
        assert_eq!(
            fail(stores, &user, at).await,
            FailedLogin::StillLocked(lock(noon()))
        );
    }
    assert_eq!(attempts(stores, &user).await, locked);
}

/// At the very instant at which the lock no longer holds.
pub async fn the_first_failed_login_after_a_lock_counts_from_one(stores: &impl Stores) {
    let user = user(stores).await;
    fail_times(stores, &user, noon(), 5).await;
    let after = lock(noon()).until;
    assert_eq!(fail(stores, &user, after).await, FailedLogin::Counted);
    assert_eq!(
        attempts(stores, &user).await,
        LoginAttempts {
            failed: 1,
            locked_until: None
        }
    );
}

async fn fail_at_once(stores: &impl Stores, user: &User, times: usize) -> Vec<FailedLogin> {
    at_once(times, |_| {
        let (users, email) = (stores.users(), user.email.clone());
        async move { users.record_failed_login(&email, noon()).await.unwrap() }
    })
    .await
}

/// None of four failures at once gets lost.
pub async fn concurrent_failed_logins_are_all_counted(stores: &impl Stores) {
    let user = user(stores).await;
    let outcomes = fail_at_once(stores, &user, 4).await;
    assert_eq!(outcomes, [FailedLogin::Counted; 4]);
    assert_eq!(attempts(stores, &user).await.failed, 4);
}

/// Of twenty failures at once four are counted, one locks, and the rest find the lock.
pub async fn concurrent_failed_logins_lock_at_exactly_five(stores: &impl Stores) {
    let user = user(stores).await;
    let outcomes = fail_at_once(stores, &user, 20).await;
    assert_eq!(count(&outcomes, |o| *o == FailedLogin::Counted), 4);
    assert_eq!(
        count(&outcomes, |o| *o == FailedLogin::LockedNow(lock(noon()))),
        1
    );
    assert_eq!(
        count(&outcomes, |o| *o == FailedLogin::StillLocked(lock(noon()))),
        15
    );
}

/// And makes no account.
pub async fn a_failed_login_without_an_account_is_told(stores: &impl Stores) {
    let nobody = build::user().build();
    for _ in 0..6 {
        assert_eq!(fail(stores, &nobody, noon()).await, FailedLogin::NoAccount);
    }
    let found = stores.users().find_credentials(&nobody.email).await;
    assert!(found.unwrap().is_none());
}

/// A lock is one account's.
pub async fn failed_logins_of_one_account_leave_others_alone(stores: &impl Stores) {
    let (locked, other) = (user(stores).await, user(stores).await);
    fail_times(stores, &locked, noon(), 5).await;
    assert_eq!(attempts(stores, &other).await, LoginAttempts::default());
}

/// Nothing else of the user changes, and nobody else.
pub async fn a_new_name_is_stored_with_its_time(stores: &impl Stores) {
    let user = build::user().build();
    let account = build::account(&user);
    register(stores, &account).await;
    let other = self::user(stores).await;
    let session: SessionRef = build::session_ref(&user, &account.session);
    let at = noon().plus(Duration::from_micros(1_000_001));
    let name = build::full_name("Grace 🚀 Hopper");

    let renamed = stores
        .users()
        .rename(user.id, name.clone(), at)
        .await
        .unwrap();

    let expected = User {
        full_name: name,
        updated_at: at,
        ..user
    };
    assert_eq!(renamed.as_ref(), Some(&expected));
    let found = stores
        .users()
        .find_credentials(&expected.email)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.user, expected);
    assert_eq!(signed_in(stores, session).await, Some(expected));
    let found = stores
        .users()
        .find_credentials(&other.email)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.user, other);
}

/// No account is made.
pub async fn a_user_who_is_gone_gets_no_new_name(stores: &impl Stores) {
    let nobody = build::user().build();
    let renamed = stores
        .users()
        .rename(nobody.id, build::full_name("Nobody"), noon())
        .await;
    assert_eq!(renamed.unwrap(), None);
    let found = stores.users().find_credentials(&nobody.email).await;
    assert!(found.unwrap().is_none());
}

/// A stored account whose verification mail is sent: nothing waits.
async fn settled_account(stores: &impl Stores) -> NewAccount {
    let account = build::account(&build::user().build());
    register(stores, &account).await;
    send_all(stores, noon()).await;
    account
}

/// What is stored of a user who is there.
async fn stored(stores: &impl Stores, user: &User) -> User {
    let found = stores.users().find_credentials(&user.email).await;
    found.unwrap().unwrap().user
}

async fn verify(stores: &impl Stores, token: &TokenDigest, at: Timestamp) -> Option<User> {
    stores.users().verify_email(token, at).await.unwrap()
}

async fn reset(stores: &impl Stores, token: &TokenDigest, at: Timestamp) -> Option<Id<User>> {
    let hash = build::password_hash("reset");
    let outcome = stores.users().reset_password(token, hash, at).await;
    outcome.unwrap()
}

async fn has_password(stores: &impl Stores, user: &User, hash: &PasswordHash) -> bool {
    password_hash(stores, user).await.expose() == hash.expose()
}

/// Asks for a mail.
async fn ask(stores: &impl Stores, kind: MailKind, user: &User, at: Timestamp) {
    add(stores, &build::mail_at(kind, &user.email, at)).await;
}

/// The mails that wait, or are being sent, long after everything else.
async fn left(stores: &impl Stores) -> HashSet<(MailKind, Email)> {
    let late = noon().plus(Duration::from_hours(30 * 24));
    let mails = send_all(stores, late).await.into_iter();
    mails.map(|mail| (mail.kind, mail.to)).collect()
}

/// Whoever was refused has changed nothing of the account: password, failures, sessions, reset.
async fn assert_unchanged(
    stores: &impl Stores,
    account: &NewAccount,
    attempts_before: LoginAttempts,
    opened: &Opened,
    reset_token: &TokenDigest,
) {
    let user = &account.user;
    assert!(has_password(stores, user, &account.password_hash).await);
    assert_eq!(stored(stores, user).await, *user);
    assert_eq!(attempts(stores, user).await, attempts_before);
    assert_eq!(signed_in(stores, opened.session).await.as_ref(), Some(user));
    assert!(has_reset_token(stores, reset_token, noon()).await);
    let expected = HashSet::from([(MailKind::VerifyEmail, user.email.clone())]);
    assert_eq!(left(stores).await, expected);
}

/// An account with failures, another session, a reset token and a waiting mail.
async fn busy_account(stores: &impl Stores, failures: usize) -> (NewAccount, Opened, TokenDigest) {
    let account = settled_account(stores).await;
    let opened = open(stores, &account.user).await;
    let token = mailed(stores, MailKind::ResetPassword, &account.user, noon()).await;
    ask(stores, MailKind::VerifyEmail, &account.user, noon()).await;
    fail_times(stores, &account.user, noon(), failures).await;
    (account, opened, token)
}
