//! A sliding window for each key, exact and shared.

use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use deadpool_redis::redis::{Script, ScriptInvocation};
use tasks_domain::rate_limit::{Decision, Quota, RateLimitKey, RateLimiter};
use tasks_domain::store::StoreError;

use crate::store::{Failure, Link, RedisStore};
use crate::trace::Command;
use crate::unique;

const COMMAND: Command = Command::script("hit");

/// Lua's function `hit`. It keeps the instant of every request that passed, in microseconds: a score is a double,
/// which holds those until the year 2255. `string.format`, since Lua by itself writes 14 digits only.
///
/// Arguments: what [`RedisStore::ask_for_hit`] adds.
pub(crate) const HIT_IN_LUA: &str = r"
local function text(number) return string.format('%.0f', number) end

local function hit(key, limit, window, name, now)
limit, window, now = tonumber(limit), tonumber(window), tonumber(now)
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end

-- From the future: somebody has set the clock back. What was is not later than now.
for _, request in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. text(now), '+inf')) do
  redis.call('ZADD', key, text(now), request)
end

local begin = text(now - window)
local used, allowed = redis.call('ZCOUNT', key, '(' .. begin, '+inf'), 0
if redis.call('ZSCORE', key, name) then
  -- Asked again, since the first answer was lost: it is counted.
  allowed = 1
elseif used < limit then
  redis.call('ZADD', key, text(now), name)
  redis.call('PEXPIRE', key, text(math.ceil(window / 1000)))
  used, allowed = used + 1, 1
end
-- Not earlier: after a first write Redis would let a script go on above its limit of memory.
redis.call('ZREMRANGEBYSCORE', key, '-inf', begin)
local oldest = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2] or now
return {allowed, math.max(limit - used, 0), oldest + window - now}
end
";

static HIT: LazyLock<Script> =
    LazyLock::new(|| Script::new(&format!("{HIT_IN_LUA}return hit(KEYS[1], unpack(ARGV))")));

/// What `hit` returns: whether the request may pass, how many more would, and after how many microseconds one
/// more would than now.
pub(crate) type Answer = (bool, u32, u64);

pub(crate) fn decision((allowed, remaining, reset): Answer) -> Decision {
    Decision {
        allowed,
        remaining,
        reset: Duration::from_micros(reset),
    }
}

impl RedisStore {
    /// Adds what `hit` takes: as a key the window; as arguments the limit, the window's length in microseconds,
    /// what to call this request, and the time, if it is not Redis's own.
    pub(crate) fn ask_for_hit(
        &self,
        script: &mut ScriptInvocation<'_>,
        key: RateLimitKey,
        quota: Quota,
    ) {
        let now = self.clock.as_ref().map(|clock| clock.now().unix_micros());
        script
            .key(name(key, quota))
            .arg(quota.limit)
            .arg(micros(quota.window))
            // The same name if it is sent twice, so that it is counted once.
            .arg(unique::name().as_slice())
            .arg(now.map_or_else(String::new, |now| now.to_string()));
    }
}

#[async_trait]
impl RateLimiter for RedisStore {
    async fn hit(&self, key: RateLimitKey, quota: Quota) -> Result<Decision, StoreError> {
        let mut hit = HIT.prepare_invoke();
        self.ask_for_hit(&mut hit, key, quota);
        let hit = Arc::new(hit);
        let decide = move |mut connection| {
            let hit = hit.clone();
            async move { hit.invoke_async(&mut connection).await }
        };
        let answer = self.link.run::<Answer, _>(COMMAND, decide).await;
        if answer.is_err() {
            self.link.unavailable.fetch_add(1, Ordering::Relaxed);
        }
        answer.map(decision)
    }
}

/// Whether Redis takes the script, and what it writes: a read-only Redis, or one without memory,
/// would answer a PING.
pub(crate) async fn rehearse(link: &Link, limit: Duration) -> Result<(), Failure> {
    let mut hit = HIT.key("tasks:limit:{rehearsal}");
    hit.arg(1).arg(1_000).arg("rehearsal").arg("");
    let hit = &hit;
    let decide = |mut connection| async move { hit.invoke_async(&mut connection).await };
    link.attempt::<(), _>(limit, COMMAND, decide).await
}

/// The name of a window. The quota is part of it: one window cannot serve two.
fn name(key: RateLimitKey, quota: Quota) -> String {
    let whose = match key {
        RateLimitKey::User(user) => format!("user:{user}"),
        RateLimitKey::Address(address) => format!("address:{address}"),
    };
    let Quota { limit, window } = quota;
    format!("tasks:limit:{{{whose}}}:{limit}:{}", micros(window))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use tasks_testkit::build;
    use tasks_testkit::servers::RedisServer;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_request_that_is_asked_about_again_is_counted_once_and_still_passes() {
        let server = RedisServer::shared().await;
        let link = RedisStore::connect_lazy(&server.url()).unwrap().link;
        let quota = Quota {
            limit: 1,
            window: Duration::from_mins(1),
        };
        let window = name(RateLimitKey::User(build::id()), quota);
        let member = unique::name();
        for _ in 0..2 {
            let mut hit = HIT.key(&window);
            hit.arg(1).arg(60_000_000).arg(member.as_slice()).arg("");
            let hit = &hit;
            let ask = |mut connection| async move { hit.invoke_async(&mut connection).await };
            let answer = link.attempt::<(bool, u32, u64), _>(Duration::from_mins(1), COMMAND, ask);
            let (allowed, remaining, _) = answer.await.unwrap();
            assert_eq!((allowed, remaining), (true, 0));
        }
    }
}
