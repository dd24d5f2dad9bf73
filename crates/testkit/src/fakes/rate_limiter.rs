//! A rate limiter that remembers every request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tasks_domain::clock::{Clock, Timestamp};
use tasks_domain::rate_limit::{Decision, Quota, RateLimitKey, RateLimiter};
use tasks_domain::store::StoreError;

use super::Switch;
use crate::clock::FrozenClock;

/// An exact sliding window on a clock that stands still. Clones share what was counted.
#[derive(Clone, Debug)]
pub struct FakeRateLimiter {
    clock: FrozenClock,
    passed: Arc<Mutex<HashMap<RateLimitKey, Vec<Timestamp>>>>,
    unavailable: Switch,
}

impl FakeRateLimiter {
    /// A limiter that has counted nothing.
    pub fn new(clock: FrozenClock) -> Self {
        Self {
            clock,
            passed: Arc::default(),
            unavailable: Switch::default(),
        }
    }

    /// Makes every call fail, or work again.
    pub fn fail_with_unavailable(&self, fail: bool) {
        self.unavailable.turn(fail);
    }
}

#[async_trait]
impl RateLimiter for FakeRateLimiter {
    async fn hit(&self, key: RateLimitKey, quota: Quota) -> Result<Decision, StoreError> {
        self.unavailable.unavailable()?;
        let now = self.clock.now();
        let mut passed = self.passed.lock().unwrap();
        let passed = passed.entry(key).or_default();
        passed.retain(|at| now.since(*at) < quota.window);
        let limit = usize::try_from(quota.limit).unwrap();
        let allowed = passed.len() < limit;
        if allowed {
            passed.push(now);
        }
        Ok(Decision {
            allowed,
            remaining: u32::try_from(limit.saturating_sub(passed.len())).unwrap(),
            reset: passed.first().map_or(Duration::ZERO, |oldest| {
                quota.window.saturating_sub(now.since(*oldest))
            }),
        })
    }
}
