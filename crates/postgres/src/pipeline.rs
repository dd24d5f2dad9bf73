//! Reads of several requests over one connection.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use deadpool::managed::{Object, Pool, PoolError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ConnectFailure;
use crate::pool::{Connection, Connector};

/// So many reads go over one connection at once. They are answered one after the other, so with more of them
/// the last waits while another server process could answer it, and a worker wakes for each answer instead of for
/// several; with fewer, a process that has answered finds nothing more to do and sleeps, and to be woken costs more
/// than most reads. Of 2, 4 and 8 this costs least for pages, and for single tasks hardly more than 8.
pub(crate) const MAX_READERS: usize = 4;

/// The connection of a worker that its reads go over: each is sent as it comes, without waiting for the answers
/// to those before.
///
/// It is one of the worker's pool, taken by the first reader and given back by the last.
#[derive(Clone, Default)]
pub(crate) struct Pipeline(Arc<Mutex<Weak<Piped>>>);

/// A connection that several readers have at once.
pub(crate) struct Piped {
    connection: Object<Connector>,
    /// Kept as long as the connection.
    _room: OwnedSemaphorePermit,
}

impl Piped {
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whatever is wrong with it, no other reader joins, and the pool does not take it back.
    pub(crate) fn give_up(&self) {
        self.connection.is_given_up.store(true, Ordering::Relaxed);
    }

    fn takes_another(self: &Arc<Self>) -> bool {
        // Itself is one of them by now.
        Arc::strong_count(self) <= MAX_READERS
            && !self.connection.is_given_up.load(Ordering::Relaxed)
    }
}

impl Pipeline {
    /// A connection to read from. `None` where nobody may join, and the pool has no room for another.
    pub(crate) async fn join(
        &self,
        pool: &Pool<Connector>,
        room: &Arc<Semaphore>,
    ) -> Option<Result<Arc<Piped>, PoolError<ConnectFailure>>> {
        // Who waits for a connection gets the next that has no more readers, so there has to be one.
        if pool.status().waiting == 0
            && !pool.is_closed()
            && let Some(piped) = self.current()
        {
            return Some(Ok(piped));
        }
        let room = Arc::clone(room).try_acquire_owned().ok()?;
        let connection = match pool.get().await {
            Ok(connection) => connection,
            Err(error) => return Some(Err(error)),
        };
        let piped = Arc::new(Piped {
            connection,
            _room: room,
        });
        // Several may have opened one at the same time: the next readers join the last.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&piped);
        Some(Ok(piped))
    }

    fn current(&self) -> Option<Arc<Piped>> {
        let current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        current.upgrade().filter(Piped::takes_another)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use diesel::dsl::sql;
    use diesel::sql_types::Integer;
    use diesel_async::{AsyncPgConnection, RunQueryDsl};
    use futures_util::FutureExt;
    use futures_util::future::{BoxFuture, try_join_all};
    use tasks_domain::store::StoreError;

    use crate::error::Failure;
    use crate::tests::{Opened, ended, on_a_worker};
    use crate::{PgStore, pool, target, work};

    use super::*;

    async fn number(store: &PgStore, text: String) -> Result<i32, StoreError> {
        fn look<'a>(
            mut session: &'a AsyncPgConnection,
            (text,): &'a (String,),
        ) -> BoxFuture<'a, Result<i32, Failure>> {
            let statement = diesel::select(sql::<Integer>(text));
            Box::pin(async move { Ok(statement.get_result(&mut session).await?) })
        }
        store.look((text,), look).await
    }

    async fn server_process(store: &PgStore) -> i32 {
        number(store, "pg_backend_pid()".to_owned()).await.unwrap()
    }

    /// Does something as a worker does, with a store of its own.
    async fn with_store<F>(work: impl FnOnce(PgStore) -> F + Send + 'static)
    where
        F: Future<Output = ()>,
    {
        let Opened {
            store,
            database: _database,
        } = Opened::empty().await;
        ended(on_a_worker(move || work(store)));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn each_reader_gets_the_answer_to_its_own_question() {
        with_store(|store| async move {
            server_process(&store).await;
            let looks = (0..50).map(|n| number(&store, format!("{n} + 0 * {}", n % 3)));
            let answers = try_join_all(looks).await.unwrap();
            assert!(answers.into_iter().eq(0..50));
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn readers_share_a_connection_until_they_are_enough() {
        with_store(|store| async move {
            let join = || async { store.places.piped().await.unwrap().unwrap() };
            let first = join().await;
            let mut readers = Vec::new();
            while readers.len() < MAX_READERS - 1 {
                readers.push(join().await);
            }
            assert!(readers.iter().all(|reader| Arc::ptr_eq(reader, &first)));
            let next = join().await;
            assert!(!Arc::ptr_eq(&next, &first));
            assert!(Arc::ptr_eq(&join().await, &next));
            assert_eq!(store.places.status().size, 2);
            assert_eq!(store.places.status().available, 0);
            drop((first, readers, next));
            assert_eq!(store.places.status().available, 2);
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn where_no_connection_is_left_a_reader_goes_elsewhere() {
        with_store(|store| async move {
            let mut readers = Vec::new();
            while let Some(reader) = store.places.piped().await {
                readers.push(reader.unwrap());
            }
            assert_eq!(readers.len() % MAX_READERS, 0);
            let own = store.places.status().size;
            assert_eq!(number(&store, "7".to_owned()).await.unwrap(), 7);
            assert_eq!(store.places.status().size, own + 1);
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_gives_up_leaves_the_others_theirs() {
        with_store(|store| async move {
            let process = server_process(&store).await;
            let slow = number(&store, "length(pg_sleep(0.3)::text)".to_owned());
            drop(tokio::time::timeout(Duration::from_millis(50), slow).await);
            assert_eq!(number(&store, "7".to_owned()).await.unwrap(), 7);
            assert_eq!(server_process(&store).await, process);
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nobody_joins_a_connection_that_was_given_up() {
        with_store(|store| async move {
            let process = server_process(&store).await;
            let reader = store.places.piped().await.unwrap().unwrap();
            reader.give_up();
            let next = server_process(&store).await;
            assert_ne!(next, process);
            drop(reader);
            assert_eq!(server_process(&store).await, next);
            assert_eq!(store.places.status().size, 1);
        })
        .await;
    }

    fn signal(signal: &str, process: i32) {
        let mut kill = std::process::Command::new("kill");
        let ended = kill.args([signal, &process.to_string()]).status().unwrap();
        assert!(ended.success());
    }

    /// Those who are signed in are looked up with less patience than a unit of work has.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_connection_that_hangs_is_left_though_none_of_its_readers_waits_for_it() {
        with_store(|store| async move {
            let process = server_process(&store).await;
            signal("-STOP", process);
            let answered = async {
                loop {
                    let look = number(&store, "7".to_owned());
                    // So that there are never enough of them at once for another connection.
                    let patience = work::DEADLINE * 2 / 5;
                    let impatient = tokio::time::timeout(patience, look);
                    // Those on the connection that is given up are refused.
                    if let Ok(Ok(answer)) = impatient.await {
                        return answer;
                    }
                }
            };
            let answer = tokio::time::timeout(Duration::from_secs(30), answered).await;
            signal("-CONT", process);
            assert_eq!(answer, Ok(7));
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nobody_joins_while_somebody_waits_for_a_connection() {
        let Opened { database, .. } = Opened::empty().await;
        let routes = target::routes(&database.url).unwrap();
        let pool = pool::build(Connector::new(routes.into()), 1).unwrap();
        let (room, pipeline) = (Arc::new(Semaphore::new(1)), Pipeline::default());
        let join = || async { pipeline.join(&pool, &room).await };
        let reader = join().await.unwrap().unwrap();
        drop(join().await.unwrap().unwrap());

        let mut waiting = pin!(pool.get());
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(join().await.is_none());
        drop(reader);
        drop(waiting.await.unwrap());

        let reader = join().await.unwrap().unwrap();
        pool.close();
        assert!(join().await.is_none());
        drop(reader);
        assert!(matches!(join().await, Some(Err(PoolError::Closed))));
    }

    /// Whether it was tried before, and a number.
    type Look = (Arc<AtomicBool>, i32);

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_lost_connection_took_along_is_looked_at_once_more() {
        fn look<'a>(
            mut session: &'a AsyncPgConnection,
            (is_lost, number): &'a Look,
        ) -> BoxFuture<'a, Result<i32, Failure>> {
            let is_first = !is_lost.swap(true, Ordering::Relaxed);
            let statement = diesel::select(sql::<Integer>(&if is_first {
                format!("{number} + 0 * length(pg_terminate_backend(pg_backend_pid())::text)")
            } else {
                number.to_string()
            }));
            Box::pin(async move { Ok(statement.get_result(&mut session).await?) })
        }
        with_store(|store| async move {
            server_process(&store).await;
            let is_lost = Arc::<AtomicBool>::default();
            let looks = (0..5).map(|number| store.look((is_lost.clone(), number), look));
            let answers = try_join_all(looks).await.unwrap();
            assert!(answers.into_iter().eq(0..5));
        })
        .await;
    }
}
