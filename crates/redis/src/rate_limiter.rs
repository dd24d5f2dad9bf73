//! A sliding window for each key, exact and shared.

use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use deadpool_redis::redis::Script;
use tasks_domain::rate_limit::{Decision, Quota, RateLimitKey, RateLimiter};
use tasks_domain::store::StoreError;

use crate::store::{Failure, Link, RedisStore};
use crate::trace::Command;
use crate::unique;

const COMMAND: Command = Command::script("hit");

/// Keeps the instant of every request that passed, in microseconds: a score is a double, which
/// holds those until the year 2255. `string.format`, since Lua by itself writes 14 digits only.
///
/// Arguments: the limit, the window in microseconds, what to call this request, and the time, if
/// it is not Redis's own.
static HIT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local key, limit, window = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local now = tonumber(ARGV[4])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local function text(number) return string.format('%.0f', number) end

-- From the future: somebody has set the clock back. What was is not later than now.
for _, request in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. text(now), '+inf')) do
  redis.call('ZADD', key, text(now), request)
end

local begin = text(now - window)
local used, allowed = redis.call('ZCOUNT', key, '(' .. begin, '+inf'), 0
if redis.call('ZSCORE', key, ARGV[3]) then
  -- Asked again, since the first answer was lost: it is counted.
  allowed = 1
elseif used < limit then
  redis.call('ZADD', key, text(now), ARGV[3])
  redis.call('PEXPIRE', key, text(math.ceil(window / 1000)))
  used, allowed = used + 1, 1
end
-- Not earlier: after a first write Redis would let a script go on above its limit of memory.
redis.call('ZREMRANGEBYSCORE', key, '-inf', begin)
local oldest = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2] or now
return {allowed, math.max(limit - used, 0), oldest + window - now}
",
    )
});

#[async_trait]
impl RateLimiter for RedisStore {
    async fn hit(&self, key: RateLimitKey, quota: Quota) -> Result<Decision, StoreError> {
        let now = self.clock.as_ref().map(|clock| clock.now().unix_micros());
        let mut hit = HIT.key(name(key, quota));
        // The same name if it is sent twice, so that it is counted once.
        hit.arg(quota.limit)
            .arg(micros(quota.window))
            .arg(unique::name().as_slice())
            .arg(now.map_or_else(String::new, |now| now.to_string()));
        let hit = Arc::new(hit);
        let decide = move |mut connection| {
            let hit = hit.clone();
            async move { hit.invoke_async(&mut connection).await }
        };
        match self.link.run::<(bool, u32, u64), _>(COMMAND, decide).await {
            Ok((allowed, remaining, reset)) => Ok(Decision {
                allowed,
                remaining,
                reset: Duration::from_micros(reset),
            }),
            Err(error) => {
                self.link.unavailable.fetch_add(1, Ordering::Relaxed);
                Err(error)
            }
        }
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
