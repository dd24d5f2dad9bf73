//! The load generator: wrk, with a script of ours that ends with one line of figures.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::failure::Failure;

/// What the scripts of `wrk/` print before their figures.
const MARK: &str = "figures ";

/// What wrk is to play, how and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Play<'a> {
    /// Such as `http://127.0.0.1:1234`.
    pub(crate) url: &'a str,
    /// A script of `wrk/`.
    pub(crate) script: &'a str,
    /// What the script reads.
    pub(crate) input: &'a Path,
    /// So many requests are on their way at once.
    pub(crate) connections: u32,
    /// In whole seconds, which is all that wrk takes.
    pub(crate) duration: Duration,
}

/// What wrk saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) requests: u32,
    pub(crate) duration: Duration,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// Answers that are neither 2xx nor 3xx, and requests without an answer.
    pub(crate) errors: u32,
}

impl Figures {
    pub(crate) fn per_second(&self) -> f64 {
        f64::from(self.requests) / self.duration.as_secs_f64()
    }
}

/// A run that goes on. Dropped, it is ended.
pub(crate) struct Run(Option<Child>);

impl Run {
    /// Waits for its end. A single request that failed makes all of it worthless.
    pub(crate) fn figures(mut self) -> Result<Figures, Failure> {
        let child = self.0.take().ok_or("wrk was waited for twice")?;
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let figures = parse(&text).filter(|figures| output.status.success() && figures.errors == 0);
        figures.ok_or_else(|| {
            let complaint = String::from_utf8_lossy(&output.stderr);
            format!("wrk failed, or requests did:\n{text}{complaint}").into()
        })
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Starts wrk. One thread of it is more than enough, and so the queues of the scripts are one.
pub(crate) fn start(play: Play<'_>) -> Result<Run, Failure> {
    let script = format!("{}/wrk/{}", env!("CARGO_MANIFEST_DIR"), play.script);
    let child = Command::new("wrk")
        .args(["--threads", "1", "--timeout", "10s"])
        .args(["--connections", &play.connections.to_string()])
        .args(["--duration", &format!("{}s", play.duration.as_secs())])
        .args(["--script", &script])
        .args([play.url, "--"])
        .arg(play.input)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start wrk: {error}"))?;
    Ok(Run(Some(child)))
}

/// Runs wrk to its end.
pub(crate) fn run(play: Play<'_>) -> Result<Figures, Failure> {
    start(play)?.figures()
}

/// Reads the line that `wrk/report.lua` writes.
fn parse(output: &str) -> Option<Figures> {
    let line = output.lines().find_map(|line| line.strip_prefix(MARK))?;
    let value = |name: &str| {
        let mut words = line.split_ascii_whitespace();
        words.find_map(|word| {
            word.strip_prefix(name)?
                .strip_prefix('=')?
                .parse::<u64>()
                .ok()
        })
    };
    let mut errors = 0;
    for kind in ["status", "connect", "read", "write", "timeout"] {
        errors += value(kind)?;
    }
    Some(Figures {
        requests: value("requests")?.try_into().ok()?,
        duration: Duration::from_micros(value("duration")?),
        p50: Duration::from_micros(value("p50")?),
        p99: Duration::from_micros(value("p99")?),
        errors: errors.try_into().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_figures_is_found_among_what_wrk_says() {
        let output = "Running 1s test @ http://127.0.0.1:1\n  1 threads and 2 connections\n\
                      figures requests=1000 duration=500000 p50=120 p99=900 status=1 connect=2 read=3 write=4 timeout=5\n";
        let figures = parse(output).unwrap();
        let expected = Figures {
            requests: 1000,
            duration: Duration::from_millis(500),
            p50: Duration::from_micros(120),
            p99: Duration::from_micros(900),
            errors: 15,
        };
        assert_eq!(figures, expected);
        assert!((figures.per_second() - 2000.0).abs() < f64::EPSILON);
    }

    #[test]
    fn no_figure_is_made_up() {
        assert_eq!(parse("unable to connect to 127.0.0.1:1\n"), None);
        assert_eq!(
            parse("figures requests=1000 duration=500000 p50=120\n"),
            None
        );
    }
}
