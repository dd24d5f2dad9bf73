//! The rule of the rotation.

use std::time::Duration;

use proptest::option;
use proptest::prelude::*;
use tasks_domain::account::{RefreshTokenState, RefreshVerdict};
use tasks_domain::clock::Timestamp;
use tasks_testkit::clock::{just_after, just_before, noon};

/// A token made to expire an hour after noon.
const FRESH: Duration = Duration::from_hours(1);

fn unused() -> RefreshTokenState {
    RefreshTokenState {
        expires_at: noon().plus(FRESH),
        used_at: None,
        session_ended: false,
    }
}

fn used_at(at: Timestamp) -> RefreshTokenState {
    RefreshTokenState {
        used_at: Some(at),
        ..unused()
    }
}

#[test]
fn an_unused_token_is_good_until_it_expires() {
    let expiry = noon().plus(FRESH);
    assert_eq!(unused().judge(noon()), RefreshVerdict::Exchange);
    assert_eq!(
        unused().judge(just_before(expiry)),
        RefreshVerdict::Exchange
    );
    assert_eq!(unused().judge(expiry), RefreshVerdict::Refuse);
}

#[test]
fn a_used_token_is_a_retry_for_exactly_ten_seconds() {
    let end = noon().plus(Duration::from_secs(10));
    for now in [noon(), end] {
        assert_eq!(used_at(noon()).judge(now), RefreshVerdict::RefuseRetry);
    }
    assert_eq!(
        used_at(noon()).judge(just_after(end)),
        RefreshVerdict::EndSession
    );
}

/// Clocks of two instances may differ a little.
#[test]
fn a_token_that_will_have_been_used_is_a_retry() {
    assert_eq!(
        used_at(just_after(noon())).judge(noon()),
        RefreshVerdict::RefuseRetry
    );
}

#[test]
fn a_used_token_is_taken_for_stolen_also_when_it_is_expired() {
    let late = noon().plus(2 * FRESH);
    assert_eq!(used_at(noon()).judge(late), RefreshVerdict::EndSession);
}

#[test]
fn no_token_of_an_ended_session_is_good() {
    for state in [unused(), used_at(noon())] {
        let ended = RefreshTokenState {
            session_ended: true,
            ..state
        };
        for now in [noon(), noon().plus(2 * FRESH)] {
            assert_eq!(ended.judge(now), RefreshVerdict::RefuseEnded);
        }
    }
}

proptest! {
    /// Nothing but an unused, unexpired token of a live session is ever exchanged.
    #[test]
    fn only_a_live_token_is_exchanged(
        expires_in in -20..20_i64,
        used_ago in option::of(-20..20_i64),
        session_ended: bool,
    ) {
        let at = |seconds: i64| {
            Timestamp::from_unix_micros(noon().unix_micros() + seconds * 1_000_000).unwrap()
        };
        let state = RefreshTokenState {
            expires_at: at(expires_in),
            used_at: used_ago.map(|ago| at(-ago)),
            session_ended,
        };
        let live = expires_in > 0 && used_ago.is_none() && !session_ended;
        let verdict = state.judge(noon());
        prop_assert_eq!(verdict == RefreshVerdict::Exchange, live);
        let theft = !session_ended && used_ago.is_some_and(|ago| ago > 10);
        prop_assert_eq!(verdict == RefreshVerdict::EndSession, theft);
        prop_assert_eq!(verdict == RefreshVerdict::RefuseEnded, session_ended);
    }
}
