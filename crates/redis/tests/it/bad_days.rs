//! Redis away, and back.

use std::error::Error as _;

use tasks_domain::account::{CacheLookup, SessionRef, SignedInCache, User};
use tasks_domain::health::HealthProbe;
use tasks_domain::rate_limit::RateLimiter;
use tasks_domain::store::StoreError;
use tasks_redis::RedisStore;
use tasks_testkit::servers::{Proxy, RedisServer};
use tasks_testkit::{build, tokio};

use crate::{healthy, knows, patient, quota, remember, session_of, somebody, until};

async fn is_well(store: &RedisStore) -> bool {
    store.hit(somebody(), quota(1)).await.is_ok()
}

async fn neither_knows_nor_counts(store: &RedisStore, session: SessionRef) -> bool {
    let (looked_up, decision) = store.get_and_count(session, quota(1)).await;
    matches!(looked_up, CacheLookup::Miss(_)) && decision.is_none()
}

/// The first call pays a little, the others nothing; a change meanwhile is not lost; all is well
/// again without a new store. Says what the first call says.
async fn away_and_back(url: &str, harm: impl FnOnce(), heal: impl FnOnce()) -> String {
    let store = RedisStore::connect_lazy(url).unwrap();
    // The machine may be too busy for the first connection.
    until("is well", || is_well(&store)).await;
    let user = build::user().build();
    let session = session_of(&user);
    remember(&patient(url), session, &user).await;
    let before = store.unavailable_total();

    harm();
    let first = store.hit(somebody(), quota(1)).await.unwrap_err();
    assert!(matches!(first, StoreError::Unavailable(_)), "{first:?}");
    for _ in 0..20 {
        let error = store.hit(somebody(), quota(1)).await.unwrap_err();
        let why = error.source().unwrap().to_string();
        assert_eq!(why, "Redis did not answer a moment ago");
    }
    assert_eq!(store.unavailable_total() - before, 21);
    assert!(!knows(&store, session).await);
    // A look-up is no request that was not counted: it goes on to be.
    assert!(neither_knows_nor_counts(&store, session).await);
    assert_eq!(store.unavailable_total() - before, 21);
    // The user changes.
    store.invalidate(user.id).await;
    // Also where it would answer a PING.
    assert!(store.check().await.is_err());

    heal();
    until("is well again", || is_well(&store)).await;
    let other = patient(url);
    assert!(!knows(&other, session).await, "the old user is remembered");
    assert!(!knows(&store, session).await, "the old user is remembered");
    until("is remembered again", || async {
        if let CacheLookup::Miss(lease) = store.get(session).await {
            store.put(session, &user, lease).await;
        }
        knows(&store, session).await
    })
    .await;
    healthy(&store).await;
    first.source().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped() {
    let server = RedisServer::start().await;
    away_and_back(&server.url(), || server.stop(), || server.restart()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed() {
    let server = RedisServer::start().await;
    away_and_back(&server.url(), || server.kill(), || server.restart()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen() {
    let server = RedisServer::start().await;
    let why = away_and_back(&server.url(), || server.freeze(), || server.thaw()).await;
    // By this limit, and not by a longer one beneath it.
    assert_eq!(why, "no answer within 100 ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_off() {
    let server = RedisServer::start().await;
    let proxy = Proxy::to(&server.url().replace("redis://", ""));
    let url = format!("redis://{}", proxy.address());
    away_and_back(&url, || proxy.cut(), || proxy.resume()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only() {
    let server = RedisServer::start().await;
    let harm = || assert_eq!(server.command("REPLICAOF 127.0.0.1 1"), "+OK");
    let heal = || assert_eq!(server.command("REPLICAOF NO ONE"), "+OK");
    away_and_back(&server.url(), harm, heal).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_for_a_password() {
    let server = RedisServer::start().await;
    let harm = || server.config(&["--requirepass", "secret"]);
    away_and_back(&server.url(), harm, || server.restart()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn out_of_memory() {
    let server = RedisServer::start().await;
    let harm = || assert_eq!(server.command("CONFIG SET maxmemory 1"), "+OK");
    let heal = || assert_eq!(server.command("CONFIG SET maxmemory 0"), "+OK");
    away_and_back(&server.url(), harm, heal).await;
}

/// A Redis that answers, but does not do what it is needed for, is not taken for well.
#[tokio::test(flavor = "multi_thread")]
async fn while_it_cannot_write_it_is_asked_in_the_background_only() {
    let server = RedisServer::start().await;
    let store = patient(&server.url());
    assert!(is_well(&store).await);
    server.command("CONFIG SET maxmemory 1");
    server.command("CONFIG RESETSTAT");
    assert!(!is_well(&store).await);
    // The call that noticed, and two more that asked in vain.
    until("it is asked again", || async {
        let error = store.hit(somebody(), quota(1)).await.unwrap_err();
        let why = error.source().unwrap().to_string();
        assert_eq!(why, "Redis did not answer a moment ago");
        let stats = server.command("INFO commandstats");
        let (_, calls) = stats.split_once("cmdstat_evalsha:calls=").unwrap();
        let (calls, _) = calls.split_once(',').unwrap();
        calls.parse::<u32>().unwrap() >= 3
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn emptied_it_goes_on() {
    let server = RedisServer::start().await;
    let store = patient(&server.url());
    let user = build::user().build();
    let session = session_of(&user);
    for command in ["FLUSHALL", "SCRIPT FLUSH", "CLIENT KILL TYPE normal"] {
        store.hit(somebody(), quota(1)).await.unwrap();
        store.invalidate(user.id).await;
        remember(&store, session, &user).await;
        server.command(command);
        store.hit(somebody(), quota(1)).await.unwrap();
        // Another store's check, since one that is late would open the breaker of this one.
        healthy(&patient(&server.url())).await;
        assert_eq!(store.unavailable_total(), 0, "{command}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn emptied_it_looks_and_counts_on() {
    let server = RedisServer::start().await;
    let store = patient(&server.url());
    for command in ["FLUSHALL", "SCRIPT FLUSH", "CLIENT KILL TYPE normal"] {
        let user = build::user().build();
        let session = session_of(&user);
        remember(&store, session, &user).await;
        for remaining in [2, 1] {
            server.command(command);
            let (looked_up, decision) = store.get_and_count(session, quota(3)).await;
            let decision = if let CacheLookup::Miss(lease) = looked_up {
                assert_eq!(decision, None, "{command}");
                store.put(session, &user, lease).await;
                assert!(knows(&store, session).await, "{command}");
                store.get_and_count(session, quota(3)).await.1
            } else {
                decision
            };
            let decision = decision.unwrap();
            assert!(decision.allowed, "{command}");
            let remaining = if command == "FLUSHALL" { 2 } else { remaining };
            assert_eq!(decision.remaining, remaining, "{command}");
        }
        assert_eq!(store.unavailable_total(), 0, "{command}");
    }
}

/// It leaves Redis alone from then on, like any other.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_that_may_count_notices_that_redis_is_away() {
    let server = RedisServer::start().await;
    let store = RedisStore::connect_lazy(&server.url()).unwrap();
    until("is well", || is_well(&store)).await;
    let user = build::user().build();
    let session = session_of(&user);
    remember(&patient(&server.url()), session, &user).await;
    let before = store.unavailable_total();
    server.stop();
    assert!(neither_knows_nor_counts(&store, session).await);
    let error = store.hit(somebody(), quota(1)).await.unwrap_err();
    let why = error.source().unwrap().to_string();
    assert_eq!(why, "Redis did not answer a moment ago");
    assert_eq!(store.unavailable_total() - before, 1);
    server.restart();
    never_believes(&store, session).await;
}

/// Whatever the first call is that notices.
#[tokio::test(flavor = "multi_thread")]
async fn an_invalidation_that_finds_redis_away_is_delivered_when_it_is_back() {
    let server = RedisServer::start().await;
    let (store, url) = (
        RedisStore::connect_lazy(&server.url()).unwrap(),
        server.url(),
    );
    until("is well", || is_well(&store)).await;
    let user = build::user().build();
    let session = session_of(&user);
    remember(&patient(&url), session, &user).await;
    server.stop();
    store.invalidate(user.id).await;
    server.restart();
    // The server is back with the old user, and this process does not believe it.
    assert!(!knows(&store, session).await);
    until("is well again", || is_well(&store)).await;
    assert!(!knows(&patient(&url), session).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalidation_that_is_not_delivered_yet_is_when_the_store_closes() {
    let server = RedisServer::start().await;
    let (store, other) = (patient(&server.url()), patient(&server.url()));
    let user = build::user().build();
    let session = session_of(&user);
    remember(&store, session, &user).await;
    server.stop();
    store.invalidate(user.id).await;
    server.restart();
    store.close().await;
    assert!(!knows(&other, session).await);
}

/// The limits are not.
#[tokio::test(flavor = "multi_thread")]
async fn after_redis_was_away_everybody_is_forgotten_and_nothing_else() {
    let server = RedisServer::start().await;
    let (store, url) = (
        RedisStore::connect_lazy(&server.url()).unwrap(),
        server.url(),
    );
    let other = patient(&url);
    let users: Vec<_> = (0..3).map(|_| build::user().build()).collect();
    let sessions: Vec<_> = users.iter().map(session_of).collect();
    for (user, session) in users.iter().zip(&sessions) {
        remember(&other, *session, user).await;
    }
    let key = somebody();
    assert!(other.hit(key, quota(1)).await.unwrap().allowed);

    server.stop();
    assert!(!is_well(&store).await);
    server.restart();
    until("is well again", || is_well(&store)).await;
    for session in sessions {
        assert!(!knows(&other, session).await);
    }
    assert!(!other.hit(key, quota(1)).await.unwrap().allowed);
}

/// Two instances that are well, on a server where a user is remembered.
async fn two_on(url: &str) -> (RedisStore, RedisStore, SessionRef) {
    let one = RedisStore::connect_lazy(url).unwrap();
    let other = RedisStore::connect_lazy(url).unwrap();
    for store in [&one, &other] {
        until("is well", || is_well(store)).await;
    }
    let user = build::user().build();
    let session = session_of(&user);
    remember(&patient(url), session, &user).await;
    (one, other, session)
}

/// Asks until Redis is back as it sees it, and never gets the old user meanwhile.
async fn never_believes(store: &RedisStore, session: SessionRef) {
    until("is well again", || async {
        assert!(!knows(store, session).await, "the old user is believed");
        is_well(store).await
    })
    .await;
    assert!(!knows(store, session).await, "the old user is believed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_while_redis_was_frozen_no_other_instance_believes() {
    let server = RedisServer::start().await;
    let (one, other, session) = two_on(&server.url()).await;
    server.freeze();
    // Both notice before the change, so that it is not sent and read when Redis goes on.
    for store in [&one, &other] {
        assert!(!is_well(store).await);
    }
    one.invalidate(session.user).await;
    server.thaw();
    never_believes(&other, session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_instance_changed_that_ended_before_redis_was_back_no_other_believes() {
    for freeze in [true, false] {
        let server = RedisServer::start().await;
        let (one, other, session) = two_on(&server.url()).await;
        if freeze {
            server.freeze();
        } else {
            server.stop();
        }
        for store in [&one, &other] {
            assert!(!is_well(store).await);
        }
        one.invalidate(session.user).await;
        drop(one);
        if freeze {
            server.thaw();
        } else {
            server.restart();
        }
        never_believes(&other, session).await;
    }
}

/// It has nothing to do with Redis while it is away, but finds its connection broken.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_only_finds_its_connection_broken_believes_nothing_older() {
    let server = RedisServer::start().await;
    let (one, _, session) = two_on(&server.url()).await;
    let idle = patient(&server.url());
    assert!(knows(&idle, session).await);
    server.stop();
    one.invalidate(session.user).await;
    drop(one);
    server.restart();
    assert!(!knows(&idle, session).await, "the old user is believed");
}

/// It closes the broken connections, by which the next request would have noticed it.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_that_only_a_health_check_noticed_is_one_too() {
    let server = RedisServer::start().await;
    let (one, _, session) = two_on(&server.url()).await;
    let idle = patient(&server.url());
    assert!(knows(&idle, session).await);
    server.stop();
    assert!(idle.check().await.is_err());
    one.invalidate(session.user).await;
    drop(one);
    server.restart();
    assert!(!knows(&idle, session).await, "the old user is believed");
}

/// Redis took the change, and lost it with what it had not written.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_old_dump_brings_back_is_not_believed() {
    let server = RedisServer::start().await;
    let store = patient(&server.url());
    let user = build::user().build();
    let session = session_of(&user);
    remember(&store, session, &user).await;
    assert_eq!(server.command("SAVE"), "+OK");
    store.invalidate(user.id).await;
    server.kill();
    server.restart();
    assert!(!knows(&store, session).await, "the old user is believed");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_told_of_a_change_when_it_is_back_though_nobody_asks() {
    let server = RedisServer::start().await;
    let (one, _, session) = two_on(&server.url()).await;
    server.stop();
    one.invalidate(session.user).await;
    server.restart();
    let stranger = patient(&server.url());
    until("it is forgotten", || async {
        !knows(&stranger, session).await
    })
    .await;
}

/// What was put before Redis was away is replaced, by whoever asks first, and believed by all.
#[tokio::test(flavor = "multi_thread")]
async fn after_redis_was_away_users_are_remembered_anew() {
    let server = RedisServer::start().await;
    let (one, other, session) = two_on(&server.url()).await;
    server.freeze();
    for store in [&one, &other] {
        assert!(!is_well(store).await);
    }
    server.thaw();
    for store in [&one, &other] {
        until("is well again", || is_well(store)).await;
    }
    let user = User {
        id: session.user,
        ..build::user().build()
    };
    until("both believe it", || async {
        if let CacheLookup::Miss(lease) = one.get(session).await {
            one.put(session, &user, lease).await;
        }
        knows(&other, session).await
    })
    .await;
}
