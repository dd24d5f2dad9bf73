//! Whether Redis is asked at all, and whether it missed a change.

use std::time::{Duration, Instant};

/// How long Redis is left alone that failed a moment ago, and then did not: one that is well only
/// now and then would cost a late request each time.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

/// A circuit breaker that closes only when Redis knows of every change.
///
/// A change is counted before Redis is told of it. Telling fails only where the breaker is open or
/// opens, and then it is up to whoever closes it; so nothing is lost in between.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    open: bool,
    /// When it was opened last.
    opened: Option<Instant>,
    /// How many changes there were.
    changes: u64,
    /// With how many of them Redis was made to forget everybody last.
    forgotten: u64,
    /// Of how many changes Redis is being told.
    being_told: usize,
}

impl Breaker {
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Opens it, and says from when on it may be closed; `None` if it was open.
    pub(crate) fn open(&mut self, now: Instant) -> Option<Instant> {
        if std::mem::replace(&mut self.open, true) {
            return None;
        }
        // Where this instance cannot tell Redis of a change, others may have had one.
        self.changes += 1;
        let before = self.opened.replace(now);
        let again = before.is_some_and(|before| now.duration_since(before) < PAUSE);
        Some(if again { now + PAUSE } else { now })
    }

    /// Closes it, unless there was a change since Redis was made to forget everybody.
    pub(crate) fn close(&mut self) -> bool {
        if self.forgotten == self.changes {
            self.open = false;
        }
        !self.open
    }

    /// Redis is about to be told of a change.
    pub(crate) fn begin_telling(&mut self) {
        self.changes += 1;
        self.being_told += 1;
    }

    /// Redis was told of a change, or could not be told.
    pub(crate) fn end_telling(&mut self) {
        self.being_told -= 1;
    }

    /// How many changes there were, if there are some that Redis may not know of.
    pub(crate) fn untold(&self) -> Option<u64> {
        let missed = self.open && self.forgotten != self.changes;
        (missed || self.being_told > 0).then_some(self.changes)
    }

    /// Redis has forgotten everybody since there were so many changes.
    pub(crate) fn settle(&mut self, changes: u64) {
        self.forgotten = changes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(1);

    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        breaker.open(Instant::now()).unwrap();
        breaker
    }

    fn settle(breaker: &mut Breaker) {
        let changes = breaker.untold().unwrap();
        breaker.settle(changes);
    }

    #[test]
    fn it_closes_when_everybody_is_forgotten() {
        let mut breaker = opened();
        assert!(!breaker.close());
        settle(&mut breaker);
        assert_eq!(breaker.untold(), None);
        assert!(breaker.close());
        assert!(!breaker.is_open());
    }

    #[test]
    fn everybody_is_forgotten_each_time() {
        let mut breaker = opened();
        settle(&mut breaker);
        assert!(breaker.close());
        breaker.open(Instant::now()).unwrap();
        assert!(!breaker.close());
    }

    #[test]
    fn a_change_that_begins_after_everybody_was_forgotten_keeps_it_open() {
        let mut breaker = opened();
        settle(&mut breaker);
        breaker.begin_telling();
        breaker.end_telling();
        assert!(!breaker.close());
        settle(&mut breaker);
        assert!(breaker.close());
    }

    #[test]
    fn a_change_that_begins_while_everybody_is_being_forgotten_keeps_it_open() {
        let mut breaker = opened();
        let changes = breaker.untold().unwrap();
        breaker.begin_telling();
        breaker.end_telling();
        breaker.settle(changes);
        assert!(!breaker.close());
    }

    #[test]
    fn while_it_is_closed_only_a_change_on_its_way_is_untold() {
        let mut breaker = Breaker::default();
        breaker.begin_telling();
        assert_eq!(breaker.untold(), Some(1));
        breaker.end_telling();
        assert_eq!(breaker.untold(), None);
    }

    #[test]
    fn it_may_be_closed_at_once_but_not_if_it_was_opened_a_moment_before() {
        let (mut breaker, mut now) = (Breaker::default(), Instant::now());
        // It counts from the last time, not from the first.
        for (later, pause) in [
            (Duration::ZERO, Duration::ZERO),
            (PAUSE.saturating_sub(MOMENT), PAUSE),
            (PAUSE.saturating_sub(MOMENT), PAUSE),
            (PAUSE, Duration::ZERO),
            (MOMENT, PAUSE),
        ] {
            now += later;
            assert_eq!(breaker.open(now), Some(now + pause));
            assert_eq!(breaker.open(now), None, "it is open");
            settle(&mut breaker);
            assert!(breaker.close());
        }
    }
}
