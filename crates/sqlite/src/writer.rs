//! The thread that writes: one transaction for everything that waits ("group commit").
//!
//! A commit costs a wait for the disk, whatever it holds. So the writer takes the jobs that wait,
//! runs each in its own savepoint, commits once, and only then acknowledges them. A lone job is
//! committed at once: nothing waits for company.

use crossbeam_channel::Receiver;
use diesel::SqliteConnection;
use diesel::connection::{AnsiTransactionManager, TransactionManager};
use tasks_diesel_trace::{commit_span, fail};
use tracing::Span;

use crate::connection::{SYSTEM, Slot};
use crate::error::Failure;
use crate::job::{Busy, Job, Message};

/// So many writes may wait: about what a slow disk (10 ms a commit) takes in a tenth of a second,
/// so that only an overload is refused.
pub(crate) const QUEUE: usize = 1024;

/// So many jobs share a commit at most: enough that the disk is no longer what limits, and few
/// enough that the first of them does not wait long for the last.
const MAX_BATCH: usize = 128;

/// Whether more is to come.
#[derive(PartialEq, Eq)]
enum Next {
    Wait,
    Stop,
}

/// Does the writes, batch after batch, until the queue ends.
pub(crate) fn run(mut slot: Slot, jobs: &Receiver<Message>, busy: &Busy) {
    while let Ok(Message::Job(first)) = jobs.recv() {
        if !first.is_wanted() {
            continue;
        }
        let _at_work = busy.work();
        let connection = match slot.get() {
            Ok(connection) => connection,
            Err(failure) => {
                first.answer(Err(failure));
                continue;
            }
        };
        let mut batch = Vec::new();
        let (held, next) = run_batch(connection, first, jobs, &mut batch);
        if let Err(failure) = &held {
            tracing::error!(%failure, jobs = batch.len(), "a transaction is lost");
            slot.discard();
        }
        for job in batch {
            job.answer(held.clone());
        }
        if next == Next::Stop {
            break;
        }
    }
}

/// Runs a job and those that wait behind it in one transaction, and commits it. An error means
/// that nothing of it holds.
fn run_batch(
    connection: &mut SqliteConnection,
    first: Box<dyn Job>,
    jobs: &Receiver<Message>,
    batch: &mut Vec<Box<dyn Job>>,
) -> (Result<(), Failure>, Next) {
    let mut next = Next::Wait;
    // Immediate: a transaction that begins by reading could not always be raised to a writing one.
    let mut held = AnsiTransactionManager::begin_transaction_sql(connection, "BEGIN IMMEDIATE")
        .map_err(Failure::from);
    let mut waiting = Some(first);
    while let Some(mut job) = waiting.take() {
        if job.is_wanted() {
            held = held.and_then(|()| run_in_savepoint(connection, &mut *job));
            batch.push(job);
        }
        if held.is_ok() && batch.len() < MAX_BATCH {
            match jobs.try_recv() {
                Ok(Message::Job(job)) => waiting = Some(job),
                Ok(Message::Stop) => next = Next::Stop,
                Err(_) => {}
            }
        }
    }
    let held = held.and_then(|()| commit(connection, batch));
    (held, next)
}

/// Commits what the jobs did. All of them wait for the disk, so each trace has a span of it.
fn commit(connection: &mut SqliteConnection, batch: &[Box<dyn Job>]) -> Result<(), Failure> {
    let jobs = batch.iter();
    let spans: Vec<Span> = jobs
        .filter_map(|job| job.caller().in_scope(|| commit_span(SYSTEM)))
        .collect();
    AnsiTransactionManager::commit_transaction(connection).map_err(|error| {
        for span in &spans {
            fail(span, &error);
        }
        Failure::from(error)
    })
}

/// Runs a job so that its failure takes back what it did, and nothing else. An error means that
/// the whole transaction is lost: `SQLite` itself rolls back on some errors, such as a full disk.
fn run_in_savepoint(connection: &mut SqliteConnection, job: &mut dyn Job) -> Result<(), Failure> {
    AnsiTransactionManager::begin_transaction(connection)?;
    match job.run(connection) {
        Ok(()) => Ok(AnsiTransactionManager::commit_transaction(connection)?),
        Err(failure) => {
            AnsiTransactionManager::rollback_transaction(connection).map_err(|_follows| failure)
        }
    }
}
