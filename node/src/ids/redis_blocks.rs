//! Blocks that Redis counts and the database vouches for.
//!
//! Redis may lose its count: FLUSHALL, a restart without persistence, a stale replica, an old snapshot, another server.
//! So a block is served only if the primary moved the lane's mark from at or below the block's start to its end; else
//! it is a gap, and Redis is set right. What Redis says is therefore never more than a guess at the next free id.

#[cfg(test)]
mod tests;
mod timeline;

use std::sync::Arc;

use async_trait::async_trait;
use redis::{ErrorKind, RedisError, Script, ServerErrorKind};
use stint_idgen::{IdRange, Lane};

use super::supply::{BlockSource, Ended, NoBlock};
use crate::metrics::IdMetrics;
use crate::ports::block_store::{BlockStore, REDIS_SOURCE};
use crate::redis_server::RedisServer;

pub use timeline::RedisTimeline;

/// How many blocks in a row may be refused by the database before there is a pause. Other nodes that fence a higher
/// block first cost one; a Redis that lost its count costs one.
const ATTEMPTS: u32 = 8;

/// Sets the counter to the mark, unless it is a whole number between the mark and the lane's end. Counters are compared
/// as text: they don't fit into a number of Lua. Without an expiry, so that no `volatile-*` policy evicts it.
const SET_RIGHT: &str = r"
local function below(a, b) return #a < #b or (#a == #b and a < b) end
local mark, last = ARGV[1], ARGV[2]
local count = redis.call('TYPE', KEYS[1]).ok == 'string' and redis.call('GET', KEYS[1]) or ''
local is_number = count == '0' or string.match(count, '^[1-9]%d*$')
if is_number and not below(count, mark) and not below(last, count) then return 0 end
redis.call('SET', KEYS[1], mark)
return 1
";

/// Takes blocks of the lane of Redis.
#[derive(Debug)]
pub(super) struct RedisBlocks {
    server: RedisServer,
    store: Arc<dyn BlockStore>,
    /// The counter's name in Redis.
    counter: String,
    set_right: Script,
    metrics: IdMetrics,
    /// The lane's mark as it was last seen: it is there or above. `None` until the lane is known to be ours.
    mark: Option<u64>,
}

impl RedisBlocks {
    pub(super) fn new(server: RedisServer, store: Arc<dyn BlockStore>, deployment: &str, metrics: IdMetrics) -> Self {
        let counter = format!("stint:ids:{deployment}");
        Self { server, store, counter, set_right: Script::new(SET_RIGHT), metrics, mark: None }
    }

    /// The lane's mark, which only rises; claims the lane if nobody has.
    async fn look_at_mark(&mut self) -> Result<u64, NoBlock> {
        let known = self.store.claim_lane(Lane::Redis, REDIS_SOURCE).await?;
        if known.source != REDIS_SOURCE {
            return Err(NoBlock::Ended(Ended::LaneTaken));
        }
        self.mark = Some(known.mark);
        Ok(known.mark)
    }

    /// The next `want` ids as Redis counts them; `None` if its counter is no number, or none of this lane.
    async fn count(&self, want: u64) -> Result<Option<IdRange>, NoBlock> {
        let mut connection = self.server.connection().await.map_err(redis_failed)?;
        let answer: Result<i64, RedisError> =
            redis::cmd("INCRBY").arg(&self.counter).arg(want).query_async(&mut connection).await;
        match answer {
            Ok(end) => {
                let end = u64::try_from(end).ok().filter(|end| *end <= Lane::CAPACITY);
                Ok(end.and_then(|end| IdRange::new(end.checked_sub(want)?, end).ok()))
            }
            Err(error) if is_about_the_value(&error) => Ok(None),
            Err(error) => {
                self.server.failed(&error).await;
                Err(redis_failed(error))
            }
        }
    }

    /// Raises Redis to the mark if it is behind; whether it had to be changed.
    async fn set_right(&self, mark: u64) -> Result<bool, NoBlock> {
        let mut connection = self.server.connection().await.map_err(redis_failed)?;
        let mut script = self.set_right.key(&self.counter);
        script.arg(mark.to_string()).arg(Lane::CAPACITY.to_string());
        match script.invoke_async::<i64>(&mut connection).await {
            Ok(changed) => Ok(changed != 0),
            Err(error) => {
                self.server.failed(&error).await;
                Err(redis_failed(error))
            }
        }
    }

    /// A block was refused: by a faster node, which is nothing, or because Redis has lost its count.
    async fn recover(&mut self, refused: Option<IdRange>) -> Result<u64, NoBlock> {
        let mark = self.look_at_mark().await?;
        if self.set_right(mark).await? {
            self.metrics.repairs.increment(1);
            if let Some(block) = refused {
                tracing::warn!(
                    counted = block.start(),
                    mark,
                    "Redis's count of ids was behind the database's mark, so it was raised: its data was lost or is \
                     old, or nodes use different servers; no id is repeated"
                );
            } else {
                tracing::warn!(
                    mark,
                    "Redis's count of ids was no number of its lane, so it was set to the database's mark: somebody \
                     else wrote to it; no id is repeated"
                );
            }
        }
        Ok(mark)
    }
}

#[async_trait]
impl BlockSource for RedisBlocks {
    async fn take(&mut self, want: u64) -> Result<IdRange, NoBlock> {
        let mut mark = match self.mark {
            Some(mark) => mark,
            None => self.look_at_mark().await?,
        };
        for _ in 0..ATTEMPTS {
            let want = want.min(Lane::CAPACITY.saturating_sub(mark));
            if want == 0 {
                return Err(NoBlock::Ended(Ended::Exhausted));
            }
            let block = self.count(want).await?;
            if let Some(block) = block
                && self.store.fence_block(Lane::Redis, REDIS_SOURCE, block).await?
            {
                self.mark = Some(block.end());
                return Ok(block);
            }
            mark = self.recover(block).await?;
        }
        Err(NoBlock::Behind { attempts: ATTEMPTS })
    }
}

/// Whether the counter itself is what is wrong: it is no whole number, too large to be added to, or no string.
fn is_about_the_value(error: &RedisError) -> bool {
    error.code() == Some("WRONGTYPE")
        || (error.kind() == ErrorKind::Server(ServerErrorKind::ResponseError)
            && error.detail().is_some_and(|detail| detail.contains("not an integer") || detail.contains("overflow")))
}

fn redis_failed(error: RedisError) -> NoBlock {
    NoBlock::Redis(Box::new(error))
}
