//! Ids at hand and the task that brings more: what every source that hands out blocks has in common.
//!
//! A block is in use and the next one is asked for while half of it remains, so that drawing an id neither waits nor
//! locks. Where a block comes from, and what makes it safe to serve, is the [`BlockSource`]'s part.

mod history;
mod refill;

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use stint_idgen::allocator::{NamespaceName, Refusal};
use stint_idgen::{BlockUse, IdRange, Pool};
use tokio::sync::{Notify, watch};

use crate::metrics::IdMetrics;
use crate::ports::clock::Clock;
use crate::ports::coordination::CoordinationError;
use crate::ports::id_source::IdError;
use crate::ports::link_store::StoreError;
use crate::ports::spawn::Spawn;
use refill::Refill;

pub(super) use history::History;

/// How a node holds ids.
#[derive(Clone, Copy, Debug)]
pub struct BlockOptions {
    /// How long the blocks at hand should last at the measured rate.
    pub headroom: Duration,
    /// The smallest block to ask for, in ids.
    pub min_block: u64,
    /// The largest block to ask for, in ids.
    pub max_block: u64,
    /// How long a draw waits for a block before it fails.
    pub patience: Duration,
}

/// Where blocks come from. One task asks, so a source may remember what it asked for.
#[async_trait]
pub(super) trait BlockSource: Send + Debug + 'static {
    /// A block of 1 to `want` ids that nobody else has or will have, and that may be served from now on.
    ///
    /// Dropping the answer makes at most a gap. After an error it is asked again, until [`NoBlock::Ended`].
    async fn take(&mut self, want: u64) -> Result<IdRange, NoBlock>;

    /// Takes note of how far blocks were used that will not be drawn from any more.
    async fn account_for(&mut self, uses: Vec<BlockUse>) {
        drop(uses);
    }
}

/// Why a block didn't come.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoBlock {
    #[error("the allocator gave no answer")]
    Allocator(#[from] CoordinationError),
    #[error("the block could not be recorded in the database")]
    Fence(#[from] StoreError),
    #[error("Redis gave no block")]
    Redis(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("no block came within {waited:?}")]
    Late { waited: Duration },
    #[error("{attempts} blocks in a row were behind the database's mark")]
    Behind { attempts: u32 },
    #[error("no more blocks will come")]
    Ended(Ended),
}

/// Why no more blocks come, for now or for good.
#[derive(Clone, Debug)]
pub(super) enum Ended {
    Refused(Refusal),
    Exhausted,
    LaneTaken,
}

/// One pool, as drawers and its refill task share it.
#[derive(Debug)]
pub(super) struct Supply {
    namespace: NamespaceName,
    pool: Arc<Pool>,
    options: BlockOptions,
    metrics: IdMetrics,
    /// Wakes the refill task.
    refill: Notify,
    /// Whether the refill task was woken already.
    asked: AtomicBool,
    /// The largest single draw that waits: the next block is at least that large.
    wanted: AtomicU64,
    /// Counts blocks; wakes those who wait for one.
    arrivals: watch::Sender<Arrivals>,
    /// Wakes the refill task from the pause after a refusal: what was refused may be had now.
    reopened: Notify,
}

/// How many blocks came, and why no more will.
#[derive(Clone, Debug, Default)]
struct Arrivals {
    blocks: u64,
    ended: Option<Ended>,
}

impl Ended {
    /// Whether the next request may be answered otherwise: quotas are raised.
    const fn may_pass(&self) -> bool {
        matches!(self, Self::Refused(Refusal::QuotaReached { .. } | Refusal::Exhausted(_)))
    }
}

impl From<Ended> for IdError {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Refused(Refusal::Exhausted(_)) | Ended::Exhausted => Self::Exhausted,
            Ended::Refused(refusal) => Self::Refused(refusal),
            Ended::LaneTaken => Self::LaneTaken,
        }
    }
}

impl Supply {
    /// An empty pool, which a task keeps filled from `source` until the node stops. `namespace` is what metrics and
    /// the log call it; what was taken in an earlier `history` is not served in a later one.
    pub(super) fn start(
        namespace: NamespaceName,
        source: Box<dyn BlockSource>,
        history: History,
        options: BlockOptions,
        metrics: IdMetrics,
        clock: Arc<dyn Clock>,
        spawn: &dyn Spawn,
    ) -> Arc<Self> {
        let (pool, filler) = Pool::new();
        let supply = Arc::new(Self {
            namespace,
            pool,
            options,
            metrics,
            refill: Notify::new(),
            asked: AtomicBool::new(true),
            wanted: AtomicU64::new(0),
            arrivals: watch::Sender::default(),
            reopened: Notify::new(),
        });
        let task = Refill::new(Arc::clone(&supply), filler, source, history, clock, spawn.stopping());
        spawn.spawn("id refill", Box::pin(task.run()));
        supply
    }

    /// Whether draws go on without the source.
    pub(super) fn readiness(&self) -> Result<(), String> {
        match self.pool.remaining() {
            0 => Err(format!("no ids of `{}` are at hand", self.namespace)),
            _ => Ok(()),
        }
    }

    /// What was refused may be had now: the next draw asks again.
    pub(super) fn reopen(&self) {
        self.arrivals.send_if_modified(|arrivals| arrivals.ended.take_if(|ended| ended.may_pass()).is_some());
        self.reopened.notify_one();
    }

    /// Draws with `draw` until it has something, waiting for blocks between tries.
    pub(super) async fn draw<T>(&self, wanted: u64, draw: impl Fn(&Pool) -> Option<T>) -> Result<T, IdError> {
        if let Some(drawn) = draw(&self.pool) {
            self.ask_in_time();
            return Ok(drawn);
        }
        self.metrics.stalls.increment(1);
        self.wanted.fetch_max(wanted, Ordering::Relaxed);
        let patience = self.options.patience;
        tokio::time::timeout(patience, self.wait(draw)).await.unwrap_or(Err(IdError::Stalled { waited: patience }))
    }

    async fn wait<T>(&self, draw: impl Fn(&Pool) -> Option<T>) -> Result<T, IdError> {
        let mut arrivals = self.arrivals.subscribe();
        loop {
            let ended = arrivals.borrow_and_update().ended.clone();
            if let Some(drawn) = draw(&self.pool) {
                return Ok(drawn);
            }
            if let Some(ended) = ended {
                return Err(ended.into());
            }
            self.ask();
            arrivals.changed().await.expect("the sender lives as long as this pool");
        }
    }

    /// Asks for the next block while half of the current one remains.
    fn ask_in_time(&self) {
        if self.pool.wants_block() {
            self.ask();
        }
    }

    fn ask(&self) {
        if !self.asked.swap(true, Ordering::AcqRel) {
            self.refill.notify_one();
        }
    }
}
