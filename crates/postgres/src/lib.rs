//! The store for several instances: diesel-async over `PostgreSQL`.
//!
//! A port method is one unit of work: a task of its own, with a deadline. So a request that is dropped in
//! the middle leaves no transaction open. It is done where the connection is driven: a worker of the server
//! has a few of its own, which save it the way to another thread and back, and what they do not suffice for
//! is done on the main runtime, as transactions are. So a worker that is busy holds up neither connections nor
//! rows that others want.
//!
//! * `target`, `tls`: `DATABASE_URL`, and what `sslmode` means;
//! * `pool`: connections, what they are set to, how they are shared;
//! * `place`: which of the connections a unit of work gets;
//! * `pipeline`: short reads of several requests over one connection;
//! * `work`: units of work, their deadline and when they are done once more;
//! * `error`: what Postgres's errors mean;
//! * `users`, `sessions`, `tasks`, `categories`, `outbox`, `housekeeping`, `health`: the ports, one to
//!   a module.
//!
//! So that no two transactions wait for each other, all lock rows in one order: of a user, then of
//! sessions, then of refresh tokens, then of mails; of tasks, then of categories, then of what is filed
//! where, then of counters of tasks, and those in the order of their keys. It is the order in which foreign
//! keys lock and cascade and triggers count. Who has to lock several rows of a
//! table first locks the one of the user that they are all about. Who begins elsewhere never waits for
//! what comes before: claiming a mail tries for the user's row, housekeeping skips what others have.

mod categories;
mod error;
mod health;
mod housekeeping;
mod kept;
mod migrations;
mod outbox;
mod pipeline;
mod place;
mod pool;
mod schema;
mod sessions;
mod target;
mod tasks;
#[cfg(test)]
mod tests;
mod tls;
mod users;
mod values;
mod work;

use std::num::NonZeroUsize;
use std::time::Duration;

use futures_util::TryFutureExt;
use secrecy::{ExposeSecret, SecretString};
use tasks_domain::store::StoreError;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::Instrument;

pub use migrations::{MigrationError, MigrationState};
pub use target::ConnectError;

use place::Places;
use work::{Kind, Look, Work};

/// How often it is looked whether the last connection is closed: the pool does not tell.
const POLL: Duration = Duration::from_millis(10);

/// How a store is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PgOptions {
    /// How many connections are kept; under load there are up to [`PgOptions::OVERFLOW`] more. The
    /// pool knows only one bound, so those stay open too once they were needed: the server has to
    /// allow the sum for each instance.
    pub pool_size: u32,
}

impl PgOptions {
    /// How many connections are kept if nobody says.
    pub const DEFAULT_POOL_SIZE: u32 = 10;
    /// How many more there may be.
    pub const OVERFLOW: u32 = 20;
}

impl Default for PgOptions {
    fn default() -> Self {
        Self {
            pool_size: Self::DEFAULT_POOL_SIZE,
        }
    }
}

/// The store for several instances: a handle, cheap to clone.
#[derive(Clone)]
pub struct PgStore {
    places: Places,
}

impl PgStore {
    /// A store that connects when it is first needed. Nothing is opened or asked here, so that the
    /// service starts while the database does not.
    ///
    /// To be called on the main, multi-threaded runtime, on which connections are then driven.
    ///
    /// # Panics
    ///
    /// Outside of any runtime.
    pub fn connect_lazy(url: &SecretString, options: PgOptions) -> Result<Self, ConnectError> {
        let routes = target::routes(url.expose_secret())?;
        let size = options.pool_size.saturating_add(PgOptions::OVERFLOW);
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        // As many as the server has workers.
        let workers = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Ok(Self {
            places: Places::new(routes, size, workers)?,
        })
    }

    /// Applies every pending migration, and names them. Of several instances that do so at once
    /// one does, and the others wait for it.
    pub async fn migrate_up(&self) -> Result<Vec<String>, MigrationError> {
        self.migrate(migrations::up).await
    }

    /// Reverts the last migration, and names it.
    pub async fn migrate_down(&self) -> Result<Option<String>, MigrationError> {
        self.migrate(migrations::down).await
    }

    /// Every migration that the program or the database has, oldest first. Only reads.
    pub async fn migration_status(&self) -> Result<Vec<MigrationState>, MigrationError> {
        Ok(self
            .run(Kind::Read, (), |session, ()| {
                Box::pin(migrations::status(session))
            })
            .await?)
    }

    /// Closes every connection once what was begun on it is done, which has its own deadline. What is
    /// asked of another handle afterwards is refused.
    pub async fn close(self) {
        self.places.close();
        let closed = async {
            while self.places.status().size > 0 {
                tokio::time::sleep(POLL).await;
            }
        };
        // What then still runs is cut off together with the runtime.
        drop(tokio::time::timeout(work::DEADLINE, closed).await);
    }

    /// Looks at something, over a connection that others use at the same time.
    async fn look<I, T>(&self, input: I, work: Look<I, T>) -> Result<T, StoreError>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        let deadline = Instant::now() + work::DEADLINE;
        let input = if let Some(worker) = self.places.worker() {
            let places = self.places.clone();
            let unit = async move {
                let looked = work::look(&places, deadline, &input, work).await;
                looked.ok_or(input)
            };
            match in_a_task(&worker, unit).await {
                Ok(Ok(outcome)) => return traced(outcome),
                Ok(Err(input)) => input,
                Err(failure) => return traced(Err(failure)),
            }
        } else {
            input
        };
        let read: Work<(I, Look<I, T>), T> = |session, (input, work)| work(session, input);
        // Seldom on a worker, so it takes no room in what is.
        let read = Box::pin(self.run_before(deadline, Kind::Read, (input, work), read));
        traced(read.await)
    }

    /// Does something that only reads.
    async fn read<I, T>(&self, input: I, work: Work<I, T>) -> Result<T, StoreError>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        traced(self.run(Kind::Read, input, work).await)
    }

    /// Does something that changes the store by one statement.
    async fn write<I, T>(&self, input: I, work: Work<I, T>) -> Result<T, StoreError>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        traced(self.run(Kind::Statement, input, work).await)
    }

    /// Does something that changes the store by one statement, which may be done again.
    async fn write_again<I, T>(&self, input: I, work: Work<I, T>) -> Result<T, StoreError>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        traced(self.run(Kind::Idempotent, input, work).await)
    }

    /// Does something in a transaction that is committed before it is answered. An error takes back
    /// what was done, so an expected refusal has to be a value.
    async fn transact<I, T>(&self, input: I, work: Work<I, T>) -> Result<T, StoreError>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        traced(self.run(Kind::Transaction, input, work).await)
    }

    fn run<I, T>(
        &self,
        kind: Kind,
        input: I,
        work: Work<I, T>,
    ) -> impl Future<Output = Result<T, error::Failure>> + Send
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        let deadline = Instant::now() + work::DEADLINE;
        self.run_before(deadline, kind, input, work)
    }

    async fn run_before<I, T>(
        &self,
        deadline: Instant,
        kind: Kind,
        input: I,
        work: Work<I, T>,
    ) -> Result<T, error::Failure>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        let place::Place {
            runtime,
            pool,
            room,
        } = match kind {
            Kind::Read | Kind::Statement | Kind::Idempotent => self.places.free(),
            Kind::Transaction => self.places.shared(),
        };
        let unit = async move {
            let outcome = work::run(&pool, deadline, kind, &input, work).await;
            drop(room);
            outcome
        };
        in_a_task(&runtime, unit).await?
    }
}

/// Does something whether or not anybody still waits for it.
fn in_a_task<T: Send + 'static>(
    runtime: &Handle,
    unit: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = Result<T, error::Failure>> + Send + 'static {
    let task = runtime.spawn(unit.in_current_span());
    task.map_err(|error| {
        if error.is_panic() {
            error::Failure::Other("a unit of work panicked".to_owned())
        } else {
            error::Failure::Unavailable("the service is shutting down".to_owned())
        }
    })
}

/// What a port method comes to: its failure is one of the use case that called it.
fn traced<T>(outcome: Result<T, impl Into<StoreError>>) -> Result<T, StoreError> {
    outcome.map_err(|failure| {
        tasks_diesel_trace::fail_use_case();
        failure.into()
    })
}
