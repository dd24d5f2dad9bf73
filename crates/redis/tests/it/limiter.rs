//! What a limiter in Redis does beyond the contract.

use std::time::Duration;

use deadpool_redis::redis;
use tasks_domain::account::{CacheLookup, SessionRef, SignedInCache, User};
use tasks_domain::health::PoolProbe;
use tasks_domain::rate_limit::{Decision, Quota, RateLimitKey, RateLimiter};
use tasks_redis::RedisStore;
use tasks_testkit::clock::{FrozenClock, noon};
use tasks_testkit::{build, tokio};
use tokio::task::JoinSet;

use crate::{MINUTE, patient, quota, raw, remember, session_of, shared, shared_url, somebody};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_let_exactly_the_limit_pass() {
    let (one, other, key) = (shared().await, shared().await, somebody());
    let mut requests = JoinSet::new();
    for number in 0..130 {
        let store = if number % 2 == 0 { &one } else { &other }.clone();
        requests.spawn(async move { store.hit(key, quota(100)).await.unwrap() });
    }
    let decisions = requests.join_all().await;
    let mut passed: Vec<_> = decisions.iter().filter(|one| one.allowed).collect();
    passed.sort_by_key(|decision| decision.remaining);
    assert!(passed.iter().map(|decision| decision.remaining).eq(0..100));
    assert!(
        decisions
            .iter()
            .all(|decision| decision.reset > Duration::ZERO && decision.reset <= MINUTE)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_slides_by_the_clock_of_redis() {
    let store = shared().await;
    let quota = Quota {
        limit: 2,
        window: Duration::from_secs(2),
    };
    let two_requests = async {
        loop {
            let key = somebody();
            let first = store.hit(key, quota).await.unwrap();
            assert_eq!((first.allowed, first.remaining), (true, 1));
            assert_eq!(first.reset, quota.window);
            let second = store.hit(key, quota).await.unwrap();
            if second.remaining == 0 {
                return (key, second);
            }
            // The machine was busy for a whole window.
        }
    };
    let two_requests = tokio::time::timeout(MINUTE, two_requests);
    let (key, second) = two_requests.await.expect("both are in one window");
    assert!(second.reset < quota.window);
    crate::until("passes again", || async {
        let decision = store.hit(key, quota).await.unwrap();
        assert!(decision.allowed || decision.reset < second.reset);
        decision.allowed
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_quotas_of_one_key_are_counted_apart() {
    let (store, key) = (shared().await, somebody());
    let other = Quota {
        window: Duration::from_secs(59),
        ..quota(1)
    };
    for quota in [quota(1), quota(2), other] {
        for _ in 0..quota.limit {
            assert!(store.hit(key, quota).await.unwrap().allowed);
        }
        assert!(!store.hit(key, quota).await.unwrap().allowed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_not_counted_with_an_address() {
    let store = shared().await;
    let RateLimitKey::User(user) = somebody() else {
        panic!("a user");
    };
    let bits = user.uuid().as_u128();
    let address = RateLimitKey::Address(std::net::Ipv6Addr::from_bits(bits).into());
    assert!(store.hit(address, quota(1)).await.unwrap().allowed);
    let user = RateLimitKey::User(user);
    assert!(store.hit(user, quota(1)).await.unwrap().allowed);
}

#[tokio::test(flavor = "multi_thread")]
async fn times_are_told_apart_to_the_microsecond() {
    let clock = FrozenClock::at_noon();
    let store = shared()
        .await
        .with_clock(std::sync::Arc::new(clock.clone()));
    let key = somebody();
    assert!(store.hit(key, quota(1)).await.unwrap().allowed);
    clock.set(tasks_testkit::clock::just_before(noon().plus(MINUTE)));
    let refused = store.hit(key, quota(1)).await.unwrap();
    assert_eq!(refused.reset, Duration::from_micros(1));
    clock.advance(Duration::from_micros(1));
    assert!(store.hit(key, quota(1)).await.unwrap().allowed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_locks_nobody_out() {
    let clock = FrozenClock::new(noon().plus(Duration::from_hours(1)));
    let store = shared()
        .await
        .with_clock(std::sync::Arc::new(clock.clone()));
    let key = somebody();
    for _ in 0..2 {
        assert!(store.hit(key, quota(2)).await.unwrap().allowed);
    }
    clock.set(noon());
    let refused = store.hit(key, quota(2)).await.unwrap();
    assert_eq!((refused.allowed, refused.reset), (false, MINUTE));
    clock.advance(MINUTE);
    assert!(store.hit(key, quota(2)).await.unwrap().allowed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_is_one_key_that_expires() {
    let (store, key) = (shared().await, somebody());
    let RateLimitKey::User(user) = key else {
        panic!("a user");
    };
    for _ in 0..3 {
        store.hit(key, quota(2)).await.unwrap();
    }
    let mut redis = raw(shared_url().await).await;
    let pattern = format!("*{user}*");
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(pattern)
        .query_async(&mut redis)
        .await
        .unwrap();
    let [key] = &*keys else {
        panic!("not one key: {keys:?}");
    };
    assert!(key.contains(&format!("{{user:{user}}}")), "{key}");
    let millis: i64 = redis::cmd("PTTL")
        .arg(key)
        .query_async(&mut redis)
        .await
        .unwrap();
    assert!((1..=60_000).contains(&millis), "{millis}");
    let members: u32 = redis::cmd("ZCARD")
        .arg(key)
        .query_async(&mut redis)
        .await
        .unwrap();
    assert_eq!(members, 2, "a refused request is not counted");
}

/// Requests that are given up in the middle leave nothing behind that others would stumble over.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_given_up_disturbs_nobody() {
    let store = patient(shared_url().await);
    for _ in 0..100 {
        tokio::select! {
            biased;
            _ = store.hit(somebody(), quota(7)) => {}
            () = std::future::ready(()) => {}
        }
    }
    let key = somebody();
    for remaining in (0..20).rev() {
        let decision = store.hit(key, quota(20)).await.unwrap();
        assert_eq!((decision.allowed, decision.remaining), (true, remaining));
    }
    assert_eq!(store.unavailable_total(), 0);
    // Those that were given up run on.
    crate::until("all are given back", || async { store.pool().in_use == 0 }).await;
}

/// Somebody, with two sessions that are remembered.
async fn remembered_twice(store: &RedisStore) -> (User, [SessionRef; 2]) {
    let user = build::user().build();
    let sessions = [session_of(&user), session_of(&user)];
    for session in sessions {
        remember(store, session, &user).await;
    }
    (user, sessions)
}

/// What counts a request of a user's who is remembered: a look-up of one of the sessions, or a hit.
async fn count(
    store: &RedisStore,
    user: &User,
    session: Option<SessionRef>,
    limit: u32,
) -> Decision {
    let Some(session) = session else {
        let key = RateLimitKey::User(user.id);
        return store.hit(key, quota(limit)).await.unwrap();
    };
    let (looked_up, decision) = store.get_and_count(session, quota(limit)).await;
    assert_eq!(looked_up, CacheLookup::Hit(user.clone()));
    decision.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn look_ups_in_any_session_and_hits_are_counted_together() {
    let clock = FrozenClock::at_noon();
    let store = shared()
        .await
        .with_clock(std::sync::Arc::new(clock.clone()));
    let (user, [one, other]) = remembered_twice(&store).await;
    for (by, allowed, remaining, reset) in [
        (Some(one), true, 3, 60),
        (None, true, 2, 50),
        (Some(other), true, 1, 40),
        (Some(one), true, 0, 30),
        // Refused, and not counted.
        (Some(one), false, 0, 20),
        (None, false, 0, 10),
        // The first is forgotten; the oldest that counts came 10 s after it.
        (Some(other), true, 0, 10),
        (None, true, 0, 10),
        (Some(one), true, 0, 10),
        (Some(one), true, 0, 30),
        (Some(other), false, 0, 20),
    ] {
        let expected = Decision {
            allowed,
            remaining,
            reset: Duration::from_secs(reset),
        };
        assert_eq!(count(&store, &user, by, 4).await, expected);
        clock.advance(Duration::from_secs(10));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn look_ups_and_hits_at_two_instances_let_exactly_the_limit_pass() {
    let (one, other) = (shared().await, shared().await);
    let (user, [phone, desk]) = remembered_twice(&one).await;
    let mut requests = JoinSet::new();
    for number in 0..130 {
        let store = if number % 2 == 0 { &one } else { &other }.clone();
        let by = [Some(phone), Some(desk), None][number % 3];
        let user = user.clone();
        requests.spawn(async move { count(&store, &user, by, 100).await });
    }
    let decisions = requests.join_all().await;
    let mut passed: Vec<_> = decisions.iter().filter(|one| one.allowed).collect();
    passed.sort_by_key(|decision| decision.remaining);
    assert!(passed.iter().map(|decision| decision.remaining).eq(0..100));
}

/// And is, once they are.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_counts_nobody_who_is_not_remembered() {
    let store = shared().await;
    let user = build::user().build();
    let session = session_of(&user);
    for remaining in [6, 5] {
        for _ in 0..3 {
            let (looked_up, decision) = store.get_and_count(session, quota(7)).await;
            assert!(matches!(looked_up, CacheLookup::Miss(_)));
            assert_eq!(decision, None);
        }
        remember(&store, session, &user).await;
        // Neither is another session, which may have ended.
        let other = store.get_and_count(session_of(&user), quota(7)).await;
        assert!(matches!(other, (CacheLookup::Miss(_), None)), "{other:?}");
        let decision = count(&store, &user, Some(session), 7).await;
        assert_eq!((decision.allowed, decision.remaining), (true, remaining));
        store.invalidate(user.id).await;
    }
    let decision = count(&store, &user, None, 7).await;
    assert_eq!((decision.allowed, decision.remaining), (true, 4));
}

/// The store is asked for a user who cannot be read, but was counted.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_that_counted_says_so_whomever_it_finds() {
    let (store, mut redis) = (shared().await, raw(shared_url().await).await);
    let (user, [session, _]) = remembered_twice(&store).await;
    let _: () = redis::cmd("HSET")
        .arg(format!("tasks:signed-in:{{{}}}", user.id))
        .arg(session.session.to_string())
        .arg("{}")
        .query_async(&mut redis)
        .await
        .unwrap();
    let (looked_up, decision) = store.get_and_count(session, quota(7)).await;
    let CacheLookup::Miss(lease) = looked_up else {
        panic!("a user of nothing");
    };
    assert_eq!(decision.unwrap().remaining, 6);
    store.put(session, &user, lease).await;
    let decision = count(&store, &user, Some(session), 7).await;
    assert_eq!(decision.remaining, 5);
}
