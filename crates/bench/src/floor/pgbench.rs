//! The statements of the Postgres adapter through pgbench, prepared once.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::failure::Failure;
use crate::seed;
use crate::store::{self, Store};
use crate::workload::{BEFORE_DEEP_PAGE, Workload};

use super::Floor;

/// So many at once are all that two cores can use, and few enough that they do not wait for each other.
const CLIENTS: u32 = 8;

/// Users and tasks by chance, made of the numbers that pgbench draws.
const CHANCE_MEMBER: &str =
    "('00000000-0000-7000-8000-' || lpad(to_hex(:member::integer), 12, '0'))::uuid";
const CHANCE_TASK: &str = "('00000000-0000-7000-8' || lpad(to_hex(:member::integer), 3, '0') \
                           || '-' || lpad(to_hex(:number::integer), 12, '0'))::uuid";

const GET: &str = include_str!("../../pgbench/get.sql");
const PAGE: &str = include_str!("../../pgbench/page.sql");
const FILTERED_PAGE: &str = include_str!("../../pgbench/filtered_page.sql");
const CREATE: &str = include_str!("../../pgbench/create.sql");
const UPDATE: &str = include_str!("../../pgbench/update.sql");
const REFRESH: &str = include_str!("../../pgbench/refresh.sql");

/// As the adapter's pool sets its sessions: a statement is planned once, for whatever values.
const SESSION: &str = "-c plan_cache_mode=force_generic_plan -c jit=off -c random_page_cost=1.1";

/// A script, and how often it is chosen.
type Weighted = (String, u32);

pub(super) fn measure(
    workload: Workload,
    store: &Store,
    duration: Duration,
    first_step: u32,
) -> Result<Floor, Failure> {
    let members = seed::MEMBERS;
    let mix = |script| {
        by_chance(
            script,
            (*members.start(), *members.end()),
            seed::TASKS_IN_MIX,
        )
    };
    let alone = |script: &str| vec![(script.to_owned(), 1)];
    let (scripts, owner, offset) = match workload {
        Workload::Get => (alone(GET), seed::READER, 0),
        Workload::Page => (alone(PAGE), seed::READER, 0),
        Workload::FilteredPage => (alone(FILTERED_PAGE), seed::READER, 0),
        Workload::Create => (vec![(mix(CREATE), 1)], seed::READER, 0),
        Workload::Update => {
            let of_editor = by_chance(UPDATE, (seed::EDITOR, seed::EDITOR), seed::TASKS);
            (alone(&of_editor), seed::EDITOR, 0)
        }
        Workload::Mix => {
            let scripts = vec![
                (mix(PAGE), 70),
                (mix(GET), 20),
                (mix(CREATE), 5),
                (mix(UPDATE), 5),
            ];
            (scripts, seed::READER, 0)
        }
        Workload::FirstOfMany => (alone(PAGE), seed::HOARDER, 0),
        Workload::DeepOfMany => (alone(PAGE), seed::HOARDER, BEFORE_DEEP_PAGE),
        Workload::Refresh => {
            open_sessions(store, first_step)?;
            (alone(REFRESH), seed::READER, 0)
        }
        Workload::Alive | Workload::Login => return Err("this is not the database's work".into()),
    };
    let before = store.usage()?.database;
    let figures = run(
        store,
        &scripts,
        duration,
        &[
            format!("owner={}", seed::user_id(owner)),
            format!("task={}", seed::task_id(seed::READER, 1)),
            format!("offset={offset}"),
            "limit=20".to_owned(),
            "status=pending".to_owned(),
            "priority=high".to_owned(),
            format!("step={first_step}"),
        ],
    )?;
    let cpu = store.usage()?.database.saturating_sub(before);
    Ok(Floor {
        per_second: figures.per_second,
        ..Floor::of(figures.transactions, duration, cpu)
    })
}

/// The script for users and tasks by chance instead of one user and one task.
fn by_chance(script: &str, (first, last): (u32, u32), tasks: u32) -> String {
    let script = script
        .replace(":owner", CHANCE_MEMBER)
        .replace(":task", CHANCE_TASK);
    format!("\\set member random({first}, {last})\n\\set number random(1, {tasks})\n{script}")
}

/// A session for each client to refresh.
fn open_sessions(store: &Store, step: u32) -> Result<(), Failure> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/pgbench/refresh_sessions.sql");
    let [clients, step, user] = [
        format!("clients={CLIENTS}"),
        format!("step={step}"),
        format!("user={}", seed::MEMBERS.start()),
    ];
    store.psql(&["-v", &clients, "-v", &step, "-v", &user, "-f", script])?;
    Ok(())
}

fn run(
    store: &Store,
    scripts: &[Weighted],
    duration: Duration,
    variables: &[String],
) -> Result<Figures, Failure> {
    let mut command = Command::new("pgbench");
    command
        .env("PGOPTIONS", SESSION)
        .args(["--protocol", "prepared", "--no-vacuum", "--jobs", "1"])
        .args(["--client", &CLIENTS.to_string()])
        .args(["--time", &duration.as_secs().to_string()]);
    for (number, (script, weight)) in scripts.iter().enumerate() {
        let file = store.folder().join(format!("{number}.sql"));
        fs::write(&file, script)?;
        command.args(["--file", &format!("{}@{weight}", file.display())]);
    }
    for variable in variables {
        command.args(["--define", variable]);
    }
    let output = store::output(command.arg(store.url()?))?;
    parse(&output).ok_or_else(|| format!("pgbench failed:\n{output}").into())
}

#[derive(Debug, PartialEq)]
struct Figures {
    transactions: u32,
    per_second: f64,
}

/// Reads what pgbench says at its end. A transaction that failed makes all of it worthless.
fn parse(output: &str) -> Option<Figures> {
    let after = |name| {
        let line = output.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()
    };
    let failed = after("number of failed transactions: ");
    if failed.is_some_and(|failed| failed != "0") {
        return None;
    }
    Some(Figures {
        transactions: after("number of transactions actually processed: ")?
            .parse()
            .ok()?,
        per_second: after("tps = ")?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "transaction type: get.sql\nquery mode: prepared\nnumber of clients: 8\n\
        number of transactions actually processed: 12345\nnumber of failed transactions: 0 (0.000%)\n\
        latency average = 0.123 ms\ntps = 6172.500000 (without initial connection time)\n";

    #[test]
    fn the_figures_of_pgbench_are_read() {
        let expected = Figures {
            transactions: 12_345,
            per_second: 6172.5,
        };
        assert_eq!(parse(OUTPUT), Some(expected));
    }

    #[test]
    fn failed_transactions_and_missing_figures_are_no_floor() {
        let failed = OUTPUT.replace("failed transactions: 0 (0", "failed transactions: 3 (0");
        assert_eq!(parse(&failed), None);
        assert_eq!(parse("pgbench: error: no such table\n"), None);
    }

    #[test]
    fn chance_takes_the_place_of_what_is_fixed() {
        let script = by_chance("SELECT :owner, :task;", (1, 2), 3);
        assert!(script.starts_with("\\set member random(1, 2)\n\\set number random(1, 3)\n"));
        assert!(
            !script.contains(":owner") && !script.contains(":task"),
            "{script}"
        );
    }
}
