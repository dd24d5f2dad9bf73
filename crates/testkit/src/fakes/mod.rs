//! Every port in memory: for tests where state is what matters.
//!
//! All of them are shared by cloning, and those that can fail have a switch for it.

mod mail;
mod rate_limiter;
mod security;
mod signed_in_cache;
mod store;
mod trace;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use mail::{FakeMailTokens, RecordingMailer, RecordingSignal};
pub use rate_limiter::FakeRateLimiter;
pub use security::{FakeHasher, FakeIssuer, FakeTokens, RecordingSecurityLog};
pub use signed_in_cache::FakeSignedInCache;
pub use store::FakeStore;
pub use trace::FakeTrace;

use tasks_domain::store::StoreError;

/// A switch that clones share.
#[derive(Clone, Debug, Default)]
struct Switch(Arc<AtomicBool>);

impl Switch {
    fn turn(&self, on: bool) {
        self.0.store(on, Ordering::SeqCst);
    }

    fn is_on(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// The failure of a store whose switch is on.
    fn unavailable(&self) -> Result<(), StoreError> {
        if self.is_on() {
            return Err(StoreError::Unavailable("switched off by a test".into()));
        }
        Ok(())
    }
}
