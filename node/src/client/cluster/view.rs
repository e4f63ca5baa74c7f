//! The group as the API shows it: read from a server's answer, or made of an allocator's.

use serde::{Deserialize, Serialize};

use crate::ports::coordination::{ClusterStatus, MemberStatus, NamespaceStatus};

/// The answer of `GET /api/v1/cluster`.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Cluster {
    #[serde(rename = "cluster_id")]
    pub(super) id: String,
    pub(super) node_id: u64,
    pub(super) leader: Option<u64>,
    pub(super) term: u64,
    pub(super) last_log_index: Option<u64>,
    pub(super) last_applied_index: Option<u64>,
    pub(super) voters: Vec<u64>,
    /// Empty where the server is older than this program.
    #[serde(default)]
    pub(super) members: Vec<Member>,
    #[serde(default)]
    pub(super) worker_leases: u64,
    #[serde(default)]
    pub(super) audit_violations: u64,
    pub(super) namespaces: Vec<Namespace>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
pub(super) struct Member {
    pub(super) node_id: u64,
    pub(super) address: String,
    pub(super) incarnation: String,
    pub(super) role: MemberRole,
    pub(super) matched_index: Option<u64>,
    /// Entries that it lacks; only the leader knows.
    pub(super) lag: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum MemberRole {
    Voter,
    Learner,
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Namespace {
    pub(super) name: String,
    pub(super) start: u64,
    pub(super) limit: u64,
    pub(super) floor: u64,
    pub(super) granted: u64,
    pub(super) live: u64,
    pub(super) used: u64,
    pub(super) returned: u64,
    pub(super) lost: u64,
}

impl Cluster {
    /// Whether the leader answered, who alone knows how far the others are.
    pub(super) fn is_leaders_view(&self) -> bool {
        self.leader == Some(self.node_id)
    }

    /// Every member; of an older server only the voters' numbers are known.
    pub(super) fn everybody(&self) -> Vec<Member> {
        if !self.members.is_empty() {
            return self.members.clone();
        }
        let voter = |node_id: &u64| Member {
            node_id: *node_id,
            address: String::new(),
            incarnation: String::new(),
            role: MemberRole::Voter,
            matched_index: None,
            lag: None,
        };
        self.voters.iter().map(voter).collect()
    }
}

impl From<ClusterStatus> for Cluster {
    fn from(status: ClusterStatus) -> Self {
        let last = status.last_log_index;
        Self {
            members: status.members.into_iter().map(|member| Member::of(member, last)).collect(),
            id: status.cluster_id,
            node_id: status.node_id,
            leader: status.leader,
            term: status.term,
            last_log_index: last,
            last_applied_index: status.last_applied_index,
            voters: status.voters,
            worker_leases: status.worker_leases,
            audit_violations: status.audit_violations,
            namespaces: status.namespaces.into_iter().map(Namespace::from).collect(),
        }
    }
}

impl Member {
    fn of(member: MemberStatus, last_log_index: Option<u64>) -> Self {
        Self {
            node_id: member.node_id,
            address: member.address,
            incarnation: member.incarnation,
            role: if member.is_voter { MemberRole::Voter } else { MemberRole::Learner },
            matched_index: member.matched_index,
            lag: last_log_index.zip(member.matched_index).map(|(last, matched)| last.saturating_sub(matched)),
        }
    }
}

impl From<NamespaceStatus> for Namespace {
    fn from(status: NamespaceStatus) -> Self {
        Self {
            name: status.name.to_string(),
            start: status.spec.start,
            limit: status.spec.limit,
            floor: status.floor,
            granted: status.totals.granted,
            live: status.totals.live,
            used: status.totals.used,
            returned: status.totals.returned,
            lost: status.totals.lost,
        }
    }
}
