//! Keys of links from the blocks of one lane, counted in Redis or in Postgres.
//!
//! **Invariant: no key is repeated, whatever the counter forgets.** A block is served only after the database's primary
//! moved the lane's mark past it, and only as long as the database stays on the timeline on which it did.

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stint_idgen::allocator::NamespaceName;
use stint_idgen::{IdRange, Key, Lane, Pool};
use tokio::sync::watch;
use tokio::time::timeout;

use super::postgres_blocks::PostgresBlocks;
use super::redis_blocks::RedisBlocks;
use super::supply::{BlockSource, Ended, History, NoBlock, Supply};
use crate::metrics::{IdMetrics, Registry};
use crate::ports::block_store::{BlockStore, POSTGRES_SOURCE, REDIS_SOURCE};
use crate::ports::clock::Clock;
use crate::ports::id_source::{IdError, KeySource};
use crate::ports::spawn::Spawn;
use crate::redis_server::RedisServer;

pub use super::supply::BlockOptions;

/// How long one attempt to get a block may take; what comes later is a gap.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);

/// Draws keys from one lane's blocks.
#[derive(Debug)]
pub struct LaneKeys {
    lane: Lane,
    supply: Arc<Supply>,
    metrics: IdMetrics,
}

/// What each lane's pool needs besides its source.
#[derive(Clone, Debug)]
pub struct LaneParts {
    /// How ids are held.
    pub options: BlockOptions,
    /// The primary's timeline: on another one what is at hand is dropped.
    pub timelines: watch::Receiver<Option<u32>>,
    /// Where metrics go.
    pub registry: Registry,
    /// Time, to measure rates with.
    pub clock: Arc<dyn Clock>,
    /// Starts the refill task.
    pub spawn: Arc<dyn Spawn>,
}

/// A lane's source, kept within the lane and within time.
#[derive(Debug)]
struct LaneSource {
    lane: Lane,
    source: Box<dyn BlockSource>,
    metrics: IdMetrics,
}

impl LaneKeys {
    /// Blocks counted in Redis, under a name that contains `deployment`, and fenced in `store`. The lane should be
    /// claimed ([`crate::service::fence::claim_block_lane`]); else the first block claims it.
    pub fn redis(server: RedisServer, store: Arc<dyn BlockStore>, deployment: &str, parts: LaneParts) -> Self {
        let metrics = IdMetrics::new(&parts.registry, REDIS_SOURCE);
        let source = RedisBlocks::new(server, store, deployment, metrics.clone());
        Self::start(Lane::Redis, Box::new(source), metrics, parts)
    }

    /// Blocks counted in the database itself. The lane is claimed as for [`LaneKeys::redis`].
    pub fn postgres(store: Arc<dyn BlockStore>, parts: LaneParts) -> Self {
        let metrics = IdMetrics::new(&parts.registry, POSTGRES_SOURCE);
        Self::start(Lane::Postgres, Box::new(PostgresBlocks::new(store)), metrics, parts)
    }

    fn start(lane: Lane, source: Box<dyn BlockSource>, metrics: IdMetrics, parts: LaneParts) -> Self {
        let source = LaneSource { lane, source, metrics: metrics.clone() };
        let supply = Supply::start(
            NamespaceName::links(),
            Box::new(source),
            History::of(parts.timelines),
            parts.options,
            metrics.clone(),
            parts.clock,
            &*parts.spawn,
        );
        Self { lane, supply, metrics }
    }

    /// Whether draws go on without the source.
    ///
    /// # Errors
    /// Why they don't.
    pub fn readiness(&self) -> Result<(), String> {
        self.supply.readiness()
    }
}

#[async_trait]
impl KeySource for LaneKeys {
    async fn next_key(&self) -> Result<Key, IdError> {
        let counter = self.supply.draw(1, Pool::next).await?;
        self.metrics.issued_to_links.increment(1);
        self.lane.key(counter).ok_or(IdError::Exhausted)
    }
}

#[async_trait]
impl BlockSource for LaneSource {
    async fn take(&mut self, want: u64) -> Result<IdRange, NoBlock> {
        let late = Err(NoBlock::Late { waited: TAKEN_WITHIN });
        let taken = timeout(TAKEN_WITHIN, self.source.take(want)).await.unwrap_or(late)?;
        let block = IdRange::new(taken.start(), taken.end().min(Lane::CAPACITY));
        let block = block.map_err(|_| NoBlock::Ended(Ended::Exhausted))?;
        self.metrics.set_lane_used(self.lane, block.end());
        Ok(block)
    }
}
