//! What processes cost: CPU time and memory, from `/proc`.

use std::fs;
use std::time::Duration;

use crate::failure::Failure;

/// The unit of times in `/proc`: `sysconf(_SC_CLK_TCK)` is 100 on every Linux there is. The kernel adds up
/// nanoseconds and only tells hundredths, so a run of seconds is measured to a percent or better.
const TICK: Duration = Duration::from_millis(10);

/// The CPU time of a process itself.
pub(crate) fn of_process(pid: u32) -> Result<Duration, Failure> {
    Ok(ticks(stat(pid)?.own))
}

/// The CPU time of a process and its children, those that ended among them.
pub(crate) fn of_family(pid: u32) -> Result<Duration, Failure> {
    loop {
        let before = stat(pid)?;
        let children = of_living_children(pid)?;
        let parent = stat(pid)?;
        // A child that ended in between would be missing, or there twice.
        if parent.ended_children == before.ended_children {
            return Ok(ticks(parent.own + parent.ended_children + children));
        }
    }
}

fn of_living_children(pid: u32) -> Result<u64, Failure> {
    let mut sum = 0;
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let process = name.to_str().and_then(|name| name.parse().ok());
        // Any process of the machine may end at any time.
        let child = process.and_then(|process| stat(process).ok());
        sum += child
            .filter(|child| child.parent == pid)
            .map_or(0, |child| child.own);
    }
    Ok(sum)
}

/// The memory of a process that is in use, and the most that ever was, in MiB.
pub(crate) fn memory(pid: u32) -> Result<Memory, Failure> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    parse_memory(&status).ok_or_else(|| format!("cannot read the memory of process {pid}").into())
}

/// What a process holds of the machine's memory, in MiB.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Memory {
    pub(crate) now: f64,
    pub(crate) peak: f64,
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    own: u64,
    ended_children: u64,
}

fn ticks(count: u64) -> Duration {
    TICK.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
}

fn stat(pid: u32) -> Result<Stat, Failure> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_stat(&line).ok_or_else(|| format!("cannot read the times of process {pid}").into())
}

/// Reads a line of proc(5), which counts its fields from 1.
fn parse_stat(line: &str) -> Option<Stat> {
    // The second field is a name in brackets that may hold anything, brackets and blanks too.
    let (_, from_third) = line.rsplit_once(") ")?;
    let fields: Vec<&str> = from_third.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number.checked_sub(3)?)?.parse::<u64>().ok();
    Some(Stat {
        parent: field(4)?.try_into().ok()?,
        own: field(14)? + field(15)?,
        ended_children: field(16)? + field(17)?,
    })
}

fn parse_memory(status: &str) -> Option<Memory> {
    let mebibytes = |name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kibibytes: u32 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(f64::from(kibibytes) / 1024.0)
    };
    Some(Memory {
        now: mebibytes("VmRSS:")?,
        peak: mebibytes("VmHWM:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let line =
            "42 (a) b (c) S 7 42 42 0 -1 4194304 100 200 0 0 11 12 13 14 20 0 3 0 99 1000 10 0";
        let expected = Stat {
            parent: 7,
            own: 11 + 12,
            ended_children: 13 + 14,
        };
        assert_eq!(parse_stat(line), Some(expected));
        assert_eq!(parse_stat("42 (short) S 7"), None);
    }

    #[test]
    fn memory_is_told_in_mebibytes() {
        let status = "Name:\ttask-api\nVmHWM:\t    2048 kB\nVmRSS:\t    1536 kB\nThreads:\t3\n";
        let expected = Memory {
            now: 1.5,
            peak: 2.0,
        };
        assert_eq!(parse_memory(status), Some(expected));
        assert_eq!(parse_memory("Name:\ttask-api\n"), None);
    }

    #[test]
    fn this_process_has_times_and_memory() {
        let own = std::process::id();
        assert!(of_family(own).unwrap() >= of_process(own).unwrap());
        assert!(memory(own).unwrap().peak > 0.0);
    }
}
