//! The service: the release binary as a process of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::store::Store;
use crate::wait;

/// Ends the service in good order when the input ends, as it does with this process, even if that is killed.
/// The log, a line for each request, is written as in production, but to where nobody reads it.
const SHELL: &str = r#""$0" >/dev/null & echo $!; read -r _; kill -TERM $!; wait $!"#;

/// So long a start may take at most: on an empty store it migrates first.
const START: Duration = Duration::from_secs(30);
/// How often a starting service is asked. It is a part of what is measured.
const POLL: Duration = Duration::from_millis(1);
/// So long the one answer of a starting service may take.
const ANSWER: Duration = Duration::from_secs(5);

/// Signs the access tokens of a run, which nobody else accepts.
const KEY: &str = "for benchmarks alone: everybody knows it";

/// Whether requests are limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Limiter {
    /// It decides on every request, and refuses nobody.
    On,
    Off,
}

impl Limiter {
    /// As it stands in the table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

/// A service that answers. Dropped, it ends.
pub(crate) struct Service {
    shell: Child,
    pid: u32,
    url: String,
    to_ready: Duration,
}

impl Service {
    /// Starts it over a store, and waits until it is ready.
    pub(crate) fn start(binary: &Path, store: &Store, limiter: Limiter) -> Result<Self, Failure> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let is_limited = if limiter == Limiter::On {
            "true"
        } else {
            "false"
        };
        let begin = Instant::now();
        let mut shell = Command::new("sh")
            .args(["-c", SHELL])
            .arg(binary)
            .current_dir(store.folder())
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("APP_ENV", "production")
            .env("HOST", "127.0.0.1")
            .env("PORT", port.to_string())
            .env("RUN_MIGRATIONS", "true")
            .env("JWT_SECRET_KEY", KEY)
            // Longer than the longest run.
            .env("ACCESS_TOKEN_EXPIRE_MINUTES", "1440")
            .env("BCRYPT_COST", crate::seed::BCRYPT_COST.to_string())
            .env("ALLOW_CONSOLE_EMAIL", "true")
            .env("ENABLE_RATE_LIMITING", is_limited)
            .env("RATE_LIMIT_USER", "1000000000")
            .env("RATE_LIMIT_ANONYMOUS", "1000000000")
            .envs(store.environment())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0) // Ctrl-C at a terminal must not end the shell before its work is done
            .spawn()?;
        let mut pid = String::new();
        if let Some(stdout) = shell.stdout.as_mut() {
            BufReader::new(stdout).read_line(&mut pid)?;
        }
        let mut service = Self {
            shell,
            pid: pid.trim().parse()?,
            url: format!("http://127.0.0.1:{port}"),
            to_ready: Duration::ZERO,
        };
        while !is_ready(port) {
            if begin.elapsed() > START || !service.is_running() {
                return Err("the service does not start".into());
            }
            wait(POLL);
        }
        service.to_ready = begin.elapsed();
        Ok(service)
    }

    pub(crate) const fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// From the start of the process to the answer that it is ready.
    pub(crate) const fn to_ready(&self) -> Duration {
        self.to_ready
    }

    fn is_running(&self) -> bool {
        // One that ended stays as a zombie until the shell looks after it.
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// Whether it is ready: a database server is migrated beside the serving. On a bare socket, since a client that
/// keeps connections would be measured too.
fn is_ready(port: u16) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.write_all(
            b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer.starts_with("HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}
