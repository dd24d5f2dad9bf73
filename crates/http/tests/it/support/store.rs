//! The fake store with faults.

use std::future;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tasks_domain::account::{
    Admission, ClientInfo, Credentials, Email, FailedLogin, FullName, NewAccount, NewRefreshToken,
    NewSession, PasswordChange, PasswordHash, Registration, Rotation, Session, SessionRef,
    SessionRepository, TokenDigest, User, UserRepository,
};
use tasks_domain::category::{
    Category, CategoryCreation, CategoryName, CategoryRepository, CategoryUpdate, Color,
};
use tasks_domain::clock::Timestamp;
use tasks_domain::health::{HealthProbe, SchemaProbe, SchemaState};
use tasks_domain::id::Id;
use tasks_domain::mail::{Backlog, Claim, ClaimedMail, NewMail, Outbox, Settlement};
use tasks_domain::page::Page;
use tasks_domain::rate_limit::{Decision, Quota, RateLimitKey, RateLimiter};
use tasks_domain::store::StoreError;
use tasks_domain::task::{
    Assignment, Task, TaskContent, TaskCreation, TaskQuery, TaskRepository, TaskUpdate, Version,
};
use tasks_testkit::fakes::FakeStore;

/// What a driver says when it fails; no answer may repeat it.
pub(crate) const DRIVER_MESSAGE: &str = "relation users does not exist";

/// What is wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Unavailable,
    Corrupt,
    Other,
    Panic,
    Hang,
}

/// The fake store; every call of a port fails as long as it has a fault. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct FaultyStore {
    pub(crate) store: FakeStore,
    fault: Arc<Mutex<Option<Fault>>>,
}

impl FaultyStore {
    pub(crate) fn fail(&self, fault: impl Into<Option<Fault>>) {
        *self.fault.lock().unwrap() = fault.into();
    }

    async fn strike(&self) -> Result<(), StoreError> {
        let fault = *self.fault.lock().unwrap();
        match fault {
            None => Ok(()),
            Some(Fault::Unavailable) => Err(StoreError::Unavailable(DRIVER_MESSAGE.into())),
            Some(Fault::Corrupt) => Err(StoreError::corrupt(DRIVER_MESSAGE)),
            Some(Fault::Other) => Err(StoreError::Other(DRIVER_MESSAGE.into())),
            Some(Fault::Panic) => panic!("{DRIVER_MESSAGE}"),
            Some(Fault::Hang) => future::pending().await,
        }
    }
}

macro_rules! ports {
    ($($Port:ident { $(fn $method:ident($($name:ident: $type:ty),*) -> $output:ty;)* })*) => {$(
        #[async_trait]
        impl $Port for FaultyStore {
            $(async fn $method(&self, $($name: $type),*) -> Result<$output, StoreError> {
                self.strike().await?;
                $Port::$method(&self.store, $($name),*).await
            })*
        }
    )*};
}

ports! {
    UserRepository {
        fn register(account: NewAccount) -> Registration;
        fn find_credentials(email: &Email) -> Option<Credentials>;
        fn record_failed_login(email: &Email, now: Timestamp) -> FailedLogin;
        fn rename(user: Id<User>, full_name: FullName, now: Timestamp) -> Option<User>;
        fn verify_email(token: &TokenDigest, now: Timestamp) -> Option<User>;
        fn find_by_reset_token(token: &TokenDigest, now: Timestamp) -> Option<Id<User>>;
        fn reset_password(token: &TokenDigest, hash: PasswordHash, now: Timestamp) -> Option<Id<User>>;
        fn change_password(change: PasswordChange, now: Timestamp) -> Admission;
        fn delete(user: Id<User>, hash: PasswordHash, now: Timestamp) -> Admission;
    }
    SessionRepository {
        fn open(user: Id<User>, hash: PasswordHash, session: NewSession, now: Timestamp) -> Admission;
        fn find(id: Id<Session>, now: Timestamp) -> Option<Session>;
        fn list(user: Id<User>, now: Timestamp) -> Vec<Session>;
        fn end(id: Id<Session>, now: Timestamp) -> bool;
        fn end_all(user: Id<User>, now: Timestamp) -> ();
        fn find_signed_in(session: SessionRef) -> Option<User>;
        fn rotate(presented: &TokenDigest, successor: NewRefreshToken, client: ClientInfo) -> Rotation;
        fn end_by_token(presented: &TokenDigest, now: Timestamp) -> Option<SessionRef>;
    }
    Outbox {
        fn add(mail: NewMail) -> ();
        fn claim(now: Timestamp, until: Timestamp) -> Claim;
        fn settle(mail: &ClaimedMail, settlement: Settlement) -> ();
        fn backlog() -> Backlog;
    }
    TaskRepository {
        fn create(task: &Task) -> TaskCreation;
        fn find(id: Id<Task>) -> Option<Task>;
        fn list(owner: Id<User>, query: &TaskQuery) -> Page<Task>;
        fn update(id: Id<Task>, expected: Version, content: &TaskContent, now: Timestamp) -> TaskUpdate;
        fn delete(id: Id<Task>, now: Timestamp) -> bool;
        fn assign(task: Id<Task>, category: Id<Category>) -> Assignment;
        fn unassign(task: Id<Task>, category: Id<Category>) -> bool;
    }
    CategoryRepository {
        fn create(category: &Category) -> CategoryCreation;
        fn find(id: Id<Category>) -> Option<Category>;
        fn list(owner: Id<User>) -> Vec<Category>;
        fn update(id: Id<Category>, name: Option<CategoryName>, color: Option<Color>) -> CategoryUpdate;
        fn delete(id: Id<Category>) -> bool;
    }
    HealthProbe {
        fn check() -> ();
    }
    SchemaProbe {
        fn schema() -> SchemaState;
    }
}

/// A limiter with the same faults.
#[async_trait]
impl RateLimiter for FaultyStore {
    async fn hit(&self, _: RateLimitKey, quota: Quota) -> Result<Decision, StoreError> {
        self.strike().await?;
        Ok(Decision {
            allowed: true,
            remaining: quota.limit,
            reset: quota.window,
        })
    }
}
