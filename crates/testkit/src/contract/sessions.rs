//! The contract of [`SessionRepository`](tasks_domain::account::SessionRepository).

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use tasks_domain::account::{
    Admission, ClientInfo, Locked, LoginAttempts, NewRefreshToken, NewSession, RefreshTokenState,
    Rotation, Session, SessionRef, TokenDigest, User,
};
use tasks_domain::clock::Timestamp;
use tasks_domain::id::Id;

use super::Stores;
use super::scene::{
    Opened, at_once, attempts, count, end, fail_times, open, open_with, password_hash, present,
    register, rotate, signed_in, try_open, user,
};
use crate::build;
use crate::clock::{just_after, just_before, noon};

suite! { ($) session_repository_contract runs sessions on "fresh [`Stores`](crate::contract::Stores)":
    opening_signs_the_user_in,
    opening_takes_any_client,
    opening_forgets_failed_logins,
    opening_under_a_lock_is_refused_and_stores_nothing,
    opening_when_the_lock_ends_is_granted,
    opening_without_an_account_stores_nothing,
    opening_with_an_outdated_hash_stores_nothing,
    opening_one_too_many_ends_the_users_one_unused_for_longest,
    opening_one_too_many_ends_by_id_where_all_are_unused_equally_long,
    opening_after_some_ended_or_expired_ends_none_of_the_others,
    opening_ends_as_many_as_are_too_many,
    concurrent_openings_leave_no_more_than_there_may_be,
    a_session_is_found_as_it_was_opened,
    a_session_is_found_until_it_expires,
    an_ended_or_unknown_session_is_not_found,
    a_refreshed_session_tells_when_and_where,
    a_list_has_the_newest_session_first,
    a_list_orders_ties_by_id_downwards,
    a_list_has_only_the_users_sessions_that_go_on,
    a_session_signs_in_nobody_else,
    an_unknown_session_signs_in_nobody,
    rotating_hands_the_session_to_the_successor,
    rotating_answers_the_user_as_stored_now,
    rotating_again_and_again_keeps_one_token_alive,
    concurrent_rotations_of_one_token_let_one_through,
    concurrent_rotations_of_sessions_do_not_meet,
    a_retry_within_the_grace_leaves_the_session_alive,
    reuse_after_the_grace_ends_the_session_and_every_token_of_it,
    reuse_of_an_early_token_ends_the_session,
    reuse_leaves_other_sessions_alive,
    a_refused_rotation_stores_no_successor,
    a_token_expires_at_its_instant,
    an_unknown_token_is_refused,
    ending_by_token_ends_the_session_and_every_token_of_it,
    ending_by_a_used_token_ends_the_session,
    ending_by_an_expired_token_ends_the_session,
    ending_by_an_unknown_token_ends_nothing,
    ending_twice_is_no_error,
    ending_leaves_other_sessions_alive,
    a_token_of_an_ended_session_tells_so_used_or_expired,
    ending_a_session_signs_it_out,
    ending_a_session_again_answers_no,
    a_session_can_be_ended_until_it_expires,
    concurrent_ends_of_one_session_let_one_through,
    ending_an_unknown_session_ends_nothing,
    ending_all_sessions_leaves_none,
    ending_all_sessions_leaves_other_users_alone,
}

/// Rotates a token that works; its successor.
async fn next(stores: &impl Stores, token: &TokenDigest, at: Timestamp) -> TokenDigest {
    let successor = build::refresh_token(at);
    let outcome = rotate(stores, token, successor.clone()).await;
    assert!(matches!(outcome, Rotation::Rotated { .. }), "{outcome:?}");
    successor.digest
}

/// The last instant at which a token used at noon may come again.
fn end_of_grace() -> Timestamp {
    noon().plus(RefreshTokenState::RETRY_GRACE)
}

/// Each time, and each session on its own.
pub async fn opening_signs_the_user_in(stores: &impl Stores) {
    let user = user(stores).await;
    let (first, second) = (open(stores, &user).await, open(stores, &user).await);
    for opened in [&first, &second] {
        assert_eq!(
            signed_in(stores, opened.session).await.as_ref(),
            Some(&user)
        );
    }
    next(stores, &first.token, noon()).await;
    next(stores, &second.token, noon()).await;
}

/// One without a name, and one with a name of many bytes and a long address.
pub async fn opening_takes_any_client(stores: &impl Stores) {
    let user = user(stores).await;
    let long = "🦀".repeat(ClientInfo::MAX_USER_AGENT);
    let address = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 3, 4, 5, 0xffff));
    for agent in [None, Some(""), Some(long.as_str())] {
        let client = ClientInfo::new(agent, address);
        let session = NewSession {
            client: client.clone(),
            ..build::session(noon())
        };
        let opening = try_open(stores, &user, &session, noon()).await;
        assert_eq!(opening, Admission::Granted);
        let token = session.refresh_token.digest;
        let sessions = stores.sessions();
        let outcome = sessions
            .rotate(&token, build::refresh_token(noon()), client)
            .await;
        assert!(matches!(outcome.unwrap(), Rotation::Rotated { .. }));
    }
}

/// Four failures are as none.
pub async fn opening_forgets_failed_logins(stores: &impl Stores) {
    let user = user(stores).await;
    fail_times(stores, &user, noon(), 4).await;
    open(stores, &user).await;
    assert_eq!(attempts(stores, &user).await, LoginAttempts::default());
}

/// The lock stays, nobody is signed in, and the token is unknown.
pub async fn opening_under_a_lock_is_refused_and_stores_nothing(stores: &impl Stores) {
    let user = user(stores).await;
    fail_times(stores, &user, noon(), 5).await;
    let locked = attempts(stores, &user).await;
    let until = noon().plus(LoginAttempts::LOCK);
    let last_moment = just_before(until);
    let session = build::session(last_moment);

    let opening = try_open(stores, &user, &session, last_moment).await;

    assert_eq!(opening, Admission::Locked(Locked { until }));
    assert_eq!(
        signed_in(stores, build::session_ref(&user, &session)).await,
        None
    );
    let token = &session.refresh_token.digest;
    assert_eq!(present(stores, token, last_moment).await, Rotation::Refused);
    assert_eq!(attempts(stores, &user).await, locked);
}

/// The lock is forgotten with the failures.
pub async fn opening_when_the_lock_ends_is_granted(stores: &impl Stores) {
    let user = user(stores).await;
    fail_times(stores, &user, noon(), 5).await;
    let until = noon().plus(LoginAttempts::LOCK);
    let opening = try_open(stores, &user, &build::session(until), until).await;
    assert_eq!(opening, Admission::Granted);
    assert_eq!(attempts(stores, &user).await, LoginAttempts::default());
}

/// The account may have gone since the password was compared.
pub async fn opening_without_an_account_stores_nothing(stores: &impl Stores) {
    let nobody = build::user().build();
    let session = build::session(noon());
    let opening = try_open(stores, &nobody, &session, noon()).await;
    assert_eq!(opening, Admission::Outdated);
    assert_eq!(
        signed_in(stores, build::session_ref(&nobody, &session)).await,
        None
    );
    let token = &session.refresh_token.digest;
    assert_eq!(present(stores, token, noon()).await, Rotation::Refused);
}

/// Somebody may have changed the password since it was compared. Failures are not forgotten.
pub async fn opening_with_an_outdated_hash_stores_nothing(stores: &impl Stores) {
    let user = user(stores).await;
    fail_times(stores, &user, noon(), 3).await;
    let session = build::session(noon());

    let sessions = stores.sessions();
    let opening = sessions
        .open(
            user.id,
            build::password_hash("old"),
            session.clone(),
            noon(),
        )
        .await;

    assert_eq!(opening.unwrap(), Admission::Outdated);
    let opened = build::session_ref(&user, &session);
    assert_eq!(signed_in(stores, opened).await, None);
    let token = &session.refresh_token.digest;
    assert_eq!(present(stores, token, noon()).await, Rotation::Refused);
    assert_eq!(attempts(stores, &user).await.failed, 3);
}

/// Whether a session, which may have expired, has not ended.
async fn goes_on(stores: &impl Stores, opened: &Opened) -> bool {
    signed_in(stores, opened.session).await.is_some()
}

/// After so long everything that was opened by then has expired.
const LONG: Duration = Duration::from_hours(30 * 24);

/// A user with as many sessions as there may be, in the order in which they were opened: the first when the
/// account was made, the others at these instants.
async fn full_house(stores: &impl Stores, at: impl Fn(usize) -> Timestamp) -> (User, Vec<Opened>) {
    let user = build::user().build();
    let account = build::account(&user);
    register(stores, &account).await;
    let mut opened = vec![Opened {
        session: build::session_ref(&user, &account.session),
        token: account.session.refresh_token.digest,
    }];
    for number in 1..Session::MAX_PER_USER {
        opened.push(open_with(stores, &user, build::session(at(number))).await);
    }
    (user, opened)
}

fn seconds_past_noon(seconds: usize) -> Timestamp {
    noon().plus(Duration::from_secs(seconds.try_into().unwrap()))
}

/// Not the one that was opened first, which was refreshed; and nobody else's, however old.
pub async fn opening_one_too_many_ends_the_users_one_unused_for_longest(stores: &impl Stores) {
    let other = user(stores).await;
    let foreign = open(stores, &other).await;
    let (user, opened) = full_house(stores, seconds_past_noon).await;
    let [first, unused, ..] = opened.as_slice() else {
        panic!("no house");
    };
    let later = noon().plus(Duration::from_hours(1));
    next(stores, &first.token, later).await;

    let new = open_with(stores, &user, build::session(later)).await;

    for one in opened.iter().chain([&new, &foreign]) {
        let is_unused = one.session == unused.session;
        assert_eq!(goes_on(stores, one).await, !is_unused);
    }
    let outcome = present(stores, &unused.token, later).await;
    assert_eq!(outcome, Rotation::Ended(unused.session));
    let listed = list(stores, &user, later).await;
    assert_eq!(listed.len(), Session::MAX_PER_USER);
    assert_eq!(find(stores, unused.session, later).await, None);
}

/// The least one; never the new one, though its clock is slow.
pub async fn opening_one_too_many_ends_by_id_where_all_are_unused_equally_long(
    stores: &impl Stores,
) {
    let user = build::user().created_at(noon().minus(LONG)).build();
    register(stores, &build::account(&user)).await;
    let full = Session::MAX_PER_USER;
    let mut sessions: Vec<NewSession> = (0..full).map(|_| build::session(noon())).collect();
    sessions.rotate_left(2);
    let mut opened = Vec::new();
    for session in sessions {
        opened.push(open_with(stores, &user, session).await);
    }

    let new = open_with(stores, &user, build::session(just_before(noon()))).await;

    let least = opened.iter().map(|one| one.session.session).min();
    for one in opened.iter().chain([&new]) {
        let is_least = Some(one.session.session) == least;
        assert_eq!(goes_on(stores, one).await, !is_least);
    }
}

/// However many there were.
pub async fn opening_after_some_ended_or_expired_ends_none_of_the_others(stores: &impl Stores) {
    let (user, opened) = full_house(stores, seconds_past_noon).await;
    let (ended, others) = opened.split_last().unwrap();
    end(stores, &ended.token, noon()).await;
    let late = noon().plus(LONG);
    let room_made_by = [seconds_past_noon(Session::MAX_PER_USER), late, late];
    let mut opened = Vec::new();
    for at in room_made_by {
        opened.push(open_with(stores, &user, build::session(at)).await);
    }
    for one in others.iter().chain(&opened) {
        assert!(goes_on(stores, one).await);
    }
}

/// There may have been more, by another clock or another rule.
pub async fn opening_ends_as_many_as_are_too_many(stores: &impl Stores) {
    let (user, opened) = full_house(stores, seconds_past_noon).await;
    let late = noon().plus(LONG);
    let mut kept = Vec::new();
    for at in [late, late, noon()] {
        kept.push(open_with(stores, &user, build::session(at)).await);
    }
    let listed = list(stores, &user, noon()).await;
    assert_eq!(listed.len(), Session::MAX_PER_USER);
    let (ended, rest) = opened.split_at(kept.len());
    for one in ended {
        assert!(!goes_on(stores, one).await);
    }
    for one in rest.iter().chain(&kept) {
        assert!(goes_on(stores, one).await);
    }
}

/// Twenty at once end twenty.
pub async fn concurrent_openings_leave_no_more_than_there_may_be(stores: &impl Stores) {
    let (user, opened) = full_house(stores, seconds_past_noon).await;
    let later = noon().plus(Duration::from_hours(1));
    let hash = password_hash(stores, &user).await;
    let new: Vec<_> = (0..20).map(|_| build::session(later)).collect();

    let admissions = at_once(new.len(), |number| {
        let (sessions, user, hash) = (stores.sessions(), user.id, hash.clone());
        let session = new.get(number).unwrap().clone();
        async move { sessions.open(user, hash, session, later).await.unwrap() }
    })
    .await;

    assert_eq!(count(&admissions, |a| *a == Admission::Granted), 20);
    let mut expected: Vec<_> = new.iter().map(|session| session.id).collect();
    let rest = opened.iter().skip(new.len());
    expected.extend(rest.map(|one| one.session.session));
    let mut listed = list(stores, &user, later).await;
    listed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(listed, expected);
}

async fn find(stores: &impl Stores, session: SessionRef, at: Timestamp) -> Option<Session> {
    let found = stores.sessions().find(session.session, at).await;
    found.unwrap()
}

/// The ids of a user's list.
async fn list(stores: &impl Stores, user: &User, at: Timestamp) -> Vec<Id<Session>> {
    let sessions = stores.sessions().list(user.id, at).await.unwrap();
    sessions.into_iter().map(|session| session.id).collect()
}

/// In a list too; with times to the microsecond.
pub async fn a_session_is_found_as_it_was_opened(stores: &impl Stores) {
    let owner = user(stores).await;
    let at = noon().plus(Duration::from_micros(123_456));
    let address = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 3, 4, 5, 0xffff));
    for agent in [None, Some("Žofie's 🦀")] {
        let client = ClientInfo::new(agent, address);
        let session = NewSession {
            client: client.clone(),
            ..build::session(at)
        };
        let opened = open_with(stores, &owner, session.clone()).await;
        let expected = Session {
            id: session.id,
            user: owner.id,
            created_at: at,
            last_used_at: at,
            expires_at: session.refresh_token.expires_at,
            client,
        };
        let found = find(stores, opened.session, at).await;
        assert_eq!(found.as_ref(), Some(&expected));
        let sessions = stores.sessions().list(owner.id, at).await.unwrap();
        assert!(sessions.contains(&expected));
    }
}

/// Up to the microsecond before; in a list too.
pub async fn a_session_is_found_until_it_expires(stores: &impl Stores) {
    let user = user(stores).await;
    let later = noon().plus(Duration::from_hours(1));
    let opened = open_with(stores, &user, build::session(later)).await;
    let expiry = later.plus(build::REFRESH_TOKEN_TTL);
    let last_moment = just_before(expiry);
    assert!(find(stores, opened.session, last_moment).await.is_some());
    let listed = list(stores, &user, last_moment).await;
    assert_eq!(listed, [opened.session.session]);
    assert_eq!(find(stores, opened.session, expiry).await, None);
    assert_eq!(list(stores, &user, expiry).await, []);
}

/// Nor one that never was.
pub async fn an_ended_or_unknown_session_is_not_found(stores: &impl Stores) {
    let user = user(stores).await;
    let Opened { session, token } = open(stores, &user).await;
    end(stores, &token, noon()).await;
    assert_eq!(find(stores, session, noon()).await, None);
    let unknown = SessionRef {
        session: build::id(),
        ..session
    };
    assert_eq!(find(stores, unknown, noon()).await, None);
}

/// It expires with its newest token.
pub async fn a_refreshed_session_tells_when_and_where(stores: &impl Stores) {
    let user = user(stores).await;
    let Opened { session, token } = open(stores, &user).await;
    let opened = find(stores, session, noon()).await.unwrap();
    let later = noon().plus(Duration::from_hours(1));
    let client = ClientInfo::new(Some("another"), IpAddr::V6(Ipv6Addr::LOCALHOST));

    let sessions = stores.sessions();
    let outcome = sessions
        .rotate(&token, build::refresh_token(later), client.clone())
        .await;

    assert!(matches!(outcome.unwrap(), Rotation::Rotated { .. }));
    let refreshed = Session {
        last_used_at: later,
        expires_at: later.plus(build::REFRESH_TOKEN_TTL),
        client,
        ..opened
    };
    assert_eq!(find(stores, session, later).await, Some(refreshed));
}

/// By when it was opened, however lately another was used.
pub async fn a_list_has_the_newest_session_first(stores: &impl Stores) {
    let user = build::user().build();
    let account = build::account(&user);
    register(stores, &account).await;
    let mut opened = vec![account.session.id];
    for hour in [2, 3, 1] {
        let at = noon().plus(Duration::from_hours(hour));
        let session = open_with(stores, &user, build::session(at)).await;
        opened.push(session.session.session);
    }
    let late = noon().plus(Duration::from_hours(4));
    next(stores, &account.session.refresh_token.digest, late).await;
    let newest_first: Vec<_> = [2, 1, 3, 0].map(|n: usize| *opened.get(n).unwrap()).into();
    assert_eq!(list(stores, &user, late).await, newest_first);
}

/// Whatever order they were opened in.
pub async fn a_list_orders_ties_by_id_downwards(stores: &impl Stores) {
    let user = user(stores).await;
    let at = just_after(noon());
    let mut sessions: Vec<NewSession> = (0..5).map(|_| build::session(at)).collect();
    sessions.rotate_left(2);
    for session in &sessions {
        open_with(stores, &user, session.clone()).await;
    }
    let mut downwards: Vec<_> = sessions.into_iter().map(|session| session.id).collect();
    downwards.sort_by_key(|id| Reverse(*id));
    let listed = list(stores, &user, at).await;
    assert!(listed.starts_with(&downwards), "{listed:?}");
}

/// None that ended, none that expired, nobody else's.
pub async fn a_list_has_only_the_users_sessions_that_go_on(stores: &impl Stores) {
    let (user, other) = (user(stores).await, user(stores).await);
    let expired = open(stores, &user).await;
    let later = just_after(noon());
    let ended = open_with(stores, &user, build::session(later)).await;
    let lives = open_with(stores, &user, build::session(later)).await;
    let foreign = open_with(stores, &other, build::session(later)).await;
    end(stores, &ended.token, later).await;
    let at = noon().plus(build::REFRESH_TOKEN_TTL);
    let sessions = [&lives, &foreign].map(|opened| opened.session.session);
    for (user, session) in [&user, &other].into_iter().zip(sessions) {
        assert_eq!(list(stores, user, at).await, [session]);
    }
    assert_eq!(find(stores, expired.session, at).await, None);
    let nobody = build::user().build();
    assert_eq!(list(stores, &nobody, at).await, []);
}

/// A token that names another user's session is nobody's.
pub async fn a_session_signs_in_nobody_else(stores: &impl Stores) {
    let (owner, other) = (user(stores).await, user(stores).await);
    let opened = open(stores, &owner).await;
    let stolen = SessionRef {
        user: other.id,
        ..opened.session
    };
    assert_eq!(signed_in(stores, stolen).await, None);
}

/// A session that never was.
pub async fn an_unknown_session_signs_in_nobody(stores: &impl Stores) {
    let user = user(stores).await;
    let unknown = SessionRef {
        user: user.id,
        session: build::id(),
    };
    assert_eq!(signed_in(stores, unknown).await, None);
}

/// The session stays the same, and the successor is good.
pub async fn rotating_hands_the_session_to_the_successor(stores: &impl Stores) {
    let user = user(stores).await;
    let Opened { session, token } = open(stores, &user).await;
    let successor = build::refresh_token(noon());

    let outcome = rotate(stores, &token, successor.clone()).await;

    let rotated = Rotation::Rotated {
        session,
        user: user.clone(),
    };
    assert_eq!(outcome, rotated);
    assert_eq!(signed_in(stores, session).await, Some(user));
    assert_eq!(present(stores, &successor.digest, noon()).await, rotated);
}

/// Not as they were when the session was opened.
pub async fn rotating_answers_the_user_as_stored_now(stores: &impl Stores) {
    let user = user(stores).await;
    let Opened { session, token } = open(stores, &user).await;
    let renamed = stores
        .users()
        .rename(user.id, build::full_name("Renamed"), noon())
        .await;
    let user = renamed.unwrap().unwrap();
    let outcome = present(stores, &token, noon()).await;
    assert_eq!(outcome, Rotation::Rotated { session, user });
}

/// A session lives as long as it is refreshed in time, beyond its first token's end.
pub async fn rotating_again_and_again_keeps_one_token_alive(stores: &impl Stores) {
    let user = user(stores).await;
    let Opened { session, mut token } = open(stores, &user).await;
    let mut at = noon();
    for _ in 0..5 {
        at = just_before(at.plus(build::REFRESH_TOKEN_TTL));
        token = next(stores, &token, at).await;
    }
    assert_eq!(signed_in(stores, session).await, Some(user));
}

/// The other nineteen are retries: the session lives, with one successor.
pub async fn concurrent_rotations_of_one_token_let_one_through(stores: &impl Stores) {
    let user = user(stores).await;
    let Opened { session, token } = open(stores, &user).await;
    let successors: Vec<NewRefreshToken> = (0..20).map(|_| build::refresh_token(noon())).collect();

    let outcomes = at_once(successors.len(), |n| {
        let (sessions, token) = (stores.sessions(), token.clone());
        let successor = successors.get(n).unwrap().clone();
        async move {
            sessions
                .rotate(&token, successor, build::client())
                .await
                .unwrap()
        }
    })
    .await;

    let rotated = Rotation::Rotated {
        session,
        user: user.clone(),
    };
    assert_eq!(count(&outcomes, |outcome| *outcome == rotated), 1);
    assert_eq!(
        count(&outcomes, |outcome| *outcome == Rotation::Retried(session)),
        19
    );
    assert_eq!(signed_in(stores, session).await, Some(user));
    for (successor, outcome) in successors.iter().zip(&outcomes) {
        let was_stored = present(stores, &successor.digest, noon()).await != Rotation::Refused;
        assert_eq!(was_stored, *outcome == rotated);
    }
}

/// Twenty sessions are refreshed side by side.
pub async fn concurrent_rotations_of_sessions_do_not_meet(stores: &impl Stores) {
    let user = user(stores).await;
    let mut opened = Vec::new();
    for _ in 0..20 {
        opened.push(open(stores, &user).await);
    }
    let outcomes = at_once(opened.len(), |n| {
        let (sessions, token) = (stores.sessions(), opened.get(n).unwrap().token.clone());
        async move {
            let successor = build::refresh_token(noon());
            sessions
                .rotate(&token, successor, build::client())
                .await
                .unwrap()
        }
    })
    .await;
    for (Opened { session, .. }, outcome) in opened.iter().zip(outcomes) {
        let (session, user) = (*session, user.clone());
        assert_eq!(outcome, Rotation::Rotated { session, user });
    }
}

/// Up to and including the tenth second.
pub async fn a_retry_within_the_grace_leaves_the_session_alive(stores: &impl Stores) {
    let user = user(stores).await;
    let Opened { session, token } = open(stores, &user).await;
    let successor = next(stores, &token, noon()).await;
    for at in [noon(), end_of_grace()] {
        assert_eq!(
            present(stores, &token, at).await,
            Rotation::Retried(session)
        );
    }
    assert_eq!(signed_in(stores, session).await, Some(user));
    next(stores, &successor, end_of_grace()).await;
}

/// A microsecond past the tenth second. Whoever has the successor is out as well.
pub async fn reuse_after_the_grace_ends_the_session_and_every_token_of_it(stores: &impl Stores) {
    let user = user(stores).await;
    let Opened { session, token } = open(stores, &user).await;
    let successor = next(stores, &token, noon()).await;
    let late = just_after(end_of_grace());

    assert_eq!(
        present(stores, &token, late).await,
        Rotation::Reused(session)
    );

    assert_eq!(signed_in(stores, session).await, None);
    for token in [token, successor] {
        let outcome = present(stores, &token, late).await;
        assert_eq!(outcome, Rotation::Ended(session));
    }
}

/// However many tokens came after it.
pub async fn reuse_of_an_early_token_ends_the_session(stores: &impl Stores) {
    let user = user(stores).await;
    let Opened { session, token } = open(stores, &user).await;
    let second = next(stores, &token, noon()).await;
    let late = just_after(end_of_grace());
    let third = next(stores, &second, late).await;

    assert_eq!(
        present(stores, &token, late).await,
        Rotation::Reused(session)
    );

    assert_eq!(signed_in(stores, session).await, None);
    let outcome = present(stores, &third, late).await;
    assert_eq!(outcome, Rotation::Ended(session));
}

/// The user's other devices stay signed in.
pub async fn reuse_leaves_other_sessions_alive(stores: &impl Stores) {
    let user = user(stores).await;
    let (stolen, other) = (open(stores, &user).await, open(stores, &user).await);
    next(stores, &stolen.token, noon()).await;
    let late = just_after(end_of_grace());
    assert_eq!(
        present(stores, &stolen.token, late).await,
        Rotation::Reused(stolen.session)
    );
    assert_eq!(signed_in(stores, other.session).await, Some(user));
    next(stores, &other.token, late).await;
}

/// Neither for an unknown token nor for a retry.
pub async fn a_refused_rotation_stores_no_successor(stores: &impl Stores) {
    let user = user(stores).await;
    let Opened { session, token } = open(stores, &user).await;
    next(stores, &token, noon()).await;
    for (presented, refusal) in [
        (build::digest("unknown"), Rotation::Refused),
        (token, Rotation::Retried(session)),
    ] {
        let successor = build::refresh_token(noon());
        assert_eq!(rotate(stores, &presented, successor.clone()).await, refusal);
        assert_eq!(
            present(stores, &successor.digest, noon()).await,
            Rotation::Refused
        );
    }
}

/// It works up to the microsecond before; that it came too late does not end the session.
pub async fn a_token_expires_at_its_instant(stores: &impl Stores) {
    let user = user(stores).await;
    let (late, in_time) = (open(stores, &user).await, open(stores, &user).await);
    let expiry = noon().plus(build::REFRESH_TOKEN_TTL);
    assert_eq!(
        present(stores, &late.token, expiry).await,
        Rotation::Refused
    );
    assert_eq!(signed_in(stores, late.session).await, Some(user));
    next(stores, &in_time.token, just_before(expiry)).await;
}

/// It has no session.
pub async fn an_unknown_token_is_refused(stores: &impl Stores) {
    let user = user(stores).await;
    open(stores, &user).await;
    let unknown = build::digest("unknown");
    assert_eq!(present(stores, &unknown, noon()).await, Rotation::Refused);
}

/// Access tokens and refresh tokens alike.
pub async fn ending_by_token_ends_the_session_and_every_token_of_it(stores: &impl Stores) {
    let user = user(stores).await;
    let Opened { session, token } = open(stores, &user).await;
    assert_eq!(end(stores, &token, noon()).await, Some(session));
    assert_eq!(signed_in(stores, session).await, None);
    let outcome = present(stores, &token, noon()).await;
    assert_eq!(outcome, Rotation::Ended(session));
}

/// A client that missed its new pair can still log out, and a used token is no theft then.
pub async fn ending_by_a_used_token_ends_the_session(stores: &impl Stores) {
    let user = user(stores).await;
    let Opened { session, token } = open(stores, &user).await;
    let successor = next(stores, &token, noon()).await;
    let late = just_after(end_of_grace());

    assert_eq!(end(stores, &token, late).await, Some(session));

    assert_eq!(signed_in(stores, session).await, None);
    for token in [token, successor] {
        let outcome = present(stores, &token, late).await;
        assert_eq!(outcome, Rotation::Ended(session));
    }
}

/// Logging out works however late.
pub async fn ending_by_an_expired_token_ends_the_session(stores: &impl Stores) {
    let user = user(stores).await;
    let Opened { session, token } = open(stores, &user).await;
    let expiry = noon().plus(build::REFRESH_TOKEN_TTL);
    assert_eq!(end(stores, &token, expiry).await, Some(session));
    assert_eq!(signed_in(stores, session).await, None);
}

/// Everybody stays signed in.
pub async fn ending_by_an_unknown_token_ends_nothing(stores: &impl Stores) {
    let user = user(stores).await;
    let opened = open(stores, &user).await;
    assert_eq!(end(stores, &build::digest("unknown"), noon()).await, None);
    assert_eq!(signed_in(stores, opened.session).await, Some(user));
}

/// The second time answers the same.
pub async fn ending_twice_is_no_error(stores: &impl Stores) {
    let user = user(stores).await;
    let Opened { session, token } = open(stores, &user).await;
    for at in [noon(), just_after(noon())] {
        assert_eq!(end(stores, &token, at).await, Some(session));
    }
    assert_eq!(signed_in(stores, session).await, None);
}

/// The user's own and anybody else's.
pub async fn ending_leaves_other_sessions_alive(stores: &impl Stores) {
    let (user, other) = (user(stores).await, user(stores).await);
    let ended = open(stores, &user).await;
    let own = open(stores, &user).await;
    let foreign = open(stores, &other).await;

    assert_eq!(end(stores, &ended.token, noon()).await, Some(ended.session));

    for (opened, user) in [(own, user), (foreign, other)] {
        assert_eq!(signed_in(stores, opened.session).await, Some(user));
        next(stores, &opened.token, noon()).await;
    }
}

/// Neither theft nor expiry is what is told of a session that is over.
pub async fn a_token_of_an_ended_session_tells_so_used_or_expired(stores: &impl Stores) {
    let user = user(stores).await;
    let Opened { session, token } = open(stores, &user).await;
    let successor = next(stores, &token, noon()).await;
    assert!(end_by_id(stores, session, noon()).await);
    let expiry = noon().plus(build::REFRESH_TOKEN_TTL);
    for at in [noon(), just_after(end_of_grace()), expiry] {
        for token in [&token, &successor] {
            let outcome = present(stores, token, at).await;
            assert_eq!(outcome, Rotation::Ended(session));
        }
    }
}

async fn end_by_id(stores: &impl Stores, session: SessionRef, at: Timestamp) -> bool {
    stores.sessions().end(session.session, at).await.unwrap()
}

/// And no other.
pub async fn ending_a_session_signs_it_out(stores: &impl Stores) {
    let (user, other) = (user(stores).await, user(stores).await);
    let ended = open(stores, &user).await;
    let own = open(stores, &user).await;
    let foreign = open(stores, &other).await;

    assert!(end_by_id(stores, ended.session, noon()).await);

    assert_eq!(signed_in(stores, ended.session).await, None);
    let outcome = present(stores, &ended.token, noon()).await;
    assert_eq!(outcome, Rotation::Ended(ended.session));
    for (opened, user) in [(own, user), (foreign, other)] {
        assert_eq!(signed_in(stores, opened.session).await, Some(user));
        next(stores, &opened.token, noon()).await;
    }
}

/// Whichever way it was ended before.
pub async fn ending_a_session_again_answers_no(stores: &impl Stores) {
    let user = user(stores).await;
    let (by_id, by_token) = (open(stores, &user).await, open(stores, &user).await);
    assert!(end_by_id(stores, by_id.session, noon()).await);
    end(stores, &by_token.token, noon()).await;
    for opened in [by_id, by_token] {
        assert!(!end_by_id(stores, opened.session, noon()).await);
    }
}

/// Up to the microsecond before.
pub async fn a_session_can_be_ended_until_it_expires(stores: &impl Stores) {
    let user = user(stores).await;
    let (late, in_time) = (open(stores, &user).await, open(stores, &user).await);
    let expiry = noon().plus(build::REFRESH_TOKEN_TTL);
    assert!(!end_by_id(stores, late.session, expiry).await);
    assert!(end_by_id(stores, in_time.session, just_before(expiry)).await);
}

/// The other nineteen find it ended.
pub async fn concurrent_ends_of_one_session_let_one_through(stores: &impl Stores) {
    let user = user(stores).await;
    let session = open(stores, &user).await.session.session;
    let outcomes = at_once(20, |_| {
        let sessions = stores.sessions();
        async move { sessions.end(session, noon()).await.unwrap() }
    })
    .await;
    assert_eq!(count(&outcomes, |ended| *ended), 1);
}

/// Everybody stays signed in.
pub async fn ending_an_unknown_session_ends_nothing(stores: &impl Stores) {
    let user = user(stores).await;
    let opened = open(stores, &user).await;
    let unknown = SessionRef {
        session: build::id(),
        ..opened.session
    };
    assert!(!end_by_id(stores, unknown, noon()).await);
    assert_eq!(signed_in(stores, opened.session).await, Some(user));
}

/// The one of the registration too; that some ended before, or all did, is no error.
pub async fn ending_all_sessions_leaves_none(stores: &impl Stores) {
    let user = build::user().build();
    let account = build::account(&user);
    register(stores, &account).await;
    let mut sessions = vec![build::session_ref(&user, &account.session)];
    for _ in 0..3 {
        sessions.push(open(stores, &user).await.session);
    }
    assert!(end_by_id(stores, *sessions.last().unwrap(), noon()).await);
    for at in [noon(), just_after(noon())] {
        stores.sessions().end_all(user.id, at).await.unwrap();
        for session in &sessions {
            assert_eq!(signed_in(stores, *session).await, None);
        }
        assert_eq!(list(stores, &user, noon()).await, []);
    }
    // The account is as open as ever.
    let opened = open(stores, &user).await;
    assert_eq!(signed_in(stores, opened.session).await, Some(user));
}

/// Also where there is nothing to end.
pub async fn ending_all_sessions_leaves_other_users_alone(stores: &impl Stores) {
    let (user, other) = (user(stores).await, user(stores).await);
    let opened = open(stores, &other).await;
    for id in [user.id, build::id()] {
        stores.sessions().end_all(id, noon()).await.unwrap();
    }
    assert_eq!(signed_in(stores, opened.session).await, Some(other));
    next(stores, &opened.token, noon()).await;
}
