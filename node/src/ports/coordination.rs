//! The allocator, as the rest of the node sees it.

use async_trait::async_trait;
use serde::Serialize;
use stint_idgen::allocator::{Command, NamespaceName, NamespaceSpec, NamespaceTotals, Reply};

/// The replicated allocator: the only state that must agree.
#[async_trait]
pub trait Allocator: Send + Sync + std::fmt::Debug + 'static {
    /// The random identity of this allocator's data, 32 hex digits; another data directory has another.
    fn cluster_id(&self) -> &str;

    /// Replicates and applies one command. `Ok` means it was committed; a [`Reply::Refused`] is an answer, not an error.
    ///
    /// # Errors
    /// [`CoordinationError`]; after `OutcomeUnknown` the same command must be sent again, with the same request number.
    async fn submit(&self, command: Command) -> Result<Reply, CoordinationError>;

    /// What this node knows of the cluster, read locally.
    async fn status(&self) -> ClusterStatus;
}

/// Why a command has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CoordinationError {
    /// No quorum or no leader: the command was not appended.
    #[error("the allocator is not available")]
    Unavailable {
        /// What the consensus layer said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The command may or may not have been committed.
    #[error("it is not known whether the allocator committed the command")]
    OutcomeUnknown {
        /// What the consensus layer said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl CoordinationError {
    /// Whether sending the same command again can help.
    pub const fn retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::OutcomeUnknown { .. } => true,
        }
    }
}

/// The cluster as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClusterStatus {
    /// Identity of the cluster's data, 32 hex digits.
    pub cluster_id: String,
    /// This node.
    pub node_id: u64,
    /// The leader, if one is known.
    pub leader: Option<u64>,
    /// Raft term.
    pub term: u64,
    /// Index of the last entry in the log.
    pub last_log_index: Option<u64>,
    /// Index of the last entry applied.
    pub last_applied_index: Option<u64>,
    /// Voting members.
    pub voters: Vec<u64>,
    /// The namespaces, by name.
    pub namespaces: Vec<NamespaceStatus>,
}

/// One namespace, as applied on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NamespaceStatus {
    /// Its name.
    pub name: NamespaceName,
    /// What it was made with.
    pub spec: NamespaceSpec,
    /// The lowest id that may still be granted.
    pub floor: u64,
    /// How its ids were spent.
    pub totals: NamespaceTotals,
}
