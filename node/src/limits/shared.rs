//! A limiter of all nodes together, in Redis, by Redis's clock. While Redis is away each node counts for itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use redis::{RedisError, Script};
use tokio::time::timeout;

use super::LocalLimiter;
use super::bucket::Mode;
use crate::domain::rate::{Client, Policy, Rate};
use crate::ports::error_chain::Chain;
use crate::ports::rate_limiter::{RateLimiter, Taken};
use crate::redis_server::RedisServer;

/// What `bucket` does, in microseconds. `KEYS`: the client; `ARGV`: until one of the allowance is back, how many there are,
/// how many are wanted, and 1 if they have been used already. What is kept may lie too far ahead: Redis's clock may have
/// been set back since. Answers how many were granted, how many are left, and the time until there is one more.
const USE_UP: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, count, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local whole = interval * count
local kept = tonumber(redis.call('GET', KEYS[1]) or 0) or 0
local back = math.min(math.max(kept, now), now + 2 * whole)
local there = math.max(math.floor((now + whole - back) / interval), 0)
local granted = math.min(there, wanted)
local used = granted
if ARGV[4] == '1' then used = wanted end
back = math.min(back + used * interval, now + 2 * whole)
if back > now then
  redis.call('SET', KEYS[1], string.format('%.0f', back), 'PX', math.ceil((back - now) / 1000))
end
local left = there - granted
return {granted, left, math.max(back + (left + 1) * interval - now - whole, 0)}
";

/// Counts what clients do on all nodes.
#[derive(Debug)]
pub struct SharedLimiter {
    server: RedisServer,
    script: Script,
    /// What the names of this policy's clients begin with.
    prefix: String,
    policy: Policy,
    interval_us: u64,
    count: u32,
    alone: Arc<LocalLimiter>,
    /// Whether this node counted for itself the last time.
    is_alone: AtomicBool,
}

impl SharedLimiter {
    /// A limiter under names that begin with `prefix`, in which every client may do this much; `alone` decides while
    /// Redis is away.
    pub fn new(server: RedisServer, prefix: &str, policy: Policy, rate: Rate, alone: Arc<LocalLimiter>) -> Self {
        Self {
            server,
            script: Script::new(USE_UP),
            prefix: format!("{prefix}rate:{}:", policy.name()),
            policy,
            interval_us: u64::try_from(rate.interval().as_micros()).unwrap_or(u64::MAX).max(1),
            count: rate.count.get(),
            alone,
            is_alone: AtomicBool::new(false),
        }
    }

    async fn use_up(&self, client: Client, wanted: u32, mode: Mode) -> Taken {
        match self.ask(client, wanted, mode).await {
            Ok(taken) => {
                if self.is_alone.swap(false, Ordering::Relaxed) {
                    tracing::info!(policy = self.policy.name(), "rate limits are counted by all nodes together again");
                }
                taken
            }
            Err(error) => {
                if !self.is_alone.swap(true, Ordering::Relaxed) {
                    let policy = self.policy.name();
                    tracing::warn!(policy, error = %Chain(&error), "rate limits are counted by this node alone for now");
                }
                self.alone.use_up(client, wanted, mode)
            }
        }
    }

    async fn ask(&self, client: Client, wanted: u32, mode: Mode) -> Result<Taken, RedisError> {
        let (mut connection, generation) = self.server.line().await?;
        let mut call = self.script.key(format!("{}{client}", self.prefix));
        call.arg(self.interval_us).arg(self.count).arg(wanted).arg(i32::from(mode == Mode::Owe));
        let asked = timeout(self.server.patience().visitor, call.invoke_async(&mut connection)).await;
        let late = || Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
        let answer: Result<(u32, u32, u64), RedisError> = asked.unwrap_or_else(|_| late());
        let (granted, left, next_us) = answer.inspect_err(|error| self.server.lost(generation, error))?;
        Ok(Taken { granted, left, next: Duration::from_micros(next_us) })
    }
}

#[async_trait]
impl RateLimiter for SharedLimiter {
    async fn take(&self, client: Client, wanted: u32) -> Taken {
        self.use_up(client, wanted, Mode::Take).await
    }

    async fn owe(&self, client: Client) -> Taken {
        self.use_up(client, 1, Mode::Owe).await
    }
}
