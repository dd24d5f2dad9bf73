//! The contract of [`SignedInCache`], for a cache that is well: one that fails knows
//! nothing.

use std::sync::Arc;
use std::time::Duration;

use tasks_domain::account::{CacheLookup, Lease, SessionRef, SignedInCache, User};
use tasks_domain::rate_limit::Quota;

use super::scene::at_once;
use crate::build;

suite! { ($) signed_in_cache_contract runs signed_in_cache on "an empty `Arc<dyn SignedInCache>`":
    what_was_put_is_remembered,
    a_later_put_replaces_an_earlier_one,
    another_session_is_not_remembered,
    a_session_is_not_remembered_for_another_user,
    invalidating_forgets_every_session_of_the_user,
    invalidating_leaves_others_alone,
    a_lease_from_before_an_invalidation_is_worth_nothing,
    a_lease_from_after_an_invalidation_is_good,
    a_lease_outlives_the_invalidation_of_somebody_else,
    concurrent_calls_never_leave_an_old_user,
    a_look_up_that_may_count_finds_what_any_does,
}

fn session_of(user: &User) -> SessionRef {
    SessionRef {
        user: user.id,
        session: build::id(),
    }
}

async fn hit(cache: &Arc<dyn SignedInCache>, session: SessionRef) -> Option<User> {
    match cache.get(session).await {
        CacheLookup::Hit(user) => Some(user),
        CacheLookup::Miss(_) => None,
    }
}

async fn lease(cache: &Arc<dyn SignedInCache>, session: SessionRef) -> Lease {
    match cache.get(session).await {
        CacheLookup::Hit(user) => panic!("remembers {user:?}"),
        CacheLookup::Miss(lease) => lease,
    }
}

async fn remember(cache: &Arc<dyn SignedInCache>, session: SessionRef, user: &User) {
    let lease = lease(cache, session).await;
    cache.put(session, user, lease).await;
}

/// Every field, more than once.
pub async fn what_was_put_is_remembered(cache: &Arc<dyn SignedInCache>) {
    let user = build::user().full_name("Žofie 🦀 李").active().build();
    let session = session_of(&user);
    remember(cache, session, &user).await;
    for _ in 0..2 {
        assert_eq!(hit(cache, session).await.as_ref(), Some(&user));
    }
}

/// Two requests may have missed at the same time.
pub async fn a_later_put_replaces_an_earlier_one(cache: &Arc<dyn SignedInCache>) {
    let user = build::user().build();
    let session = session_of(&user);
    let lease = lease(cache, session).await;
    cache.put(session, &user, lease).await;
    let user = User {
        is_active: true,
        ..user
    };
    cache.put(session, &user, lease).await;
    assert_eq!(hit(cache, session).await, Some(user));
}

/// It may have ended.
pub async fn another_session_is_not_remembered(cache: &Arc<dyn SignedInCache>) {
    let user = build::user().build();
    remember(cache, session_of(&user), &user).await;
    assert_eq!(hit(cache, session_of(&user)).await, None);
}

/// A session's id alone is not enough.
pub async fn a_session_is_not_remembered_for_another_user(cache: &Arc<dyn SignedInCache>) {
    let (user, other) = (build::user().build(), build::user().build());
    let session = session_of(&user);
    remember(cache, session, &user).await;
    let stolen = SessionRef {
        user: other.id,
        ..session
    };
    assert_eq!(hit(cache, stolen).await, None);
}

/// A change to a user concerns all of them.
pub async fn invalidating_forgets_every_session_of_the_user(cache: &Arc<dyn SignedInCache>) {
    let user = build::user().build();
    let sessions = [session_of(&user), session_of(&user), session_of(&user)];
    for session in sessions {
        remember(cache, session, &user).await;
    }
    cache.invalidate(user.id).await;
    for session in sessions {
        assert_eq!(hit(cache, session).await, None);
    }
}

/// They stay remembered.
pub async fn invalidating_leaves_others_alone(cache: &Arc<dyn SignedInCache>) {
    let (user, other) = (build::user().build(), build::user().build());
    let session = session_of(&other);
    remember(cache, session, &other).await;
    cache.invalidate(user.id).await;
    assert_eq!(hit(cache, session).await, Some(other));
}

/// What a request read before a change must not come back after it, in any session.
pub async fn a_lease_from_before_an_invalidation_is_worth_nothing(cache: &Arc<dyn SignedInCache>) {
    let user = build::user().build();
    let sessions = [session_of(&user), session_of(&user)];
    let mut leases = Vec::new();
    for session in sessions {
        leases.push(lease(cache, session).await);
    }
    cache.invalidate(user.id).await;
    for (session, lease) in sessions.into_iter().zip(leases) {
        cache.put(session, &user, lease).await;
        assert_eq!(hit(cache, session).await, None);
    }
}

/// However often the user was invalidated before.
pub async fn a_lease_from_after_an_invalidation_is_good(cache: &Arc<dyn SignedInCache>) {
    let user = build::user().build();
    let session = session_of(&user);
    for _ in 0..3 {
        remember(cache, session, &user).await;
        assert_eq!(hit(cache, session).await.as_ref(), Some(&user));
        cache.invalidate(user.id).await;
    }
}

/// Changes to one user do not make the cache useless for the others.
pub async fn a_lease_outlives_the_invalidation_of_somebody_else(cache: &Arc<dyn SignedInCache>) {
    let (user, other) = (build::user().build(), build::user().build());
    let session = session_of(&user);
    let lease = lease(cache, session).await;
    cache.invalidate(other.id).await;
    cache.put(session, &user, lease).await;
    assert_eq!(hit(cache, session).await, Some(user));
}

/// Twenty requests read the old user while the user changes; afterwards nobody is remembered.
pub async fn concurrent_calls_never_leave_an_old_user(cache: &Arc<dyn SignedInCache>) {
    let user = build::user().build();
    let session = session_of(&user);
    let old = lease(cache, session).await;
    at_once(21, |n| {
        let (cache, user) = (cache.clone(), user.clone());
        async move {
            if n == 10 {
                cache.invalidate(user.id).await;
            } else {
                cache.put(session, &user, old).await;
            }
        }
    })
    .await;
    assert_eq!(hit(cache, session).await, None);
}

/// A user who is remembered, and else a lease that is as good. Who is not remembered is not counted.
pub async fn a_look_up_that_may_count_finds_what_any_does(cache: &Arc<dyn SignedInCache>) {
    const QUOTA: Quota = Quota {
        limit: 7,
        window: Duration::from_mins(1),
    };
    let user = build::user().full_name("Žofie 🦀 李").active().build();
    let session = session_of(&user);
    for _ in 0..2 {
        let (CacheLookup::Miss(lease), None) = cache.get_and_count(session, QUOTA).await else {
            panic!("remembers or counts {user:?}");
        };
        cache.put(session, &user, lease).await;
        assert_eq!(hit(cache, session).await.as_ref(), Some(&user));
        for _ in 0..2 {
            let (found, _) = cache.get_and_count(session, QUOTA).await;
            assert_eq!(found, CacheLookup::Hit(user.clone()));
        }
        cache.invalidate(user.id).await;
        cache.put(session, &user, lease).await;
    }
}
