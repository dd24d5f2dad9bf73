//! Single calls of what is ours on the way of every request, in time and allocations.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark fails by panicking, as a test does"
)]

mod limiter;
mod request;
mod token;

use divan::{AllocProfiler, Divan};

/// Counts what is allocated. The memory itself is the system allocator's, as in the service.
#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// Enough for medians that differ by a few percent from run to run, in seconds.
const SAMPLES: u32 = 10_000;

fn main() {
    Divan::default()
        .sample_count(SAMPLES)
        .config_with_args()
        .main();
}
