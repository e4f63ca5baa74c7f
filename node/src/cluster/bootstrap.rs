//! When an empty node may found a cluster.
//!
//! **Invariant: a data directory that was lost never makes a quorum forget.** An empty node takes part in nothing. It
//! founds a cluster only when it was told to *and* every peer is as empty and says the same; or when a peer has founded
//! one already whose founders include this very data directory, by its random incarnation: then it had seen what this
//! node is about to see. A directory that is empty because its volume was lost has another incarnation, and is refused.
//! Guarded by the tests below and by `node/tests/sim`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::disk::{Cluster, Identity};
use super::rpc::{CallError, RefusalKind};
use super::types::{Member, NodeId};
use crate::ports::error_chain::Chain;

/// What a node says of itself to whoever asks, empty or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    /// Its number.
    pub node_id: NodeId,
    /// The identity of its data directory, 32 hex digits.
    pub incarnation: String,
    /// The cluster it belongs to; none while it is empty.
    pub cluster_id: Option<String>,
    /// The members that cluster began with, if it is one of them.
    pub founders: Option<BTreeMap<NodeId, Member>>,
    /// The peers it was told to found a cluster with; none if it wasn't told to.
    pub bootstrapping: Option<BTreeMap<NodeId, String>>,
}

/// What to do, now that the peers were asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Ask again: this is what is missing.
    Wait(String),
    /// Be one of these founders.
    Found(Cluster),
    /// Give up: a person must put this right.
    Refuse(String),
}

/// Decides from what every peer but this node answered.
pub(super) fn decide(
    me: &Identity,
    peers: &BTreeMap<NodeId, String>,
    answers: &BTreeMap<NodeId, Result<Hello, CallError>>,
) -> Decision {
    let mut founders = BTreeMap::new();
    let mut missing = Vec::new();
    for (&node_id, address) in peers {
        if node_id == me.node_id {
            founders.insert(node_id, Member { address: address.clone(), incarnation: me.incarnation.clone() });
            continue;
        }
        match answers.get(&node_id) {
            Some(Ok(hello)) => match judge(me, peers, (node_id, address), hello) {
                Verdict::Fellow => {
                    let incarnation = hello.incarnation.clone();
                    founders.insert(node_id, Member { address: address.clone(), incarnation });
                }
                Verdict::Founded(cluster) => return Decision::Found(cluster),
                Verdict::NotYet(why) => missing.push(why),
                Verdict::Refuse(why) => return Decision::Refuse(why),
            },
            Some(Err(error)) if error.refusal().is_some_and(|refusal| refusal.kind == RefusalKind::Secret) => {
                return Decision::Refuse(format!(
                    "node {node_id} at {address} has another cluster secret: give every node the same STINT_CLUSTER_SECRET"
                ));
            }
            Some(Err(error)) => missing.push(format!("node {node_id}: {}", Chain(error))),
            None => missing.push(format!("node {node_id} at {address} was not asked yet")),
        }
    }
    if missing.is_empty() { Decision::Found(Cluster::founded_by(founders)) } else { Decision::Wait(missing.join("; ")) }
}

/// What one peer's answer means.
enum Verdict {
    Fellow,
    Founded(Cluster),
    NotYet(String),
    Refuse(String),
}

fn judge(
    me: &Identity,
    peers: &BTreeMap<NodeId, String>,
    (node_id, address): (NodeId, &str),
    hello: &Hello,
) -> Verdict {
    if hello.node_id != node_id {
        return Verdict::Refuse(format!(
            "the node at {address} is node {}, not {node_id}: give every node its own --node-id, and all the same --peers",
            hello.node_id
        ));
    }
    if let Some(cluster_id) = &hello.cluster_id {
        let founders = hello.founders.clone().filter(|founders| {
            founders.keys().eq(peers.keys())
                && founders.get(&me.node_id).is_some_and(|mine| mine.incarnation == me.incarnation)
        });
        return match founders.map(Cluster::founded_by).filter(|cluster| *cluster.id == **cluster_id) {
            Some(cluster) => Verdict::Founded(cluster),
            None => Verdict::Refuse(format!(
                "node {node_id} at {address} already belongs to cluster {cluster_id}, which doesn't know this empty data \
                 directory: if its volume was lost, run `stint cluster remove {}`, start this node with a --node-id that \
                 was never used and without --bootstrap, and run `stint cluster add NODE_ID=HOST:PORT`",
                me.node_id
            )),
        };
    }
    match &hello.bootstrapping {
        None => Verdict::NotYet(format!("node {node_id} at {address} is empty, but was started without --bootstrap")),
        Some(theirs) if theirs != peers => Verdict::Refuse(format!(
            "node {node_id} at {address} was given other --peers ({}) than this node ({}): give all the same",
            list(theirs),
            list(peers)
        )),
        Some(_) => Verdict::Fellow,
    }
}

fn list(peers: &BTreeMap<NodeId, String>) -> String {
    peers.iter().map(|(node_id, address)| format!("{node_id}={address}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
