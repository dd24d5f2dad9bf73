//! A server's processes on this machine, watched over by a shell.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use super::install::is_root;

/// `nobody`, as whom the servers run where the caller is root: PostgreSQL refuses to run as root.
const NOBODY: u32 = 65534;

/// A private server's shell. Dropping it stops the server and removes its folder.
pub(super) struct Private {
    shell: Child,
    pipes: Mutex<Option<(ChildStdin, BufReader<ChildStdout>)>>,
    folder: PathBuf,
}

/// The signals that end a server.
pub(super) struct Signals {
    /// In good order, though without waiting for its clients.
    pub(super) fast: &'static str,
    /// At once, when nobody will ask for its data again.
    pub(super) last: &'static str,
}

impl Private {
    /// A folder and the shell that watches over it; no server yet.
    pub(super) fn new(programs: &Path, signals: &Signals) -> Self {
        let root = is_root();
        // A root's own temporary folder may be closed to others; everybody's is not.
        let parent = if root {
            "/tmp".into()
        } else {
            std::env::temp_dir()
        };
        let folder = tempfile::Builder::new()
            .prefix("tasks-")
            .tempdir_in(parent)
            .unwrap();
        let mut command = Command::new("sh");
        command
            .args(["-c", include_str!("private.sh")])
            .env("BIN", programs)
            .env("DIR", folder.path())
            .env("FAST", signals.fast)
            .env("LAST", signals.last)
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0); // Ctrl-C at a terminal must not end the shell before its work is done
        if root {
            std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
            command.uid(NOBODY).gid(NOBODY);
        }
        let mut shell = command.spawn().unwrap();
        let pipes = shell.stdin.take().unwrap();
        let answers = BufReader::new(shell.stdout.take().unwrap());
        Self {
            shell,
            pipes: Mutex::new(Some((pipes, answers))),
            folder: folder.keep(),
        }
    }

    /// Runs a line in the shell; whether it succeeded.
    pub(super) fn run(&self, line: &str) -> bool {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        let (commands, answers) = pipes.as_mut().unwrap();
        writeln!(commands, "{line}").unwrap();
        let mut status = String::new();
        answers.read_line(&mut status).unwrap();
        status.trim() == "0"
    }

    /// Starts the server: the program and its arguments.
    pub(super) fn start(&self, words: &[String]) {
        let quoted = words
            .iter()
            .map(|word| format!(" '{}'", word.replace('\'', r"'\''")));
        self.run(&format!("start{}", quoted.collect::<String>()));
    }

    /// Whether the server's first process lives.
    pub(super) fn is_running(&self) -> bool {
        self.run("running")
    }

    /// Stops all processes where they are, until [`Self::thaw`].
    pub(super) fn freeze(&self) {
        self.run("freeze");
    }

    /// Lets them go on.
    pub(super) fn thaw(&self) {
        self.run("thaw");
    }

    /// Stops the server in good order, frozen or not.
    pub(super) fn stop(&self) {
        self.run("stop");
    }

    /// Kills all processes.
    pub(super) fn kill(&self) {
        self.run("crash");
    }

    /// The server's own folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The end of what the server wrote, for the message of a failure.
    pub(super) fn log(&self) -> String {
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines
            .iter()
            .rev()
            .take(10)
            .rev()
            .copied()
            .collect::<Vec<_>>()
            .join("\n")
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        *self.pipes.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let _ = self.shell.wait();
    }
}
