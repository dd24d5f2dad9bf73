//! The floor: what the same work costs where there is nothing but the database, or nothing but bcrypt.

mod pgbench;
mod sqlite;

use std::time::{Duration, Instant};

use crate::cpu;
use crate::failure::Failure;
use crate::seed;
use crate::store::{Kind, Store};
use crate::workload::Workload;

/// What the database alone did.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct Floor {
    pub(crate) per_second: f64,
    /// CPU seconds per 1,000. For Postgres those of its processes, without pgbench's.
    pub(crate) cost: f64,
}

/// The step from which one more run counts, so that what it inserts is not there yet.
const STEPS_IN_RUN: u32 = 10_000_000;

impl Floor {
    /// What so many took.
    fn of(count: u32, elapsed: Duration, cpu: Duration) -> Self {
        Self {
            per_second: f64::from(count) / elapsed.as_secs_f64(),
            cost: cpu.as_secs_f64() * 1000.0 / f64::from(count.max(1)),
        }
    }
}

/// Measures the floor of a workload, if it has one. Runs are numbered.
pub(crate) fn measure(
    workload: Workload,
    store: &Store,
    duration: Duration,
    run: u32,
) -> Result<Option<Floor>, Failure> {
    match (workload, store.kind()) {
        (Workload::Alive, _) => return Ok(None),
        (Workload::Login, _) => {
            let hash = seed::password_hash()?;
            return repeat(duration, |_| seed::matches_password(&hash).map(drop)).map(Some);
        }
        _ => {}
    }
    let first_step = run * STEPS_IN_RUN;
    match store.kind() {
        Kind::Sqlite => sqlite::measure(workload, store, duration, first_step),
        Kind::Postgres => pgbench::measure(workload, store, duration, first_step),
    }
    .map(Some)
}

/// Does work in this process, one after the other, for a while.
fn repeat(
    duration: Duration,
    mut work: impl FnMut(u32) -> Result<(), Failure>,
) -> Result<Floor, Failure> {
    let own = std::process::id();
    let before = cpu::of_process(own)?;
    let begin = Instant::now();
    let mut count = 0;
    while begin.elapsed() < duration {
        work(count)?;
        count += 1;
    }
    let elapsed = begin.elapsed();
    Ok(Floor::of(
        count,
        elapsed,
        cpu::of_process(own)?.saturating_sub(before),
    ))
}
