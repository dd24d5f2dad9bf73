//! How often somebody may call.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;

use crate::account::User;
use crate::id::Id;
use crate::store::StoreError;

/// Whose requests are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RateLimitKey {
    /// A signed-in user's, whatever the address.
    User(Id<User>),
    /// An address's, without a valid token. Of IPv6 the caller gives the /64 network.
    Address(IpAddr),
}

/// So many requests in any stretch of time as long as the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// How many requests; at least 1.
    pub limit: u32,
    /// The window's length; at least a second.
    pub window: Duration,
}

/// What the limiter says of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the request may pass.
    pub allowed: bool,
    /// How many more would pass now.
    pub remaining: u32,
    /// How long until one more would pass than now.
    pub reset: Duration,
}

/// Port: a sliding-window rate limiter.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait RateLimiter: Send + Sync {
    /// Counts one request against the quota of its key and decides on it.
    ///
    /// The window slides: the `limit`-th request within any stretch of `window` passes, the next
    /// does not, and a refused request is not counted. Concurrent calls are decided as if they
    /// came one after the other.
    async fn hit(&self, key: RateLimitKey, quota: Quota) -> Result<Decision, StoreError>;
}
