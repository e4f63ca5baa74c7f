//! Blocks that the database counts itself, in the lane's row. It is both the counter and the fence.

use std::sync::Arc;

use async_trait::async_trait;
use stint_idgen::{IdRange, Lane};

use super::supply::{BlockSource, Ended, NoBlock};
use crate::ports::block_store::{BlockStore, POSTGRES_SOURCE};

/// Takes blocks of the lane of Postgres.
#[derive(Debug)]
pub(super) struct PostgresBlocks {
    store: Arc<dyn BlockStore>,
}

impl PostgresBlocks {
    pub(super) const fn new(store: Arc<dyn BlockStore>) -> Self {
        Self { store }
    }
}

#[async_trait]
impl BlockSource for PostgresBlocks {
    async fn take(&mut self, want: u64) -> Result<IdRange, NoBlock> {
        if let Some(block) = self.store.take_block(Lane::Postgres, POSTGRES_SOURCE, want).await? {
            return Ok(block);
        }
        // Nobody had claimed the lane, or another source has.
        let known = self.store.claim_lane(Lane::Postgres, POSTGRES_SOURCE).await?;
        let block = match known.source.as_str() {
            POSTGRES_SOURCE => self.store.take_block(Lane::Postgres, POSTGRES_SOURCE, want).await?,
            _ => None,
        };
        block.ok_or(NoBlock::Ended(Ended::LaneTaken))
    }
}
