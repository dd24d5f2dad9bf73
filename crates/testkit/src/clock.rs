//! A clock that stands still until a test moves it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tasks_domain::clock::{Clock, Timestamp};
use time::macros::datetime;

/// Noon of a day in the future, so that neither a rule nor a store can mistake it for now.
pub fn noon() -> Timestamp {
    Timestamp::new(datetime!(2030-06-15 12:00 UTC)).unwrap()
}

/// The last instant before another.
pub fn just_before(at: Timestamp) -> Timestamp {
    Timestamp::from_unix_micros(at.unix_micros() - 1).unwrap()
}

/// The first instant after another.
pub fn just_after(at: Timestamp) -> Timestamp {
    Timestamp::from_unix_micros(at.unix_micros() + 1).unwrap()
}

/// A clock that stands still. Clones share the time.
#[derive(Clone, Debug)]
pub struct FrozenClock(Arc<Mutex<Timestamp>>);

impl FrozenClock {
    /// A clock that stands at an instant.
    pub fn new(at: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(at)))
    }

    /// A clock that stands at [`noon`].
    pub fn at_noon() -> Self {
        Self::new(noon())
    }

    /// Moves the clock on.
    pub fn advance(&self, duration: Duration) {
        let mut now = self.0.lock().unwrap();
        *now = now.plus(duration);
    }

    /// Moves the clock to an instant.
    pub fn set(&self, at: Timestamp) {
        *self.0.lock().unwrap() = at;
    }
}

impl Default for FrozenClock {
    fn default() -> Self {
        Self::at_noon()
    }
}

impl Clock for FrozenClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}
