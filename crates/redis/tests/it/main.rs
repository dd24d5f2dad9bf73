//! The contract suites, and what is Redis's own, on real servers.
#![cfg(test)]

mod bad_days;
mod cache;
mod connect;
mod limiter;
mod spans;
mod traces;

use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis;
use tasks_domain::account::{CacheLookup, SessionRef, SignedInCache, User};
use tasks_domain::health::HealthProbe;
use tasks_domain::rate_limit::{Quota, RateLimitKey};
use tasks_redis::RedisStore;
use tasks_testkit::build;
use tasks_testkit::clock::FrozenClock;
use tasks_testkit::contract::Limiter;
use tasks_testkit::servers::RedisServer;
use tasks_testkit::tokio;
use tokio::sync::OnceCell;

/// For tests of anything but the time limit: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(20);

const MINUTE: Duration = Duration::from_mins(1);

mod rate_limiter_contract {
    tasks_testkit::rate_limiter_contract!(super::frozen_limiter);
}

mod signed_in_cache_contract {
    tasks_testkit::signed_in_cache_contract!(super::cache_port);
}

async fn frozen_limiter() -> Limiter {
    let clock = FrozenClock::at_noon();
    let store = shared().await.with_clock(Arc::new(clock.clone()));
    (Arc::new(store), clock)
}

async fn cache_port() -> Arc<dyn SignedInCache> {
    Arc::new(shared().await)
}

/// A database of the shared server that only these tests use. It is emptied once, since the ids
/// that tests build are the same in every run.
async fn shared_url() -> &'static str {
    static URL: OnceCell<String> = OnceCell::const_new();
    let make = || async {
        let server = RedisServer::shared().await.url();
        let (scheme, rest) = server.split_once("://").unwrap();
        let host = rest.split('/').next().unwrap();
        let url = format!("{scheme}://{host}/15");
        let mut connection = raw(&url).await;
        let () = redis::cmd("FLUSHDB")
            .query_async(&mut connection)
            .await
            .unwrap();
        url
    };
    URL.get_or_init(make).await
}

/// A store on the shared server.
async fn shared() -> RedisStore {
    patient(shared_url().await)
}

fn patient(url: &str) -> RedisStore {
    RedisStore::connect_with_limit(url, PATIENCE).unwrap()
}

/// A connection that goes past the store.
async fn raw(url: &str) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(url).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

fn somebody() -> RateLimitKey {
    RateLimitKey::User(build::id())
}

fn quota(limit: u32) -> Quota {
    Quota {
        limit,
        window: MINUTE,
    }
}

fn session_of(user: &User) -> SessionRef {
    SessionRef {
        user: user.id,
        session: build::id(),
    }
}

async fn remember(cache: &dyn SignedInCache, session: SessionRef, user: &User) {
    let CacheLookup::Miss(lease) = cache.get(session).await else {
        panic!("is remembered already");
    };
    cache.put(session, user, lease).await;
    assert_eq!(cache.get(session).await, CacheLookup::Hit(user.clone()));
}

/// A health check waits for a fixed time, which a busy machine may exceed now and then.
async fn healthy(store: &RedisStore) {
    until("is healthy", || async { store.check().await.is_ok() }).await;
}

/// Whether a session is remembered.
async fn knows(cache: &dyn SignedInCache, session: SessionRef) -> bool {
    matches!(cache.get(session).await, CacheLookup::Hit(_))
}

/// Asks until it is so.
async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let ask = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let limit = MINUTE;
    tokio::time::timeout(limit, ask).await.expect(what);
}
