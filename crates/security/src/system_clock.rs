//! The time of the machine.

use tasks_domain::clock::{Clock, Timestamp};
use time::OffsetDateTime;

/// Tells the machine's time: the one place that reads it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the port's adapter")]
    fn now(&self) -> Timestamp {
        // A clock beyond the year 9999 is broken; the end of time refuses every token.
        Timestamp::new(OffsetDateTime::now_utc()).unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_of_this_age_and_goes_on() {
        let first = SystemClock.now();
        let second = SystemClock.now();
        // 2025-01-01 and 2200-01-01.
        assert!((1_735_689_600..7_258_118_400).contains(&first.unix_seconds()));
        assert!(second >= first);
    }
}
