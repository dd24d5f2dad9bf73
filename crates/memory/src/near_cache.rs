//! Who is signed in, a short way off.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tasks_domain::account::{CacheLookup, Lease, SessionRef, SignedInCache, User};
use tasks_domain::id::Id;

use crate::MemorySignedInCache;

/// Stands in front of a cache that several processes share, and asks it at most twice a second for the same
/// session: what it has told is remembered for half a second.
///
/// It learns from nobody else, so it knows no user whom the shared cache would not have told.
pub struct NearSignedInCache {
    near: MemorySignedInCache,
    shared: Arc<dyn SignedInCache>,
}

impl NearSignedInCache {
    /// In front of a cache.
    pub fn of(shared: Arc<dyn SignedInCache>) -> Self {
        Self {
            near: MemorySignedInCache::for_one_of_several(),
            shared,
        }
    }
}

impl fmt::Debug for NearSignedInCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NearSignedInCache").finish_non_exhaustive()
    }
}

#[async_trait]
impl SignedInCache for NearSignedInCache {
    async fn get(&self, session: SessionRef) -> CacheLookup {
        let lease = match self.near.get(session).await {
            CacheLookup::Miss(lease) => lease,
            hit @ CacheLookup::Hit(_) => return hit,
        };
        let told = self.shared.get(session).await;
        if let CacheLookup::Hit(user) = &told {
            self.near.put(session, user, lease).await;
        }
        told
    }

    async fn put(&self, session: SessionRef, user: &User, lease: Lease) {
        self.shared.put(session, user, lease).await;
    }

    async fn invalidate(&self, user: Id<User>) {
        self.shared.invalidate(user).await;
        // Only now: until then the shared cache may have told somebody what is out of date.
        self.near.invalidate(user).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use tasks_testkit::build;

    use super::*;

    async fn cache() -> Arc<dyn SignedInCache> {
        Arc::new(NearSignedInCache::of(Arc::new(MemorySignedInCache::new())))
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

    async fn remember(cache: &dyn SignedInCache, session: SessionRef, user: &User) {
        if let CacheLookup::Miss(lease) = cache.get(session).await {
            cache.put(session, user, lease).await;
        }
    }

    #[tokio::test]
    async fn what_the_shared_cache_has_told_is_known_without_asking_it_again() {
        let shared = Arc::new(MemorySignedInCache::new());
        let cache = NearSignedInCache::of(shared.clone());
        let user = build::user().build();
        let session = session_of(&user);
        remember(&*shared, session, &user).await;
        let hit = CacheLookup::Hit(user.clone());
        assert_eq!(cache.get(session).await, hit);
        // Another process tells the shared cache of a change, which this one sees half a second later.
        shared.invalidate(user.id).await;
        assert_eq!(cache.get(session).await, hit);
    }

    #[tokio::test]
    async fn only_what_the_shared_cache_has_told_is_known() {
        let shared = Arc::new(MemorySignedInCache::new());
        let cache = NearSignedInCache::of(shared.clone());
        let user = build::user().build();
        let session = session_of(&user);
        remember(&cache, session, &user).await;
        shared.invalidate(user.id).await;
        assert!(matches!(cache.get(session).await, CacheLookup::Miss(_)));
    }

    /// Asked by somebody else just before it forgets.
    struct Asked {
        shared: MemorySignedInCache,
        by: OnceLock<(Arc<NearSignedInCache>, SessionRef)>,
    }

    #[async_trait]
    impl SignedInCache for Asked {
        async fn get(&self, session: SessionRef) -> CacheLookup {
            self.shared.get(session).await
        }

        async fn put(&self, session: SessionRef, user: &User, lease: Lease) {
            self.shared.put(session, user, lease).await;
        }

        async fn invalidate(&self, user: Id<User>) {
            let (cache, session) = self.by.get().unwrap();
            assert!(matches!(cache.get(*session).await, CacheLookup::Hit(_)));
            self.shared.invalidate(user).await;
        }
    }

    #[tokio::test]
    async fn what_was_told_during_an_invalidation_is_forgotten_with_it() {
        let asked = Arc::new(Asked {
            shared: MemorySignedInCache::new(),
            by: OnceLock::new(),
        });
        let cache = Arc::new(NearSignedInCache::of(asked.clone()));
        let user = build::user().build();
        let session = session_of(&user);
        remember(&*cache, session, &user).await;
        assert!(asked.by.set((cache.clone(), session)).is_ok());
        cache.invalidate(user.id).await;
        assert!(matches!(cache.get(session).await, CacheLookup::Miss(_)));
    }
}
