//! What a run found: a table for people, JSON for whoever compares runs.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::floor::Floor;
use crate::service::Limiter;
use crate::store::Kind;
use crate::workload::{Target, Workload};

/// One workload with one setting.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) workload: Workload,
    pub(crate) limiter: Limiter,
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// CPU seconds per 1,000 requests, here and below.
    pub(crate) service: f64,
    pub(crate) database: f64,
    pub(crate) redis: f64,
    pub(crate) floor: Option<Floor>,
    pub(crate) peak_mib: f64,
    /// After the run, when the last answer is given.
    pub(crate) after_mib: f64,
    pub(crate) errors: u32,
}

impl Row {
    /// Everything together.
    pub(crate) fn cost(&self) -> f64 {
        self.service + self.database + self.redis
    }

    fn of_floor(&self) -> Option<f64> {
        Some(self.cost() / self.floor?.cost)
    }
}

/// A figure that is to stay below another, or in one case above.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Check {
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) bound: f64,
    pub(crate) ok: bool,
}

impl Check {
    pub(crate) fn at_most(what: &str, value: f64, bound: f64) -> Self {
        let ok = value <= bound;
        Self {
            what: what.to_owned(),
            value,
            bound,
            ok,
        }
    }

    pub(crate) fn at_least(what: &str, value: f64, bound: f64) -> Self {
        let ok = value >= bound;
        Self {
            what: what.to_owned(),
            value,
            bound,
            ok,
        }
    }
}

/// All about one store.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    store: Kind,
    /// How long each workload was driven.
    seconds: u64,
    rows: Vec<Row>,
    checks: Vec<Check>,
}

const HEADERS: [&str; 15] = [
    "workload", "", "limiter", "req/s", "p50 ms", "p99 ms", "service", "database", "redis",
    "floor", "ratio", "target", "ok", "peak MiB", "errors",
];

impl Report {
    /// A report of these rows, with what is said across them after the other checks.
    pub(crate) fn new(store: Kind, measured: Duration, rows: Vec<Row>, checks: Vec<Check>) -> Self {
        let mut report = Self {
            store,
            seconds: measured.as_secs(),
            rows,
            checks,
        };
        report.checks.extend(report.across_rows());
        report
    }

    fn row(&self, workload: Workload, limiter: Limiter) -> Option<&Row> {
        let mut rows = self.rows.iter();
        rows.find(|row| row.workload == workload && row.limiter == limiter)
    }

    /// What is said across rows.
    fn across_rows(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        let both = |workload| {
            Some((
                self.row(workload, Limiter::On)?,
                self.row(workload, Limiter::Off)?,
            ))
        };
        if let Some((on, off)) = both(Workload::Get) {
            let bound = match self.store {
                Kind::Sqlite => 1.05,
                Kind::Postgres => 1.35,
            };
            let (what, ratio) = (
                "w2 CPU with the limiter on, against off",
                on.cost() / off.cost(),
            );
            checks.push(Check::at_most(what, ratio, bound));
        }
        if let Some(mix) = self.row(Workload::Mix, Limiter::On) {
            checks.push(Check::at_most(
                "w7 memory at its peak, MiB",
                mix.peak_mib,
                80.0,
            ));
            checks.push(Check::at_most(
                "w7 memory afterwards, MiB",
                mix.after_mib,
                80.0,
            ));
            if let (Kind::Postgres, Some(floor)) = (self.store, mix.floor) {
                let ratio = mix.per_second / floor.per_second;
                let what = "w7 requests per second, against pgbench's (at least)";
                checks.push(Check::at_least(what, ratio, 0.5));
            }
        }
        checks
    }

    /// How a row stands to its target: the figure, the target, and whether it is kept.
    fn judge(&self, row: &Row) -> Option<(f64, f64, bool)> {
        let (value, bound) = match row.workload.target(self.store) {
            Target::Cost(bound) => (row.cost(), bound),
            Target::OfFloor(bound) => (row.of_floor()?, bound),
            Target::Of(other, bound) => (row.cost() / self.row(other, row.limiter)?.cost(), bound),
        };
        Some((value, bound, value <= bound))
    }

    fn cells(&self, row: &Row) -> [String; HEADERS.len()] {
        let judged = self.judge(row);
        let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        [
            row.workload.name().to_owned(),
            row.workload.title().to_owned(),
            row.limiter.name().to_owned(),
            format!("{:.0}", row.per_second),
            format!("{:.2}", row.p50_ms),
            format!("{:.2}", row.p99_ms),
            format!("{:.3}", row.service),
            format!("{:.3}", row.database),
            format!("{:.3}", row.redis),
            or_none(row.floor.map(|floor| format!("{:.3}", floor.cost))),
            or_none(judged.map(|(value, _, _)| format!("{value:.2}"))),
            or_none(judged.map(|(_, bound, _)| bound.to_string())),
            or_none(judged.map(|(_, _, ok)| yes_or_no(ok).to_owned())),
            format!("{:.1}", row.peak_mib),
            row.errors.to_string(),
        ]
    }

    /// Prints the tables.
    pub(crate) fn print(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let about = "service, database, redis and floor in CPU seconds per 1,000 requests";
        writeln!(out, "\n{} ({about})\n", self.store.name())?;
        let rows = self.rows.iter().map(|row| self.cells(row));
        write_table(
            &mut out,
            &HEADERS.map(str::to_owned),
            &rows.collect::<Vec<_>>(),
        )?;
        writeln!(out)?;
        let headers = ["", "figure", "target", "ok"];
        let checks = self.checks.iter().map(|check| {
            [
                check.what.clone(),
                format!("{:.2}", check.value),
                check.bound.to_string(),
                yes_or_no(check.ok).to_owned(),
            ]
        });
        write_table(
            &mut out,
            &headers.map(str::to_owned),
            &checks.collect::<Vec<_>>(),
        )
    }

    /// Writes the JSON file.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<PathBuf> {
        let mut json = serde_json::to_value(self)?;
        // What is only in the table belongs to each row too.
        let rows = json.get_mut("rows").and_then(|rows| rows.as_array_mut());
        for (json, row) in rows.into_iter().flatten().zip(&self.rows) {
            if let (Some(json), Some((ratio, target, ok))) = (json.as_object_mut(), self.judge(row))
            {
                json.insert("ratio".to_owned(), ratio.into());
                json.insert("target".to_owned(), target.into());
                json.insert("ok".to_owned(), ok.into());
            }
        }
        let path = folder.join(format!("{}.json", self.store.name()));
        fs::write(&path, format!("{json:#}\n"))?;
        Ok(path)
    }
}

const fn yes_or_no(ok: bool) -> &'static str {
    if ok { "yes" } else { "NO" }
}

/// Writes a table in Markdown, so that it can be copied into a document, and aligned, so that it can be read as
/// it is. Text stands to the left, figures to the right.
fn write_table<const N: usize>(
    out: &mut impl Write,
    headers: &[String; N],
    rows: &[[String; N]],
) -> io::Result<()> {
    let widths: Vec<usize> = (0..N)
        .map(|column| {
            let cells = rows
                .iter()
                .chain([headers])
                .filter_map(|row| row.get(column));
            cells
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
                .max(2)
        })
        .collect();
    let is_text = |column: usize| {
        let mut cells = rows.iter().filter_map(|row| row.get(column));
        cells.any(|cell| cell.chars().any(char::is_alphabetic))
    };
    let rule = widths.iter().enumerate().map(|(column, &width)| {
        let dashes = "-".repeat(width - 1);
        if is_text(column) {
            format!(":{dashes}")
        } else {
            format!("{dashes}:")
        }
    });
    let rule: Vec<String> = rule.collect();
    let lines = [headers.as_slice(), &rule].into_iter();
    for line in lines.chain(rows.iter().map(<[String; N]>::as_slice)) {
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            if is_text(column) {
                write!(out, "| {cell:<width$} ")?;
            } else {
                write!(out, "| {cell:>width$} ")?;
            }
        }
        writeln!(out, "|")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(workload: Workload, limiter: Limiter, service: f64) -> Row {
        Row {
            workload,
            limiter,
            per_second: 1000.0,
            p50_ms: 1.0,
            p99_ms: 2.0,
            service,
            database: 0.05,
            redis: 0.01,
            floor: Some(Floor {
                per_second: 2000.0,
                cost: 0.05,
            }),
            peak_mib: 30.0,
            after_mib: 20.0,
            errors: 0,
        }
    }

    fn report(rows: Vec<Row>) -> Report {
        Report::new(Kind::Postgres, Duration::from_secs(1), rows, Vec::new())
    }

    #[test]
    fn everything_together_is_held_against_the_floor() {
        let report = report(vec![
            row(Workload::Get, Limiter::On, 0.13),
            row(Workload::Get, Limiter::Off, 0.15),
        ]);
        let judged = |row: &Row| {
            report
                .judge(row)
                .map(|(value, bound, ok)| (value.round(), bound, ok))
        };
        assert_eq!(judged(&report.rows[0]), Some((4.0, 4.0, true)));
        assert_eq!(judged(&report.rows[1]), Some((4.0, 4.0, false)));
    }

    #[test]
    fn many_tasks_are_held_against_few_with_the_same_setting() {
        let report = report(vec![
            row(Workload::Page, Limiter::On, 0.04),
            row(Workload::FirstOfMany, Limiter::On, 0.14),
            row(Workload::FirstOfMany, Limiter::Off, 0.14),
        ]);
        let (value, bound, ok) = report.judge(&report.rows[1]).unwrap();
        assert!((value - 2.0).abs() < 1e-9 && !ok, "{value} {bound}");
        assert!(report.judge(&report.rows[2]).is_none());
    }

    #[test]
    fn the_limiter_and_the_mix_are_checked_across_rows() {
        let report = report(vec![
            row(Workload::Get, Limiter::On, 0.14),
            row(Workload::Get, Limiter::Off, 0.04),
            row(Workload::Mix, Limiter::On, 0.14),
        ]);
        let ok: Vec<bool> = report.checks.iter().map(|check| check.ok).collect();
        assert_eq!(ok, [false, true, true, true], "{:?}", report.checks);
    }

    #[test]
    fn tables_are_markdown() {
        let mut out = Vec::new();
        let headers = ["a", "b"].map(str::to_owned);
        let rows = [["text", "1.5"].map(str::to_owned)];
        write_table(&mut out, &headers, &rows).unwrap();
        let expected = "| a    |   b |\n| :--- | --: |\n| text | 1.5 |\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
