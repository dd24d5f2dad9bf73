//! Names and numbers that no process has used before.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Keyed by chance, for each process anew. Nothing secret hangs on it: a value must only not be
/// used twice, for which 64 bits of chance are plenty.
static PROCESS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A number, never 0.
pub(crate) fn number() -> u64 {
    PROCESS
        .hash_one(COUNTER.fetch_add(1, Ordering::Relaxed))
        .max(1)
}

/// A short name: the process and a count.
pub(crate) fn name() -> [u8; 16] {
    let process = u128::from(PROCESS.hash_one("process"));
    let count = u128::from(COUNTER.fetch_add(1, Ordering::Relaxed));
    (process << 64 | count).to_be_bytes()
}
