//! How much of everything a client may take.

use std::time::Duration;

/// Every request is answered within 5 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// What is kept of a request's time to answer it.
const ANSWER_MARGIN: Duration = Duration::from_millis(500);
/// An order of magnitude above the largest valid body.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// A client on a slow line sends a head in less.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Leaves time to work, so that a request with a slow body is answered in time too.
const BODY_TIMEOUT: Duration = Duration::from_secs(3);
/// Longer than most clients pool their connections between two requests.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// An idle connection takes some KiB, one in the middle of a request with the largest body some
/// 100 KiB.
const MAX_CONNECTIONS: usize = 2_000;

/// How much of everything a client may take, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// From a request's head to its answer; half a second before, it is answered 503.
    pub request_timeout: Duration,
    /// The largest body.
    pub max_body_bytes: usize,
    /// How long a new connection may take to send its first request's head.
    pub header_timeout: Duration,
    /// How long a body may take to arrive whole.
    pub body_timeout: Duration,
    /// How long a connection may be idle between two requests.
    pub keep_alive: Duration,
    /// How many connections there are at most; more wait until they are accepted.
    pub max_connections: usize,
    /// How long the service goes on, not ready any more, once it is told to go away: so long a
    /// balancer has to notice.
    pub shutdown_delay: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            request_timeout: REQUEST_TIMEOUT,
            max_body_bytes: MAX_BODY_BYTES,
            header_timeout: HEADER_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
            keep_alive: KEEP_ALIVE,
            max_connections: MAX_CONNECTIONS,
            shutdown_delay: Duration::ZERO,
        }
    }
}

impl Bounds {
    /// When a request is given up, counted from its head.
    pub(crate) const fn deadline(&self) -> Duration {
        self.request_timeout.saturating_sub(ANSWER_MARGIN)
    }
}
