//! Reads that cost so little that asking a thread for them would cost more.
//!
//! A row by its key is read in a few microseconds; the way to another thread and back takes ten times as
//! long. So such reads are done on the thread that asks, on a connection that nobody uses at the moment. No
//! write is waited for: readers of the write-ahead log see the last commit.

use std::sync::{Mutex, MutexGuard, PoisonError};

use diesel::SqliteConnection;

use crate::connection::Slot;
use crate::error::Failure;
use crate::job;

/// Connections for whoever needs one for a moment; none after the store was closed.
pub(crate) struct InPlace(Mutex<Option<Vec<Slot>>>);

impl InPlace {
    pub(crate) fn new(slots: Vec<Slot>) -> Self {
        Self(Mutex::new(Some(slots)))
    }

    /// Does some work at once, if a connection is free and the work succeeds. Whoever gets nothing has
    /// a thread do it, which says what is wrong.
    pub(crate) fn try_read<T>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> Result<T, Failure>,
    ) -> Option<T> {
        let mut slot = self.free().as_mut()?.pop()?;
        let found = slot
            .get()
            .and_then(|connection| job::perform(connection, work));
        if found.is_err() {
            // An open transaction would show its old snapshot for ever.
            slot.discard();
        }
        if let Some(free) = &mut *self.free() {
            free.push(slot);
        }
        found.ok()
    }

    /// Closes the connections that are free, and has the others closed when their work is done.
    pub(crate) fn close(&self) {
        drop(self.free().take());
    }

    fn free(&self) -> MutexGuard<'_, Option<Vec<Slot>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use diesel::connection::SimpleConnection;
    use diesel::prelude::*;
    use tasks_domain::store::StoreError;

    use crate::SqliteOptions;
    use crate::schema::users;
    use crate::tests::{Opened, user};

    use super::*;

    impl InPlace {
        fn count(&self) -> usize {
            self.free().as_ref().map_or(0, Vec::len)
        }
    }

    fn opened() -> Opened {
        Opened::with(SqliteOptions {
            readers: NonZeroUsize::MIN.saturating_add(1),
        })
    }

    #[tokio::test]
    async fn a_free_connection_is_used_and_given_back() {
        let opened = opened();
        let store = &opened.store;
        let here = std::thread::current().id();
        let seen = store.look_up(|_| Ok(std::thread::current().id())).await;
        assert_eq!(seen.unwrap(), here);
        assert_eq!(store.0.in_place.count(), 1);
    }

    #[tokio::test]
    async fn where_none_is_free_a_thread_reads() {
        let opened = opened();
        let store = &opened.store;
        let here = std::thread::current().id();
        store.0.in_place.close();
        let seen = store.look_up(|_| Ok(std::thread::current().id())).await;
        assert_ne!(seen.unwrap(), here);
    }

    #[tokio::test]
    async fn what_fails_is_done_by_a_thread_which_says_why() {
        let opened = opened();
        let store = &opened.store;
        let here = std::thread::current().id();
        for panics in [false, true] {
            let read = store.look_up(move |_| {
                if std::thread::current().id() == here {
                    assert!(!panics, "on purpose");
                    return Err(Failure::Other("here".to_owned()));
                }
                Err::<(), _>(Failure::Unavailable("there".to_owned()))
            });
            let error = read.await.unwrap_err();
            assert!(matches!(error, StoreError::Unavailable(why) if why.to_string() == "there"));
            assert_eq!(store.0.in_place.count(), 1, "it is opened again");
        }
        let seen = store.look_up(|_| Ok(std::thread::current().id())).await;
        assert_eq!(seen.unwrap(), here);
    }

    #[tokio::test]
    async fn a_read_that_failed_in_a_transaction_shows_no_old_snapshot() {
        let opened = opened();
        let store = &opened.store;
        let read = store.look_up(|connection| {
            connection.batch_execute("BEGIN; SELECT count(*) FROM users")?;
            Err::<(), _>(Failure::Other("on purpose".to_owned()))
        });
        read.await.unwrap_err();
        user(store).await;
        let seen =
            store.look_up(|connection| Ok(users::table.count().get_result::<i64>(connection)?));
        assert_eq!(seen.await.unwrap(), 1);
    }
}
