//! What every test needs: the binary, a process that never outlives its test, clients.

mod binary;
mod browser;
mod client;
mod mail;
mod process;
mod secrets;
mod servers;
mod service;
mod store;

use std::thread;
use std::time::Duration;

pub(crate) use browser::{Browser, ENTER, SPACE};
pub(crate) use client::{Answer, Client, raw_connection, read_answer, send_raw};
pub(crate) use mail::token;
pub(crate) use process::Signal;
pub(crate) use secrets::Secret;
pub(crate) use servers::{Database, database, database_on, postgres, redis, sql};
pub(crate) use service::{Service, Setup};
pub(crate) use store::{Store, on_every_store};

/// A password that keeps the rules. Every process is checked never to print it, so it is not the
/// one of the examples in the documentation.
pub(crate) const PASSWORD: &str = "Patient-Donkey-8!";

/// Another, for whoever changes theirs.
pub(crate) const NEW_PASSWORD: &str = "Restless-Heron-9!";

/// Nobody's.
pub(crate) const WRONG_PASSWORD: &str = "Wrong-Horse-7!";

/// The password of the servers that tests start, which no process may print either.
pub(crate) const SERVER_PASSWORD: &str = "swordfish";

/// How often something is looked at that will happen soon.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// So often, some 20 s, it is looked at: far longer than anything here takes, also where a slow
/// machine does other work, and less than the 30 s after which the service gives up draining.
const POLLS: usize = 2_000;

/// Looks until there is something to see, and fails if there never is.
pub(crate) fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    poll(POLLS, look).unwrap_or_else(|| panic!("never: {what}"))
}

/// Looks so often until there is something to see.
fn poll<T>(polls: usize, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..polls {
        let seen = look();
        if seen.is_some() {
            return seen;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "another process cannot be waited for otherwise"
        )]
        thread::sleep(POLL_INTERVAL);
    }
    None
}

/// What so many threads get that begin at once.
pub(crate) fn at_once<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = std::sync::Barrier::new(count);
    thread::scope(|scope| {
        let run = |number| {
            let (start, work) = (&start, &work);
            scope.spawn(move || {
                start.wait();
                work(number)
            })
        };
        let threads: Vec<_> = (0..count).map(run).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    })
}
