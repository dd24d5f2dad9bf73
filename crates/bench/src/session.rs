//! All that is measured on one store, in its order.

use std::fs;
use std::num::NonZeroU8;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::failure::Failure;
use crate::floor::{self, Floor};
use crate::report::{Check, Report, Row};
use crate::seed::{self, AccessTokens};
use crate::service::{Limiter, Service};
use crate::store::{Kind, Store};
use crate::workload::Workload;
use crate::{cpu, note, wait, wrk};

/// How long everything is measured. Whole seconds, which wrk and pgbench take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Until connections are open and caches full.
    warm_up: Duration,
    measured: Duration,
    floor: Duration,
    /// Whether only w2 is also measured with the limiter off.
    is_short: bool,
}

impl Pace {
    /// For what only shows in time, such as memory.
    pub(crate) const fn lasting(minutes: NonZeroU8) -> Self {
        Self {
            measured: Duration::from_mins(minutes.get() as u64),
            is_short: true,
            ..FULL
        }
    }
}

/// For figures to keep.
pub(crate) const FULL: Pace = Pace {
    warm_up: Duration::from_secs(2),
    measured: Duration::from_secs(10),
    floor: Duration::from_secs(6),
    is_short: false,
};

/// For figures to look at.
pub(crate) const QUICK: Pace = Pace {
    warm_up: Duration::from_secs(1),
    measured: Duration::from_secs(2),
    floor: Duration::from_secs(1),
    is_short: true,
};

/// So many starts are timed, of which the middle one counts.
const STARTS: usize = 5;
/// wrk goes away with requests on their way. They are let finish, since they still write, and cost.
const SETTLE: Duration = Duration::from_millis(500);
/// After a start, and after load, memory is looked at when what was begun has ended.
const REST: Duration = Duration::from_secs(1);
/// So many connections send requests with a pause before each, beside logins.
const BESIDE_CONNECTIONS: u32 = 8;

const MEBIBYTE: f64 = 1_048_576.0;

/// What to measure.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The service's binary.
    pub(crate) service: PathBuf,
    pub(crate) pace: Pace,
    pub(crate) workloads: Vec<Workload>,
}

/// A store that is filled, and whose users have access tokens.
pub(crate) struct Session<'a> {
    store: Store,
    plan: &'a Plan,
    tokens: AccessTokens,
    /// How many runs there were: what some of them insert has their number.
    runs: u32,
}

impl<'a> Session<'a> {
    /// Starts and fills the store.
    pub(crate) fn open(kind: Kind, folder: &Path, plan: &'a Plan) -> Result<Self, Failure> {
        note(&format!("{}: filling it", kind.name()));
        let store = Store::start(kind, folder)?;
        drop(Service::start(&plan.service, &store, Limiter::Off)?); // migrates
        seed::fill(&store)?;
        let service = Service::start(&plan.service, &store, Limiter::Off)?;
        let tokens = AccessTokens::obtain(&service)?;
        drop(service);
        Ok(Self {
            store,
            plan,
            tokens,
            runs: 0,
        })
    }

    /// Measures everything.
    pub(crate) fn report(mut self) -> Result<Report, Failure> {
        let kind = self.store.kind();
        let (mut rows, mut checks) = (Vec::new(), self.without_load()?);
        for &workload in &self.plan.workloads {
            let (name, title) = (workload.name(), workload.title());
            note(&format!("{}: {name} {title}", kind.name()));
            self.store.tidy()?;
            let (run, duration) = (self.next_run(), self.plan.pace.floor);
            let floor = floor::measure(workload, &self.store, duration, run)?;
            // As it is by default, and without.
            rows.push(self.measure(workload, Limiter::On, floor)?);
            if !self.plan.pace.is_short || workload == Workload::Get {
                rows.push(self.measure(workload, Limiter::Off, floor)?);
            }
            if workload == Workload::Login {
                checks.push(self.beside_logins()?);
            }
        }
        Ok(Report::new(kind, self.plan.pace.measured, rows, checks))
    }

    fn start(&self, limiter: Limiter) -> Result<Service, Failure> {
        self.store.tidy()?;
        Service::start(&self.plan.service, &self.store, limiter)
    }

    fn next_run(&mut self) -> u32 {
        self.runs += 1;
        self.runs
    }

    /// What is seen of a service that has nothing to do.
    fn without_load(&self) -> Result<Vec<Check>, Failure> {
        let mut starts = Vec::new();
        let mut at_rest = 0.0;
        for _ in 0..STARTS {
            let service = Service::start(&self.plan.service, &self.store, Limiter::On)?;
            starts.push(service.to_ready());
            if starts.len() == STARTS {
                wait(REST);
                at_rest = cpu::memory(service.pid())?.now;
            }
        }
        starts.sort();
        let bytes = u32::try_from(fs::metadata(&self.plan.service)?.len())?;
        let mut checks = vec![
            Check::at_most("binary, MiB", f64::from(bytes) / MEBIBYTE, 25.0),
            Check::at_most("memory at rest, MiB", at_rest, 40.0),
        ];
        if let (Kind::Sqlite, Some(start)) = (self.store.kind(), starts.get(STARTS / 2)) {
            let start = milliseconds(*start);
            checks.push(Check::at_most("start to first answer, ms", start, 50.0));
        }
        Ok(checks)
    }

    /// What wrk is to read to play a workload once.
    fn input(&mut self, workload: Workload) -> Result<PathBuf, Failure> {
        let run = self.next_run();
        let path = self.store.folder().join(workload.name());
        fs::write(&path, workload.input(&self.store, &self.tokens, run)?)?;
        Ok(path)
    }

    fn measure(
        &mut self,
        workload: Workload,
        limiter: Limiter,
        floor: Option<Floor>,
    ) -> Result<Row, Failure> {
        let Pace {
            warm_up, measured, ..
        } = self.plan.pace;
        let service = self.start(limiter)?;
        let play = |input: &Path, duration| {
            wrk::run(wrk::Play {
                url: service.url(),
                script: workload.script(),
                input,
                connections: workload.connections(),
                duration,
            })
        };
        play(&self.input(workload)?, warm_up)?;
        wait(SETTLE);
        let input = self.input(workload)?;
        let (service_before, store_before) = (cpu::of_process(service.pid())?, self.store.usage()?);
        let figures = play(&input, measured)?;
        let (service_after, store_after) = (cpu::of_process(service.pid())?, self.store.usage()?);
        let peak_mib = cpu::memory(service.pid())?.peak;
        if workload == Workload::Mix {
            wait(REST);
        }
        let per_1000 = |from: Duration, to: Duration| {
            to.saturating_sub(from).as_secs_f64() * 1000.0 / f64::from(figures.requests.max(1))
        };
        Ok(Row {
            workload,
            limiter,
            per_second: figures.per_second(),
            p50_ms: milliseconds(figures.p50),
            p99_ms: milliseconds(figures.p99),
            service: per_1000(service_before, service_after),
            database: per_1000(store_before.database, store_after.database),
            redis: per_1000(store_before.redis, store_after.redis),
            floor,
            peak_mib,
            after_mib: cpu::memory(service.pid())?.now,
            errors: figures.errors,
        })
    }

    /// How much longer others wait while people log in.
    fn beside_logins(&mut self) -> Result<Check, Failure> {
        let Pace {
            warm_up, measured, ..
        } = self.plan.pace;
        let service = self.start(Limiter::On)?;
        let (reads, logins) = (self.input(Workload::Get)?, self.input(Workload::Login)?);
        let reading = wrk::Play {
            url: service.url(),
            script: "paced.lua",
            input: &reads,
            connections: BESIDE_CONNECTIONS,
            duration: measured,
        };
        let logging_in = wrk::Play {
            script: Workload::Login.script(),
            input: &logins,
            connections: Workload::Login.connections(),
            ..reading
        };
        let warming_up = wrk::Play {
            duration: warm_up,
            ..reading
        };
        wrk::run(warming_up)?;
        let alone = wrk::run(reading)?;
        let others = wrk::start(logging_in)?;
        let beside = wrk::run(reading)?;
        others.figures()?;
        let ratio = beside.p99.as_secs_f64() / alone.p99.as_secs_f64();
        let what = "w8 p99 of w2 beside logins, against alone";
        Ok(Check::at_most(what, ratio, 2.0))
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
