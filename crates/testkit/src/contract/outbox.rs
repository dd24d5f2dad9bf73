//! The contract of [`Outbox`](tasks_domain::mail::Outbox).

use std::collections::HashSet;
use std::time::Duration;

use tasks_domain::account::{Admission, User};
use tasks_domain::clock::Timestamp;
use tasks_domain::mail::{Backlog, Claim, ClaimedMail, MailKind, NewMail, Settlement};

use super::Stores;
use super::scene::{
    CLAIM, add, at_once, claim, claimed, count, has_reset_token, mailed, password_hash, register,
    send_all, settle, user,
};
use crate::build;
use crate::clock::{just_after, just_before, noon};

suite! { ($) outbox_contract runs outbox on "fresh [`Stores`](crate::contract::Stores)":
    an_empty_outbox_is_idle,
    a_mail_is_claimed_as_it_was_added_once_it_is_due,
    a_mail_outside_of_any_trace_has_no_cause,
    a_mail_addresses_the_user_by_the_name_of_now,
    the_mail_that_has_been_due_for_longest_comes_first,
    a_claimed_mail_is_nobody_elses_until_the_claim_ends,
    concurrent_claims_get_different_mails,
    concurrent_claims_of_one_mail_let_one_through,
    claiming_makes_the_token_work_from_then_on,
    claiming_again_gives_the_token_more_time,
    claiming_makes_a_verification_token_work,
    a_younger_mail_replaces_the_token_when_it_is_claimed,
    claiming_removes_older_mails_that_are_tried_again,
    claiming_removes_older_mails_that_others_have,
    claiming_leaves_mails_of_the_other_kind_and_to_others,
    a_mail_is_moot_while_a_younger_one_waits,
    a_mail_that_comes_late_is_moot_while_a_younger_one_is_tried_again,
    concurrent_claims_of_mails_to_one_address_send_the_youngest,
    a_mail_that_nobody_gets_is_moot,
    a_mail_to_an_account_that_was_erased_is_moot,
    a_mail_that_would_prove_what_is_proven_is_moot,
    a_sent_mail_leaves,
    a_mail_that_is_tried_again_is_due_at_its_instant,
    a_dead_mail_is_never_due,
    a_dead_mail_does_not_keep_the_next_one_back,
    a_dead_mail_does_not_make_an_older_one_moot,
    the_backlog_is_what_waits_and_what_is_dead_and_since_when,
    settling_an_outdated_claim_does_nothing,
    settling_a_mail_that_is_gone_does_nothing,
    settling_late_counts_while_nobody_else_has_the_mail,
    claims_and_deletions_at_once_all_succeed,
    claims_and_resets_at_once_all_succeed,
}

/// Longer than any mail is tried.
const LONG: Duration = Duration::from_hours(30 * 24);

/// A stored user whose verification mail is sent: nothing waits.
async fn settled_user(stores: &impl Stores) -> User {
    let user = user(stores).await;
    send_all(stores, noon()).await;
    user
}

/// A reset mail to a user that was added at an instant.
async fn reset_mail(stores: &impl Stores, user: &User, at: Timestamp) -> NewMail {
    let mail = build::mail_at(MailKind::ResetPassword, &user.email, at);
    add(stores, &mail).await;
    mail
}

/// What the first claim of a mail gives.
fn first_claim(mail: &NewMail, user: &User) -> ClaimedMail {
    ClaimedMail {
        id: mail.id,
        kind: mail.kind,
        to: user.email.clone(),
        name: user.full_name.clone(),
        token: mail.token.clone(),
        created_at: mail.created_at,
        cause: mail.cause.clone(),
        attempt: 1,
    }
}

async fn assert_idle(stores: &impl Stores, at: Timestamp) {
    assert_eq!(claim(stores, at).await, Claim::Idle);
}

/// However often somebody looks.
pub async fn an_empty_outbox_is_idle(stores: &impl Stores) {
    for at in [noon(), noon().plus(LONG)] {
        assert_idle(stores, at).await;
    }
}

/// At once, of either kind.
pub async fn a_mail_is_claimed_as_it_was_added_once_it_is_due(stores: &impl Stores) {
    let user = settled_user(stores).await;
    let at = noon().plus(Duration::from_micros(123_456));
    for kind in MailKind::ALL {
        let mail = build::mail_at(kind, &user.email, at);
        add(stores, &mail).await;
        assert_idle(stores, just_before(at)).await;
        assert_eq!(claimed(stores, at).await, first_claim(&mail, &user));
    }
}

/// Traces may be switched off.
pub async fn a_mail_outside_of_any_trace_has_no_cause(stores: &impl Stores) {
    let user = settled_user(stores).await;
    let mail = NewMail {
        cause: None,
        ..build::mail(MailKind::ResetPassword, &user.email)
    };
    add(stores, &mail).await;
    assert_eq!(claimed(stores, noon()).await, first_claim(&mail, &user));
}

/// Not by the one that they had when it was asked for.
pub async fn a_mail_addresses_the_user_by_the_name_of_now(stores: &impl Stores) {
    let user = settled_user(stores).await;
    reset_mail(stores, &user, noon()).await;
    let name = build::full_name("Grace 🚀 Hopper");
    let users = stores.users();
    users.rename(user.id, name.clone(), noon()).await.unwrap();
    assert_eq!(claimed(stores, noon()).await.name, name);
}

/// In whatever order they were added; one that is tried again takes its place by when.
pub async fn the_mail_that_has_been_due_for_longest_comes_first(stores: &impl Stores) {
    let minute = |n| noon().plus(Duration::from_mins(n));
    let mut mails = Vec::new();
    for n in [6, 2, 4] {
        let user = settled_user(stores).await;
        mails.push(reset_mail(stores, &user, minute(n)).await.id);
    }
    let first = claimed(stores, minute(2)).await;
    settle(stores, &first, Settlement::Retry(minute(5))).await;

    let mut order = Vec::new();
    for _ in 0..3 {
        order.push(claimed(stores, minute(10)).await.id);
    }

    let expected: Vec<_> = [2, 1, 0].map(|n: usize| *mails.get(n).unwrap()).into();
    assert_eq!(order, expected);
}

/// The claim ends at its instant, and the mail can be claimed anew with the same token.
pub async fn a_claimed_mail_is_nobody_elses_until_the_claim_ends(stores: &impl Stores) {
    let user = settled_user(stores).await;
    reset_mail(stores, &user, noon()).await;
    let mut claim = claimed(stores, noon()).await;
    let mut at = noon();
    for attempt in 2..=3 {
        assert_idle(stores, at).await;
        at = at.plus(CLAIM);
        assert_idle(stores, just_before(at)).await;
        claim = ClaimedMail { attempt, ..claim };
        assert_eq!(claimed(stores, at).await, claim);
    }
}

async fn claim_at_once(stores: &impl Stores, times: usize) -> Vec<Claim> {
    at_once(times, |_| {
        let outbox = stores.outbox();
        async move { outbox.claim(noon(), noon().plus(CLAIM)).await.unwrap() }
    })
    .await
}

fn mails(claims: Vec<Claim>) -> Vec<ClaimedMail> {
    let mail = |claim| match claim {
        Claim::Claimed(mail) => Some(mail),
        Claim::Idle | Claim::Moot => None,
    };
    claims.into_iter().filter_map(mail).collect()
}

/// Twenty for twenty: each gets one, none is left.
pub async fn concurrent_claims_get_different_mails(stores: &impl Stores) {
    let mut waiting = HashSet::new();
    for _ in 0..20 {
        let user = build::user().build();
        let account = build::account(&user);
        register(stores, &account).await;
        waiting.insert(account.mail.id);
    }
    let got = mails(claim_at_once(stores, 20).await);
    assert_eq!(got.len(), 20);
    let got: HashSet<_> = got.into_iter().map(|mail| mail.id).collect();
    assert_eq!(got, waiting);
    assert_idle(stores, noon()).await;
}

/// The other nineteen find nothing.
pub async fn concurrent_claims_of_one_mail_let_one_through(stores: &impl Stores) {
    let user = settled_user(stores).await;
    let mail = reset_mail(stores, &user, noon()).await;
    let claims = claim_at_once(stores, 20).await;
    assert_eq!(count(&claims, |claim| *claim == Claim::Idle), 19);
    assert_eq!(mails(claims), [first_claim(&mail, &user)]);
}

/// Not before, and for its time from the claim on, however long the mail waited.
pub async fn claiming_makes_the_token_work_from_then_on(stores: &impl Stores) {
    let user = settled_user(stores).await;
    let token = reset_mail(stores, &user, noon()).await.token;
    assert!(!has_reset_token(stores, &token, noon()).await);

    let late = noon().plus(Duration::from_hours(5));
    claimed(stores, late).await;

    let expiry = late.plus(MailKind::ResetPassword.token_ttl());
    assert!(has_reset_token(stores, &token, late).await);
    assert!(has_reset_token(stores, &token, just_before(expiry)).await);
    assert!(!has_reset_token(stores, &token, expiry).await);
}

/// The link of a mail that took long to be sent works as long as any.
pub async fn claiming_again_gives_the_token_more_time(stores: &impl Stores) {
    let user = settled_user(stores).await;
    let token = reset_mail(stores, &user, noon()).await.token;
    let claim = claimed(stores, noon()).await;
    let late = noon().plus(MailKind::ResetPassword.token_ttl());
    settle(stores, &claim, Settlement::Retry(late)).await;
    assert!(!has_reset_token(stores, &token, late).await);

    claimed(stores, late).await;

    let expiry = late.plus(MailKind::ResetPassword.token_ttl());
    assert!(has_reset_token(stores, &token, just_before(expiry)).await);
    assert!(!has_reset_token(stores, &token, expiry).await);
}

/// The one of the registration's mail.
pub async fn claiming_makes_a_verification_token_work(stores: &impl Stores) {
    let user = build::user().build();
    let account = build::account(&user);
    register(stores, &account).await;
    let token = &account.mail.token;
    let users = stores.users();
    assert_eq!(users.verify_email(token, noon()).await.unwrap(), None);
    claimed(stores, noon()).await;
    let verified = users.verify_email(token, noon()).await.unwrap();
    assert_eq!(verified.map(|user| user.id), Some(user.id));
}

/// Until then the older one works.
pub async fn a_younger_mail_replaces_the_token_when_it_is_claimed(stores: &impl Stores) {
    let user = settled_user(stores).await;
    let older = mailed(stores, MailKind::ResetPassword, &user, noon()).await;
    let at = just_after(noon());
    let younger = reset_mail(stores, &user, at).await.token;
    assert!(has_reset_token(stores, &older, at).await);

    claimed(stores, at).await;

    assert!(!has_reset_token(stores, &older, at).await);
    assert!(has_reset_token(stores, &younger, at).await);
}

/// Not even when its time comes.
pub async fn claiming_removes_older_mails_that_are_tried_again(stores: &impl Stores) {
    let user = settled_user(stores).await;
    reset_mail(stores, &user, noon()).await;
    let older = claimed(stores, noon()).await;
    let again = noon().plus(Duration::from_mins(5));
    settle(stores, &older, Settlement::Retry(again)).await;

    let younger = mailed(stores, MailKind::ResetPassword, &user, just_after(noon())).await;

    assert_idle(stores, again).await;
    assert!(has_reset_token(stores, &younger, again).await);
}

/// What becomes of them counts no more.
pub async fn claiming_removes_older_mails_that_others_have(stores: &impl Stores) {
    let user = settled_user(stores).await;
    reset_mail(stores, &user, noon()).await;
    let older = claimed(stores, noon()).await;
    let at = just_after(noon());
    reset_mail(stores, &user, at).await;
    let younger = claimed(stores, at).await;
    settle(stores, &older, Settlement::Retry(at)).await;
    assert_idle(stores, at).await;
    settle(stores, &younger, Settlement::Sent).await;
    assert_idle(stores, noon().plus(LONG)).await;
}

/// Nor do they lose their tokens.
pub async fn claiming_leaves_mails_of_the_other_kind_and_to_others(stores: &impl Stores) {
    let (user, other) = (settled_user(stores).await, settled_user(stores).await);
    let foreign = mailed(stores, MailKind::ResetPassword, &other, noon()).await;
    let verification = build::mail(MailKind::VerifyEmail, &user.email);
    add(stores, &verification).await;
    let to_other = build::mail(MailKind::VerifyEmail, &other.email);
    add(stores, &to_other).await;
    for _ in 0..2 {
        let mail = claimed(stores, noon()).await;
        settle(stores, &mail, Settlement::Retry(noon().plus(CLAIM))).await;
    }

    let at = just_after(noon());
    let reset = mailed(stores, MailKind::ResetPassword, &user, at).await;

    assert!(has_reset_token(stores, &reset, at).await);
    assert!(has_reset_token(stores, &foreign, at).await);
    let left = send_all(stores, noon().plus(CLAIM)).await;
    let left: HashSet<_> = left.into_iter().map(|mail| mail.id).collect();
    assert_eq!(left, HashSet::from([verification.id, to_other.id]));
    for (mail, user) in [(verification, user), (to_other, other)] {
        let users = stores.users();
        let verified = users.verify_email(&mail.token, at).await.unwrap();
        assert_eq!(verified.map(|user| user.id), Some(user.id));
    }
}

/// It leaves; the younger one is sent.
pub async fn a_mail_is_moot_while_a_younger_one_waits(stores: &impl Stores) {
    let user = settled_user(stores).await;
    let older = reset_mail(stores, &user, noon()).await;
    let at = just_after(noon());
    let younger = reset_mail(stores, &user, at).await;
    assert_eq!(claim(stores, at).await, Claim::Moot);
    assert_eq!(claimed(stores, at).await, first_claim(&younger, &user));
    assert_idle(stores, at).await;
    assert!(!has_reset_token(stores, &older.token, at).await);
    assert!(has_reset_token(stores, &younger.token, at).await);
}

/// As where instances' clocks differ. The younger token goes on working.
pub async fn a_mail_that_comes_late_is_moot_while_a_younger_one_is_tried_again(
    stores: &impl Stores,
) {
    let user = settled_user(stores).await;
    let older = build::mail(MailKind::ResetPassword, &user.email);
    let at = just_after(noon());
    let younger = reset_mail(stores, &user, at).await;
    let claim_of_younger = claimed(stores, at).await;
    let again = noon().plus(Duration::from_mins(5));
    settle(stores, &claim_of_younger, Settlement::Retry(again)).await;

    add(stores, &older).await;

    assert_eq!(claim(stores, at).await, Claim::Moot);
    assert_idle(stores, at).await;
    assert!(has_reset_token(stores, &younger.token, at).await);
    assert_eq!(claimed(stores, again).await.id, younger.id);
}

/// Exactly one of ten, and nothing is left.
pub async fn concurrent_claims_of_mails_to_one_address_send_the_youngest(stores: &impl Stores) {
    let user = settled_user(stores).await;
    let mut youngest = None;
    for n in (1..=10).rev() {
        let at = noon().minus(Duration::from_micros(n));
        youngest = Some(reset_mail(stores, &user, at).await);
    }
    let youngest = youngest.unwrap();
    let got = mails(claim_at_once(stores, 10).await);
    assert_eq!(got, [first_claim(&youngest, &user)]);
    assert_idle(stores, noon()).await;
    assert!(has_reset_token(stores, &youngest.token, noon()).await);
}

/// It is gone for good, also if somebody registers the address.
pub async fn a_mail_that_nobody_gets_is_moot(stores: &impl Stores) {
    settled_user(stores).await;
    let late = build::user().build();
    for kind in MailKind::ALL {
        add(stores, &build::mail(kind, &late.email)).await;
        assert_eq!(claim(stores, noon()).await, Claim::Moot);
        assert_idle(stores, noon().plus(LONG)).await;
    }
    let account = build::account(&late);
    register(stores, &account).await;
    let mail = claimed(stores, noon()).await;
    assert_eq!(mail, first_claim(&account.mail, &late));
    assert_idle(stores, noon()).await;
}

/// Like one to nobody.
pub async fn a_mail_to_an_account_that_was_erased_is_moot(stores: &impl Stores) {
    let user = settled_user(stores).await;
    let hash = password_hash(stores, &user).await;
    let deleted = stores.users().delete(user.id, hash, noon()).await;
    assert_eq!(deleted.unwrap(), Admission::Granted);
    let token = reset_mail(stores, &user, noon()).await.token;
    assert_eq!(claim(stores, noon()).await, Claim::Moot);
    assert_idle(stores, noon()).await;
    assert!(!has_reset_token(stores, &token, noon()).await);
}

/// A reset mail is not.
pub async fn a_mail_that_would_prove_what_is_proven_is_moot(stores: &impl Stores) {
    let user = build::user().active().build();
    let account = build::account(&user);
    register(stores, &account).await;
    assert_eq!(claim(stores, noon()).await, Claim::Moot);
    assert_idle(stores, noon()).await;
    let users = stores.users();
    let verified = users.verify_email(&account.mail.token, noon()).await;
    assert_eq!(verified.unwrap(), None);
    let mail = reset_mail(stores, &user, noon()).await;
    assert_eq!(claimed(stores, noon()).await, first_claim(&mail, &user));
}

/// Its token goes on working.
pub async fn a_sent_mail_leaves(stores: &impl Stores) {
    let user = settled_user(stores).await;
    let token = reset_mail(stores, &user, noon()).await.token;
    let mail = claimed(stores, noon()).await;
    settle(stores, &mail, Settlement::Sent).await;
    assert_idle(stores, noon().plus(LONG)).await;
    assert!(has_reset_token(stores, &token, noon()).await);
}

/// Also within the time for which it was claimed.
pub async fn a_mail_that_is_tried_again_is_due_at_its_instant(stores: &impl Stores) {
    let user = settled_user(stores).await;
    reset_mail(stores, &user, noon()).await;
    let first = claimed(stores, noon()).await;
    let mut at = noon();
    for attempt in 2..=4 {
        let mail = ClaimedMail {
            attempt: attempt - 1,
            ..first.clone()
        };
        at = at.plus(Duration::from_micros(1_500_001));
        settle(stores, &mail, Settlement::Retry(at)).await;
        assert_idle(stores, just_before(at)).await;
        let again = claimed(stores, at).await;
        assert_eq!(again, ClaimedMail { attempt, ..mail });
    }
}

/// Neither when its claim would have ended nor ever.
pub async fn a_dead_mail_is_never_due(stores: &impl Stores) {
    let user = settled_user(stores).await;
    reset_mail(stores, &user, noon()).await;
    let mail = claimed(stores, noon()).await;
    settle(stores, &mail, Settlement::Dead(noon())).await;
    for at in [noon(), noon().plus(CLAIM), noon().plus(LONG)] {
        assert_idle(stores, at).await;
    }
}

/// Whoever asks again gets another mail.
pub async fn a_dead_mail_does_not_keep_the_next_one_back(stores: &impl Stores) {
    let user = settled_user(stores).await;
    reset_mail(stores, &user, noon()).await;
    let dead = claimed(stores, noon()).await;
    settle(stores, &dead, Settlement::Dead(noon())).await;
    let next = reset_mail(stores, &user, just_after(noon())).await;
    let mail = claimed(stores, just_after(noon())).await;
    assert_eq!(mail, first_claim(&next, &user));
}

/// It waits no more, so that one that comes late is sent.
pub async fn a_dead_mail_does_not_make_an_older_one_moot(stores: &impl Stores) {
    let user = settled_user(stores).await;
    let older = build::mail(MailKind::ResetPassword, &user.email);
    let at = just_after(noon());
    reset_mail(stores, &user, at).await;
    let dead = claimed(stores, at).await;
    settle(stores, &dead, Settlement::Dead(at)).await;
    add(stores, &older).await;
    assert_eq!(claimed(stores, at).await, first_claim(&older, &user));
}

/// Whoever took too long has no say: another has the mail.
pub async fn settling_an_outdated_claim_does_nothing(stores: &impl Stores) {
    let user = settled_user(stores).await;
    reset_mail(stores, &user, noon()).await;
    let outdated = claimed(stores, noon()).await;
    let taken_over = noon().plus(CLAIM);
    let current = claimed(stores, taken_over).await;
    for settlement in [
        Settlement::Retry(taken_over),
        Settlement::Dead(taken_over),
        Settlement::Sent,
    ] {
        settle(stores, &outdated, settlement).await;
        assert_idle(stores, just_before(taken_over.plus(CLAIM))).await;
    }
    let again = claimed(stores, taken_over.plus(CLAIM)).await;
    assert_eq!(
        again,
        ClaimedMail {
            attempt: 3,
            ..current
        }
    );
}

/// It does not come back.
pub async fn settling_a_mail_that_is_gone_does_nothing(stores: &impl Stores) {
    let user = settled_user(stores).await;
    for settlement in [
        Settlement::Retry(noon()),
        Settlement::Dead(noon()),
        Settlement::Sent,
    ] {
        reset_mail(stores, &user, noon()).await;
        let mail = claimed(stores, noon()).await;
        settle(stores, &mail, Settlement::Sent).await;
        settle(stores, &mail, settlement).await;
        assert_idle(stores, noon().plus(LONG)).await;
    }
}

/// A mail that was sent is not sent again only because that took long.
pub async fn settling_late_counts_while_nobody_else_has_the_mail(stores: &impl Stores) {
    let user = settled_user(stores).await;
    reset_mail(stores, &user, noon()).await;
    let mail = claimed(stores, noon()).await;
    assert_idle(stores, just_before(noon().plus(CLAIM))).await;
    settle(stores, &mail, Settlement::Sent).await;
    assert_idle(stores, noon().plus(LONG)).await;
}

/// They meet at the same rows from both ends, and none may wait for the other for ever.
pub async fn claims_and_deletions_at_once_all_succeed(stores: &impl Stores) {
    let mut accounts = Vec::new();
    for _ in 0..10 {
        let account = build::account(&build::user().build());
        register(stores, &account).await;
        accounts.push(account);
    }
    at_once(20, |n| {
        let (outbox, users) = (stores.outbox(), stores.users());
        let account = accounts.get(n / 2).unwrap().clone();
        async move {
            if n % 2 == 0 {
                outbox.claim(noon(), noon().plus(CLAIM)).await.unwrap();
                return;
            }
            let (user, hash) = (account.user.id, account.password_hash);
            let deleted = users.delete(user, hash, noon()).await.unwrap();
            assert_eq!(deleted, Admission::Granted);
        }
    })
    .await;
    assert_idle(stores, noon().plus(CLAIM)).await;
}

/// A reset takes the waiting mail along, or the mail's claim takes the older token; never both.
pub async fn claims_and_resets_at_once_all_succeed(stores: &impl Stores) {
    let later = just_after(noon());
    let mut tokens = Vec::new();
    for _ in 0..10 {
        let user = settled_user(stores).await;
        tokens.push(mailed(stores, MailKind::ResetPassword, &user, noon()).await);
        reset_mail(stores, &user, later).await;
    }
    let resets = at_once(20, |n| {
        let (outbox, users) = (stores.outbox(), stores.users());
        let token = tokens.get(n / 2).unwrap().clone();
        async move {
            if n % 2 == 0 {
                outbox.claim(later, later.plus(CLAIM)).await.unwrap();
                return false;
            }
            let hash = build::password_hash("new");
            let reset = users.reset_password(&token, hash, later).await;
            reset.unwrap().is_some()
        }
    })
    .await;
    let resets = count(&resets, |was_reset| *was_reset);
    let left = send_all(stores, later.plus(CLAIM)).await;
    assert_eq!(left.len() + resets, tokens.len());
}

/// A mail that is being sent still waits.
pub async fn the_backlog_is_what_waits_and_what_is_dead_and_since_when(stores: &impl Stores) {
    let backlog = async || stores.outbox().backlog().await.unwrap();
    assert_eq!(backlog().await, Backlog::default());
    let (ada, bob) = (settled_user(stores).await, settled_user(stores).await);
    assert_eq!(backlog().await, Backlog::default());

    reset_mail(stores, &ada, just_before(noon())).await;
    let first = claimed(stores, noon()).await;
    reset_mail(stores, &bob, noon()).await;
    let both = Backlog {
        waiting: 2,
        dead: 0,
        oldest: Some(just_before(noon())),
    };
    assert_eq!(backlog().await, both);

    settle(stores, &first, Settlement::Dead(noon())).await;
    let one = Backlog {
        waiting: 1,
        dead: 1,
        oldest: Some(noon()),
    };
    assert_eq!(backlog().await, one);
}
