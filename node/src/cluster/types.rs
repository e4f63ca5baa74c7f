//! openraft's type parameters, fixed once for this cluster.

use std::fmt;
use std::sync::Arc;

use openraft::impls::TokioRuntime;
use openraft_rt::deterministic_rng::DeterministicRng;
use serde::{Deserialize, Serialize};
use stint_idgen::allocator::{Reply, Stamped};

use super::state_machine::StateMachine;

/// The runtime of the consensus core: tokio, its randomness (election timeouts) from a seed that each start is given.
pub type SeededRuntime = DeterministicRng<TokioRuntime>;

/// Number of a member: given once, never given again to another data directory.
pub type NodeId = u64;

/// What every member knows of a member.
///
/// Carried in the membership entries of the log, so that a peer is recognised by its data, not by its address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Where its RPC listener is reached, `host:port`; empty for a group of one.
    pub address: String,
    /// The random identity of its data directory, 32 hex digits.
    pub incarnation: String,
}

/// Stamped commands on their way into the log, applied one after the other.
///
/// A wrapper only because openraft wants entries to be printable: it prints what is small and never secret. Shared,
/// because an entry is cloned for the log, for each follower and for being applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal(pub Arc<Vec<Stamped>>);

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at_ms = self.0.first().map_or(0, |stamped| stamped.at_ms);
        write!(f, "{} commands stamped {at_ms}", self.0.len())
    }
}

/// What applying an entry answers: a reply to each of its commands.
pub type Applied = Vec<Reply>;

openraft::declare_raft_types!(
    /// The cluster's type parameters.
    ///
    /// Leader ids are Raft's own (at most one leader per term), not openraft's default, which allows several: the
    /// term alone then names a leadership, as stamps and the cluster's status assume.
    pub TypeConfig:
        D = Proposal,
        R = Applied,
        NodeId = NodeId,
        Node = Member,
        Term = u64,
        AsyncRuntime = SeededRuntime,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, NodeId>,
);

/// The handle of a running member.
pub type Raft = openraft::Raft<TypeConfig, StateMachine>;
/// Term and index of a log entry.
pub type LogId = openraft::alias::LogIdOf<TypeConfig>;
/// Who a leadership belongs to, once a quorum granted it: the term.
pub type CommittedLeaderId = openraft::alias::CommittedLeaderIdOf<TypeConfig>;
/// A vote: term, candidate, and whether a quorum granted it.
pub type Vote = openraft::alias::VoteOf<TypeConfig>;
/// A log entry.
pub type Entry = openraft::alias::EntryOf<TypeConfig>;
/// What a log entry carries.
pub type Payload = openraft::alias::PayloadOf<TypeConfig>;
/// Voters and learners.
pub type Membership = openraft::Membership<NodeId, Member>;
/// The membership, and the entry it was set by.
pub type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
/// What a snapshot covers.
pub type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
/// A snapshot: what it covers, and the encoded state.
pub type Snapshot = openraft::alias::SnapshotOf<TypeConfig, Vec<u8>>;
/// Told once a write is on disk.
pub type IoFlushed = openraft::storage::IOFlushed<TypeConfig>;

/// The log id of `index` in `term`.
pub fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term), index)
}
