//! Ids that come in order and are the same in every run.

use std::sync::atomic::{AtomicU64, Ordering};

use tasks_domain::id::IdGenerator;
use uuid::{Builder, Uuid};

/// Version 7 UUIDs, each greater than the one before.
#[derive(Debug, Default)]
pub struct SequentialIds {
    seed: u32,
    made: AtomicU64,
}

impl SequentialIds {
    /// The instant of the first id, in milliseconds since 1970: the beginning of 2030.
    const FIRST_MILLIS: u64 = 1_893_456_000_000;

    /// Ids that no generator with another seed makes.
    pub const fn new(seed: u32) -> Self {
        Self {
            seed,
            made: AtomicU64::new(0),
        }
    }
}

impl IdGenerator for SequentialIds {
    fn next_uuid(&self) -> Uuid {
        let millis = Self::FIRST_MILLIS + self.made.fetch_add(1, Ordering::Relaxed);
        let [a, b, c, d] = self.seed.to_be_bytes();
        Builder::from_unix_timestamp_millis(millis, &[0, 0, 0, 0, 0, 0, a, b, c, d]).into_uuid()
    }
}
