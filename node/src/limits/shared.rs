//! A limiter of all nodes together, in Redis, by Redis's clock. While Redis is away each node counts for itself.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::{RedisError, Script};
use tokio::time::timeout;

use super::LocalLimiter;
use crate::domain::rate::{Client, Policy, Rate};
use crate::ports::rate_limiter::{Allowance, RateLimiter};
use crate::redis_server::RedisServer;

/// The generic cell rate algorithm. `KEYS`: the client; `ARGV`: microseconds until one of the allowance is back, and how
/// many there are. What is kept is when the whole allowance will be back. That is a period away at most: Redis's clock may
/// have been set back since. Answers 1 and how many are left, or 0 and the microseconds to wait.
const TAKE: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval = tonumber(ARGV[1])
local whole = interval * tonumber(ARGV[2])
local function keep(back)
  redis.call('SET', KEYS[1], string.format('%.0f', back), 'PX', math.ceil((back - now) / 1000))
end
local kept = tonumber(redis.call('GET', KEYS[1]) or 0) or 0
local back = math.min(math.max(kept, now), now + whole)
local after = back + interval
if after > now + whole then
  if back < kept then keep(back) end
  return {0, after - now - whole}
end
keep(after)
return {1, math.floor((now + whole - after) / interval)}
";

/// Counts what clients do on all nodes.
#[derive(Debug)]
pub struct SharedLimiter {
    server: RedisServer,
    take: Script,
    /// What the names of this policy's clients begin with.
    prefix: String,
    interval_us: u64,
    count: u32,
    alone: Arc<LocalLimiter>,
}

impl SharedLimiter {
    /// A limiter under names that begin with `prefix`, in which every client may do this much; `alone` decides while
    /// Redis is away.
    pub fn new(server: RedisServer, prefix: &str, policy: Policy, rate: Rate, alone: Arc<LocalLimiter>) -> Self {
        Self {
            server,
            take: Script::new(TAKE),
            prefix: format!("{prefix}rate:{}:", policy.name()),
            interval_us: u64::try_from(rate.interval().as_micros()).unwrap_or(u64::MAX).max(1),
            count: rate.count.get(),
            alone,
        }
    }

    async fn ask(&self, client: Client) -> Result<Allowance, RedisError> {
        let (mut connection, generation) = self.server.line().await?;
        let mut call = self.take.key(format!("{}{client}", self.prefix));
        call.arg(self.interval_us).arg(self.count);
        let asked = timeout(self.server.patience().visitor, call.invoke_async(&mut connection)).await;
        let late = || Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
        let (granted, number): (bool, u64) = asked.unwrap_or_else(|_| late()).inspect_err(|error| {
            self.server.lost(generation, error);
        })?;
        Ok(if granted {
            Allowance::Granted { left: u32::try_from(number).unwrap_or(u32::MAX) }
        } else {
            Allowance::UsedUp { wait: Duration::from_micros(number) }
        })
    }
}

#[async_trait]
impl RateLimiter for SharedLimiter {
    async fn take(&self, client: Client) -> Allowance {
        match self.ask(client).await {
            Ok(allowance) => allowance,
            // Whoever lost the connection has logged it.
            Err(_) => self.alone.take_one(client),
        }
    }
}
