//! A sliding window for each key.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tasks_domain::clock::{Clock, Timestamp};
use tasks_domain::rate_limit::{Decision, Quota, RateLimitKey, RateLimiter};
use tasks_domain::store::StoreError;

use crate::ENTRY_OVERHEAD;

/// How much memory the windows may take: at the default quotas room for about 13,000 users or
/// 27,000 addresses at once. Beyond that those that were quiet for the longest time are forgotten
/// and begin anew.
const MAX_BYTES: u64 = 20 * 1024 * 1024;

/// How many instants a window keeps at most, 8 KiB. Up to this limit each request is kept by
/// itself and the window is exact.
const MAX_MARKS: u32 = 1_000;

/// Counts requests in the process, each kind of quota of a key by itself.
pub struct MemoryRateLimiter {
    clock: Arc<dyn Clock>,
    windows: Cache<WindowKey, Arc<Mutex<Window>>>,
}

impl MemoryRateLimiter {
    /// A limiter that has seen nobody.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with_max_bytes(clock, MAX_BYTES)
    }

    fn with_max_bytes(clock: Arc<dyn Clock>, max_bytes: u64) -> Self {
        let windows = Cache::builder()
            // Not the frequency-aware default, which does not take in newcomers when it is full
            // and so would not count them.
            .eviction_policy(EvictionPolicy::lru())
            .weigher(|key: &WindowKey, _: &Arc<Mutex<Window>>| key.max_bytes())
            .max_capacity(max_bytes)
            .build();
        Self { clock, windows }
    }
}

impl fmt::Debug for MemoryRateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRateLimiter").finish_non_exhaustive()
    }
}

#[async_trait]
impl RateLimiter for MemoryRateLimiter {
    async fn hit(&self, key: RateLimitKey, quota: Quota) -> Result<Decision, StoreError> {
        let key = WindowKey {
            key,
            limit: quota.limit,
            length: quota.window,
        };
        let window = self.windows.get_with(key, Arc::default);
        let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that time does not run backwards between two requests.
        Ok(window.hit(quota, self.clock.now()))
    }
}

/// What has a window of its own. The quota is part of it: one window cannot serve two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct WindowKey {
    key: RateLimitKey,
    limit: u32,
    length: Duration,
}

impl WindowKey {
    /// What the window takes when it is full; its queue begins with four and doubles.
    fn max_bytes(&self) -> u32 {
        let marks = self.limit.clamp(4, MAX_MARKS).next_power_of_two();
        let bytes = marks as usize * size_of::<Timestamp>() + ENTRY_OVERHEAD;
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

/// The requests of late.
///
/// Each mark stands for a bundle of requests: of one, up to a limit of [`MAX_MARKS`], and of as
/// many as it takes to stay below that number of marks for greater limits. A mark holds the
/// instant of its newest request, so that none leaves the window too soon: never do more than the
/// limit pass. At most the oldest bundle holds requests that should have left, which is a
/// thousandth of the limit.
#[derive(Debug, Default)]
struct Window {
    /// Oldest first.
    marks: VecDeque<Timestamp>,
    /// How many requests the newest mark stands for; all others stand for a whole bundle.
    in_newest: u32,
}

impl Window {
    fn hit(&mut self, quota: Quota, now: Timestamp) -> Decision {
        let bundle = quota.limit.div_ceil(MAX_MARKS).max(1);
        self.slide(quota.window, now);
        let used = self.used(bundle);
        let allowed = used < quota.limit;
        if allowed {
            self.mark(bundle, now);
        }
        let oldest = self.marks.front().copied().unwrap_or(now);
        Decision {
            allowed,
            remaining: quota.limit.saturating_sub(used + u32::from(allowed)),
            reset: oldest.plus(quota.window).since(now),
        }
    }

    /// Forgets what lies a whole window back.
    fn slide(&mut self, length: Duration, now: Timestamp) {
        // Marks from the future: somebody has set the clock back. What was is not later than now.
        for mark in self.marks.iter_mut().rev().take_while(|mark| **mark > now) {
            *mark = now;
        }
        while self
            .marks
            .front()
            .is_some_and(|mark| mark.plus(length) <= now)
        {
            self.marks.pop_front();
        }
    }

    /// How many requests count.
    fn used(&self, bundle: u32) -> u32 {
        u32::try_from(self.marks.len())
            .unwrap_or(u32::MAX)
            .checked_sub(1)
            .map_or(0, |whole| {
                whole.saturating_mul(bundle).saturating_add(self.in_newest)
            })
    }

    /// Counts one more.
    fn mark(&mut self, bundle: u32, now: Timestamp) {
        match self.marks.back_mut() {
            Some(newest) if self.in_newest < bundle => {
                *newest = now;
                self.in_newest += 1;
            }
            _ => {
                self.marks.push_back(now);
                self.in_newest = 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::prelude::*;
    use tasks_testkit::clock::{FrozenClock, noon};
    use tasks_testkit::contract::Limiter;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);
    const SECOND: Duration = Duration::from_secs(1);

    async fn limiter() -> Limiter {
        let clock = FrozenClock::at_noon();
        let limiter = MemoryRateLimiter::new(Arc::new(clock.clone()));
        (Arc::new(limiter), clock)
    }

    mod contract {
        tasks_testkit::rate_limiter_contract!(super::limiter);
    }

    fn quota(limit: u32) -> Quota {
        Quota {
            limit,
            window: MINUTE,
        }
    }

    fn address(number: u32) -> RateLimitKey {
        RateLimitKey::Address(IpAddr::V4(Ipv4Addr::from_bits(number)))
    }

    async fn passes(limiter: &dyn RateLimiter, key: RateLimitKey, quota: Quota) -> bool {
        limiter.hit(key, quota).await.unwrap().allowed
    }

    #[tokio::test]
    async fn two_quotas_of_one_key_are_counted_apart() {
        let (limiter, _) = limiter().await;
        let other = Quota {
            window: SECOND,
            ..quota(1)
        };
        for quota in [quota(1), quota(2), other] {
            for _ in 0..quota.limit {
                assert!(passes(&*limiter, address(1), quota).await);
            }
        }
        for quota in [quota(1), quota(2), other] {
            assert!(!passes(&*limiter, address(1), quota).await);
        }
    }

    #[tokio::test]
    async fn more_keys_than_fit_take_no_more_memory() {
        const MAX_BYTES: u64 = 64 * 1024;
        let limiter =
            MemoryRateLimiter::with_max_bytes(Arc::new(FrozenClock::at_noon()), MAX_BYTES);
        for number in 0..5_000 {
            assert!(passes(&limiter, address(number), quota(100)).await);
        }
        limiter.windows.run_pending_tasks();
        let bytes = limiter.windows.weighted_size();
        assert!((MAX_BYTES / 2..=MAX_BYTES).contains(&bytes), "{bytes}");
        assert_eq!(
            limiter.windows.iter().count() as u64,
            limiter.windows.entry_count()
        );
        assert!(limiter.windows.entry_count() * 1_024 <= MAX_BYTES);
    }

    #[tokio::test]
    async fn a_full_table_counts_newcomers_and_those_who_keep_coming() {
        let limiter =
            MemoryRateLimiter::with_max_bytes(Arc::new(FrozenClock::at_noon()), 64 * 1024);
        let busy = address(u32::MAX);
        assert!(passes(&limiter, busy, quota(2)).await);
        assert!(passes(&limiter, busy, quota(2)).await);
        for number in 0..1_000 {
            assert!(passes(&limiter, address(number), quota(2)).await);
            assert!(!passes(&limiter, busy, quota(2)).await);
            limiter.windows.run_pending_tasks();
        }
        assert!(passes(&limiter, address(999), quota(2)).await);
        assert!(!passes(&limiter, address(999), quota(2)).await);
        // The first of them is forgotten.
        assert!(passes(&limiter, address(0), quota(2)).await);
        assert!(passes(&limiter, address(0), quota(2)).await);
    }

    #[test]
    fn a_window_takes_what_its_key_weighs_whatever_the_limit() {
        for limit in [1, 20, 100, 1_000, 1_001, 1_999, 100_000] {
            let quota = quota(limit);
            let mut window = Window::default();
            for _ in 0..limit {
                assert!(window.hit(quota, noon()).allowed);
            }
            assert!(!window.hit(quota, noon()).allowed);
            assert!(window.marks.len() <= MAX_MARKS as usize);
            let key = WindowKey {
                key: address(1),
                limit,
                length: MINUTE,
            };
            let takes = window.marks.capacity() * size_of::<Timestamp>();
            assert!(
                takes + ENTRY_OVERHEAD <= key.max_bytes() as usize,
                "{limit}"
            );
        }
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        let quota = quota(2);
        let mut window = Window::default();
        let later = noon().plus(Duration::from_hours(1));
        assert!(window.hit(quota, later).allowed);
        assert!(window.hit(quota, later).allowed);
        let refused = window.hit(quota, noon());
        assert_eq!((refused.allowed, refused.reset), (false, MINUTE));
        assert!(window.hit(quota, noon().plus(MINUTE)).allowed);
    }

    proptest! {
        /// Random bursts against every request that ever passed.
        #[test]
        fn it_never_lets_too_many_pass_and_hardly_too_few(
            limit in prop_oneof![1..50_u32, 995..1_005_u32, 1_900..3_100_u32],
            bursts in prop::collection::vec((0..30_000_000_u64, 1..400_u32), 1..60),
        ) {
            let quota = quota(limit);
            let slack = limit.div_ceil(MAX_MARKS) - 1;
            let (mut window, mut now, mut passed) = (Window::default(), noon(), Vec::new());
            for (gap, requests) in bursts {
                now = now.plus(Duration::from_micros(gap));
                passed.retain(|at| now.since(*at) < MINUTE);
                for _ in 0..requests {
                    let used = u32::try_from(passed.len()).unwrap();
                    let decision = window.hit(quota, now);
                    prop_assert!(!decision.allowed || used < limit);
                    prop_assert!(decision.allowed || used + slack >= limit);
                    prop_assert!(decision.remaining <= limit - used);
                    prop_assert!(decision.reset <= MINUTE && decision.reset > Duration::ZERO);
                    if decision.allowed {
                        passed.push(now);
                    }
                    if slack == 0 {
                        prop_assert_eq!(decision.remaining, limit - u32::try_from(passed.len()).unwrap());
                        prop_assert_eq!(decision.reset, passed[0].plus(MINUTE).since(now));
                    }
                }
            }
        }
    }
}
