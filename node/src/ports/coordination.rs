//! The allocator, as the rest of the node sees it.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use stint_idgen::allocator::{AuditRecord, Command, IdOrigin, NamespaceName, NamespaceSpec, NamespaceTotals, Reply};

/// Audit records as they are committed, or why no more come.
pub type AuditStream = BoxStream<'static, Result<AuditRecord, CoordinationError>>;

/// The replicated allocator: the only state that must agree.
#[async_trait]
pub trait Allocator: Send + Sync + std::fmt::Debug + 'static {
    /// The random identity of the allocator's data, 32 hex digits; another group has another. `None` until an
    /// allocator has answered, known from the first answer of any other method on.
    fn cluster_id(&self) -> Option<Arc<str>>;

    /// Replicates and applies one command. `Ok` means it was committed; a [`Reply::Refused`] is an answer, not an error.
    ///
    /// # Errors
    /// [`CoordinationError`]; after `OutcomeUnknown` the same command must be sent again, with the same request number.
    async fn submit(&self, command: Command) -> Result<Reply, CoordinationError>;

    /// The cluster as the member that answers knows it.
    ///
    /// # Errors
    /// [`CoordinationError`], when no member answers.
    async fn status(&self) -> Result<ClusterStatus, CoordinationError>;

    /// Where an id comes from, as the member that answers has it applied; `None` if there is no such namespace.
    ///
    /// # Errors
    /// [`CoordinationError`], when no member answers.
    async fn find_origin(&self, namespace: &NamespaceName, id: u64) -> Result<Option<IdOrigin>, CoordinationError>;

    /// The audit records behind log index `after` that are still at hand, oldest first; with `follow`, also those to
    /// come, without end.
    ///
    /// # Errors
    /// [`CoordinationError`], when no member answers.
    async fn audit(&self, after: Option<u64>, follow: bool) -> Result<AuditStream, CoordinationError>;

    /// Changes the members, or who of them leads; done once it is committed.
    ///
    /// # Errors
    /// [`MemberError`]
    async fn change_members(&self, change: MemberChange) -> Result<(), MemberError>;
}

/// A change of the allocators' group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberChange {
    /// Takes in a running, empty node: first it catches up, then it votes.
    Add {
        /// Its number: higher than that of any member before.
        node_id: u64,
        /// Where its RPC listener is reached, `host:port`.
        address: String,
    },
    /// Removes a member for good.
    Remove {
        /// Its number.
        node_id: u64,
    },
    /// Hands leadership to another voter.
    Transfer {
        /// To whom; `None` for the one that is furthest.
        to: Option<u64>,
    },
}

/// Why the members were not changed.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// It can't be done as asked; the text says why, and what to do.
    #[error("{0}")]
    Refused(String),
    /// The group gave no answer: look at its status before trying again.
    #[error(transparent)]
    Coordination(#[from] CoordinationError),
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Every member, by number.
    pub members: Vec<MemberStatus>,
    /// Worker leases that are neither released nor over.
    pub worker_leases: u64,
    /// Contradictions that the audit of the member that answers has found. Anything but 0 is a defect.
    pub audit_violations: u64,
    /// The namespaces, by name.
    pub namespaces: Vec<NamespaceStatus>,
}

/// One member, as the member that answers sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Its number.
    pub node_id: u64,
    /// Where its RPC listener is reached, `host:port`; empty in a group of one.
    pub address: String,
    /// The identity of its data directory, 32 hex digits.
    pub incarnation: String,
    /// Whether it votes; a learner only follows.
    pub is_voter: bool,
    /// The last log index known to be on its disk; only the leader knows it of others, as long as it hears of them.
    pub matched_index: Option<u64>,
}

/// One namespace, as applied on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
