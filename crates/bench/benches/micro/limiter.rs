//! What the limiter inside the process says of one request.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use divan::Bencher;
use futures_util::FutureExt;
use tasks_domain::clock::{Clock, Timestamp};
use tasks_domain::rate_limit::{Quota, RateLimitKey, RateLimiter};
use tasks_memory::MemoryRateLimiter;
use tasks_testkit::build;
use tasks_testkit::clock::noon;

/// A user's, by default.
const QUOTA: Quota = Quota {
    limit: 100,
    window: Duration::from_mins(1),
};

/// How often each user calls: a window then holds 60 requests, and each makes an old one leave.
const INTERVAL: Duration = Duration::from_secs(1);

/// So many fit into the limiter without pushing one another out.
const MANY: u32 = 10_000;

/// So many are timed at once: one takes not much longer than to read the time.
const CALLS: u32 = 100;

/// A clock that goes on by the same step whenever it is read, so that a window is as full in every run.
struct SteppingClock {
    unix_micros: AtomicI64,
    step: i64,
}

impl Clock for SteppingClock {
    fn now(&self) -> Timestamp {
        let unix_micros = self.unix_micros.fetch_add(self.step, Ordering::Relaxed);
        Timestamp::from_unix_micros(unix_micros).unwrap()
    }
}

/// Measures requests of so many users in turn, `step` apart, once the windows are as full as they get.
fn decide(bencher: Bencher<'_, '_>, users: u32, step: Duration, allowed: bool) {
    let limiter = MemoryRateLimiter::new(Arc::new(SteppingClock {
        unix_micros: AtomicI64::new(noon().unix_micros()),
        step: i64::try_from(step.as_micros()).unwrap(),
    }));
    let keys: Vec<_> = (0..users)
        .map(|_| RateLimitKey::User(build::id()))
        .collect();
    let hit = |key| limiter.hit(key, QUOTA).now_or_never().unwrap().unwrap();
    for _ in 0..QUOTA.limit {
        for key in &keys {
            hit(*key);
        }
    }
    let mut in_turn = keys.iter().copied().cycle();
    let mut next = || hit(in_turn.next().unwrap());
    assert_eq!(next().allowed, allowed);
    bencher.bench_local(next);
}

#[divan::bench(sample_size = CALLS)]
fn one_user(bencher: Bencher<'_, '_>) {
    decide(bencher, 1, INTERVAL, true);
}

#[divan::bench(sample_size = CALLS)]
fn one_user_refused(bencher: Bencher<'_, '_>) {
    decide(bencher, 1, Duration::ZERO, false);
}

#[divan::bench(sample_size = CALLS)]
fn many_users(bencher: Bencher<'_, '_>) {
    decide(bencher, MANY, INTERVAL / MANY, true);
}
