//! Connections, and the pool that keeps them.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{Manager, Metrics, Pool, QueueMode, RecycleError, RecycleResult, Timeouts};
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncPgConnection, SimpleAsyncConnection,
    TransactionManager,
};
use tasks_diesel_trace::StatementSpans;
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Config, NoTls, Socket};

use crate::error::ConnectFailure;
use crate::target::{ConnectError, Route};

/// So long a unit of work waits for a connection that others use.
const WAIT_TIMEOUT: Duration = Duration::from_secs(2);
/// So long opening a connection may take, TLS and log-in included.
const CREATE_TIMEOUT: Duration = Duration::from_secs(2);
/// So long an idle connection may take to show that it works.
const RECYCLE_TIMEOUT: Duration = Duration::from_secs(1);
/// After so long a connection has to show that it works before it is used again. What is used more
/// often is not asked: that it ended is noticed without, and asking costs a round trip.
const VERIFY_AFTER: Duration = Duration::from_secs(1);
/// What a session of the pool is set to. A statement that takes longer than two seconds answers
/// nobody any more, nor does one that waits as long for a lock; and a transaction in which nothing
/// happens belongs to a program that is gone. To compile a plan takes longer than any of our statements, and
/// one for whatever values may look long enough for it. Statements that are kept prepared are planned once,
/// which for most takes longer than to do them, and are such that one plan fits all values; left to itself,
/// Postgres plans some of them every time. Pages are in memory or on a disk without a head that moves: else
/// it would rather read a whole small table for each row than look into an index.
const POOLED: &str = "SET statement_timeout = '2s'; SET lock_timeout = '2s'; \
                      SET idle_in_transaction_session_timeout = '5s'; \
                      SET default_transaction_isolation = 'read committed'; \
                      SET jit = off; \
                      SET plan_cache_mode = force_generic_plan; \
                      SET random_page_cost = 1.1";
/// What the session of a migration is set to: to change a large table takes its time, and so does
/// waiting for another instance that does. Whatever the server's own settings are.
pub(crate) const MIGRATING: &str = "SET statement_timeout = 0; SET lock_timeout = 0; \
                                    SET idle_in_transaction_session_timeout = 0";

/// A connection, with the task that drives it.
pub(crate) struct Connection {
    pub(crate) session: AsyncPgConnection,
    pub(crate) driver: Driver,
    /// Those of its statements.
    pub(crate) spans: StatementSpans,
    /// Something is wrong with it: the pool does not take it back.
    pub(crate) is_given_up: AtomicBool,
}

/// Sends and receives for a connection, and ends with it.
pub(crate) struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        // By itself it would wait for the answers that are still due, of a frozen server for ever.
        self.0.abort();
    }
}

/// Opens connections, on the runtime on which it is asked to.
pub(crate) struct Connector(Arc<[Route]>);

impl Connector {
    pub(crate) fn new(routes: Arc<[Route]>) -> Self {
        Self(routes)
    }

    /// A new connection, on which this was run first.
    pub(crate) async fn connect(&self, settings: &str) -> Result<Connection, ConnectFailure> {
        let mut refused = ConnectFailure::from("there is no way to it");
        for route in &*self.0 {
            let opened = match &route.tls {
                Some(tls) => open(&route.config, tls.clone()).await,
                None => open(&route.config, NoTls).await,
            };
            match opened {
                Ok((client, driver)) => {
                    let spans = StatementSpans::new("postgresql");
                    let mut session = AsyncPgConnection::try_from(client).await?;
                    session.batch_execute(settings).await?;
                    session.set_instrumentation(spans.clone());
                    return Ok(Connection {
                        session,
                        driver,
                        spans,
                        is_given_up: AtomicBool::new(false),
                    });
                }
                Err(error) => {
                    refused = ConnectFailure::from(&error);
                    if !another_may_help(&error) {
                        break;
                    }
                }
            }
        }
        Err(refused)
    }
}

/// Whether the other of encrypted and plain may be what the server wants.
fn another_may_help(error: &tokio_postgres::Error) -> bool {
    error.code().is_none_or(|code| {
        // The server's rules have no place for such a connection, as opposed to a wrong password.
        *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION
    })
}

async fn open<T>(
    config: &Config,
    tls: T,
) -> Result<(tokio_postgres::Client, Driver), tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let (client, connection) = config.connect(tls).await?;
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to the database broke");
        }
    });
    Ok((client, Driver(driver)))
}

impl Manager for Connector {
    type Type = Connection;
    type Error = ConnectFailure;

    fn create(&self) -> impl Future<Output = Result<Connection, ConnectFailure>> + Send {
        self.connect(POOLED)
    }

    async fn recycle(
        &self,
        connection: &mut Connection,
        metrics: &Metrics,
    ) -> RecycleResult<ConnectFailure> {
        if *connection.is_given_up.get_mut() {
            return Err(RecycleError::message("the connection was given up"));
        }
        if connection.driver.0.is_finished() {
            return Err(RecycleError::message("the connection ended"));
        }
        if AnsiTransactionManager::is_broken_transaction_manager(&mut connection.session) {
            return Err(RecycleError::message("a transaction is open"));
        }
        if metrics.last_used() > VERIFY_AFTER {
            connection
                .session
                .batch_execute("SELECT 1")
                .await
                .map_err(ConnectFailure::from)?;
        }
        Ok(())
    }
}

/// A pool of at most so many connections, of which none is opened yet.
pub(crate) fn build(connector: Connector, size: usize) -> Result<Pool<Connector>, ConnectError> {
    Pool::builder(connector)
        .max_size(size)
        .runtime(Runtime::Tokio1)
        // The one that was used last has its server process in the caches, and few of them are busy.
        .queue_mode(QueueMode::Lifo)
        .timeouts(Timeouts {
            wait: Some(WAIT_TIMEOUT),
            create: Some(CREATE_TIMEOUT),
            recycle: Some(RECYCLE_TIMEOUT),
        })
        .build()
        .map_err(|error| ConnectError::Pool(error.to_string()))
}

#[cfg(test)]
mod tests {
    use diesel::dsl::sql;
    use diesel::sql_types::Text;
    use diesel_async::RunQueryDsl;

    use crate::tests::Opened;
    use crate::work::Kind;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_session_is_bounded_and_says_whose_it_is() {
        let opened = Opened::empty().await;
        let settings: Result<String, _> = opened
            .store
            .run(Kind::Read, (), |session, ()| {
                Box::pin(async move {
                    let settings = diesel::select(sql::<Text>(
                        "concat_ws(' ', current_setting('statement_timeout'), \
                         current_setting('lock_timeout'), \
                         current_setting('idle_in_transaction_session_timeout'), \
                         current_setting('TimeZone'), current_setting('application_name'))",
                    ));
                    Ok(settings.get_result(session).await?)
                })
            })
            .await;
        assert_eq!(settings.as_deref(), Ok("2s 2s 5s UTC task-api"));
    }
}
