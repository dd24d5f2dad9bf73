//! The contract of [`RateLimiter`](tasks_domain::rate_limit::RateLimiter), on a clock that stands
//! still. A limiter need not tell times apart that are less than a millisecond apart.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tasks_domain::rate_limit::{Decision, Quota, RateLimitKey};

use super::Limiter;
use super::scene::{at_once, count};
use crate::build;

suite! { ($) rate_limiter_contract runs rate_limiter on "a fresh [`Limiter`](crate::contract::Limiter)":
    the_request_at_the_limit_passes_and_the_next_does_not,
    a_limit_of_one_lets_one_through,
    the_window_slides,
    the_whole_window_after_a_burst_is_refused,
    refused_requests_are_not_counted,
    keys_are_counted_apart,
    remaining_and_reset_say_when_one_more_would_pass,
    a_window_later_everything_is_forgotten,
    concurrent_requests_pass_up_to_the_limit,
}

const WINDOW: Duration = Duration::from_mins(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn quota(limit: u32) -> Quota {
    Quota {
        limit,
        window: WINDOW,
    }
}

fn somebody() -> RateLimitKey {
    RateLimitKey::User(build::id())
}

async fn hit((limiter, _): &Limiter, key: RateLimitKey, limit: u32) -> Decision {
    limiter.hit(key, quota(limit)).await.unwrap()
}

async fn passes(subject: &Limiter, key: RateLimitKey, limit: u32) -> bool {
    hit(subject, key, limit).await.allowed
}

/// The hundredth and the hundred and first.
pub async fn the_request_at_the_limit_passes_and_the_next_does_not(subject: &Limiter) {
    let key = somebody();
    for _ in 0..100 {
        assert!(passes(subject, key, 100).await);
    }
    assert!(!passes(subject, key, 100).await);
}

/// The smallest quota.
pub async fn a_limit_of_one_lets_one_through(subject: &Limiter) {
    let key = somebody();
    assert!(passes(subject, key, 1).await);
    assert!(!passes(subject, key, 1).await);
    subject.1.advance(WINDOW);
    assert!(passes(subject, key, 1).await);
}

/// Each request makes room for one, exactly a window after it.
pub async fn the_window_slides(subject: &Limiter) {
    let key = somebody();
    let clock = &subject.1;
    for _ in 0..3 {
        assert!(passes(subject, key, 3).await);
        clock.advance(10 * SECOND);
    }
    // The requests came at 0, 10 and 20 s, and it is 30 s now.
    clock.advance(Duration::from_millis(29_999));
    assert!(!passes(subject, key, 3).await);
    for _ in 0..3 {
        clock.advance(MILLISECOND);
        assert!(passes(subject, key, 3).await);
        assert!(!passes(subject, key, 3).await);
        clock.advance(Duration::from_millis(9_999));
        assert!(!passes(subject, key, 3).await);
    }
}

/// No fixed window that would let a second burst through when it ends.
pub async fn the_whole_window_after_a_burst_is_refused(subject: &Limiter) {
    let key = somebody();
    let clock = &subject.1;
    clock.advance(WINDOW / 2);
    for _ in 0..3 {
        assert!(passes(subject, key, 3).await);
    }
    for _ in 0..59 {
        clock.advance(SECOND);
        assert!(!passes(subject, key, 3).await);
    }
    clock.advance(SECOND);
    for _ in 0..3 {
        assert!(passes(subject, key, 3).await);
    }
    assert!(!passes(subject, key, 3).await);
}

/// Whoever keeps knocking is let in as soon as whoever waits.
pub async fn refused_requests_are_not_counted(subject: &Limiter) {
    let key = somebody();
    let clock = &subject.1;
    assert!(passes(subject, key, 2).await);
    assert!(passes(subject, key, 2).await);
    for _ in 0..59 {
        clock.advance(SECOND);
        assert!(!passes(subject, key, 2).await);
    }
    clock.advance(SECOND);
    let decision = hit(subject, key, 2).await;
    assert_eq!((decision.allowed, decision.remaining), (true, 1));
}

/// Users and addresses alike.
pub async fn keys_are_counted_apart(subject: &Limiter) {
    let address = |last| RateLimitKey::Address(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)));
    for key in [somebody(), somebody(), address(1), address(2)] {
        assert!(passes(subject, key, 1).await);
        assert!(!passes(subject, key, 1).await);
    }
}

/// The reset counts down to the end of the oldest request's window.
pub async fn remaining_and_reset_say_when_one_more_would_pass(subject: &Limiter) {
    let key = somebody();
    for (allowed, remaining, reset) in [
        (true, 2, 60),
        (true, 1, 50),
        (true, 0, 40),
        (false, 0, 30),
        (false, 0, 20),
        (false, 0, 10),
        // The first is forgotten; the oldest that counts came 10 s after it.
        (true, 0, 10),
        (true, 0, 10),
        (true, 0, 40),
        (false, 0, 30),
    ] {
        let reset = Duration::from_secs(reset);
        let expected = Decision {
            allowed,
            remaining,
            reset,
        };
        assert_eq!(hit(subject, key, 3).await, expected);
        subject.1.advance(10 * SECOND);
    }
}

/// As if the key were new.
pub async fn a_window_later_everything_is_forgotten(subject: &Limiter) {
    let key = somebody();
    for _ in 0..5 {
        hit(subject, key, 3).await;
        subject.1.advance(SECOND);
    }
    subject.1.advance(WINDOW);
    let expected = Decision {
        allowed: true,
        remaining: 2,
        reset: WINDOW,
    };
    assert_eq!(hit(subject, key, 3).await, expected);
}

/// Of 130 at once exactly 100, each with another remainder.
pub async fn concurrent_requests_pass_up_to_the_limit(subject: &Limiter) {
    let key = somebody();
    let decisions = at_once(130, |_| {
        let limiter = subject.0.clone();
        async move { limiter.hit(key, quota(100)).await.unwrap() }
    })
    .await;
    assert_eq!(count(&decisions, |decision| decision.allowed), 100);
    let passed = decisions.into_iter().filter(|decision| decision.allowed);
    let mut remaining: Vec<u32> = passed.map(|decision| decision.remaining).collect();
    remaining.sort_unstable();
    assert_eq!(remaining, (0..100).collect::<Vec<_>>());
}
