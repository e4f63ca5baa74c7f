//! Where ids come from.

use std::time::Duration;

use async_trait::async_trait;
use stint_idgen::allocator::{NamespaceName, NamespaceSpec, Refusal};
use stint_idgen::{IdRange, Key};

use super::coordination::CoordinationError;
use super::link_store::StoreError;

/// The largest block that a namespace grants at once; what a holder wants is bounded by its own settings as well.
pub const MAX_BLOCK: u64 = 1 << 30;

/// The namespace whose ids come from a [`SnowflakeIssuer`] instead of the allocator's ranges.
pub const SNOWFLAKE: &str = "snowflake";

/// Ids at equal distances, in rising order; never none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRun {
    first: u64,
    count: u64,
    step: u64,
}

impl IdRun {
    /// `count` ids from `first` on, `step` apart. Neither of the two is 0.
    pub const fn new(first: u64, count: u64, step: u64) -> Self {
        debug_assert!(count > 0 && step > 0);
        Self { first, count, step }
    }

    /// One id.
    pub const fn one(id: u64) -> Self {
        Self::new(id, 1, 1)
    }

    /// The ids of a namespace's counters; `None` if a counter lies outside the namespace.
    pub fn of_counters(spec: &NamespaceSpec, counters: IdRange) -> Option<Self> {
        spec.id(counters.end() - 1)?;
        Some(Self { first: spec.id(counters.start())?, count: counters.len(), step: spec.stride })
    }

    /// The first id.
    pub const fn first(self) -> u64 {
        self.first
    }

    /// How many ids there are, from 1.
    pub const fn count(self) -> u64 {
        self.count
    }

    /// How far apart neighbours are, from 1.
    pub const fn step(self) -> u64 {
        self.step
    }

    /// One step past the last id. (Ids and steps stay below 2^63, so that it is always a number.)
    pub const fn end(self) -> u64 {
        self.first.saturating_add(self.count.saturating_mul(self.step))
    }

    /// The ids, one by one.
    pub fn ids(self) -> impl Iterator<Item = u64> {
        (0..self.count).map(move |n| self.first + n * self.step)
    }

    /// Both as one run, if `next` goes on where this one ends.
    fn join(self, next: Self) -> Option<Self> {
        let goes_on = self.step == next.step && self.end() == next.first;
        goes_on.then(|| Self { count: self.count + next.count, ..self })
    }

    /// Runs in the order given, neighbours joined.
    pub fn join_all(runs: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let mut joined: Vec<Self> = Vec::new();
        for run in runs {
            match joined.last_mut().and_then(|last| last.join(run).map(|both| (last, both))) {
                Some((last, both)) => *last = both,
                None => joined.push(run),
            }
        }
        joined
    }
}

/// Draws keys for links.
#[async_trait]
pub trait KeySource: Send + Sync + std::fmt::Debug + 'static {
    /// The next key. Waits a bounded time for the next block when none is at hand.
    async fn next_key(&self) -> Result<Key, IdError>;
}

/// Issues ids of namespaces to the outside.
#[async_trait]
pub trait IdIssuer: Send + Sync + std::fmt::Debug + 'static {
    /// Exactly `count` ids, in as few runs as the blocks at hand allow.
    async fn issue(&self, namespace: &NamespaceName, count: u64) -> Result<Vec<IdRun>, IdError>;

    /// Makes a namespace; the flag says whether it is new.
    async fn create_namespace(
        &self,
        name: NamespaceName,
        spec: NamespaceSpec,
    ) -> Result<(NamespaceSpec, bool), IdError>;

    /// Sets what of a namespace may change, and answers its spec from now on. Ids that were refused under the old
    /// quota are to be had at once.
    async fn update_namespace(
        &self,
        name: &NamespaceName,
        quota: Option<u64>,
        max_block: u64,
    ) -> Result<NamespaceSpec, IdError>;
}

/// Issues Snowflake ids to the outside.
#[async_trait]
pub trait SnowflakeIssuer: Send + Sync + std::fmt::Debug + 'static {
    /// Exactly `count` ids, rising.
    async fn draw(&self, count: u64) -> Result<Vec<u64>, IdError>;
}

/// Why there is no id.
#[derive(Debug, thiserror::Error)]
pub enum IdError {
    /// No block came in time.
    #[error("no ids are at hand and no new block came within {waited:?}")]
    Stalled {
        /// How long was waited.
        waited: Duration,
    },
    /// The allocator refused.
    #[error("the allocator refused")]
    Refused(#[source] Refusal),
    /// The source has issued its last id.
    #[error("the id source has issued its last id")]
    Exhausted,
    /// The allocator can't be asked.
    #[error("the allocator gave no answer")]
    Allocator(#[from] CoordinationError),
    /// The block could not be fenced in the database.
    #[error("the block could not be recorded in the database")]
    Fence(#[source] StoreError),
    /// Another source took over the lane while this one was running.
    #[error("another id source has taken over this lane of the database")]
    LaneTaken,
    /// No Snowflake id can be made at the moment.
    #[error("no Snowflake id can be made at the moment")]
    Snowflake(#[from] NoSnowflake),
}

/// Why no Snowflake id can be made. Each of these passes: the lease comes, or the clock is right again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSnowflake {
    /// The wall clock is behind the last id.
    #[error("this node's clock went back by {by:?}; ids are made again once it has caught up")]
    ClockWentBack {
        /// How far it is behind the last id.
        by: Duration,
    },
    /// The ids of this millisecond are used up, and the next one doesn't come.
    #[error("all ids of this millisecond are given out, and this node's clock stands still")]
    ClockStands,
    /// The lease's window has not begun.
    #[error("the worker lease begins in {wait:?} by this node's clock")]
    TooEarly {
        /// How long until it begins.
        wait: Duration,
    },
    /// The wall clock is past the lease's window, though the lease is not over.
    #[error("this node's clock is {by:?} past the end of its worker lease: it is ahead of the allocator's clock")]
    TooLate {
        /// How far past.
        by: Duration,
    },
    /// An id was made that must not be given out.
    #[error("an id was made that must not be given out, for its {what}")]
    Discarded {
        /// What is wrong with it.
        what: &'static str,
    },
    /// No worker id is leased yet.
    #[error("no worker id is leased yet: the allocator has not answered")]
    NotLeased,
    /// The lease is over or lost.
    #[error("the worker lease is over, and the allocator has given no other")]
    LeaseOver,
    /// Every worker id is leased to others.
    #[error("every worker id is leased; the first may be free at {free_at_ms} (Unix ms)")]
    NoWorkerFree {
        /// When, by the allocator's clock: Unix milliseconds.
        free_at_ms: u64,
    },
    /// The node is on its way out.
    #[error("this node is stopping")]
    Stopping,
}

impl IdError {
    /// Whether the same draw may succeed later.
    pub const fn retryable(&self) -> bool {
        match self {
            Self::Stalled { .. } | Self::Allocator(_) | Self::Fence(_) | Self::Snowflake(_) => true,
            Self::Refused(_) | Self::Exhausted | Self::LaneTaken => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(runs: &[IdRun]) -> Vec<(u64, u64, u64)> {
        runs.iter().map(|run| (run.first(), run.end(), run.step())).collect()
    }

    #[test]
    fn counters_become_runs_of_a_namespaces_stride() {
        let region = NamespaceSpec { stride: 10, offset: 3, ..NamespaceSpec::contiguous(100, 200, 10) };
        let run = IdRun::of_counters(&region, IdRange::new(101, 104).unwrap()).unwrap();
        assert_eq!(run.ids().collect::<Vec<_>>(), [113, 123, 133]);
        assert_eq!((run.count(), run.end()), (3, 143));
        assert_eq!(IdRun::of_counters(&region, IdRange::new(109, 111).unwrap()), None, "past the limit");
        let last = NamespaceSpec { stride: 1 << 63, ..NamespaceSpec::contiguous((1 << 63) - 1, 1 << 63, 10) };
        let run = IdRun::of_counters(&last, IdRange::new((1 << 63) - 1, 1 << 63).unwrap()).unwrap();
        assert_eq!(run.end(), u64::MAX, "the largest end there is");
    }

    #[test]
    fn neighbours_are_joined_and_others_are_not() {
        let parts = [(1, 2, 2), (5, 1, 2), (9, 1, 2), (11, 1, 1), (12, 4, 1)];
        let joined = IdRun::join_all(parts.map(|(first, count, step)| IdRun::new(first, count, step)));
        assert_eq!(runs(&joined), [(1, 7, 2), (9, 11, 2), (11, 16, 1)]);
        assert_eq!(runs(&IdRun::join_all([4, 5, 6, 8].map(IdRun::one))), [(4, 7, 1), (8, 9, 1)]);
        assert_eq!(runs(&IdRun::join_all([5, 4].map(IdRun::one))), [(5, 6, 1), (4, 5, 1)]);
    }
}
