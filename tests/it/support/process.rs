//! A process that is watched, and that never outlives its test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::Value;
use tasks_testkit::servers::Collector;

use super::secrets::{Says, Secrets};
use super::{eventually, poll};

/// What no process may ever print, whatever happens.
const NEVER: [&str; 2] = ["panicked", "RUST_BACKTRACE"];

/// So often, some 8 s, it is looked whether a process has ended that no test waits for: longer than its last
/// spans may take, and not so long as requests may that nobody waits for either.
const POLLS_FOR_END: usize = 800;

/// What asks a process to end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    Terminate,
    Interrupt,
}

impl Signal {
    const fn name(self) -> &'static str {
        match self {
            Self::Terminate => "TERM",
            Self::Interrupt => "INT",
        }
    }
}

/// How a process ended, and what it said.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// Every line of the log.
    pub(crate) fn log(&self) -> Vec<Value> {
        let lines = self.stdout.lines();
        lines
            .map(|line| serde_json::from_str(line).expect(line))
            .collect()
    }

    /// The one line of a failure.
    pub(crate) fn one_line(&self) -> &str {
        let lines: Vec<&str> = self.stderr.lines().collect();
        assert_eq!(lines.len(), 1, "one clear line: {self:?}");
        lines[0]
    }
}

/// What a process is checked by when it ends.
pub(super) struct Watch {
    pub(super) secrets: Arc<Secrets>,
    pub(super) says: Says,
    /// Where its spans go, if it was told so.
    pub(super) collector: Option<Arc<Collector>>,
    /// Whether there is a span of a request that it says it answered.
    pub(super) delivers: bool,
}

/// A running process. Dropped, it ends, and what it said and told the collector is looked through for
/// secrets.
pub(super) struct Process {
    child: Child,
    watch: Watch,
    stdout: Stream,
    stderr: Stream,
}

/// The lines of a pipe so far, and the thread that reads them.
struct Stream {
    lines: Arc<Mutex<Vec<String>>>,
    reading: Option<JoinHandle<()>>,
}

impl Stream {
    fn of(pipe: impl Read + Send + 'static, secrets: &Arc<Secrets>) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&lines);
        let secrets = Arc::clone(secrets);
        let reading = std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                secrets.keep_link(&text);
                written.lock().unwrap().push(text);
                line.clear();
            }
        });
        Self {
            lines,
            reading: Some(reading),
        }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// All lines of a process that has ended.
    fn rest(&mut self) -> Vec<String> {
        if let Some(reading) = self.reading.take() {
            reading.join().unwrap();
        }
        self.lines()
    }
}

impl Process {
    pub(super) fn start(command: &mut Command, watch: Watch) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            stdout: Stream::of(child.stdout.take().unwrap(), &watch.secrets),
            stderr: Stream::of(child.stderr.take().unwrap(), &watch.secrets),
            child,
            watch,
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn stdout(&self) -> Vec<String> {
        self.stdout.lines()
    }

    /// What it said, if it has ended.
    pub(super) fn ended(&mut self) -> Option<Output> {
        let status = self.child.try_wait().unwrap()?;
        Some(self.output(status))
    }

    /// Waits until it ends.
    pub(super) fn wait(&mut self) -> Output {
        let status = eventually("the process ends", || self.child.try_wait().unwrap());
        self.output(status)
    }

    fn output(&mut self, status: ExitStatus) -> Output {
        let text = |lines: Vec<String>| lines.iter().flat_map(|line| [line, "\n"]).collect();
        Output {
            // -1 stands for the end by a signal.
            status: status.code().unwrap_or(-1),
            stdout: text(self.stdout.rest()),
            stderr: text(self.stderr.rest()),
        }
    }

    /// Sends it, or several with nothing in between.
    pub(super) fn signal(&self, signals: &[Signal]) {
        // The shell's own `kill`: there may be no program of that name.
        let kill = |signal: &Signal| format!("kill -{} {}", signal.name(), self.id());
        let script = signals.iter().map(kill).collect::<Vec<_>>().join(" && ");
        let sent = Command::new("sh").args(["-c", &script]).status().unwrap();
        assert!(sent.success());
    }

    /// `kill -9`.
    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // What it has not sent yet is lost.
        self.watch.delivers = false;
    }

    /// Ends it, if it has not ended: so that it sends its last spans, unless nobody will look at them.
    fn end(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
        if !std::thread::panicking() {
            self.signal(&[Signal::Terminate]);
            poll(POLLS_FOR_END, || self.child.try_wait().unwrap());
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
        let streams = [
            ("standard output", self.stdout.rest()),
            ("standard error", self.stderr.rest()),
        ];
        if std::thread::panicking() {
            let [(_, stdout), (_, stderr)] = streams;
            let lines = [stdout, stderr].concat().join("\n");
            eprintln!("--- the process said:\n{lines}\n---");
            return;
        }
        let Watch {
            secrets,
            says,
            collector,
            delivers,
        } = &self.watch;
        let mut requests = Vec::new();
        for (place, lines) in streams {
            secrets.look_at_lines(place, &lines, *says);
            for line in lines {
                assert!(!NEVER.iter().any(|never| line.contains(never)), "{line}");
                requests.extend(span_of_request(&line));
            }
        }
        if let Some(collector) = collector {
            let spans = collector.spans();
            secrets.look_at_told("a span", &spans);
            secrets.look_at_told("a figure", &collector.metrics());
            // A search through nothing finds nothing.
            let is_delivered = |id: &String| spans.iter().any(|span| span.span_id == *id);
            assert!(
                !delivers || requests.is_empty() || requests.iter().any(is_delivered),
                "no span was delivered of {} requests",
                requests.len()
            );
        }
    }
}

/// The id of the server's span, if this is the line of a request that has one. Those of machines, which are
/// not to the API, have none that is sent.
fn span_of_request(line: &str) -> Option<String> {
    if !line.contains("\"request completed\"") {
        return None;
    }
    let line: Value = serde_json::from_str(line).ok()?;
    let is_traced = line["path"].as_str()?.starts_with("/api/");
    is_traced.then(|| line["span_id"].as_str().map(str::to_owned))?
}
