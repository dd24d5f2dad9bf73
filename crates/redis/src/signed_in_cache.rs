//! Who is signed in, shared.
//!
//! A user is one hash: a field for each session, and one with the generation, a random number that
//! the first miss writes. It is the lease: what the store says is put only while the hash still
//! has that generation. Forgetting a user is deleting the hash, and with it the generation, which
//! never comes back; so no answer from before a change is put after it, not even where Redis was
//! emptied or pushed the hash out meanwhile. The hash expires 15 minutes after it was begun, so no
//! field is older.
//!
//! A user whom Redis could not be told to forget is remembered in the process (`breaker`): missed
//! from before the attempt on, and deleted before anything that Redis says is believed again. Only
//! if the process ends before that, or among other instances that reach Redis while this one does
//! not, can the old user be seen, for at most those 15 minutes.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use deadpool_redis::redis::{self, Script};
use serde::{Deserialize, Serialize};
use tasks_domain::account::{CacheLookup, Email, FullName, Lease, SessionRef, SignedInCache, User};
use tasks_domain::clock::Timestamp;
use tasks_domain::id::Id;

use crate::breaker::Stale;
use crate::store::{Failure, Link, RedisStore};
use crate::unique;

/// How long a user is remembered at most.
const TTL: Duration = Duration::from_mins(15);

/// How many keys one command deletes or looks through at most, so that it is done well within the
/// time limit.
const BATCH: usize = 500;

/// The right to put nothing: no generation is 0.
const WORTHLESS: Lease = Lease(0);

/// Arguments: the session, a generation to begin with, the time to live in milliseconds.
static GET: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local found = redis.call('HMGET', KEYS[1], 'generation', ARGV[1])
if not found[1] then
  redis.call('HSET', KEYS[1], 'generation', ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  found = {ARGV[2], false}
end
return found
",
    )
});

/// Arguments: the session, the generation of the lease, the user.
static PUT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
if redis.call('HGET', KEYS[1], 'generation') == ARGV[2] then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
",
    )
});

#[async_trait]
impl SignedInCache for RedisStore {
    async fn get(&self, session: SessionRef) -> CacheLookup {
        if self.link.breaker().is_blind_to(session.user) {
            return CacheLookup::Miss(WORTHLESS);
        }
        let mut get = GET.key(key(session.user));
        get.arg(field(session))
            .arg(unique::number().to_string())
            .arg(TTL.as_millis().to_string());
        let get = Arc::new(get);
        let look = move |mut connection| {
            let get = get.clone();
            async move { get.invoke_async(&mut connection).await }
        };
        match self.link.run::<(String, Option<Vec<u8>>), _>(look).await {
            Ok((generation, found)) => found
                .and_then(|found| Remembered::read(&found, session.user))
                .map_or_else(
                    || CacheLookup::Miss(generation.parse().map_or(WORTHLESS, Lease)),
                    CacheLookup::Hit,
                ),
            // The link has warned of it.
            Err(_) => CacheLookup::Miss(WORTHLESS),
        }
    }

    async fn put(&self, session: SessionRef, user: &User, lease: Lease) {
        if lease == WORTHLESS || self.link.breaker().is_blind_to(session.user) {
            return;
        }
        let Ok(user) = serde_json::to_vec(&Remembered::of(user)) else {
            return;
        };
        let mut put = PUT.key(key(session.user));
        put.arg(field(session)).arg(lease.0.to_string()).arg(user);
        let put = Arc::new(put);
        let store = move |mut connection| {
            let put = put.clone();
            async move { put.invoke_async(&mut connection).await }
        };
        // What cannot be put is looked up again; the link has warned of it.
        let _ = self.link.run::<(), _>(store).await;
    }

    async fn invalidate(&self, user: Id<User>) {
        let mark = self.link.breaker().mark(user);
        let link = self.link.clone();
        // In a task, which ends even if the request is given up meanwhile.
        let told = self.link.runtime.spawn(async move {
            let forget = move |mut connection| async move {
                let mut delete = redis::cmd("UNLINK");
                delete.arg(key(user)).query_async(&mut connection).await
            };
            if link.run::<(), _>(forget).await.is_ok() {
                link.breaker().settle_one(user, mark);
            }
        });
        // It fails only where the runtime ends.
        let _ = told.await;
    }
}

/// Tells Redis whom to forget.
pub(crate) async fn forget(link: &Link, stale: &Stale) -> Result<(), Failure> {
    let keys: Vec<_> = stale.users.iter().copied().map(key).collect();
    for keys in keys.chunks(BATCH) {
        unlink(link, keys).await?;
    }
    if stale.everybody {
        forget_everybody(link).await?;
    }
    Ok(())
}

/// Looks through all keys. What is begun meanwhile may be missed, which is right: it holds what
/// the store said after the changes.
async fn forget_everybody(link: &Link) -> Result<(), Failure> {
    let mut cursor = 0_u64;
    loop {
        let scan = |mut connection| async move {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(key_of("*"));
            scan.arg("COUNT").arg(BATCH);
            scan.query_async(&mut connection).await
        };
        let found: (u64, Vec<String>) = link.attempt(link.time_limit, scan).await?;
        if !found.1.is_empty() {
            unlink(link, &found.1).await?;
        }
        cursor = found.0;
        if cursor == 0 {
            return Ok(());
        }
    }
}

async fn unlink(link: &Link, keys: &[String]) -> Result<(), Failure> {
    let delete = |mut connection| async move {
        let mut delete = redis::cmd("UNLINK");
        delete.arg(keys).query_async(&mut connection).await
    };
    link.attempt::<(), _>(link.time_limit, delete).await
}

fn key(user: Id<User>) -> String {
    key_of(&user.to_string())
}

fn key_of(user: &str) -> String {
    format!("tasks:signed-in:{{{user}}}")
}

fn field(session: SessionRef) -> String {
    session.session.to_string()
}

/// What is kept of a user: what a [`User`] is, and nothing else. The id is in the key.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    email: String,
    full_name: String,
    is_active: bool,
    /// In microseconds since 1970, as the next.
    created_at: i64,
    updated_at: i64,
}

impl Remembered {
    fn of(user: &User) -> Self {
        Self {
            email: user.email.as_str().to_owned(),
            full_name: user.full_name.as_str().to_owned(),
            is_active: user.is_active,
            created_at: user.created_at.unix_micros(),
            updated_at: user.updated_at.unix_micros(),
        }
    }

    /// `None` for what cannot be a user.
    fn read(json: &[u8], id: Id<User>) -> Option<User> {
        let this: Self = serde_json::from_slice(json).ok()?;
        Some(User {
            id,
            email: Email::parse(&this.email).ok()?,
            full_name: FullName::parse(&this.full_name).ok()?,
            is_active: this.is_active,
            created_at: Timestamp::from_unix_micros(this.created_at)?,
            updated_at: Timestamp::from_unix_micros(this.updated_at)?,
        })
    }
}
