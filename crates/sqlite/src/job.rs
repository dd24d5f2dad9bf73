//! A unit of work on its way from a request to one of the store's threads, and back.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Sender, TrySendError};
use diesel::{Connection, SqliteConnection};
use tasks_diesel_trace::UnitOfWork;
use tasks_domain::store::StoreError;
use tokio::sync::oneshot;
use tracing::Span;

use crate::error::Failure;

/// What a thread is told.
pub(crate) enum Message {
    Job(Box<dyn Job>),
    /// Finish what came before, then end.
    Stop,
}

/// How many threads are at work.
#[derive(Clone, Debug, Default)]
pub(crate) struct Busy(Arc<AtomicUsize>);

impl Busy {
    /// Counts a thread as long as what is returned lives.
    pub(crate) fn work(&self) -> AtWork<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        AtWork(self)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A thread at work.
pub(crate) struct AtWork<'a>(&'a Busy);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A unit of work.
pub(crate) trait Job: Send {
    /// Whether anybody still waits for it: a request that was dropped before its job began
    /// costs nothing more.
    fn is_wanted(&self) -> bool;

    /// Does the work and keeps what comes of it. A panic is a failure like any other, and the
    /// thread goes on.
    fn run(&mut self, connection: &mut SqliteConnection) -> Result<(), Failure>;

    /// The span of whoever asked.
    fn caller(&self) -> &Span;

    /// Answers with what came of the work if it also held, and otherwise with why it did not.
    fn answer(self: Box<Self>, held: Result<(), Failure>);
}

struct Request<T, W> {
    work: Option<W>,
    outcome: Option<Result<T, Failure>>,
    caller: Span,
    reply: oneshot::Sender<Result<T, Failure>>,
}

impl<T, W> Job for Request<T, W>
where
    T: Send,
    W: FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send,
{
    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    fn run(&mut self, connection: &mut SqliteConnection) -> Result<(), Failure> {
        let Some(work) = self.work.take() else {
            return Ok(());
        };
        let _traced = self.caller.enter();
        let outcome = perform(connection, work);
        let done = outcome.as_ref().map(|_| ()).map_err(Clone::clone);
        self.outcome = Some(outcome);
        done
    }

    fn caller(&self) -> &Span {
        &self.caller
    }

    fn answer(self: Box<Self>, held: Result<(), Failure>) {
        // It ends with the caller, who does not wait for this thread to let go of it.
        drop(self.caller);
        let answer = match (self.outcome, held) {
            (Some(Err(failure)), _) | (_, Err(failure)) => Err(failure),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(Failure::Other("a job of the store was not run".to_owned())),
        };
        // Nobody has to be there any more.
        drop(self.reply.send(answer));
    }
}

/// Does some work on a connection. A panic is a failure like any other: whatever state it leaves the
/// connection in is rolled back or given up.
pub(crate) fn perform<T>(
    connection: &mut SqliteConnection,
    work: impl FnOnce(&mut SqliteConnection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let spans = UnitOfWork::on(connection.instrumentation());
    let work = AssertUnwindSafe(|| {
        work(connection).inspect_err(|failure| match failure {
            Failure::Unavailable(_) | Failure::Other(_) => spans.fail(),
            Failure::Corrupt(_) => {}
        })
    });
    catch_unwind(work)
        .unwrap_or_else(|_| Err(Failure::Other("a job of the store panicked".to_owned())))
}

/// Has a thread do some work, and waits for what comes of it.
///
/// Nothing here blocks: a full queue is refused, and a future that is dropped leaves nothing behind
/// but, if it has begun, its job, which then runs to its end.
pub(crate) async fn submit<T, W>(queue: &Sender<Message>, work: W) -> Result<T, StoreError>
where
    T: Send + 'static,
    W: FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    let job = Box::new(Request {
        work: Some(work),
        outcome: None,
        caller: Span::current(),
        reply,
    });
    match queue.try_send(Message::Job(job)) {
        Ok(()) => {}
        Err(TrySendError::Full(_)) => {
            return Err(StoreError::Unavailable(
                "too many requests wait for the database".into(),
            ));
        }
        Err(TrySendError::Disconnected(_)) => return Err(closed()),
    }
    match answer.await {
        Ok(outcome) => outcome.map_err(StoreError::from),
        Err(_) => Err(closed()),
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("the database is closed".into())
}
