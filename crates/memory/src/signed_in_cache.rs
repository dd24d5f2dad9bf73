//! Who is signed in.

use std::array;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tasks_domain::account::{CacheLookup, Lease, SessionRef, SignedInCache, User};
use tasks_domain::id::Id;

use crate::ENTRY_OVERHEAD;

/// How long a user is remembered at most: what another process changed in the store is seen then
/// at the latest.
const TTL: Duration = Duration::from_mins(15);

/// Likewise where other processes do change the store: a session that one of them ends is over
/// everywhere within a second, of which half is for the look-up that the entry came from.
const TTL_OF_SEVERAL: Duration = Duration::from_millis(500);

/// How much memory the users may take: room for about 13,000 sessions of the usual size. One user's
/// many sessions can push out others, who are then looked up again, but take no more than this.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// How many generations there are, 32 KiB. Users who share one are forgotten together, which
/// costs a look-up; with so many that is rare.
const GENERATIONS: usize = 4_096;

/// Remembers users in the process.
///
/// Each user belongs to one of a fixed number of generations, counters that only rise. An entry is
/// good as long as the generation is the one at which it was asked for: its lease. So a user with
/// all sessions is forgotten by counting on, and an answer of the store that was overtaken by a
/// change is never believed, in whatever order the two arrive. What is out of date is replaced,
/// pushed out or expires.
pub struct MemorySignedInCache {
    remembered: Cache<SessionRef, Remembered>,
    generations: Box<[AtomicU64; GENERATIONS]>,
}

#[derive(Clone)]
struct Remembered {
    user: User,
    lease: Lease,
}

impl MemorySignedInCache {
    /// A cache that remembers nobody, for a process that has its store to itself.
    pub fn new() -> Self {
        Self::with_bounds(MAX_BYTES, TTL)
    }

    /// A cache that remembers nobody, for one of several processes with one store.
    pub fn for_one_of_several() -> Self {
        Self::with_bounds(MAX_BYTES, TTL_OF_SEVERAL)
    }

    fn with_bounds(max_bytes: u64, ttl: Duration) -> Self {
        let remembered = Cache::builder()
            .eviction_policy(EvictionPolicy::lru())
            .weigher(|_: &SessionRef, remembered: &Remembered| remembered.bytes())
            .max_capacity(max_bytes)
            .time_to_live(ttl)
            .build();
        Self {
            remembered,
            generations: Box::new(array::from_fn(|_| AtomicU64::new(0))),
        }
    }

    /// The generation of a user.
    #[expect(
        clippy::indexing_slicing,
        reason = "a remainder by the length is below it"
    )]
    fn generation(&self, user: Id<User>) -> &AtomicU64 {
        let id = user.uuid().as_u128();
        // The random end of an id spreads users evenly; its time at the front keeps those apart
        // that are random in nothing, as in tests.
        let index = (id ^ (id >> 80)) % GENERATIONS as u128;
        &self.generations[usize::try_from(index).unwrap_or_default()]
    }

    /// The right to put what the store says from now on.
    fn lease(&self, user: Id<User>) -> Lease {
        Lease(self.generation(user).load(Ordering::SeqCst))
    }
}

impl Default for MemorySignedInCache {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemorySignedInCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySignedInCache")
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl SignedInCache for MemorySignedInCache {
    async fn get(&self, session: SessionRef) -> CacheLookup {
        let lease = self.lease(session.user);
        match self.remembered.get(&session) {
            Some(remembered) if remembered.lease == lease => CacheLookup::Hit(remembered.user),
            _ => CacheLookup::Miss(lease),
        }
    }

    async fn put(&self, session: SessionRef, user: &User, lease: Lease) {
        // Only lest it replace a newer answer: with a lease that is over it would not be believed.
        if lease == self.lease(session.user) {
            let user = user.clone();
            self.remembered.insert(session, Remembered { user, lease });
        }
    }

    async fn invalidate(&self, user: Id<User>) {
        self.generation(user).fetch_add(1, Ordering::SeqCst);
    }
}

impl Remembered {
    /// What it takes, with its place in the table.
    fn bytes(&self) -> u32 {
        let text = self.user.email.as_str().len() + self.user.full_name.as_str().len();
        u32::try_from(ENTRY_OVERHEAD + size_of::<Self>() + text).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tasks_domain::account::FullName;
    use tasks_testkit::build;

    use super::*;

    async fn cache() -> Arc<dyn SignedInCache> {
        Arc::new(MemorySignedInCache::new())
    }

    mod contract {
        tasks_testkit::signed_in_cache_contract!(super::cache);
    }

    fn session_of(user: &User) -> SessionRef {
        SessionRef {
            user: user.id,
            session: build::id(),
        }
    }

    #[test]
    fn nobody_is_remembered_for_more_than_a_quarter_of_an_hour() {
        let policy = MemorySignedInCache::new().remembered.policy();
        assert_eq!(policy.time_to_live(), Some(Duration::from_mins(15)));
        let policy = MemorySignedInCache::for_one_of_several()
            .remembered
            .policy();
        assert_eq!(policy.time_to_live(), Some(Duration::from_millis(500)));
    }

    #[tokio::test]
    async fn more_sessions_than_fit_take_no_more_memory() {
        const MAX_BYTES: u64 = 64 * 1024;
        let cache = MemorySignedInCache::with_bounds(MAX_BYTES, TTL);
        let user = build::user().full_name(&"🦀".repeat(200)).build();
        for _ in 0..5_000 {
            let session = session_of(&user);
            cache.put(session, &user, cache.lease(user.id)).await;
        }
        cache.remembered.run_pending_tasks();
        let bytes = cache.remembered.weighted_size();
        assert!((MAX_BYTES / 2..=MAX_BYTES).contains(&bytes), "{bytes}");
        // A name of 800 bytes weighs so much.
        assert!(cache.remembered.entry_count() * 800 <= MAX_BYTES);
    }

    #[tokio::test]
    async fn a_late_answer_does_not_replace_a_newer_one() {
        let cache = MemorySignedInCache::new();
        let old = build::user().build();
        let new = User {
            is_active: true,
            ..old.clone()
        };
        let session = session_of(&old);
        let old_lease = cache.lease(old.id);
        cache.invalidate(old.id).await;
        cache.put(session, &new, cache.lease(old.id)).await;
        cache.put(session, &old, old_lease).await;
        assert_eq!(cache.get(session).await, CacheLookup::Hit(new));
    }

    /// One changes a user again and again while others look the user up: after a change is
    /// answered, nobody sees what was before it.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn nobody_sees_a_user_from_before_a_change_that_was_answered() {
        const CHANGES: u64 = 5_000;
        let cache = Arc::new(MemorySignedInCache::new());
        let user = build::user().build();
        let session = session_of(&user);
        // The store holds a number, which stands in the user's name.
        let stored = Arc::new(AtomicU64::new(0));
        let answered = Arc::new(AtomicU64::new(0));

        let readers = (0..3).map(|_| {
            let (cache, user) = (cache.clone(), user.clone());
            let (stored, answered) = (stored.clone(), answered.clone());
            tokio::spawn(async move {
                loop {
                    let floor = answered.load(Ordering::SeqCst);
                    match cache.get(session).await {
                        CacheLookup::Hit(seen) => {
                            let seen: u64 = seen.full_name.as_str().parse().unwrap();
                            assert!(seen >= floor, "saw {seen} after {floor} was answered");
                        }
                        CacheLookup::Miss(lease) => {
                            let number = stored.load(Ordering::SeqCst).to_string();
                            let full_name = FullName::parse(&number).unwrap();
                            tokio::task::yield_now().await;
                            let found = User {
                                full_name,
                                ..user.clone()
                            };
                            cache.put(session, &found, lease).await;
                        }
                    }
                    if floor == CHANGES {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            })
        });
        let readers: Vec<_> = readers.collect();
        for number in 1..=CHANGES {
            stored.store(number, Ordering::SeqCst);
            cache.invalidate(user.id).await;
            answered.store(number, Ordering::SeqCst);
            tokio::task::yield_now().await;
        }
        for reader in readers {
            reader.await.unwrap();
        }
    }
}
