//! Counting followed links: a queue that never waits, and a store that counts each chunk once.

use async_trait::async_trait;
use stint_idgen::Key;

use super::link_store::StoreError;
use crate::domain::timestamp::UnixMs;

/// Days since 1970-01-01, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i32);

/// Takes clicks in, without waiting and without an error: what is too much is dropped and counted as dropped.
pub trait ClickSink: Send + Sync + std::fmt::Debug + 'static {
    /// Notes that a link was followed.
    fn record(&self, key: Key, at: UnixMs);
}

/// What makes a chunk of clicks recognisable, so that it is counted once however often it is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChunkId {
    /// The process that collected it: random, new at each start.
    pub process: u128,
    /// Its number in that process, from 1.
    pub seq: u64,
}

/// How often each link was followed on each day, as one process saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClickChunk {
    /// Which chunk it is.
    pub id: ChunkId,
    /// The clicks, sorted by key and day, each pair once.
    pub clicks: Vec<(Key, Day, u64)>,
}

/// How often a link was followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClickTotals {
    /// Ever.
    pub total: u64,
    /// By day, latest first, as many as were asked for.
    pub days: Vec<(Day, u64)>,
}

/// Counts clicks for good.
#[async_trait]
pub trait ClickStore: Send + Sync + std::fmt::Debug + 'static {
    /// Adds chunks in one transaction, each unless it was added before; answers how many clicks were new.
    async fn add_chunks(&self, chunks: &[ClickChunk], now: UnixMs) -> Result<u64, StoreError>;

    /// What was counted for a link, with its last `days` days on which it was followed.
    async fn clicks(&self, key: Key, days: usize) -> Result<ClickTotals, StoreError>;

    /// Forgets which chunks were added before a moment, some at a time; answers how many. 0 means that none are left.
    async fn forget_chunks_before(&self, moment: UnixMs) -> Result<u64, StoreError>;
}
