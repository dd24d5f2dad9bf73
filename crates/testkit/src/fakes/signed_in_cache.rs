//! A cache of signed-in users.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tasks_domain::account::{CacheLookup, Lease, SessionRef, SignedInCache, User};
use tasks_domain::id::Id;
use tasks_domain::rate_limit::{Decision, Quota, RateLimitKey, RateLimiter};

use super::FakeRateLimiter;

/// Remembers for ever, or never. Clones share what is remembered.
#[derive(Clone, Debug, Default)]
pub struct FakeSignedInCache {
    forgetful: bool,
    limiter: Option<FakeRateLimiter>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    users: HashMap<SessionRef, User>,
    /// How often each user was invalidated: what a lease holds.
    invalidations: HashMap<Id<User>, u64>,
    hits: usize,
    misses: usize,
}

impl State {
    fn lease(&self, user: Id<User>) -> Lease {
        Lease(self.invalidations.get(&user).copied().unwrap_or_default())
    }
}

impl FakeSignedInCache {
    /// A cache that remembers nothing, like one that is always down.
    pub fn forgetful() -> Self {
        Self {
            forgetful: true,
            ..Self::default()
        }
    }

    /// The same cache, as one with that limiter. If it is forgetful, it has counted whoever it forgot.
    #[must_use]
    pub fn counting_on(self, limiter: FakeRateLimiter) -> Self {
        Self {
            limiter: Some(limiter),
            ..self
        }
    }

    /// How many lookups were answered.
    pub fn hits(&self) -> usize {
        self.state.lock().unwrap().hits
    }

    /// How many lookups were not.
    pub fn misses(&self) -> usize {
        self.state.lock().unwrap().misses
    }
}

#[async_trait]
impl SignedInCache for FakeSignedInCache {
    async fn get(&self, session: SessionRef) -> CacheLookup {
        let mut state = self.state.lock().unwrap();
        if let Some(user) = state.users.get(&session).cloned() {
            state.hits += 1;
            return CacheLookup::Hit(user);
        }
        state.misses += 1;
        CacheLookup::Miss(state.lease(session.user))
    }

    async fn get_and_count(
        &self,
        session: SessionRef,
        quota: Quota,
    ) -> (CacheLookup, Option<Decision>) {
        let looked_up = self.get(session).await;
        let counts = self.forgetful || matches!(looked_up, CacheLookup::Hit(_));
        let decision = match &self.limiter {
            Some(limiter) if counts => {
                let key = RateLimitKey::User(session.user);
                limiter.hit(key, quota).await.ok()
            }
            _ => None,
        };
        (looked_up, decision)
    }

    async fn put(&self, session: SessionRef, user: &User, lease: Lease) {
        let mut state = self.state.lock().unwrap();
        if !self.forgetful && state.lease(session.user) == lease {
            state.users.insert(session, user.clone());
        }
    }

    async fn invalidate(&self, user: Id<User>) {
        let mut state = self.state.lock().unwrap();
        *state.invalidations.entry(user).or_default() += 1;
        state.users.retain(|session, _| session.user != user);
    }
}
