//! The benchmark: drives load at the release binary, and compares what it costs with what the database alone
//! costs. See `docs/performance.md`.

mod cpu;
mod failure;
mod floor;
mod report;
mod seed;
mod service;
mod session;
mod store;
mod workload;
mod wrk;

use std::io::{self, Write};
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use failure::Failure;
use session::{FULL, Pace, Plan, QUICK, Session};
use store::Kind;
use workload::Workload;

/// Drives load at the release binary, and compares what it costs with what the database alone costs.
#[derive(Debug, Parser)]
struct Arguments {
    /// Short runs: figures to look at, not to keep
    #[arg(long)]
    quick: bool,
    /// Drive each workload so many minutes: for what only shows in time, such as memory
    #[arg(long, conflicts_with = "quick")]
    minutes: Option<NonZeroU8>,
    /// Only this store
    #[arg(long)]
    store: Option<Kind>,
    /// Only these workloads, such as w3,w9a
    #[arg(long, value_delimiter = ',', value_parser = Workload::named)]
    only: Vec<Workload>,
    /// The service; by default `task-api` beside this program
    #[arg(long)]
    service: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            note(&failure.to_string());
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    let program = std::env::current_exe()?;
    let service = match arguments.service {
        Some(path) => path.canonicalize()?,
        None => program.with_file_name("task-api"),
    };
    // target/release/bench
    let target = program.ancestors().nth(2).ok_or("no target folder")?;
    let folder = target.join("bench");
    let all = arguments.only.is_empty();
    let plan = Plan {
        service,
        pace: match arguments.minutes {
            Some(minutes) => Pace::lasting(minutes),
            None if arguments.quick => QUICK,
            None => FULL,
        },
        workloads: if all {
            Workload::ALL.to_vec()
        } else {
            arguments.only
        },
    };
    for kind in [Kind::Sqlite, Kind::Postgres] {
        if arguments.store.is_some_and(|only| only != kind) {
            continue;
        }
        let report = Session::open(kind, &folder, &plan)?.report()?;
        report.print()?;
        let path = report.write(&folder)?;
        note(&format!("written to {}", path.display()));
    }
    Ok(())
}

/// Says what goes on, beside the tables.
fn note(what: &str) {
    let _ = writeln!(io::stderr(), "{what}");
}

/// Lets time pass.
#[expect(
    clippy::disallowed_methods,
    reason = "processes are waited for that tell nobody when they are there"
)]
fn wait(duration: Duration) {
    std::thread::sleep(duration);
}
