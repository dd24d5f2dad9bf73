//! Every fake passes the contract of its port.

use std::sync::Arc;

use tasks_domain::account::SignedInCache;
use tasks_testkit::clock::FrozenClock;
use tasks_testkit::contract::Limiter;
use tasks_testkit::fakes::{FakeRateLimiter, FakeSignedInCache, FakeStore};

async fn stores() -> FakeStore {
    FakeStore::default()
}

async fn limiter() -> Limiter {
    let clock = FrozenClock::at_noon();
    (Arc::new(FakeRateLimiter::new(clock.clone())), clock)
}

async fn cache() -> Arc<dyn SignedInCache> {
    Arc::new(FakeSignedInCache::default())
}

mod users {
    tasks_testkit::user_repository_contract!(super::stores);
}
mod sessions {
    tasks_testkit::session_repository_contract!(super::stores);
}
mod tasks {
    tasks_testkit::task_repository_contract!(super::stores);
}
mod categories {
    tasks_testkit::category_repository_contract!(super::stores);
}
mod rate_limiter {
    tasks_testkit::rate_limiter_contract!(super::limiter);
}
mod signed_in_cache {
    tasks_testkit::signed_in_cache_contract!(super::cache);
}
mod outbox {
    tasks_testkit::outbox_contract!(super::stores);
}
mod housekeeping {
    tasks_testkit::housekeeping_contract!(super::stores);
}
