//! Who is signed in, shared.
//!
//! A user is one hash: a field for each session, and one with the generation, a random number that
//! the first miss writes. It is the lease: what the store says is put only while the hash still
//! has that generation. Forgetting a user is deleting the hash, and with it the generation, which
//! never comes back; so no answer from before a change is put after it, not even where Redis was
//! emptied or pushed the hash out meanwhile. The hash expires 15 minutes after it was begun, so no
//! field is older.
//!
//! A hash also has the epoch at which it was begun, another random number, which one key holds for
//! all users. Forgetting everybody is deleting that key: what was begun at an epoch that is over is
//! a miss, and begun anew. An instance does it before it believes Redis again that did not answer, or
//! whose connection was broken: it may have had changes meanwhile that it could not tell Redis of,
//! and so may others have had, which perhaps ended; and a Redis that was restarted may have come
//! back with what it knew long ago. It does so by itself, without a request. At worst, where Redis
//! fails again and again, it remembers nobody for long.
//!
//! So an old user can be seen for a moment after Redis is back by an instance that had nothing to do
//! with it while it was away. For longer, until the instance that made the change gets through to
//! Redis, and at most those 15 minutes, only by instances that reach Redis while this one alone does
//! not; or if it ended before it got through, and no other noticed that Redis was away.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{self, RedisResult, Script, ScriptInvocation};
use serde::{Deserialize, Serialize};
use tasks_domain::account::{CacheLookup, Email, FullName, Lease, SessionRef, SignedInCache, User};
use tasks_domain::clock::Timestamp;
use tasks_domain::id::Id;
use tasks_domain::rate_limit::{Decision, Quota, RateLimitKey};
use tracing::Instrument;

use crate::rate_limiter::{self, HIT_IN_LUA};
use crate::store::RedisStore;
use crate::trace::Command;
use crate::unique;

/// How long a user is remembered at most.
const TTL: Duration = Duration::from_mins(15);

/// The key of the epoch. It does not expire, and nothing but chance is in it.
const EPOCH: &str = "tasks:signed-in-epoch";

/// The right to put nothing: no generation is 0.
const WORTHLESS: Lease = Lease(0);

/// Lua's function `get`, which returns the generation and the user.
///
/// Keys and arguments: what [`ask`] adds.
const GET_IN_LUA: &str = r"
local function get(key, epoch_key, session, number, ttl)
  local epoch = redis.call('GET', epoch_key)
  if not epoch then
    epoch = number
    redis.call('SET', epoch_key, epoch)
  end
  local found = redis.call('HMGET', key, 'epoch', 'generation', session)
  if found[1] == epoch then
    return found[2], found[3]
  end
  redis.call('DEL', key)
  redis.call('HSET', key, 'epoch', epoch, 'generation', number)
  redis.call('PEXPIRE', key, ttl)
  return number, false
end
";

static GET: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&format!(
        "{GET_IN_LUA}return {{get(KEYS[1], KEYS[2], unpack(ARGV))}}"
    ))
});

/// Looks, and where a user is remembered, counts a request.
static GET_AND_HIT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&format!(
        r"{HIT_IN_LUA}{GET_IN_LUA}
local generation, user = get(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3])
-- Asked again, since the first answer was lost, it remembers nobody any more, but it has counted.
local counts = user or redis.call('ZSCORE', KEYS[3], ARGV[6])
return {{generation, user, counts and hit(KEYS[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7])}}
"
    ))
});

/// The generation, and the user as JSON if they are remembered.
type Found = (String, Option<Vec<u8>>);
/// The same, and the limiter's answer if the request was counted.
type FoundAndHit = (String, Option<Vec<u8>>, Option<rate_limiter::Answer>);

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
        let mut get = GET.prepare_invoke();
        ask(&mut get, session);
        let get = Arc::new(get);
        let look = move |mut connection| {
            let get = get.clone();
            async move { get.invoke_async(&mut connection).await }
        };
        let command = Command::script("get_signed_in");
        let found = self.link.run::<Found, _>(command, look).await;
        // The link has warned of what failed.
        found.map_or(CacheLookup::Miss(WORTHLESS), |found| {
            looked_up(found, session)
        })
    }

    async fn get_and_count(
        &self,
        session: SessionRef,
        quota: Quota,
    ) -> (CacheLookup, Option<Decision>) {
        let mut get = GET_AND_HIT.prepare_invoke();
        ask(&mut get, session);
        self.ask_for_hit(&mut get, RateLimitKey::User(session.user), quota);
        let get = Arc::new(get);
        let look = move |mut connection| {
            let get = get.clone();
            async move { get.invoke_async(&mut connection).await }
        };
        let command = Command::script("get_signed_in_and_hit");
        let found = self.link.run::<FoundAndHit, _>(command, look).await;
        match found {
            Ok((generation, user, answer)) => (
                looked_up((generation, user), session),
                answer.map(rate_limiter::decision),
            ),
            Err(_) => (CacheLookup::Miss(WORTHLESS), None),
        }
    }

    async fn put(&self, session: SessionRef, user: &User, lease: Lease) {
        if lease == WORTHLESS {
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
        let _ = self
            .link
            .run::<(), _>(Command::script("put_signed_in"), store)
            .await;
    }

    async fn invalidate(&self, user: Id<User>) {
        self.link.breaker().begin_telling();
        let link = self.link.clone();
        // In a task, which ends even if the request is given up meanwhile.
        let telling = async move {
            let forget = move |mut connection| async move {
                let mut delete = redis::cmd("UNLINK");
                delete.arg(key(user)).query_async(&mut connection).await
            };
            // If it fails, the breaker is open, and closes only when everybody is forgotten.
            let _ = link.run::<(), _>(Command::UNLINK, forget).await;
            link.breaker().end_telling();
        };
        let told = self.link.runtime.spawn(telling.in_current_span());
        // It fails only where the runtime ends.
        let _ = told.await;
    }
}

/// Makes Redis forget all users.
pub(crate) async fn forget_everybody(mut connection: MultiplexedConnection) -> RedisResult<()> {
    let mut delete = redis::cmd("UNLINK");
    delete.arg(EPOCH).query_async(&mut connection).await
}

/// Adds what `get` takes: as keys the user's and the epoch's; as arguments the session, a number to begin with,
/// and the time to live in milliseconds.
fn ask(script: &mut ScriptInvocation<'_>, session: SessionRef) {
    script
        .key(key(session.user))
        .key(EPOCH)
        .arg(field(session))
        .arg(unique::number().to_string())
        .arg(TTL.as_millis().to_string());
}

fn looked_up((generation, user): Found, session: SessionRef) -> CacheLookup {
    user.and_then(|user| Remembered::read(&user, session.user))
        .map_or_else(
            || CacheLookup::Miss(generation.parse().map_or(WORTHLESS, Lease)),
            CacheLookup::Hit,
        )
}

fn key(user: Id<User>) -> String {
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tasks_domain::rate_limit::RateLimiter;
    use tasks_testkit::build;
    use tasks_testkit::servers::RedisServer;

    use super::*;

    /// Everybody is forgotten before it is asked again, so it finds nobody then.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_request_whose_first_answer_is_lost_is_counted_once_and_still_passes() {
        let server = RedisServer::start().await;
        let limit = Duration::from_mins(1);
        let store = RedisStore::connect_with_limit(&server.url(), limit).unwrap();
        let user = build::user().build();
        let session = SessionRef {
            user: user.id,
            session: build::id(),
        };
        let CacheLookup::Miss(lease) = store.get(session).await else {
            panic!("is remembered already");
        };
        store.put(session, &user, lease).await;

        let quota = Quota {
            limit: 2,
            window: Duration::from_mins(1),
        };
        let mut get = GET_AND_HIT.prepare_invoke();
        ask(&mut get, session);
        store.ask_for_hit(&mut get, RateLimitKey::User(user.id), quota);
        let get = Arc::new(get);
        let lost = Arc::new(AtomicBool::new(false));
        let look = move |mut connection| {
            let (get, lost) = (get.clone(), lost.clone());
            async move {
                let answer = get.invoke_async::<FoundAndHit>(&mut connection).await;
                if lost.swap(true, Ordering::Relaxed) {
                    answer
                } else {
                    assert!(answer?.2.is_some(), "it was not counted at first");
                    Err(io::Error::from(io::ErrorKind::BrokenPipe).into())
                }
            }
        };
        let answer = store
            .link
            .run::<FoundAndHit, _>(Command::script("look"), look)
            .await;
        let (_, found, hit) = answer.unwrap();
        assert_eq!(found, None);
        assert!(matches!(hit, Some((true, 1, _))), "{hit:?}");
        let next = store.hit(RateLimitKey::User(user.id), quota).await.unwrap();
        assert_eq!((next.allowed, next.remaining), (true, 0));
    }
}
