//! Changing who is in the group, and who leads it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use stint_idgen::allocator::{Command, Reply};
use tokio::time::{Instant, sleep, timeout};

use super::super::bootstrap::Hello;
use super::super::member::ask;
use super::super::rpc::{Call, CallError, Incarnation, JoinRequest, RefusalKind, path};
use super::super::types::{Member, NodeId, TypeConfig};
use super::Group;
use super::proposal::unavailable;
use crate::ports::coordination::{CoordinationError, MemberChange, MemberError};
use crate::ports::error_chain::Chain;

/// How long a change of members may take: a new member must catch up first.
pub(in super::super) const CHANGED_WITHIN: Duration = Duration::from_mins(1);
/// How long an empty node may take to join.
const JOINED_WITHIN: Duration = Duration::from_secs(5);
/// How long a transfer of leadership may take before it counts as failed.
const TRANSFERRED_WITHIN: Duration = Duration::from_secs(3);
/// How often a transfer is looked at.
const LOOKED_EVERY: Duration = Duration::from_millis(10);

/// How long the leader may take to tell its status.
const TOLD_WITHIN: Duration = Duration::from_millis(300);
/// The largest status, in bytes: ten thousand namespaces.
pub(in super::super) const MAX_STATUS: usize = 16 << 20;

/// The most that another member answers to a change.
const MAX_ANSWER: usize = 4 << 10;

/// A change that may still be under way.
#[derive(Debug, thiserror::Error)]
#[error("it was not done within {} s; look at `stint cluster status`", CHANGED_WITHIN.as_secs())]
struct NotInTime;

impl Group {
    /// Makes the change, or has the leader make it.
    pub(in super::super) async fn change_or_forward(&self, change: MemberChange) -> Result<(), MemberError> {
        let Some((leader, member)) = self.other_leader() else { return self.change_here(change).await };
        let body = serde_json::to_vec(&change).expect("a value in memory always has a JSON form");
        let answer = self.peers.peer(leader, &member).call(path::MEMBERS, body, CHANGED_WITHIN, MAX_ANSWER).await;
        answer.map(|_| ()).map_err(|error| match error.refusal() {
            Some(refusal) if refusal.kind == RefusalKind::Members => MemberError::Refused(refusal.message.clone()),
            _ if error.is_without_effect() => unavailable(error).into(),
            _ => CoordinationError::OutcomeUnknown { source: Box::new(error) }.into(),
        })
    }

    /// The status as the leader, if that is another member, tells it: only it knows how far the others are, and a member
    /// that was removed knows nothing of what came after.
    pub(in super::super) async fn status_of_leader(&self) -> Option<Bytes> {
        let (leader, member) = self.other_leader()?;
        self.peers.peer(leader, &member).call(path::STATUS, Vec::new(), TOLD_WITHIN, MAX_STATUS).await.ok()
    }

    /// Makes the change as the leader.
    pub(in super::super) async fn change_here(&self, change: MemberChange) -> Result<(), MemberError> {
        let changed = timeout(CHANGED_WITHIN, async {
            match change {
                MemberChange::Add { node_id, address } => self.add(node_id, address).await,
                MemberChange::Remove { node_id } => self.remove(node_id).await,
                MemberChange::Transfer { to } => self.transfer(to).await,
            }
        });
        changed.await.unwrap_or_else(|_| Err(CoordinationError::OutcomeUnknown { source: Box::new(NotInTime) }.into()))
    }

    /// Hands leadership to somebody else, if this member leads and there is somebody; before it stops.
    pub async fn step_down(&self) {
        if self.leading().is_some()
            && self.voters().len() > 1
            && let Err(error) = self.transfer(None).await
        {
            tracing::warn!(error = %Chain(&error), "leadership was not handed over; the others will elect a leader");
        }
    }

    /// Whether the data directory may be that of a member: of a number that the membership doesn't know, or of the very
    /// member that it does.
    pub(in super::super) fn may_be_member(&self, sender: &Incarnation) -> bool {
        self.state.read(|replica| {
            let known = replica.membership.membership().get_node(&sender.node_id);
            known.is_none_or(|member| member.incarnation == sender.incarnation)
        })
    }

    async fn add(&self, node_id: NodeId, address: String) -> Result<(), MemberError> {
        let hello = ask(&self.peers, &address).await.map_err(|error| refused(Chain(&error).to_string()))?;
        self.check_newcomer(node_id, &address, &hello)?;
        self.admit_all().await?;
        self.admit(node_id, &hello.incarnation).await?;
        let member = Member { address: address.clone(), incarnation: hello.incarnation };
        let body = serde_json::to_vec(&JoinRequest { cluster_id: self.cluster.id.to_string() });
        let target = Incarnation { node_id, incarnation: member.incarnation.clone() };
        let call = Call {
            path: path::JOIN,
            headers: Arc::new(self.peers.caller().headers(Some(&target))),
            body: body.expect("a value in memory always has a JSON form").into(),
            deadline: JOINED_WITHIN,
            max_answer: MAX_ANSWER,
        };
        self.peers.call_address(&address, call).await.map_err(|error: CallError| refused(Chain(&error).to_string()))?;
        self.raft.add_learner(node_id, member, true).await.map_err(not_changed)?;
        let voters = ChangeMembers::AddVoterIds(BTreeSet::from([node_id]));
        self.raft.change_membership(voters, true).await.map_err(not_changed)?;
        tracing::info!(node_id, address, "a member was added");
        Ok(())
    }

    fn check_newcomer(&self, node_id: NodeId, address: &str, hello: &Hello) -> Result<(), MemberError> {
        if hello.node_id != node_id {
            return Err(refused(format!("the node at {address} is node {}, not node {node_id}", hello.node_id)));
        }
        if hello.bootstrapping.is_some() {
            return Err(refused(format!("node {node_id} is founding a cluster: start it without --bootstrap")));
        }
        let known = self.member(node_id);
        if let Some(known) = known.filter(|known| known.incarnation != hello.incarnation) {
            return Err(refused(format!(
                "node {node_id} is a member already, at {}, with another data directory: remove it first, and give the \
                 new one a number that was never used",
                known.address
            )));
        }
        match &hello.cluster_id {
            Some(other) if **other != *self.cluster.id => {
                Err(refused(format!("the node at {address} belongs to cluster {other}")))
            }
            // It may have joined in an attempt that was cut off.
            _ => Ok(()),
        }
    }

    async fn remove(&self, node_id: NodeId) -> Result<(), MemberError> {
        if self.member(node_id).is_none() {
            return Err(refused(format!("there is no member {node_id}")));
        }
        let voters = self.voters();
        if voters.len() == 1 && voters.contains(&node_id) {
            return Err(refused(format!("node {node_id} is the only voter: add another member first")));
        }
        self.admit_all().await?;
        if node_id == self.identity.node_id {
            self.transfer(None).await?;
            return Box::pin(self.change_or_forward(MemberChange::Remove { node_id })).await;
        }
        let which = BTreeSet::from([node_id]);
        let change = if voters.contains(&node_id) {
            ChangeMembers::RemoveVoters(which)
        } else {
            ChangeMembers::RemoveNodes(which)
        };
        self.raft.change_membership(change, false).await.map_err(not_changed)?;
        tracing::info!(node_id, "a member was removed");
        Ok(())
    }

    async fn transfer(&self, to: Option<NodeId>) -> Result<(), MemberError> {
        let own = self.identity.node_id;
        let to = to.or_else(|| self.furthest()).ok_or_else(|| refused("there is no other voter to lead"))?;
        if !self.voters().contains(&to) {
            return Err(refused(format!("node {to} is no voter")));
        }
        if self.leading().is_none() {
            return Err(unavailable_now());
        }
        if to == own {
            return Ok(());
        }
        self.raft.trigger().transfer_leader(to).await.map_err(|_| unavailable_now())?;
        let began = Instant::now();
        while began.elapsed() < TRANSFERRED_WITHIN {
            let leader = self.raft.metrics().borrow_watched().current_leader;
            match leader {
                Some(leader) if leader == to => return Ok(()),
                Some(leader) if leader != own => {
                    return Err(refused(format!("node {leader} leads now instead of node {to}")));
                }
                _ => sleep(LOOKED_EVERY).await,
            }
        }
        Err(refused(format!("node {to} did not take over within {} s", TRANSFERRED_WITHIN.as_secs())))
    }

    /// Keeps for ever which data directory each number was given to, so that no number is given twice.
    async fn admit_all(&self) -> Result<(), MemberError> {
        let members: BTreeMap<NodeId, String> = self.state.read(|replica| {
            replica.membership.nodes().map(|(&node_id, member)| (node_id, member.incarnation.clone())).collect()
        });
        for (node_id, incarnation) in members {
            self.admit(node_id, &incarnation).await?;
        }
        Ok(())
    }

    async fn admit(&self, node_id: NodeId, incarnation: &str) -> Result<(), MemberError> {
        let number = u128::from_str_radix(incarnation, 16)
            .map_err(|_| refused(format!("node {node_id} has no identity that can be read: {incarnation:?}")))?;
        match self.submit_here(Command::AdmitMember { node_id, incarnation: number }).await? {
            Reply::Refused(refusal) => Err(refused(refusal.to_string())),
            _ => Ok(()),
        }
    }

    fn member(&self, node_id: NodeId) -> Option<Member> {
        self.raft.metrics().borrow_watched().membership_config.membership().get_node(&node_id).cloned()
    }

    fn voters(&self) -> BTreeSet<NodeId> {
        self.raft.metrics().borrow_watched().membership_config.voter_ids().collect()
    }

    /// The other voter that has most of the log.
    fn furthest(&self) -> Option<NodeId> {
        let voters = self.voters();
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let replication = metrics.replication.as_ref()?;
        let others = replication.iter().filter(|(node_id, _)| **node_id != self.identity.node_id);
        let voting = others.filter(|(node_id, _)| voters.contains(node_id));
        voting.max_by_key(|(_, matched)| matched.as_ref().map(|id| id.index)).map(|(&node_id, _)| node_id)
    }

    /// The leader, if it is known to be another member.
    pub(super) fn other_leader(&self) -> Option<(NodeId, Member)> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let leader = metrics.current_leader.filter(|leader| *leader != self.identity.node_id)?;
        let member = metrics.membership_config.membership().get_node(&leader)?.clone();
        Some((leader, member))
    }
}

fn refused(message: impl Into<String>) -> MemberError {
    MemberError::Refused(message.into())
}

fn unavailable_now() -> MemberError {
    unavailable(super::proposer::ProposalError::NotLeading { leader: None }).into()
}

fn not_changed(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> MemberError {
    match error {
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => refused(error.to_string()),
        RaftError::APIError(ClientWriteError::ForwardToLeader(error)) => {
            CoordinationError::Unavailable { source: Box::new(error) }.into()
        }
        error => CoordinationError::OutcomeUnknown { source: Box::new(error) }.into(),
    }
}
