//! How often somebody may call.

use std::time::{Duration, Instant};

use crate::support::{Answer, Client, Service, Setup, eventually};

/// The contract: requests are counted that came within it.
pub(crate) const WINDOW: Duration = Duration::from_mins(1);

/// How many more would pass after each of these that passed. Checks what all of them say of the quota.
pub(crate) fn remaining(
    answers: &[Answer],
    name: &str,
    quota: u32,
    is_passed: fn(&Answer) -> bool,
) -> Vec<u32> {
    let policy = format!("\"{name}\";q={quota};w={}", WINDOW.as_secs());
    let remaining = answers.iter().filter_map(|answer| {
        assert_eq!(answer.header("ratelimit-policy"), policy);
        let left = answer.header("ratelimit");
        let left = left.strip_prefix(&format!("\"{name}\";r="));
        let (remaining, reset) = left.and_then(|left| left.split_once(";t=")).unwrap();
        assert!((1..=WINDOW.as_secs()).contains(&reset.parse().unwrap()));
        if is_passed(answer) {
            assert_eq!(answer.header("retry-after"), "");
            return Some(remaining.parse().unwrap());
        }
        assert!(answer.is_refusal(429, "rate_limited"), "{answer:?}");
        assert_eq!(answer.header("retry-after"), reset, "when one more passes");
        assert_eq!(remaining, "0");
        None
    });
    remaining.collect()
}

/// What so many requests get one after the other, from a service that has counted none before. Those that
/// take longer than the window say nothing, so that there are others.
fn answers(requests: usize, client: fn(&Service) -> Client) -> Vec<Answer> {
    eventually("all requests come within the window", || {
        let service = Setup::new().with("ENABLE_RATE_LIMITING", "true").start();
        let client = client(&service);
        let began = Instant::now();
        let answers = (0..requests).map(|_| client.get("/api/v1/tasks")).collect();
        (began.elapsed() < WINDOW).then_some(answers)
    })
}

#[test]
fn of_130_requests_of_a_user_100_pass() {
    let answers = answers(130, |service| service.register("ada@example.com").0);
    let remaining = remaining(&answers, "user", 100, |answer| answer.status == 200);
    assert!(
        remaining.iter().copied().eq((0..100).rev()),
        "{remaining:?}"
    );
    let mut refused = answers.iter().rev().take(30);
    assert!(refused.all(|answer| answer.status == 429));
}

#[test]
fn of_30_requests_of_an_address_20_pass() {
    let answers = answers(30, Service::client);
    let is_passed = |answer: &Answer| answer.is_refusal(401, "token_missing");
    let remaining = remaining(&answers, "anonymous", 20, is_passed);
    assert!(remaining.iter().copied().eq((0..20).rev()), "{remaining:?}");
}
