//! The contract of [`SessionRepository`](tasks_domain::account::SessionRepository).

use std::net::{IpAddr, Ipv6Addr};

use tasks_domain::account::{
    ClientInfo, Locked, LoginAttempts, NewRefreshToken, NewSession, RefreshTokenState, Rotation,
    SessionOpening, SessionRef, TokenDigest, User,
};
use tasks_domain::clock::Timestamp;

use super::Stores;
use super::scene::{at_once, count, rotate, signed_in, user};
use crate::build;
use crate::clock::{just_after, just_before, noon};

suite! { ($) session_repository_contract runs sessions on "fresh [`Stores`](crate::contract::Stores)":
    opening_signs_the_user_in,
    opening_takes_any_client,
    opening_forgets_failed_logins,
    opening_under_a_lock_is_refused_and_stores_nothing,
    opening_when_the_lock_ends_is_granted,
    opening_without_an_account_stores_nothing,
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
}

/// A session that was just opened.
struct Opened {
    session: SessionRef,
    token: TokenDigest,
}

async fn try_open(
    stores: &impl Stores,
    user: &User,
    session: &NewSession,
    now: Timestamp,
) -> SessionOpening {
    let sessions = stores.sessions();
    let opening = sessions.open(user.id, session.clone(), now).await;
    opening.unwrap()
}

/// Opens a session at noon.
async fn open(stores: &impl Stores, user: &User) -> Opened {
    let session = build::session(noon());
    let opening = try_open(stores, user, &session, noon()).await;
    assert_eq!(opening, SessionOpening::Opened);
    Opened {
        session: build::session_ref(user, &session),
        token: session.refresh_token.digest,
    }
}

/// Rotates a token that works; its successor.
async fn next(stores: &impl Stores, token: &TokenDigest, at: Timestamp) -> TokenDigest {
    let successor = build::refresh_token(at);
    let outcome = rotate(stores, token, successor.clone()).await;
    assert!(matches!(outcome, Rotation::Rotated { .. }), "{outcome:?}");
    successor.digest
}

/// Presents a token at an instant, with a successor that nobody gets to know.
async fn present(stores: &impl Stores, token: &TokenDigest, at: Timestamp) -> Rotation {
    rotate(stores, token, build::refresh_token(at)).await
}

async fn end(stores: &impl Stores, token: &TokenDigest, at: Timestamp) -> Option<SessionRef> {
    stores.sessions().end_by_token(token, at).await.unwrap()
}

async fn fail_times(stores: &impl Stores, user: &User, times: usize) {
    for _ in 0..times {
        let users = stores.users();
        let outcome = users.record_failed_login(&user.email, noon()).await;
        outcome.unwrap();
    }
}

async fn attempts(stores: &impl Stores, user: &User) -> LoginAttempts {
    let found = stores.users().find_credentials(&user.email).await;
    found.unwrap().unwrap().attempts
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
        assert_eq!(opening, SessionOpening::Opened);
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
    fail_times(stores, &user, 4).await;
    open(stores, &user).await;
    assert_eq!(attempts(stores, &user).await, LoginAttempts::default());
}

/// The lock stays, nobody is signed in, and the token is unknown.
pub async fn opening_under_a_lock_is_refused_and_stores_nothing(stores: &impl Stores) {
    let user = user(stores).await;
    fail_times(stores, &user, 5).await;
    let locked = attempts(stores, &user).await;
    let until = noon().plus(LoginAttempts::LOCK);
    let last_moment = just_before(until);
    let session = build::session(last_moment);

    let opening = try_open(stores, &user, &session, last_moment).await;

    assert_eq!(opening, SessionOpening::Locked(Locked { until }));
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
    fail_times(stores, &user, 5).await;
    let until = noon().plus(LoginAttempts::LOCK);
    let opening = try_open(stores, &user, &build::session(until), until).await;
    assert_eq!(opening, SessionOpening::Opened);
    assert_eq!(attempts(stores, &user).await, LoginAttempts::default());
}

/// The account may have gone since the password was compared.
pub async fn opening_without_an_account_stores_nothing(stores: &impl Stores) {
    let nobody = build::user().build();
    let session = build::session(noon());
    let opening = try_open(stores, &nobody, &session, noon()).await;
    assert_eq!(opening, SessionOpening::NoAccount);
    assert_eq!(
        signed_in(stores, build::session_ref(&nobody, &session)).await,
        None
    );
    let token = &session.refresh_token.digest;
    assert_eq!(present(stores, token, noon()).await, Rotation::Refused);
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
    assert_eq!(present(stores, &successor, late).await, Rotation::Refused);
    assert_eq!(present(stores, &token, late).await, Rotation::Refused);
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
    assert_eq!(present(stores, &third, late).await, Rotation::Refused);
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
    assert_eq!(present(stores, &token, noon()).await, Rotation::Refused);
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
        assert_eq!(present(stores, &token, late).await, Rotation::Refused);
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
