//! The highest timeline seen, kept in Redis, for deployments without allocators.
//!
//! It is as lasting as Redis: one that lost its data has forgotten it until a node that remembers raises it again.

use async_trait::async_trait;
use redis::{RedisError, Script};

use crate::ports::coordination::CoordinationError;
use crate::ports::timeline::TimelineRegister;
use crate::redis_server::RedisServer;

/// Timelines have 32 bits, so a number of Lua holds them exactly. What is no number counts as nothing.
const RAISE: &str = r"
local held = redis.call('TYPE', KEYS[1]).ok == 'string' and tonumber(redis.call('GET', KEYS[1])) or 0
local given = tonumber(ARGV[1])
if held >= given and held < 4294967296 then return held end
redis.call('SET', KEYS[1], ARGV[1])
return given
";

/// A max register in Redis.
#[derive(Debug)]
pub struct RedisTimeline {
    server: RedisServer,
    key: String,
    raise: Script,
}

impl RedisTimeline {
    /// The register of one deployment: two whose databases have nothing in common may share a Redis.
    pub fn new(server: RedisServer, deployment: &str) -> Self {
        Self { server, key: format!("stint:timeline:{deployment}"), raise: Script::new(RAISE) }
    }
}

#[async_trait]
impl TimelineRegister for RedisTimeline {
    async fn raise(&self, timeline: u32) -> Result<u32, CoordinationError> {
        let mut connection = self.server.connection().await.map_err(unavailable)?;
        match self.raise.key(&self.key).arg(timeline).invoke_async(&mut connection).await {
            Ok(held) => Ok(held),
            Err(error) => {
                self.server.failed(&error).await;
                Err(CoordinationError::OutcomeUnknown { source: Box::new(error) })
            }
        }
    }
}

fn unavailable(error: RedisError) -> CoordinationError {
    CoordinationError::Unavailable { source: Box::new(error) }
}
