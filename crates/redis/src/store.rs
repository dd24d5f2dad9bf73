//! The connections, and what happens when Redis does not answer.

use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use deadpool::Runtime;
use deadpool::managed::{Metrics, Pool, PoolError, RecycleResult, Timeouts};
use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{
    AsyncConnectionConfig, ConnectionInfo, FromRedisValue, IntoConnectionInfo, RedisError,
    RedisResult,
};
use tasks_domain::clock::Clock;
use tasks_domain::health::{HealthProbe, PoolProbe, PoolState};
use tasks_domain::store::StoreError;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::timeout_at;
use tracing::Instrument;

use crate::breaker::Breaker;
use crate::rate_limiter;
use crate::signed_in_cache;
use crate::trace::{self, Command, Server};

/// How many connections a process opens at most. Each carries any number of operations side by
/// side, so these are plenty; and so few can all be opened at once within the time limit, TLS
/// included.
const MAX_CONNECTIONS: usize = 8;

/// How long a health check waits, connecting included: the bound of every health check.
const HEALTH_LIMIT: Duration = Duration::from_secs(2);

/// How long Redis is left alone after it did not answer, before it is asked again: with the time
/// limit well below the second within which a session that was ended here is over everywhere.
const RETRY: Duration = Duration::from_millis(250);

/// There is at most one warning in this time.
const WARNINGS: Duration = Duration::from_secs(1);

/// The shared limits and the shared cache: a handle, cheap to clone.
#[derive(Clone)]
pub struct RedisStore {
    pub(crate) link: Arc<Link>,
    pub(crate) clock: Option<Arc<dyn Clock>>,
}

/// Why there is no store. Names no part of the URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nothing that Redis can be reached at.
    #[error(
        "not a Redis URL, expected redis://[user:password@]host[:port][/database] or rediss://…: {reason}"
    )]
    Url {
        /// What is wrong with it.
        reason: String,
    },
    /// Called outside a runtime, which the connections would live on.
    #[error("Redis needs a running async runtime")]
    NoRuntime(#[source] tokio::runtime::TryCurrentError),
    /// The pool cannot be made.
    #[error("cannot make the pool of Redis connections")]
    Pool(#[source] deadpool::managed::BuildError),
}

impl RedisStore {
    /// How long a call waits for Redis at most: for a connection, which may have to be opened, and
    /// for the answer.
    pub const TIME_LIMIT: Duration = Duration::from_millis(100);

    /// A store at a URL. Opens no connection yet, so a Redis that is away does not matter here.
    ///
    /// Call it on the main multi-thread runtime: connections are opened there, whoever needs one,
    /// since a connection is driven by the runtime that opened it and must not wait for a busy
    /// worker.
    pub fn connect_lazy(url: &str) -> Result<Self, ConnectError> {
        Self::connect_with_limit(url, Self::TIME_LIMIT)
    }

    /// With another time limit, for tests of something else on a busy machine.
    #[doc(hidden)]
    pub fn connect_with_limit(url: &str, time_limit: Duration) -> Result<Self, ConnectError> {
        let target = url
            .into_connection_info()
            .map_err(|error| invalid(&error))?;
        let runtime = Handle::try_current().map_err(ConnectError::NoRuntime)?;
        let server = Server::of(&target);
        let opener = Opener::new(target, runtime.clone()).map_err(|error| invalid(&error))?;
        let pool = Pool::builder(opener)
            .max_size(MAX_CONNECTIONS)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(ConnectError::Pool)?;
        Ok(Self {
            link: Arc::new(Link {
                pool,
                server,
                runtime,
                time_limit,
                breaker: Mutex::default(),
                warned: Mutex::default(),
                unavailable: AtomicU64::new(0),
            }),
            clock: None,
        })
    }

    /// Goes by another clock than Redis's own, for the contract suite.
    #[doc(hidden)]
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self {
            clock: Some(clock),
            ..self
        }
    }

    /// How many requests Redis did not count, so that somebody else had to decide on them.
    pub fn unavailable_total(&self) -> u64 {
        self.link.unavailable.load(Ordering::Relaxed)
    }

    /// Closes all connections. Whatever is called afterwards fails at once.
    ///
    /// If there is a change that Redis may not know of, it is told a last time.
    pub async fn close(self) {
        // If Redis is still away, what it knows expires.
        let _ = self.link.tell().await;
        self.link.pool.close();
    }
}

fn invalid(error: &RedisError) -> ConnectError {
    // Its category and fixed description only: details could quote the URL.
    ConnectError::Url {
        reason: error.category().to_owned(),
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").finish_non_exhaustive()
    }
}

impl PoolProbe for RedisStore {
    fn pool(&self) -> PoolState {
        let status = self.link.pool.status();
        PoolState {
            idle: status.available,
            in_use: status.size.saturating_sub(status.available),
            waiting: status.waiting,
        }
    }
}

#[async_trait]
impl HealthProbe for RedisStore {
    /// Asks Redis itself, whatever the breaker thinks. A failure opens it like any other: it may be all
    /// that is ever noticed of an outage.
    async fn check(&self) -> Result<(), StoreError> {
        let answer = rate_limiter::rehearse(&self.link, HEALTH_LIMIT).await;
        answer.map_err(|failure| {
            self.link.trip(&failure);
            failure.into_store_error()
        })
    }
}

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// It did not answer, or let itself not be connected to, in time.
    #[error("no answer within {} ms", .0.as_millis())]
    Late(Duration),
    /// It answered with an error, or the connection broke.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The breaker is open.
    #[error("Redis did not answer a moment ago")]
    Open,
    /// The store is closed, or its runtime is.
    #[error("the connections to Redis are closed")]
    Closed,
}

impl Failure {
    fn into_store_error(self) -> StoreError {
        StoreError::Unavailable(Box::new(self))
    }
}

/// When a time limit is over.
#[derive(Clone, Copy)]
struct Deadline {
    limit: Duration,
    at: Instant,
}

impl Deadline {
    fn after(limit: Duration) -> Self {
        let at = Instant::now() + limit;
        Self { limit, at }
    }
}

/// The way to Redis, which all clones of a store share.
pub(crate) struct Link {
    pool: Pool<Opener>,
    server: Server,
    pub(crate) runtime: Handle,
    pub(crate) time_limit: Duration,
    breaker: Mutex<Breaker>,
    /// When it was last said that Redis does not answer.
    warned: Mutex<Option<Instant>>,
    pub(crate) unavailable: AtomicU64,
}

impl Link {
    pub(crate) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with a connection, unless the breaker is open; opens it on a failure.
    ///
    /// It may be done twice, so it must not matter if it is. The connection is driven by the main runtime, so an
    /// answer that came in time counts also where the caller's worker was too busy to look for it.
    pub(crate) async fn run<T, F>(
        self: &Arc<Self>,
        command: Command,
        operation: impl Fn(MultiplexedConnection) -> F + Send + Sync + 'static,
    ) -> Result<T, StoreError>
    where
        T: FromRedisValue + Send + 'static,
        F: Future<Output = RedisResult<T>> + Send + 'static,
    {
        if self.breaker().is_open() {
            return Err(Failure::Open.into_store_error());
        }
        let deadline = Deadline::after(self.time_limit);
        let mut result = self.once(deadline, command, &operation).await;
        if let Err(failure) = result {
            let link = self.clone();
            let mend = async move { link.mend(failure, deadline, command, &operation).await };
            // In a task, which ends even if the caller gives up: what Redis has to forget it forgets.
            let mend = self.runtime.spawn(mend.in_current_span());
            // It fails only where the runtime ends.
            result = mend.await.unwrap_or(Err(Failure::Closed));
        }
        result.map_err(|failure| {
            self.trip(&failure);
            failure.into_store_error()
        })
    }

    /// Does something with a connection within a time limit.
    ///
    /// The caller may go away at any point: a multiplexed connection still takes the answer to what
    /// was asked, and throws it away.
    pub(crate) async fn attempt<T, F>(
        &self,
        limit: Duration,
        command: Command,
        operation: impl Fn(MultiplexedConnection) -> F + Send + Sync,
    ) -> Result<T, Failure>
    where
        F: Future<Output = RedisResult<T>> + Send,
    {
        let deadline = Deadline::after(limit);
        match self.once(deadline, command, &operation).await {
            Err(failure) => self.mend(failure, deadline, command, &operation).await,
            result => result,
        }
    }

    /// Does it once more if the connection was broken, within the same time limit.
    async fn mend<T, F>(
        &self,
        failure: Failure,
        deadline: Deadline,
        command: Command,
        operation: &(impl Fn(MultiplexedConnection) -> F + Send + Sync),
    ) -> Result<T, Failure>
    where
        F: Future<Output = RedisResult<T>> + Send,
    {
        // One that does not answer is no different from one that leads nowhere.
        self.forget_connections();
        // An idle connection that Redis, or a proxy before it, has closed meanwhile. Redis may have been away, or
        // have begun anew with what it knew long ago.
        let was_closed =
            matches!(&failure, Failure::Redis(error) if error.is_unrecoverable_error());
        if !was_closed {
            return Err(failure);
        }
        let again = async {
            let forget = signed_in_cache::forget_everybody;
            self.once(deadline, Command::UNLINK, &forget).await?;
            self.once(deadline, command, operation).await
        };
        let result = again.await;
        if result.is_err() {
            self.forget_connections();
        }
        result
    }

    /// Does something with a connection, in a span of its own.
    async fn once<T, F>(
        &self,
        deadline: Deadline,
        command: Command,
        operation: &(impl Fn(MultiplexedConnection) -> F + Send + Sync),
    ) -> Result<T, Failure>
    where
        F: Future<Output = RedisResult<T>> + Send,
    {
        let span = self.server.span(command);
        let Deadline { limit, at } = deadline;
        let result = timeout_at(at.into(), self.send(limit, operation))
            .instrument(span.clone())
            .await
            .unwrap_or(Err(Failure::Late(limit)));
        if let Err(failure) = &result {
            trace::mark(&span, failure);
        }
        result
    }

    async fn send<T, F>(
        &self,
        limit: Duration,
        operation: &(impl Fn(MultiplexedConnection) -> F + Send + Sync),
    ) -> Result<T, Failure>
    where
        F: Future<Output = RedisResult<T>> + Send,
    {
        let timeouts = Timeouts {
            wait: Some(limit),
            create: Some(limit),
            recycle: Some(limit),
        };
        // Given back at once: a connection carries any number of operations side by side, so a
        // burst does not queue for one.
        let connection = match self.pool.timeout_get(&timeouts).await {
            Ok(pooled) => pooled.clone(),
            Err(PoolError::Backend(error)) => return Err(error),
            Err(PoolError::Timeout(_)) => return Err(Failure::Late(limit)),
            Err(
                PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_),
            ) => {
                return Err(Failure::Closed);
            }
        };
        Ok(operation(connection).await?)
    }

    /// Closes the idle connections.
    fn forget_connections(&self) {
        self.pool.retain(|_, _| false);
    }

    /// Opens the breaker, and leaves it to a task in the background to close it.
    fn trip(self: &Arc<Self>, failure: &Failure) {
        let opened = self.breaker().open(Instant::now());
        if let Some(not_before) = opened {
            self.warn(failure);
            let recover = recover(Arc::downgrade(self), not_before);
            self.runtime.spawn(recover);
        }
    }

    /// Closes the breaker if Redis does what it is needed for, and has forgotten whatever may have
    /// changed meanwhile.
    async fn try_to_close(&self) -> Result<(), Failure> {
        rate_limiter::rehearse(self, self.time_limit).await?;
        loop {
            self.tell().await?;
            if self.breaker().close() {
                return Ok(());
            }
        }
    }

    /// Makes Redis forget everybody if there is a change that it may not know of.
    async fn tell(&self) -> Result<(), Failure> {
        let untold = self.breaker().untold();
        if let Some(changes) = untold {
            let forget = signed_in_cache::forget_everybody;
            self.attempt::<(), _>(self.time_limit, Command::UNLINK, forget)
                .await?;
            self.breaker().settle(changes);
        }
        Ok(())
    }

    fn warn(&self, failure: &Failure) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|before| before.elapsed() >= WARNINGS) {
            *warned = Some(Instant::now());
            tracing::warn!(error = %chain(failure), "redis does not answer");
        }
    }
}

/// Tries to close the breaker until it is closed or the store is: at once, since a single late
/// answer does not mean that Redis is away, and then again and again. Of a change Redis is told
/// even where it is too early to close.
async fn recover(link: Weak<Link>, not_before: Instant) {
    while let Some(link) = link.upgrade().filter(|link| !link.pool.is_closed()) {
        let early = Instant::now() < not_before;
        let attempt = if early {
            link.tell().await
        } else {
            link.try_to_close().await
        };
        match attempt {
            Ok(()) if early => {}
            Ok(()) => {
                tracing::info!("redis answers again");
                return;
            }
            Err(failure) => link.warn(&failure),
        }
        drop(link);
        tokio::time::sleep(RETRY).await;
    }
}

/// An error and its causes, in one line.
fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}

/// Opens connections on the main runtime.
struct Opener {
    inner: Arc<deadpool_redis::Manager>,
    runtime: Handle,
}

impl Opener {
    fn new(target: ConnectionInfo, runtime: Handle) -> RedisResult<Self> {
        // Who needs a connection sets the limit. These, the longest that anybody waits, are only
        // there to end what nobody waits for any more.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(HEALTH_LIMIT))
            .set_response_timeout(Some(HEALTH_LIMIT));
        Ok(Self {
            inner: Arc::new(deadpool_redis::Manager::new_with_config(target, config)?),
            runtime,
        })
    }
}

impl deadpool::managed::Manager for Opener {
    type Type = MultiplexedConnection;
    type Error = Failure;

    async fn create(&self) -> Result<MultiplexedConnection, Failure> {
        let inner = self.inner.clone();
        // In a set, so that it is given up if nobody waits for it any more.
        let mut opening = JoinSet::new();
        opening.spawn_on(async move { inner.create().await }, &self.runtime);
        match opening.join_next().await {
            Some(Ok(opened)) => Ok(opened?),
            Some(Err(_)) | None => Err(Failure::Closed),
        }
    }

    /// Without the usual PING, which would double the round trips of every operation: a connection
    /// that broke is noticed when it is used.
    async fn recycle(&self, _: &mut MultiplexedConnection, _: &Metrics) -> RecycleResult<Failure> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tasks_domain::account::{CacheLookup, SessionRef, SignedInCache};
    use tasks_testkit::build;
    use tasks_testkit::servers::RedisServer;
    use tokio::time::timeout;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    /// Asks until it is so.
    async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
        let ask = async {
            while !is_so().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(MINUTE, ask).await.expect(what);
    }

    /// What `recover` does while it is too early to close the breaker.
    #[tokio::test(flavor = "multi_thread")]
    async fn while_redis_is_left_alone_it_is_told_of_changes_all_the_same() {
        let server = RedisServer::start().await;
        let (store, other) = (
            RedisStore::connect_with_limit(&server.url(), MINUTE).unwrap(),
            RedisStore::connect_with_limit(&server.url(), MINUTE).unwrap(),
        );
        let link = Arc::downgrade(&store.link);
        let never = Instant::now() + Duration::from_hours(1);
        store.link.breaker().open(Instant::now()).unwrap();
        let recovery = tokio::spawn(recover(link, never));
        // Of what others may have changed.
        until("it is told", || async {
            store.link.breaker().untold().is_none()
        })
        .await;

        let user = build::user().build();
        let session = SessionRef {
            user: user.id,
            session: build::id(),
        };
        let CacheLookup::Miss(lease) = other.get(session).await else {
            panic!("is remembered already");
        };
        other.put(session, &user, lease).await;
        store.invalidate(user.id).await;
        until("it is told", || async {
            matches!(other.get(session).await, CacheLookup::Miss(_))
        })
        .await;
        assert!(store.link.breaker().is_open());

        drop(store);
        let ended = timeout(MINUTE, recovery).await;
        ended.expect("it ends with the store").unwrap();
    }
}
