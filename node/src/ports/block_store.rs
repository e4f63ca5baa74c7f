//! Blocks of ids that the database itself gives out, or vouches for.

use async_trait::async_trait;
use stint_idgen::{IdRange, Lane};

use super::link_store::{FenceStore, StoreError};

/// What the lane's row names as the source of Redis blocks. Whichever Redis counts, it is one source: the database
/// decides which of its blocks are served.
pub const REDIS_SOURCE: &str = "redis";

/// What the lane's row names as the source of Postgres blocks: the database itself.
pub const POSTGRES_SOURCE: &str = "postgres";

/// Keeps the marks of lanes whose sources can't be trusted to remember, so that no id of theirs is served twice.
#[async_trait]
pub trait BlockStore: FenceStore {
    /// Raises the lane's mark to the end of `block` if it isn't past its start, and only then may its ids be served; false
    /// when it is past it, or the lane has another source.
    async fn fence_block(&self, lane: Lane, source: &str, block: IdRange) -> Result<bool, StoreError>;

    /// Takes the next `want` ids of a lane whose only source is this database; `None` when the lane has another source.
    async fn take_block(&self, lane: Lane, source: &str, want: u64) -> Result<Option<IdRange>, StoreError>;
}
