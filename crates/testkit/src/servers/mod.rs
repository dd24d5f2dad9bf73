//! Real servers for tests: PostgreSQL, Redis, SMTP, and a collector of traces and metrics.
//!
//! PostgreSQL and Redis are found in this order:
//!
//! 1. `TEST_DATABASE_URL` / `TEST_REDIS_URL`: a server that runs already. The user of the first may
//!    create databases; neither speaks TLS.
//! 2. Docker, where `docker version` gets an answer.
//! 3. `postgres` and `redis-server` of this machine, started privately. Where they are missing, root
//!    on a Debian-like machine gets them installed; everybody else is told what to install.
//!
//! A server that a test starts for itself, to stop or freeze it, is always a private one (Linux).
//!
//! Everything that was started ends with the test process, even if that is killed: a private server
//! and a container are each watched by a shell whose standard input is a pipe from the test process.
//! A closed pipe tells the shell to stop the server and to remove its folder.

mod collector;
mod docker;
mod install;
mod postgres;
mod private;
mod proxy;
mod redis;
mod smtp;

pub use collector::{Collector, CollectorFault, ReceivedMetric, ReceivedSpan};
pub use postgres::{Database, PostgresServer};
pub use proxy::Proxy;
pub use redis::RedisServer;
pub use smtp::{ReceivedMail, SmtpEncryption, SmtpFault, SmtpServer};

use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::{BuildHasher, Hasher};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;

use private::Private;

/// How long a server may take to accept its first connection: recovery after a kill on a busy machine.
const START: Duration = Duration::from_mins(1);

/// How long one connection or administrative statement may take before it counts as failed.
const ANSWER: Duration = Duration::from_secs(10);

/// How often a starting server is asked whether it is there.
const POLL: Duration = Duration::from_millis(20);

/// How often a port is asked for: for longer than it takes to start a process.
const BINDS: u32 = 100;

/// Where a server runs.
enum Host {
    /// Somewhere, at the URL that the environment names.
    Given,
    /// In a container, until this value is dropped.
    Container { _watch: docker::Watch },
    /// On this machine, for this test process alone.
    Private(Private),
}

impl Host {
    /// The private server that a test wants to harm.
    fn private(&self) -> &Private {
        match self {
            Self::Private(private) => private,
            Self::Given | Self::Container { .. } => {
                panic!("only a server of one's own can be harmed: get it with `start()`")
            }
        }
    }
}

/// Runs a future on a thread and a runtime of its own: callable from any test's runtime, and nothing
/// that it opens is bound to that one.
fn block_on<T: Send>(future: impl Future<Output = T> + Send) -> T {
    let run = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(future)
    };
    std::thread::scope(|scope| scope.spawn(run).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Runs blocking code without holding up the runtime of the caller.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Asks until the answer is `Ok`, or says why the last one was not.
async fn until_ready<F>(mut ask: impl FnMut() -> F) -> Result<(), String>
where
    F: Future<Output = Result<(), String>>,
{
    let deadline = tokio::time::Instant::now() + START;
    loop {
        let answer = tokio::time::timeout(ANSWER, ask()).await;
        let error = match answer {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => "no answer".to_owned(),
        };
        if tokio::time::Instant::now() > deadline {
            return Err(error);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// A number that no other test process has.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A port that is free now.
///
/// It lies below the ports that systems give to outgoing connections, so that nothing takes it while
/// its server is stopped: not even a client that connects to the port and is given that same port.
fn free_port() -> u16 {
    let candidate = || u16::try_from(15_000 + random() % 15_000).unwrap();
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(candidate)
        .take(100)
        .find(free)
        .unwrap()
}

/// Listens, as soon as nobody else does: a process that another test is just starting has the sockets
/// of this one for a moment, also those that were closed meanwhile.
async fn listen(address: SocketAddr) -> TcpListener {
    let mut listener = TcpListener::bind(address).await;
    for _ in 0..BINDS {
        if listener.is_ok() {
            break;
        }
        tokio::time::sleep(POLL).await;
        listener = TcpListener::bind(address).await;
    }
    listener.unwrap()
}
