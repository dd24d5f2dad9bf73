//! A unit of work: what one port method does with one connection.

use std::time::Duration;

use deadpool::managed::{Object, Pool};
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, TransactionManager};
use futures_util::future::BoxFuture;
use tasks_diesel_trace::UnitOfWork;
use tokio::time::{Instant, timeout_at};

use crate::error::Failure;
use crate::place::Places;
use crate::pool::Connector;

/// So long a unit of work may take, the wait for a connection included. The other time-outs come
/// first; this one holds where they do not: a server that is frozen still has its kernel
/// acknowledge what is sent to it, and does not measure its own time.
pub(crate) const DEADLINE: Duration = Duration::from_secs(3);

/// What to do, and with what: a function without state of its own, so that it can be done again.
pub(crate) type Work<I, T> =
    for<'a> fn(&'a mut AsyncPgConnection, &'a I) -> BoxFuture<'a, Result<T, Failure>>;

/// A look at the store: one statement that changes nothing and takes a short time whatever the values, since
/// others may be waiting for its answer before they get theirs.
pub(crate) type Look<I, T> =
    for<'a> fn(&'a AsyncPgConnection, &'a I) -> BoxFuture<'a, Result<T, Failure>>;

/// What a unit of work is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Statements that change nothing.
    Read,
    /// One statement that changes something, and others that do not.
    Statement,
    /// One statement that changes something, and nothing more where it is done again.
    Idempotent,
    /// Statements that change everything or nothing.
    Transaction,
}

impl Kind {
    /// Whether to do it once more: where it would not be done twice.
    fn may_retry(self, failure: &Failure) -> bool {
        match failure {
            Failure::Conflict(_) => true,
            Failure::Lost(_) => match self {
                Self::Read | Self::Idempotent | Self::Transaction => true,
                // It may have been done, and only the answer was lost.
                Self::Statement => false,
            },
            Failure::Unavailable(_) | Failure::Corrupt(_) | Failure::Other(_) => false,
        }
    }
}

/// Does a unit of work before a deadline, if need be twice.
pub(crate) async fn run<I, T>(
    pool: &Pool<Connector>,
    deadline: Instant,
    kind: Kind,
    input: &I,
    work: Work<I, T>,
) -> Result<T, Failure>
where
    I: Sync,
{
    match attempt(pool, deadline, kind, input, work).await {
        Err(failure) if kind.may_retry(&failure) => {
            tracing::debug!(%failure, "a unit of work is done once more");
            attempt(pool, deadline, kind, input, work).await
        }
        outcome => outcome,
    }
}

/// Looks at the store before a deadline, over a connection that others use at the same time. `None` where it
/// has to be done without the others: there is no such connection, or it was lost.
pub(crate) async fn look<I, T>(
    places: &Places,
    deadline: Instant,
    input: &I,
    work: Look<I, T>,
) -> Option<Result<T, Failure>> {
    let piped = match timeout_at(deadline, places.piped()).await {
        Ok(Some(Ok(piped))) => piped,
        Ok(Some(Err(error))) => return Some(Err(error.into())),
        Ok(None) => return None,
        Err(_elapsed) => return Some(Err(late())),
    };
    let connection = piped.connection();
    let spans = UnitOfWork::on(&connection.spans);
    let outcome = timeout_at(deadline, traced(&spans, work(&connection.session, input)))
        .await
        .unwrap_or_else(|_elapsed| Err(late()));
    if let Err(Failure::Lost(_) | Failure::Unavailable(_)) = outcome {
        piped.give_up();
    }
    match outcome {
        Err(failure) if Kind::Read.may_retry(&failure) => {
            tracing::debug!(%failure, "a look at the store is done once more");
            None
        }
        outcome => Some(outcome),
    }
}

fn late() -> Failure {
    Failure::Unavailable("the database did not answer in time".to_owned())
}

async fn attempt<I, T>(
    pool: &Pool<Connector>,
    deadline: Instant,
    kind: Kind,
    input: &I,
    work: Work<I, T>,
) -> Result<T, Failure>
where
    I: Sync,
{
    let mut connection = timeout_at(deadline, pool.get())
        .await
        .map_err(|_elapsed| late())??;
    let spans = UnitOfWork::on(&connection.spans);
    let session = &mut connection.session;
    let outcome = timeout_at(deadline, async {
        match kind {
            Kind::Read | Kind::Statement | Kind::Idempotent => {
                traced(&spans, work(session, input)).await
            }
            Kind::Transaction => transaction(session, &spans, input, work).await,
        }
    })
    .await
    .unwrap_or_else(|_elapsed| Err(late()));
    if let Err(Failure::Lost(_) | Failure::Unavailable(_)) = outcome {
        // Whatever is wrong with it, the next one does not inherit it. Its transaction ends with it.
        drop(Object::take(connection));
    }
    outcome
}

/// Has the trace say it where the database refused.
async fn traced<T>(
    spans: &UnitOfWork,
    work: BoxFuture<'_, Result<T, Failure>>,
) -> Result<T, Failure> {
    let outcome = work.await;
    match outcome {
        Ok(_) | Err(Failure::Corrupt(_)) => {}
        Err(
            Failure::Lost(_) | Failure::Conflict(_) | Failure::Unavailable(_) | Failure::Other(_),
        ) => spans.fail(),
    }
    outcome
}

async fn transaction<I, T>(
    session: &mut AsyncPgConnection,
    spans: &UnitOfWork,
    input: &I,
    work: Work<I, T>,
) -> Result<T, Failure> {
    AnsiTransactionManager::begin_transaction(session).await?;
    match traced(spans, work(session, input)).await {
        Ok(value) => match AnsiTransactionManager::commit_transaction(session).await {
            Ok(()) => Ok(value),
            Err(error) => Err(Failure::from(error).of_commit()),
        },
        Err(failure) => {
            if let Err(error) = AnsiTransactionManager::rollback_transaction(session).await {
                // The pool does not take a connection back that has a transaction open.
                tracing::debug!(%error, "a transaction was not rolled back");
            }
            Err(failure)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use diesel_async::SimpleAsyncConnection;

    use crate::tests::Opened;

    use super::*;

    /// How often it was tried, and what the first try does.
    type Tries = (Arc<AtomicUsize>, &'static str);

    fn fails_once<'a>(
        session: &'a mut AsyncPgConnection,
        (tries, sql): &'a Tries,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            if tries.fetch_add(1, Ordering::SeqCst) == 0 {
                session.batch_execute(sql).await?;
            }
            Ok(())
        })
    }

    async fn tries(kind: Kind, sql: &'static str) -> (usize, Result<(), Failure>) {
        let opened = Opened::empty().await;
        let tries = Arc::new(AtomicUsize::new(0));
        let outcome = opened
            .store
            .run(kind, (Arc::clone(&tries), sql), fails_once)
            .await;
        (tries.load(Ordering::SeqCst), outcome)
    }

    const ENDED: &str = "SELECT pg_terminate_backend(pg_backend_pid())";

    #[tokio::test(flavor = "multi_thread")]
    async fn what_another_transaction_took_back_is_done_once_more() {
        for sql in [
            "DO $$ BEGIN RAISE 'could not serialize access' USING ERRCODE = '40001'; END $$",
            "DO $$ BEGIN RAISE 'deadlock detected' USING ERRCODE = '40P01'; END $$",
        ] {
            for kind in [
                Kind::Read,
                Kind::Statement,
                Kind::Idempotent,
                Kind::Transaction,
            ] {
                assert_eq!(tries(kind, sql).await, (2, Ok(())), "{kind:?} {sql}");
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_lost_connection_took_along_is_done_once_more_unless_it_may_be_done() {
        assert_eq!(tries(Kind::Read, ENDED).await, (2, Ok(())));
        assert_eq!(tries(Kind::Idempotent, ENDED).await, (2, Ok(())));
        assert_eq!(tries(Kind::Transaction, ENDED).await, (2, Ok(())));
        let (tries, outcome) = tries(Kind::Statement, ENDED).await;
        assert_eq!(tries, 1);
        assert!(matches!(outcome, Err(Failure::Lost(_))), "{outcome:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_commit_that_may_have_happened_is_not_done_once_more() {
        // Deferred to the commit, in which the connection then ends.
        let sql = "CREATE TABLE ended (id int); \
                   CREATE FUNCTION end_it() RETURNS trigger LANGUAGE plpgsql AS \
                   $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$; \
                   CREATE CONSTRAINT TRIGGER ends AFTER INSERT ON ended \
                   DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION end_it(); \
                   INSERT INTO ended VALUES (1)";
        let (tries, outcome) = tries(Kind::Transaction, sql).await;
        assert_eq!(tries, 1);
        assert!(
            matches!(outcome, Err(Failure::Unavailable(_))),
            "{outcome:?}"
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_error_takes_back_what_was_done_and_the_connection_goes_on() {
        let opened = Opened::empty().await;
        let outcome: Result<(), _> = opened
            .store
            .run(Kind::Transaction, (), |session, ()| {
                Box::pin(async move {
                    session.batch_execute("CREATE TABLE made (id int)").await?;
                    Err(Failure::Other("no".to_owned()))
                })
            })
            .await;
        assert_eq!(outcome, Err(Failure::Other("no".to_owned())));
        let made = opened
            .store
            .run(Kind::Transaction, (), |session, ()| {
                Box::pin(
                    async move { Ok(session.batch_execute("CREATE TABLE made (id int)").await?) },
                )
            })
            .await;
        assert_eq!(made, Ok(()));
        assert_eq!(opened.store.places.status().size, 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_fails_its_own_unit_of_work() {
        let opened = Opened::empty().await;
        let outcome: Result<(), _> = opened
            .store
            .run(Kind::Transaction, (), |_, ()| {
                Box::pin(async { panic!("on purpose") })
            })
            .await;
        assert!(matches!(outcome, Err(Failure::Other(_))), "{outcome:?}");
        assert_eq!(tries(Kind::Read, "SELECT 1").await, (1, Ok(())));
    }
}
