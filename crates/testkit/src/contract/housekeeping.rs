//! The contract of [`Housekeeping`](tasks_domain::housekeeping::Housekeeping).

use std::time::Duration;

use tasks_domain::account::{NewRefreshToken, NewSession, Rotation, SessionRef, TokenDigest};
use tasks_domain::clock::Timestamp;
use tasks_domain::housekeeping::{Leftover, Removal};
use tasks_domain::mail::{MailKind, Settlement};

use super::Stores;
use super::scene::{
    add, assign, at_once, category, claimed, count, end, find_category, find_task, has_reset_token,
    mailed, open, open_with, present, rotate, send_all, settle, signed_in, task, user,
};
use crate::build;
use crate::clock::{just_after, just_before, noon};

suite! { ($) housekeeping_contract runs housekeeping on "fresh [`Stores`](crate::contract::Stores)":
    nothing_is_removed_where_nothing_is_left_over,
    what_is_in_use_stays,
    sessions_that_ended_are_removed,
    sessions_that_expired_are_removed,
    sessions_stay_until_their_refresh_tokens_are_gone,
    an_expired_session_stays_until_its_last_refresh_token_is_gone,
    refresh_tokens_of_sessions_that_ended_are_removed,
    expired_refresh_tokens_of_sessions_that_go_on_are_removed,
    used_refresh_tokens_of_sessions_that_go_on_stay_until_they_expire,
    expired_reset_tokens_are_removed,
    expired_verification_tokens_are_removed,
    mails_that_were_given_up_are_removed,
    deleted_tasks_are_removed,
    deleted_tasks_are_removed_with_their_assignments,
    no_more_are_removed_than_the_limit,
    each_kind_is_removed_by_itself,
    concurrent_removals_remove_each_leftover_once,
}

/// What is asked for is what was over at this instant.
fn before() -> Timestamp {
    noon().plus(Duration::from_hours(2))
}

/// Removes as many as there are in these cases, or more; how many that was.
async fn remove(stores: &impl Stores, what: Leftover) -> u32 {
    remove_some(stores, what, before(), 100).await
}

/// Of the one instance that there is.
async fn remove_some(stores: &impl Stores, what: Leftover, before: Timestamp, limit: u32) -> u32 {
    let store = stores.housekeeping();
    match store.remove(what, before, limit).await.unwrap() {
        Removal::Removed(number) => number,
        Removal::Busy => panic!("busy with nothing else"),
    }
}

/// A session from noon until an instant.
fn session_until(expires_at: Timestamp) -> NewSession {
    NewSession {
        refresh_token: token_until(expires_at),
        ..build::session(noon())
    }
}

/// A refresh token from noon until an instant.
fn token_until(expires_at: Timestamp) -> NewRefreshToken {
    NewRefreshToken {
        expires_at,
        ..build::refresh_token(noon())
    }
}

/// Makes a leftover of a kind that was over at [`before`], and of no other kind.
async fn leave(stores: &impl Stores, what: Leftover) {
    let user = user(stores).await;
    send_all(stores, noon()).await;
    match what {
        Leftover::Sessions => {
            let opened = open(stores, &user).await;
            end(stores, &opened.token, noon()).await;
            let removed = remove_some(stores, Leftover::RefreshTokens, noon(), 100).await;
            assert_eq!(removed, 1);
        }
        Leftover::RefreshTokens => {
            let opened = open_with(stores, &user, session_until(before())).await;
            let outcome = rotate(stores, &opened.token, build::refresh_token(noon())).await;
            assert!(matches!(outcome, Rotation::Rotated { .. }));
        }
        Leftover::MailTokens => {
            let at = before().minus(MailKind::ResetPassword.token_ttl());
            mailed(stores, MailKind::ResetPassword, &user, at).await;
        }
        Leftover::DeadMails => {
            add(stores, &build::mail(MailKind::VerifyEmail, &user.email)).await;
            let mail = claimed(stores, noon()).await;
            settle(stores, &mail, Settlement::Dead(before())).await;
        }
        Leftover::DeletedTasks => {
            let task = task(stores, build::task(&user)).await;
            stores.tasks().delete(task.id, before()).await.unwrap();
        }
    }
}

/// Of an empty store.
pub async fn nothing_is_removed_where_nothing_is_left_over(stores: &impl Stores) {
    for what in Leftover::ALL {
        assert_eq!(remove(stores, what).await, 0, "{what:?}");
    }
}

/// A session, its token, a mail and its token, a task with its categories.
pub async fn what_is_in_use_stays(stores: &impl Stores) {
    let user = user(stores).await;
    let opened = open(stores, &user).await;
    let file = category(stores, build::category(&user)).await;
    let filed = task(stores, build::task(&user)).await;
    let filed = assign(stores, &filed, &file).await;
    let reset = mailed(stores, MailKind::ResetPassword, &user, before()).await;
    let waiting = build::mail_at(MailKind::VerifyEmail, &user.email, before());
    add(stores, &waiting).await;

    for what in Leftover::ALL {
        assert_eq!(remove(stores, what).await, 0, "{what:?}");
    }

    assert_eq!(find_task(stores, &filed).await, Some(filed));
    assert_eq!(find_category(stores, &file).await, Some(file));
    assert!(has_reset_token(stores, &reset, before()).await);
    assert_eq!(claimed(stores, before()).await.id, waiting.id);
    assert_eq!(signed_in(stores, opened.session).await, Some(user));
    let outcome = present(stores, &opened.token, before()).await;
    assert!(matches!(outcome, Rotation::Rotated { .. }));
}

/// At the instant or earlier, not later.
pub async fn sessions_that_ended_are_removed(stores: &impl Stores) {
    let user = user(stores).await;
    let mut opened = Vec::new();
    for at in [noon(), before(), just_after(before())] {
        let session = open(stores, &user).await;
        end(stores, &session.token, at).await;
        opened.push(session);
    }
    let lives = open(stores, &user).await;

    assert_eq!(remove(stores, Leftover::RefreshTokens).await, 2);
    assert_eq!(remove(stores, Leftover::Sessions).await, 2);

    let late = opened.pop().unwrap();
    for gone in opened {
        let outcome = present(stores, &gone.token, noon()).await;
        assert_eq!(outcome, Rotation::Refused);
    }
    let outcome = present(stores, &late.token, noon()).await;
    assert_eq!(outcome, Rotation::Ended(late.session));
    assert_eq!(signed_in(stores, lives.session).await, Some(user));
    assert_eq!(remove(stores, Leftover::Sessions).await, 0);
}

/// At the instant or earlier, not later.
pub async fn sessions_that_expired_are_removed(stores: &impl Stores) {
    let user = user(stores).await;
    let mut opened = Vec::new();
    for expiry in [just_before(before()), before(), just_after(before())] {
        opened.push(open_with(stores, &user, session_until(expiry)).await);
    }

    assert_eq!(remove(stores, Leftover::RefreshTokens).await, 2);
    assert_eq!(remove(stores, Leftover::Sessions).await, 2);

    let lives = opened.pop().unwrap();
    for gone in opened {
        assert_eq!(signed_in(stores, gone.session).await, None);
        let outcome = present(stores, &gone.token, noon()).await;
        assert_eq!(outcome, Rotation::Refused);
    }
    assert_eq!(signed_in(stores, lives.session).await, Some(user));
    let outcome = present(stores, &lives.token, before()).await;
    assert!(matches!(outcome, Rotation::Rotated { .. }));
    assert_eq!(remove(stores, Leftover::Sessions).await, 0);
}

/// A session with four refresh tokens, of which it used three. It ends at an instant.
async fn ended_session(stores: &impl Stores, at: Timestamp) -> (SessionRef, Vec<TokenDigest>) {
    let user = user(stores).await;
    let opened = open(stores, &user).await;
    let mut tokens = vec![opened.token];
    for _ in 0..3 {
        let successor = build::refresh_token(noon());
        let outcome = rotate(stores, tokens.last().unwrap(), successor.clone()).await;
        assert!(matches!(outcome, Rotation::Rotated { .. }));
        tokens.push(successor.digest);
    }
    end(stores, tokens.first().unwrap(), at).await;
    (opened.session, tokens)
}

/// Else they would all go with it at once.
pub async fn sessions_stay_until_their_refresh_tokens_are_gone(stores: &impl Stores) {
    let (_, tokens) = ended_session(stores, before()).await;
    let empty = user(stores).await;
    let empty = open(stores, &empty).await;
    end(stores, &empty.token, noon()).await;
    remove_some(stores, Leftover::RefreshTokens, noon(), 100).await;
    for (gone, sessions) in [(0, 1), (3, 0), (1, 1)] {
        let what = Leftover::RefreshTokens;
        assert_eq!(remove_some(stores, what, before(), gone).await, gone);
        assert_eq!(remove(stores, Leftover::Sessions).await, sessions);
    }
    for token in &tokens {
        assert_eq!(present(stores, token, noon()).await, Rotation::Refused);
    }
    assert_eq!(remove(stores, Leftover::RefreshTokens).await, 0);
}

/// One from when tokens worked for longer.
pub async fn an_expired_session_stays_until_its_last_refresh_token_is_gone(stores: &impl Stores) {
    let user = user(stores).await;
    let later = just_after(before());
    let opened = open_with(stores, &user, session_until(later)).await;
    rotate(stores, &opened.token, token_until(before())).await;
    assert_eq!(remove(stores, Leftover::RefreshTokens).await, 1);
    assert_eq!(remove(stores, Leftover::Sessions).await, 0);
    for what in [Leftover::RefreshTokens, Leftover::Sessions] {
        assert_eq!(remove_some(stores, what, later, 100).await, 1);
    }
}

/// At the instant or earlier, used or not, however long they would have worked.
pub async fn refresh_tokens_of_sessions_that_ended_are_removed(stores: &impl Stores) {
    let mut ended = Vec::new();
    for at in [noon(), before(), just_after(before())] {
        ended.push(ended_session(stores, at).await);
    }

    assert_eq!(remove(stores, Leftover::RefreshTokens).await, 8);

    let (session, late) = ended.pop().unwrap();
    for token in late {
        let outcome = present(stores, &token, noon()).await;
        assert_eq!(outcome, Rotation::Ended(session));
    }
    for token in ended.iter().flat_map(|(_, tokens)| tokens) {
        assert_eq!(present(stores, token, noon()).await, Rotation::Refused);
    }
    assert_eq!(remove(stores, Leftover::RefreshTokens).await, 0);
}

/// At the instant or earlier. The session goes on with its newest token.
pub async fn expired_refresh_tokens_of_sessions_that_go_on_are_removed(stores: &impl Stores) {
    let user = user(stores).await;
    let opened = open_with(stores, &user, session_until(just_before(before()))).await;
    let (second, newest) = (token_until(before()), build::refresh_token(noon()));
    rotate(stores, &opened.token, second.clone()).await;
    rotate(stores, &second.digest, newest.clone()).await;

    assert_eq!(remove(stores, Leftover::RefreshTokens).await, 2);

    for gone in [&opened.token, &second.digest] {
        assert_eq!(present(stores, gone, noon()).await, Rotation::Refused);
    }
    assert_eq!(signed_in(stores, opened.session).await, Some(user));
    let outcome = present(stores, &newest.digest, before()).await;
    assert!(matches!(outcome, Rotation::Rotated { .. }));
    assert_eq!(remove(stores, Leftover::RefreshTokens).await, 0);
}

/// That one comes again tells of theft.
pub async fn used_refresh_tokens_of_sessions_that_go_on_stay_until_they_expire(
    stores: &impl Stores,
) {
    let user = user(stores).await;
    let opened = open_with(stores, &user, session_until(just_after(before()))).await;
    rotate(stores, &opened.token, build::refresh_token(noon())).await;
    assert_eq!(remove(stores, Leftover::RefreshTokens).await, 0);
    let outcome = present(stores, &opened.token, before()).await;
    assert_eq!(outcome, Rotation::Reused(opened.session));
}

/// The tokens of mails of a kind that expire just before, at and just after [`before`].
async fn expiring(stores: &impl Stores, kind: MailKind) -> Vec<TokenDigest> {
    let mut tokens = Vec::new();
    for expiry in [just_before(before()), before(), just_after(before())] {
        let user = user(stores).await;
        send_all(stores, noon()).await;
        let at = expiry.minus(kind.token_ttl());
        tokens.push(mailed(stores, kind, &user, at).await);
    }
    tokens
}

/// At the instant or earlier, not later.
pub async fn expired_reset_tokens_are_removed(stores: &impl Stores) {
    let tokens = expiring(stores, MailKind::ResetPassword).await;
    assert_eq!(remove(stores, Leftover::MailTokens).await, 2);
    // What is asked as of noon tells whether a token is there.
    for (token, stays) in tokens.iter().zip([false, false, true]) {
        assert_eq!(has_reset_token(stores, token, noon()).await, stays);
    }
    assert_eq!(remove(stores, Leftover::MailTokens).await, 0);
}

/// Likewise.
pub async fn expired_verification_tokens_are_removed(stores: &impl Stores) {
    let tokens = expiring(stores, MailKind::VerifyEmail).await;
    assert_eq!(remove(stores, Leftover::MailTokens).await, 2);
    let users = stores.users();
    for (token, stays) in tokens.iter().zip([false, false, true]) {
        let verified = users.verify_email(token, noon()).await.unwrap();
        assert_eq!(verified.is_some(), stays);
    }
    assert_eq!(remove(stores, Leftover::MailTokens).await, 0);
}

/// At the instant or earlier, not later.
pub async fn mails_that_were_given_up_are_removed(stores: &impl Stores) {
    for at in [noon(), before(), just_after(before())] {
        let user = user(stores).await;
        let mail = claimed(stores, noon()).await;
        assert_eq!(mail.to, user.email);
        settle(stores, &mail, Settlement::Dead(at)).await;
    }
    let what = Leftover::DeadMails;
    assert_eq!(remove(stores, what).await, 2);
    assert_eq!(remove(stores, what).await, 0);
    let later = just_after(before());
    assert_eq!(remove_some(stores, what, later, 100).await, 1);
}

/// At the instant or earlier, not later.
pub async fn deleted_tasks_are_removed(stores: &impl Stores) {
    let user = user(stores).await;
    for at in [noon(), before(), just_after(before())] {
        let task = task(stores, build::task(&user)).await;
        stores.tasks().delete(task.id, at).await.unwrap();
    }
    let what = Leftover::DeletedTasks;
    assert_eq!(remove(stores, what).await, 2);
    assert_eq!(remove(stores, what).await, 0);
    let later = just_after(before());
    assert_eq!(remove_some(stores, what, later, 100).await, 1);
}

/// The categories stay, with the other tasks that are filed under them.
pub async fn deleted_tasks_are_removed_with_their_assignments(stores: &impl Stores) {
    let user = user(stores).await;
    let file = category(stores, build::category(&user)).await;
    let mut filed = Vec::new();
    for _ in 0..2 {
        let task = task(stores, build::task(&user)).await;
        filed.push(assign(stores, &task, &file).await);
    }
    let (lives, deleted) = (filed.pop().unwrap(), filed.pop().unwrap());
    stores.tasks().delete(deleted.id, noon()).await.unwrap();

    assert_eq!(remove(stores, Leftover::DeletedTasks).await, 1);

    assert_eq!(find_category(stores, &file).await, Some(file));
    assert_eq!(find_task(stores, &lives).await, Some(lives));
}

/// And the answer tells whether more may be left.
pub async fn no_more_are_removed_than_the_limit(stores: &impl Stores) {
    for what in Leftover::ALL {
        for _ in 0..5 {
            leave(stores, what).await;
        }
        for expected in [2, 2, 1, 0] {
            let removed = remove_some(stores, what, before(), 2).await;
            assert_eq!(removed, expected, "{what:?}");
        }
    }
}

/// And leaves the others'.
pub async fn each_kind_is_removed_by_itself(stores: &impl Stores) {
    for what in Leftover::ALL {
        leave(stores, what).await;
    }
    for what in Leftover::ALL {
        assert_eq!(remove(stores, what).await, 1, "{what:?}");
    }
}

/// Whoever finds another at it removes nothing.
pub async fn concurrent_removals_remove_each_leftover_once(stores: &impl Stores) {
    let what = Leftover::DeletedTasks;
    for _ in 0..10 {
        leave(stores, what).await;
    }
    let removals = at_once(10, |_| {
        let store = stores.housekeeping();
        async move { store.remove(what, before(), 3).await.unwrap() }
    })
    .await;
    assert!(count(&removals, |removal| *removal != Removal::Busy) > 0);
    let number = |removal| match removal {
        Removal::Removed(number) => number,
        Removal::Busy => 0,
    };
    let removed: u32 = removals.into_iter().map(number).sum();
    assert_eq!(removed + remove(stores, what).await, 10);
}
