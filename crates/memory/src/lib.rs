//! Rate limiter and signed-in cache inside the process, for runs without Redis.
//!
//! Both are tables of a bounded size in bytes that forget what was not used for the longest time.

mod rate_limiter;
mod signed_in_cache;

pub use rate_limiter::MemoryRateLimiter;
pub use signed_in_cache::MemorySignedInCache;

/// What an entry of a table costs beside its own value, in bytes: the key, and the table's
/// pointers, queue nodes and counters. Measured: 340 to 480.
const ENTRY_OVERHEAD: usize = 512;
