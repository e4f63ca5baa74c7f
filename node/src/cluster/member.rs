//! One allocator node, from an empty directory to a member that stops: who it is, whom it lets in, when it is ready.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use http::HeaderMap;
use openraft::storage::RaftLogStorage;
use stint_idgen::allocator::{Command, IdOrigin, NamespaceName, Reply};
use tokio::sync::{SetOnce, mpsc, oneshot};
use tokio::time::{Instant, sleep};

use super::bootstrap::{Decision, Hello, decide};
use super::disk::{Cluster, Identity};
use super::group::{Group, GroupOptions, OpenError, Storage};
use super::network::Peers;
use super::rpc::{
    CLUSTER, Call, CallError, Caller, ClusterSecret, Incarnation, Refusal, RefusalKind, SECRET, SENDER, TARGET, path,
};
use super::transport::{Connections, Dial};
use super::types::{NodeId, TypeConfig};
use crate::ports::coordination::{Allocator, AuditStream, ClusterStatus, CoordinationError, MemberChange, MemberError};

/// How often peers are asked while the cluster is being founded.
const ASKED_EVERY: Duration = Duration::from_millis(200);
/// How long a peer may take to answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);
/// How often it is logged what is waited for.
const LOGGED_EVERY: Duration = Duration::from_secs(5);
/// The largest answer to a hello, in bytes.
const MAX_HELLO: usize = 64 << 10;

/// How an allocator node is started.
#[derive(Clone, Debug)]
pub struct MemberOptions {
    /// The members that found the cluster, this one included, with their addresses; empty if it is to be added.
    pub peers: BTreeMap<NodeId, String>,
    /// Whether an empty node may found the cluster with its peers.
    pub bootstrap: bool,
    /// The cluster's secret.
    pub secret: Option<ClusterSecret>,
    /// The cluster that it must be, if that is configured.
    pub cluster_id: Option<String>,
    /// How the member runs.
    pub group: GroupOptions,
}

/// Why a node can't go on.
#[derive(Debug, thiserror::Error)]
pub enum MemberFailure {
    /// It can't found or join a cluster; the text says why, and what to do.
    #[error("{0}")]
    Refused(String),
    /// Its data can't be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It has stopped by itself.
    #[error("the allocator has stopped: {0}")]
    Stopped(String),
}

/// An allocator node, as its RPC server and its keeper see it.
#[derive(Debug)]
pub struct AllocatorMember {
    identity: Identity,
    options: MemberOptions,
    group: SetOnce<Arc<Group>>,
    joins: mpsc::Sender<Join>,
    waiting_for: Mutex<String>,
}

/// A leader's wish to take this empty node in.
type Join = (Cluster, oneshot::Sender<Result<(), Refusal>>);

/// What runs an allocator node: [`MemberTask::run`].
#[derive(Debug)]
pub struct MemberTask<L> {
    member: Arc<AllocatorMember>,
    storage: Storage<L>,
    dialer: Arc<dyn Dial>,
    connections: Connections,
    joins: mpsc::Receiver<Join>,
}

impl AllocatorMember {
    /// A node on `storage`, and the task that must be run for it.
    pub fn new<L: RaftLogStorage<TypeConfig> + Debug>(
        storage: Storage<L>,
        dialer: Arc<dyn Dial>,
        connections: Connections,
        options: MemberOptions,
    ) -> (Arc<Self>, MemberTask<L>) {
        let (sender, joins) = mpsc::channel(1);
        let member = Arc::new(Self {
            identity: storage.identity.clone(),
            options,
            group: SetOnce::new(),
            joins: sender,
            waiting_for: Mutex::new("starting".to_owned()),
        });
        (Arc::clone(&member), MemberTask { member, storage, dialer, connections, joins })
    }

    /// Whose data this is, as it was when the node was started.
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The group, once this node is in one.
    pub fn group(&self) -> Option<&Arc<Group>> {
        self.group.get()
    }

    /// The group, as soon as this node is in one.
    pub async fn running(&self) -> &Arc<Group> {
        self.group.wait().await
    }

    /// Why the node is in no group yet.
    pub fn waiting_for(&self) -> String {
        self.waiting_for.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What this node says of itself.
    pub(super) fn hello(&self) -> Hello {
        let cluster = self.group().map(|group| group.cluster()).or(self.identity.cluster.as_ref());
        let bootstrapping = (cluster.is_none() && self.options.bootstrap).then(|| self.options.peers.clone());
        Hello {
            node_id: self.identity.node_id,
            incarnation: self.identity.incarnation.clone(),
            cluster_id: cluster.map(|cluster| cluster.id.to_string()),
            founders: cluster.and_then(|cluster| cluster.founders.clone()),
            bootstrapping,
        }
    }

    /// Whether a call may come in, by its headers.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let refuse = |kind, message: String| Err(Refusal::new(kind, message));
        let node_id = self.identity.node_id;
        if self.options.secret.as_ref().is_some_and(|secret| !secret.is(text(SECRET))) {
            return refuse(RefusalKind::Secret, format!("the cluster secret is not that of node {node_id}"));
        }
        if headers.contains_key(TARGET) {
            match Incarnation::parse(text(TARGET)) {
                Some(target) if target.node_id != node_id => {
                    let message = format!("this is node {node_id}, not node {}", target.node_id);
                    return refuse(RefusalKind::Target, message);
                }
                Some(target) if target.incarnation == self.identity.incarnation => {}
                _ => {
                    let message = format!(
                        "node {node_id} has another data directory than the cluster knows: its volume was lost or replaced"
                    );
                    return refuse(RefusalKind::Target, message);
                }
            }
        }
        let Some(group) = self.group() else { return Ok(()) };
        let (ours, theirs) = (&*group.cluster().id, text(CLUSTER));
        if headers.contains_key(CLUSTER) && theirs != ours {
            let message = format!("node {node_id} belongs to cluster {ours}, and the call is from cluster {theirs}");
            return refuse(RefusalKind::Cluster, message);
        }
        if headers.contains_key(SENDER) {
            let known = Incarnation::parse(text(SENDER)).filter(|sender| group.may_be_member(sender));
            if known.is_none() {
                let message = format!(
                    "the cluster knows another data directory of the sender {}: two nodes were started with one number, \
                     or its volume was lost",
                    text(SENDER).split('-').next().unwrap_or_default()
                );
                return refuse(RefusalKind::Sender, message);
            }
        }
        Ok(())
    }

    /// Takes this empty node into a cluster, as its leader asks.
    pub(super) async fn join(&self, cluster_id: &str) -> Result<(), Refusal> {
        let refuse = |message: String| Err(Refusal::new(RefusalKind::Members, message));
        let node_id = self.identity.node_id;
        if let Some(group) = self.group() {
            if *group.cluster().id == *cluster_id {
                return Ok(());
            }
            return refuse(format!("node {node_id} belongs to cluster {}", group.cluster().id));
        }
        if self.options.bootstrap {
            return refuse(format!("node {node_id} is founding a cluster: start it without --bootstrap"));
        }
        if let Some(expected) = self.options.cluster_id.as_ref().filter(|expected| *expected != cluster_id) {
            return refuse(format!("node {node_id} is configured for cluster {expected} (cluster.id)"));
        }
        let cluster = Cluster { id: cluster_id.into(), founders: None };
        let (done, outcome) = oneshot::channel();
        let stopping = || Refusal::new(RefusalKind::Unavailable, format!("node {node_id} is stopping"));
        self.joins.send((cluster, done)).await.map_err(|_| stopping())?;
        outcome.await.unwrap_or_else(|_| Err(stopping()))
    }

    fn in_group(&self) -> Result<&Arc<Group>, CoordinationError> {
        self.group().ok_or_else(|| CoordinationError::Unavailable { source: Box::new(NotYet(self.waiting_for())) })
    }

    fn wait_for(&self, what: String) {
        *self.waiting_for.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }
}

/// This node is in no cluster yet.
#[derive(Debug, thiserror::Error)]
#[error("this allocator is in no cluster yet: {0}")]
struct NotYet(String);

#[async_trait]
impl Allocator for AllocatorMember {
    fn cluster_id(&self) -> Option<Arc<str>> {
        self.group()?.cluster_id()
    }

    async fn submit(&self, command: Command) -> Result<Reply, CoordinationError> {
        self.in_group()?.submit(command).await
    }

    async fn status(&self) -> Result<ClusterStatus, CoordinationError> {
        self.in_group()?.status().await
    }

    async fn find_origin(&self, namespace: &NamespaceName, id: u64) -> Result<Option<IdOrigin>, CoordinationError> {
        self.in_group()?.find_origin(namespace, id).await
    }

    async fn audit(&self, after: Option<u64>, follow: bool) -> Result<AuditStream, CoordinationError> {
        self.in_group()?.audit(after, follow).await
    }

    async fn change_members(&self, change: MemberChange) -> Result<(), MemberError> {
        self.in_group()?.change_members(change).await
    }
}

impl<L: RaftLogStorage<TypeConfig> + Debug> MemberTask<L> {
    /// Brings the node into its cluster and watches over it; ends only when it can't go on.
    ///
    /// # Errors
    /// Always: [`MemberFailure`]
    ///
    /// # Panics
    /// Never: what it expects, it has seen to.
    pub async fn run(mut self) -> Result<std::convert::Infallible, MemberFailure> {
        let mut joined = None;
        if self.storage.identity.cluster.is_none() {
            let cluster = if self.member.options.bootstrap {
                self.found().await?
            } else {
                let (cluster, done) = self.wait_to_be_added().await;
                joined = Some(done);
                cluster
            };
            self.storage.disk.join_cluster(cluster.clone()).await.map_err(OpenError::Join)?;
            self.storage.identity.cluster = Some(cluster);
        }
        let cluster = self.storage.identity.cluster.clone().expect("it was joined above");
        let options = &self.member.options;
        if let Some(expected) = options.cluster_id.as_ref().filter(|expected| ***expected != *cluster.id) {
            return Err(MemberFailure::Refused(format!(
                "this node's data belongs to cluster {}, not to {expected} (cluster.id)",
                cluster.id
            )));
        }
        let peers = Peers::new(Arc::clone(&self.dialer), self.connections.clone(), self.caller(Some(&cluster)));
        let group = Arc::new(Group::run(self.storage, peers, options.group.clone()).await?);
        tracing::info!(node_id = self.member.identity.node_id, cluster = %cluster.id, "this node is in its cluster");
        let _ = self.member.group.set(Arc::clone(&group));
        if let Some(done) = joined {
            // The leader may have given up; it will ask again.
            let _ = done.send(Ok(()));
        }
        Err(MemberFailure::Stopped(group.failed().await))
    }

    fn caller(&self, cluster: Option<&Cluster>) -> Caller {
        let Identity { node_id, incarnation, .. } = &self.member.identity;
        Caller {
            secret: self.member.options.secret.clone(),
            cluster_id: cluster.map(|cluster| Arc::clone(&cluster.id)),
            member: Some(Incarnation { node_id: *node_id, incarnation: incarnation.clone() }),
        }
    }

    /// Asks the peers until the cluster can be founded.
    async fn found(&self) -> Result<Cluster, MemberFailure> {
        let (me, options) = (&self.member.identity, &self.member.options);
        let peers = Peers::new(Arc::clone(&self.dialer), self.connections.clone(), self.caller(None));
        let mut logged: Option<Instant> = None;
        loop {
            let others = options.peers.iter().filter(|(node_id, _)| **node_id != me.node_id);
            let asked = others.map(|(&node_id, address)| {
                let peers = peers.clone();
                async move { (node_id, ask(&peers, address).await) }
            });
            let answers: BTreeMap<_, _> = join_all(asked).await.into_iter().collect();
            match decide(me, &options.peers, &answers) {
                Decision::Found(cluster) => return Ok(cluster),
                Decision::Refuse(why) => return Err(MemberFailure::Refused(why)),
                Decision::Wait(why) => {
                    if logged.is_none_or(|at| at.elapsed() >= LOGGED_EVERY) {
                        tracing::info!(waiting_for = %why, "founding the cluster");
                        logged = Some(Instant::now());
                    }
                    self.member.wait_for(why);
                }
            }
            sleep(ASKED_EVERY).await;
        }
    }

    async fn wait_to_be_added(&mut self) -> Join {
        let node_id = self.member.identity.node_id;
        let why = format!("this node is empty: run `stint cluster add {node_id}=HOST:PORT` to take it into a cluster");
        tracing::warn!("{why}");
        self.member.wait_for(why);
        // The member that holds the other end lives as long as this task.
        self.joins.recv().await.expect("the sender is held by the member")
    }
}

/// Asks whoever is at `address` who it is. The question comes from nobody in particular, so that a member answers even
/// a node that it would refuse otherwise.
pub(super) async fn ask(peers: &Peers, address: &str) -> Result<Hello, CallError> {
    let headers = Caller { secret: peers.caller().secret, ..Caller::default() }.headers(None);
    let call = Call {
        path: path::HELLO,
        headers: Arc::new(headers),
        body: bytes::Bytes::new(),
        deadline: ANSWERED_WITHIN,
        max_answer: MAX_HELLO,
    };
    let answer = peers.call_address(address, call).await?;
    serde_json::from_slice(&answer)
        .map_err(|error| CallError::Answer { address: address.to_owned(), problem: error.to_string() })
}

#[cfg(test)]
mod tests;
