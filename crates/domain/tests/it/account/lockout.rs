//! The rule of the lockout.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tasks_domain::account::{FailedLogin, Locked, LoginAttempts};
use tasks_domain::clock::Timestamp;
use tasks_testkit::clock::{just_before, noon};

fn after_failures(times: u32, at: Timestamp) -> LoginAttempts {
    (0..times).fold(LoginAttempts::default(), |attempts, _| {
        attempts.after_failure(at).0
    })
}

fn until() -> Timestamp {
    noon().plus(Duration::from_mins(15))
}

#[test]
fn the_fifth_failure_in_a_row_locks_for_fifteen_minutes() {
    let four = after_failures(4, noon());
    assert_eq!((four.failed, four.locked_until), (4, None));
    let (five, outcome) = four.after_failure(noon());
    assert_eq!(outcome, FailedLogin::LockedNow(Locked { until: until() }));
    assert_eq!(five.locked_until, Some(until()));
}

#[test]
fn a_lock_holds_up_to_its_end_and_failures_do_not_prolong_it() {
    let locked = after_failures(5, noon());
    let lock = Locked { until: until() };
    assert_eq!(locked.locked(just_before(until())), Some(lock));
    assert_eq!(locked.locked(until()), None);
    let again = locked.after_failure(just_before(until()));
    assert_eq!(again, (locked, FailedLogin::StillLocked(lock)));
}

#[test]
fn the_first_failure_after_a_lock_counts_from_one() {
    let (attempts, outcome) = after_failures(5, noon()).after_failure(until());
    assert_eq!(outcome, FailedLogin::Counted);
    assert_eq!((attempts.failed, attempts.locked_until), (1, None));
}

#[test]
fn a_success_forgets_failures_unless_a_lock_holds() {
    let forgotten = Ok(LoginAttempts::default());
    assert_eq!(after_failures(4, noon()).after_success(noon()), forgotten);
    let locked = after_failures(5, noon());
    let lock = Locked { until: until() };
    assert_eq!(locked.after_success(just_before(until())), Err(lock));
    assert_eq!(locked.after_success(until()), forgotten);
}

proptest! {
    /// Whatever the failures, and however far apart: five and no more per lock, and each lock
    /// lasts exactly as long as it said when it began.
    #[test]
    fn five_failures_make_a_lock(waits in vec(0..20_u64, 0..60)) {
        let (mut now, mut attempts) = (noon(), LoginAttempts::default());
        let (mut counted, mut lock) = (0, None);
        for minutes in waits {
            now = now.plus(Duration::from_mins(minutes));
            let (next, outcome) = attempts.after_failure(now);
            if lock.is_some_and(|lock: Locked| lock.until <= now) {
                lock = None;
            }
            match lock {
                Some(lock) => prop_assert_eq!(outcome, FailedLogin::StillLocked(lock)),
                None if counted < 4 => {
                    counted += 1;
                    prop_assert_eq!(outcome, FailedLogin::Counted);
                }
                None => {
                    counted = 0;
                    let locked = Locked { until: now.plus(LoginAttempts::LOCK) };
                    lock = Some(locked);
                    prop_assert_eq!(outcome, FailedLogin::LockedNow(locked));
                }
            }
            prop_assert_eq!(next.locked(now), lock);
            attempts = next;
        }
    }
}
