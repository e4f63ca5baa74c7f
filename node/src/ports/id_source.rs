//! Where ids come from.

use std::time::Duration;

use async_trait::async_trait;
use stint_idgen::allocator::{NamespaceName, NamespaceSpec, Refusal};
use stint_idgen::{IdRange, Key};

use super::coordination::CoordinationError;
use super::link_store::StoreError;

/// The largest block that a namespace grants at once; what a holder wants is bounded by its own settings as well.
pub const MAX_BLOCK: u64 = 1 << 30;

/// Draws keys for links.
#[async_trait]
pub trait KeySource: Send + Sync + std::fmt::Debug + 'static {
    /// The next key. Waits a bounded time for the next block when none is at hand.
    async fn next_key(&self) -> Result<Key, IdError>;
}

/// Issues ids of namespaces to the outside.
#[async_trait]
pub trait IdIssuer: Send + Sync + std::fmt::Debug + 'static {
    /// Exactly `count` ids, as few ranges as the blocks at hand allow.
    async fn issue(&self, namespace: &NamespaceName, count: u64) -> Result<Vec<IdRange>, IdError>;

    /// Makes a namespace; the flag says whether it is new.
    async fn create_namespace(
        &self,
        name: NamespaceName,
        spec: NamespaceSpec,
    ) -> Result<(NamespaceSpec, bool), IdError>;
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
