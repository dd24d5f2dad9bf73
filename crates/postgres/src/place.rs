//! Where a unit of work is done, and with whose connections.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use deadpool::managed::{Pool, PoolError};
use tokio::runtime::{self, Handle, RuntimeFlavor};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ConnectFailure;
use crate::pipeline::{Piped, Pipeline};
use crate::pool::{self, Connector};
use crate::target::{ConnectError, Route};

/// One connection of so many is everybody's: for transactions, mails, housekeeping, and whoever has none of its own
/// free. Half of them, as transactions may wait for one another's locks.
const SHARED: usize = 2;

/// The connections of a store. Each is driven by the runtime that opened it, so whoever is on another one
/// wakes a thread to ask, and is woken by it for the answer, which costs more than most statements. Hence
/// every worker of the server has a few connections of its own, and shares the rest with everybody.
#[derive(Clone)]
pub(crate) struct Places(Arc<Shared>);

struct Shared {
    routes: Arc<[Route]>,
    main: Handle,
    pool: Pool<Connector>,
    /// How many connections each of the others has.
    size: usize,
    /// How many others there may be.
    max_owners: usize,
    owners: RwLock<HashMap<runtime::Id, Own>>,
}

/// Connections that one runtime has for itself.
#[derive(Clone)]
struct Own {
    pool: Pool<Connector>,
    /// Who has one of these need not wait for a connection, unless somebody already does.
    room: Arc<Semaphore>,
    pipeline: Pipeline,
}

/// Where one unit of work is done.
pub(crate) struct Place {
    pub(crate) runtime: Handle,
    pub(crate) pool: Pool<Connector>,
    /// To be kept as long as the connection.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

/// How busy all connections are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// How many are open.
    pub(crate) size: usize,
    /// How many of those nobody uses.
    pub(crate) available: usize,
    /// How many units of work wait for one.
    pub(crate) waiting: usize,
}

impl Places {
    /// At most so many connections, of which none is opened yet, for so many workers beside the current runtime,
    /// which is the main one.
    pub(crate) fn new(
        routes: Vec<Route>,
        size: usize,
        max_owners: usize,
    ) -> Result<Self, ConnectError> {
        let own = (size - size / SHARED) / max_owners;
        let routes: Arc<[Route]> = routes.into();
        let connector = Connector::new(Arc::clone(&routes));
        Ok(Self(Arc::new(Shared {
            pool: pool::build(connector, size - own * max_owners)?,
            routes,
            main: Handle::current(),
            size: own,
            max_owners,
            owners: RwLock::default(),
        })))
    }

    pub(crate) fn main(&self) -> &Handle {
        &self.0.main
    }

    /// The connections of the main runtime, which everybody may use.
    pub(crate) fn pool(&self) -> &Pool<Connector> {
        &self.0.pool
    }

    /// On the caller's runtime if that has a connection free, else on the main one. Where neither has, it
    /// waits on the caller's.
    pub(crate) fn free(&self) -> Place {
        self.at_hand().unwrap_or_else(|| self.shared())
    }

    /// On the main runtime, which nothing keeps busy: for what has locks from one statement to the next.
    pub(crate) fn shared(&self) -> Place {
        Place {
            runtime: self.0.main.clone(),
            pool: self.0.pool.clone(),
            room: None,
        }
    }

    /// One of the caller's own that is read from by several at once. `None` where it has none, or all are in use.
    pub(crate) async fn piped(&self) -> Option<Result<Arc<Piped>, PoolError<ConnectFailure>>> {
        let worker = self.worker()?;
        let Own {
            pool,
            room,
            pipeline,
        } = self.own(worker.id())?;
        pipeline.join(&pool, &room).await
    }

    /// The current runtime, if it is a worker's of the server.
    pub(crate) fn worker(&self) -> Option<Handle> {
        let runtime = Handle::try_current().ok()?;
        let is_worker = runtime.runtime_flavor() == RuntimeFlavor::CurrentThread
            && runtime.id() != self.0.main.id();
        is_worker.then_some(runtime)
    }

    fn at_hand(&self) -> Option<Place> {
        let runtime = self.worker()?;
        let Own { pool, room, .. } = self.own(runtime.id())?;
        let room = room.try_acquire_owned().ok();
        (room.is_some() || !self.has_room()).then_some(Place {
            runtime,
            pool,
            room,
        })
    }

    /// Whether everybody's connections are not all in use.
    fn has_room(&self) -> bool {
        let status = self.0.pool.status();
        // Those are counted as waiting, too, for whom a connection is being opened.
        let users = status.size.saturating_sub(status.available) + status.waiting;
        users < status.max_size
    }

    fn own(&self, id: runtime::Id) -> Option<Own> {
        let shared = &*self.0;
        let known = shared.owners.read();
        let known = known
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned();
        if known.is_some() || shared.size == 0 {
            return known;
        }
        let mut owners = shared
            .owners
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if owners.len() >= shared.max_owners || shared.pool.is_closed() {
            return None;
        }
        let connector = Connector::new(Arc::clone(&shared.routes));
        let own = Own {
            pool: pool::build(connector, shared.size).ok()?,
            room: Arc::new(Semaphore::new(shared.size)),
            pipeline: Pipeline::default(),
        };
        Some(owners.entry(id).or_insert(own).clone())
    }

    pub(crate) fn status(&self) -> Status {
        let owners = self.0.owners.read().unwrap_or_else(PoisonError::into_inner);
        let pools = owners.values().map(|own| &own.pool).chain([&self.0.pool]);
        pools
            .map(Pool::status)
            .fold(Status::default(), |all, one| Status {
                size: all.size + one.size,
                available: all.available + one.available,
                waiting: all.waiting + one.waiting,
            })
    }

    /// Opens none any more, and closes each that is given back.
    pub(crate) fn close(&self) {
        // Nobody gets connections of their own afterwards.
        let owners = self
            .0
            .owners
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        self.0.pool.close();
        for own in owners.values() {
            own.pool.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use diesel_async::SimpleAsyncConnection;
    use futures_util::future::{join_all, try_join_all};
    use tasks_domain::health::HealthProbe;
    use tasks_domain::store::StoreError;
    use tokio::sync::Barrier;

    use crate::PgStore;
    use crate::tests::{Opened, ended, on_a_worker};

    use super::*;

    /// So many units of work at once, all of which have a connection at the same time.
    async fn at_once(store: &PgStore, number: usize) -> Result<(), StoreError> {
        let all = Arc::new(Barrier::new(number));
        let units = (0..number).map(|_| {
            store.read(Arc::clone(&all), |session, all| {
                Box::pin(async move {
                    session.batch_execute("SELECT 1").await?;
                    all.wait().await;
                    Ok(())
                })
            })
        });
        try_join_all(units).await.map(drop)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_worker_uses_connections_of_its_own_and_then_those_of_all() {
        let Opened {
            store,
            database: _database,
        } = Opened::empty().await;
        let (own, shared) = (store.places.0.size, &store.places.0.pool);
        let max_owners = store.places.0.max_owners;
        assert!(own > 0);
        let of_worker = store.clone();
        let worker = on_a_worker(move || async move {
            at_once(&of_worker, own).await.unwrap();
            assert_eq!(of_worker.places.0.pool.status().size, 0);
            at_once(&of_worker, own + 2).await.unwrap();
        });
        ended(worker);
        assert_eq!(shared.status().size, 2);
        // One more than may have connections of their own, with the first: the last uses those of all.
        for _ in 0..max_owners {
            let of_worker = store.clone();
            ended(on_a_worker(move || async move {
                at_once(&of_worker, 2).await.unwrap();
            }));
        }
        assert_eq!(shared.status().size, 2);
        assert_eq!(store.places.0.owners.read().unwrap().len(), max_owners);
        store.check().await.unwrap();
    }

    /// A unit of work that has a connection until it is let go.
    async fn hold(store: &PgStore, gate: &Arc<Semaphore>) -> Result<(), StoreError> {
        let unit = store.read(Arc::clone(gate), |session, gate| {
            Box::pin(async move {
                session.batch_execute("SELECT 1").await?;
                gate.acquire().await.unwrap().forget();
                Ok(())
            })
        });
        unit.await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn where_all_are_in_use_a_worker_waits_for_one_of_its_own() {
        let Opened {
            store,
            database: _database,
        } = Opened::empty().await;
        let (own, all) = (store.places.0.size, &store.places.0.pool);
        let everybodys = Arc::new(Semaphore::new(0));
        let held = (0..all.status().max_size).map(|_| hold(&store, &everybodys));
        let of_worker = store.clone();
        let worker = async {
            while store.places.has_room() {
                tokio::task::yield_now().await;
            }
            let worker = on_a_worker(move || async move {
                let workers = Arc::new(Semaphore::new(0));
                let held = (0..own).map(|_| hold(&of_worker, &workers));
                let one_more = async {
                    while workers_room(&of_worker) > 0 {
                        tokio::task::yield_now().await;
                    }
                    workers.add_permits(1);
                    at_once(&of_worker, 1).await.unwrap();
                    workers.add_permits(own);
                };
                let (held, ()) = futures_util::join!(try_join_all(held), one_more);
                held.map(drop)
            });
            ended(worker).unwrap();
            assert!(!store.places.has_room());
            everybodys.add_permits(all.status().max_size);
        };
        let (held, ()) = futures_util::join!(try_join_all(held), worker);
        held.unwrap();
    }

    /// How many more units of work the only worker may have at once.
    fn workers_room(store: &PgStore) -> usize {
        let owners = store.places.0.owners.read().unwrap();
        owners
            .values()
            .map(|own| own.room.available_permits())
            .sum()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_worker_that_may_be_busy_drives_no_transaction() {
        let Opened {
            store,
            database: _database,
        } = Opened::empty().await;
        let of_worker = store.clone();
        let worker = on_a_worker(move || async move {
            let transaction = of_worker.transact((), |session, ()| {
                Box::pin(async { Ok(session.batch_execute("SELECT 1").await?) })
            });
            transaction.await
        });
        assert_eq!(ended(worker).ok(), Some(()));
        assert_eq!(store.places.pool().status().size, 1);
        assert!(store.places.0.owners.read().unwrap().is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_is_closed_though_its_workers_have_ended() {
        let Opened {
            store,
            database: _database,
        } = Opened::empty().await;
        let of_worker = store.clone();
        let begun = on_a_worker(move || async move {
            at_once(&of_worker, 2).await.unwrap();
            // Given up in the middle, and with it the runtime that it was done on.
            let units = (0..2).map(|_| {
                of_worker.read((), |session, ()| {
                    Box::pin(async { Ok(session.batch_execute("SELECT pg_sleep(60)").await?) })
                })
            });
            let given_up = futures_util::FutureExt::now_or_never(join_all(units));
            assert!(given_up.is_none());
            tokio::task::yield_now().await;
        });
        ended(begun);
        let other = store.clone();
        store.close().await;
        assert_eq!(other.places.status(), Status::default());
        let refused = ended(on_a_worker(|| async move { other.check().await }));
        assert!(matches!(refused, Err(StoreError::Unavailable(_))));
    }
}
