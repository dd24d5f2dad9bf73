//! What every adapter of a port must do: one suite of named cases per port.
//!
//! A case takes the subject, does something and asserts. A macro per suite makes a test of every
//! case. Its argument is the path of an `async fn` that makes a fresh subject, for example in the
//! tests of a store:
//!
//! ```text
//! async fn stores() -> SqliteTestStores { /* implements tasks_testkit::contract::Stores */ }
//!
//! mod users        { tasks_testkit::user_repository_contract!(super::stores); }
//! mod sessions     { tasks_testkit::session_repository_contract!(super::stores); }
//! mod tasks        { tasks_testkit::task_repository_contract!(super::stores); }
//! mod categories   { tasks_testkit::category_repository_contract!(super::stores); }
//! mod outbox       { tasks_testkit::outbox_contract!(super::stores); }
//! mod housekeeping { tasks_testkit::housekeeping_contract!(super::stores); }
//! ```
//!
//! or in the tests of a limiter and a cache:
//!
//! ```text
//! async fn limiter() -> tasks_testkit::contract::Limiter {
//!     let clock = FrozenClock::at_noon();
//!     (Arc::new(MemoryRateLimiter::new(Arc::new(clock.clone()))), clock)
//! }
//! async fn cache() -> Arc<dyn SignedInCache> { Arc::new(MemorySignedInCache::new()) }
//!
//! mod rate_limiter    { tasks_testkit::rate_limiter_contract!(super::limiter); }
//! mod signed_in_cache { tasks_testkit::signed_in_cache_contract!(super::cache); }
//! ```
//!
//! The cases run on two threads, so that those about concurrency are about parallelism too.

use std::sync::Arc;

use tasks_domain::account::{SessionRepository, UserRepository};
use tasks_domain::category::CategoryRepository;
use tasks_domain::housekeeping::Housekeeping;
use tasks_domain::mail::Outbox;
use tasks_domain::rate_limit::RateLimiter;
use tasks_domain::task::TaskRepository;

use crate::clock::FrozenClock;
use crate::fakes::FakeStore;

/// The ports of one empty store. Dropping it cleans up.
pub trait Stores: Send + Sync {
    /// Its accounts.
    fn users(&self) -> Arc<dyn UserRepository>;
    /// Its sessions.
    fn sessions(&self) -> Arc<dyn SessionRepository>;
    /// Its tasks.
    fn tasks(&self) -> Arc<dyn TaskRepository>;
    /// Its categories.
    fn categories(&self) -> Arc<dyn CategoryRepository>;
    /// Its mails.
    fn outbox(&self) -> Arc<dyn Outbox>;
    /// What removes its leftovers.
    fn housekeeping(&self) -> Arc<dyn Housekeeping>;
}

impl Stores for FakeStore {
    fn users(&self) -> Arc<dyn UserRepository> {
        Arc::new(self.clone())
    }
    fn sessions(&self) -> Arc<dyn SessionRepository> {
        Arc::new(self.clone())
    }
    fn tasks(&self) -> Arc<dyn TaskRepository> {
        Arc::new(self.clone())
    }
    fn categories(&self) -> Arc<dyn CategoryRepository> {
        Arc::new(self.clone())
    }
    fn outbox(&self) -> Arc<dyn Outbox> {
        Arc::new(self.clone())
    }
    fn housekeeping(&self) -> Arc<dyn Housekeeping> {
        Arc::new(self.clone())
    }
}

/// A limiter that has counted nothing, and the clock that it goes by.
pub type Limiter = (Arc<dyn RateLimiter>, FrozenClock);

/// Declares a suite: the names of its cases, and the macro that makes tests of them.
///
/// The `($)` is how a macro writes a `$` into the macro that it makes.
macro_rules! suite {
    (
        ($d:tt) $macro:ident runs $module:ident on $subject:literal:
        $($case:ident,)*
    ) => {
        /// The names of the suite's cases.
        pub const CASES: &[&str] = &[$(stringify!($case)),*];

        #[doc = concat!(
            "Makes a test of every case of [`contract::", stringify!($module), "`]",
            "(crate::contract::", stringify!($module), "). ",
            "Takes the path of an `async fn` that makes ", $subject, "."
        )]
        #[macro_export]
        macro_rules! $macro {
            ($d make:path) => {$(
                #[$d crate::tokio::test(
                    flavor = "multi_thread",
                    worker_threads = 2,
                    crate = "tasks_testkit::tokio"
                )]
                async fn $case() {
                    $d crate::contract::$module::$case(&$d make().await).await;
                }
            )*};
        }
    };
}

mod scene;

pub mod categories;
pub mod housekeeping;
pub mod outbox;
pub mod rate_limiter;
pub mod sessions;
pub mod signed_in_cache;
pub mod tasks;
pub mod users;

/// Every suite: the port's name and the names of its cases.
pub const SUITES: [(&str, &[&str]); 8] = [
    ("UserRepository", users::CASES),
    ("SessionRepository", sessions::CASES),
    ("TaskRepository", tasks::CASES),
    ("CategoryRepository", categories::CASES),
    ("Outbox", outbox::CASES),
    ("Housekeeping", housekeeping::CASES),
    ("RateLimiter", rate_limiter::CASES),
    ("SignedInCache", signed_in_cache::CASES),
];
