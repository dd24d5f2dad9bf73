//! Rate limits and signed-in users that several instances share, in Redis.
//!
//! * `rate_limiter`: an exact sliding window, decided by one script on one key;
//! * `signed_in_cache`: who is signed in, cache-aside;
//! * `store`: the connections, the time limit of every operation, and the circuit breaker;
//! * `trace`: what traces say of a command.
//!
//! Redis is never the truth here. While it does not answer, the first call that notices pays at
//! most [`RedisStore::TIME_LIMIT`]; then the breaker is open and every call fails at once, while
//! one task in the background asks Redis four times a second, makes it forget what may have changed
//! meanwhile, and closes the breaker when it is back.
//!
//! One node is what is spoken to, at `redis://` and `rediss://` (TLS, the system's roots) with
//! user, password and database in the URL. Sentinel and Cluster are not. Redis 7 or later; keys begin
//! with `tasks:`.

mod breaker;
mod rate_limiter;
mod signed_in_cache;
mod store;
mod trace;
mod unique;

pub use store::{ConnectError, RedisStore};
