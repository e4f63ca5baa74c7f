//! One member of the allocator's group: the log, the state, the consensus core, and the commands put to them.
//!
//! Guarantees: a command is answered only after it was committed and applied; every command carries the stamp of the
//! term it is appended in; no wait is without a deadline, and a disk that fails or hangs is an error, not a silence.

mod members;
mod proposal;
mod proposer;
mod reporting;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use openraft::async_runtime::WatchReceiver;
use openraft::storage::RaftLogStorage;
use openraft::{Config, Instant as _, SnapshotPolicy};
use stint_idgen::allocator::{Command, IdOrigin, NamespaceName, Reply};
use tokio::time::Instant;

pub(super) use self::members::{CHANGED_WITHIN, MAX_STATUS};
pub(super) use self::proposal::MAX_REPLY;
pub(super) use self::proposer::MAX_COMMANDS;
use self::proposer::Proposer;
use super::audit::AuditLog;
use super::disk::{Cluster, Identity, MemberDisk, WriterStats};
use super::log_store::{LogStore, OpenLog, StoreError};
use super::network::Peers;
use super::state_machine::{SnapshotStore, StateMachine};
use super::types::{Member, NodeId, Raft, SeededRuntime, Snapshot, TypeConfig};
use crate::metrics::RaftMetrics;
use crate::ports::clock::Clock;
use crate::ports::coordination::{
    Allocator, AuditStream, ClusterStatus, CoordinationError, MemberChange, MemberError, MemberStatus, NamespaceStatus,
};
use crate::ports::entropy::{Entropy, random_128};
use crate::ports::error_chain::Chain;

/// How long a stop may take before it is given up and the process should end anyway.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long sending and installing a snapshot may take: some twenty megabytes at most. A connection that swallowed it is
/// waited for no longer.
const SNAPSHOT_INSTALLED_WITHIN_MS: u64 = 5_000;

/// How long the first start of a group of one may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// A leader that was not heard of for this long is none: twenty heartbeats, and more than any election takes.
const HEARD_WITHIN: Duration = Duration::from_secs(1);

/// How a member runs.
#[derive(Clone, Debug)]
pub struct GroupOptions {
    /// How long a command may wait for its commit.
    pub submit_timeout: Duration,
    /// Entries between two snapshots.
    pub snapshot_every: u64,
    /// Entries kept behind a snapshot, so that a member a little behind needs no snapshot.
    pub entries_kept: u64,
    /// What is measured, if anything.
    pub metrics: Option<RaftMetrics>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for identities and election timeouts.
    pub entropy: Arc<dyn Entropy>,
}

impl GroupOptions {
    /// Default times and sizes.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            submit_timeout: Duration::from_secs(3),
            snapshot_every: 30_000,
            entries_kept: 6_000,
            metrics: None,
            clock,
            entropy,
        }
    }
}

/// What a member's data lies on.
#[derive(Debug)]
pub struct Storage<L> {
    /// The Raft log.
    pub log: L,
    /// The snapshots.
    pub snapshots: Arc<dyn SnapshotStore>,
    /// The disk under both.
    pub disk: Arc<dyn MemberDisk>,
    /// Whose data it is.
    pub identity: Identity,
}

impl Storage<LogStore> {
    /// The data in a directory; an empty one gets an identity.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn open(dir: &Path, node_id: NodeId, options: &GroupOptions) -> Result<Self, StoreError> {
        LogStore::open(dir, node_id, Arc::clone(&options.clock), &*options.entropy).map(Self::from)
    }
}

impl From<OpenLog> for Storage<LogStore> {
    fn from(open: OpenLog) -> Self {
        let snapshots = Arc::new(open.store.clone());
        Self { log: open.store, snapshots, disk: open.disk, identity: open.identity }
    }
}

/// Why a member can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its log can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its snapshot can't be used: damaged, or written by a newer version.
    #[error("can't restore the allocator's snapshot")]
    Snapshot(#[source] std::io::Error),
    /// To which cluster it belongs can't be written down.
    #[error("can't write to the log")]
    Join(#[source] std::io::Error),
    /// The consensus core can't be started.
    #[error("can't start the consensus core")]
    Consensus(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It did not become ready in time.
    #[error("no leader within {} ms", waited.as_millis())]
    NoLeader {
        /// How long was waited.
        waited: Duration,
    },
}

/// A running member.
#[derive(Debug)]
pub struct Group {
    identity: Identity,
    cluster: Cluster,
    raft: Raft,
    disk: Arc<dyn MemberDisk>,
    state: StateMachine,
    peers: Peers,
    proposer: Arc<Proposer>,
    /// When a leader was last heard by this member.
    leader_heard: Mutex<Option<Instant>>,
    submit_timeout: Duration,
}

impl Group {
    /// Opens the group of one in `dir` and waits until it can grant. An empty directory becomes one.
    ///
    /// # Errors
    /// [`OpenError`]
    pub async fn open_alone(dir: &Path, node_id: NodeId, options: GroupOptions) -> Result<Self, OpenError> {
        Self::run_alone(Storage::open(dir, node_id, &options)?, options).await
    }

    /// Runs a group of one and waits until it can grant.
    async fn run_alone<L: RaftLogStorage<TypeConfig> + Debug>(
        mut storage: Storage<L>,
        options: GroupOptions,
    ) -> Result<Self, OpenError> {
        if storage.identity.cluster.is_none() {
            let itself = Member { address: String::new(), incarnation: storage.identity.incarnation.clone() };
            let cluster = Cluster::founded_by(BTreeMap::from([(storage.identity.node_id, itself)]));
            storage.disk.join_cluster(cluster.clone()).await.map_err(OpenError::Join)?;
            storage.identity.cluster = Some(cluster);
        }
        let group = Self::run(storage, Peers::none(), options).await?;
        let leads = tokio::time::timeout(OPEN_TIMEOUT, group.lead_alone()).await;
        let outcome = leads.unwrap_or(Err(OpenError::NoLeader { waited: OPEN_TIMEOUT }));
        if let Err(error) = outcome {
            group.stop().await;
            return Err(error);
        }
        Ok(group)
    }

    /// Runs a member whose data belongs to a cluster. It need not be reachable, nor need the others be.
    ///
    /// # Errors
    /// [`OpenError`]
    ///
    /// # Panics
    /// If the data belongs to no cluster.
    pub async fn run<L: RaftLogStorage<TypeConfig> + Debug>(
        storage: Storage<L>,
        peers: Peers,
        options: GroupOptions,
    ) -> Result<Self, OpenError> {
        let Storage { log, snapshots, disk, identity } = storage;
        let cluster = identity.cluster.clone().expect("the caller has seen to it");
        if let Some(metrics) = &options.metrics {
            disk.measure(metrics.fsync_duration.clone());
        }
        let state = StateMachine::restore(snapshots).map_err(OpenError::Snapshot)?;
        let config = Arc::new(config(&options)?);
        let seed = u64::from_be_bytes(random_128(&*options.entropy)[..8].try_into().expect("eight bytes"));
        let raft = Raft::new(identity.node_id, config, peers.clone(), log, state.clone());
        let raft = SeededRuntime::scope(seed, raft).await.map_err(consensus)?;
        let proposer = Arc::new(Proposer::new(raft.clone(), state.clone(), Arc::clone(&disk), &options));
        let group = Self {
            identity,
            cluster,
            raft,
            disk,
            state,
            peers,
            proposer,
            leader_heard: Mutex::new(None),
            submit_timeout: options.submit_timeout,
        };
        if let Err(error) = group.found().await {
            group.stop().await;
            return Err(error);
        }
        Ok(group)
    }

    /// Gives a founder's empty log its first entry: the members that the cluster begins with.
    async fn found(&self) -> Result<(), OpenError> {
        match &self.cluster.founders {
            Some(founders) if !self.raft.is_initialized().await.map_err(consensus)? => {
                self.raft.initialize(founders.clone()).await.map_err(consensus)
            }
            _ => Ok(()),
        }
    }

    /// Waits until the only voter leads.
    async fn lead_alone(&self) -> Result<(), OpenError> {
        // It need not wait for the tick that would find it so.
        self.raft.trigger().elect(false).await.map_err(consensus)?;
        let mut metrics = self.raft.metrics();
        while self.leading().is_none() {
            metrics.changed().await.map_err(consensus)?;
        }
        Ok(())
    }

    /// Stops the member: what was handed over is written, the data directory is released.
    pub async fn stop(&self) {
        let stop = async {
            if let Err(error) = self.raft.shutdown().await {
                tracing::error!(error = %Chain(&error), "the consensus core did not stop cleanly");
            }
            self.proposer.close().await;
            self.disk.close().await;
        };
        if tokio::time::timeout(STOP_TIMEOUT, stop).await.is_err() {
            let waited_ms = self.disk.waiting().as_millis();
            tracing::error!(%waited_ms, "the allocator did not stop in time; is the disk answering?");
        }
    }

    /// Resolves when the member has stopped by itself, with the reason: a failed disk, for one.
    pub async fn failed(&self) -> String {
        let mut metrics = self.raft.metrics();
        loop {
            let state = metrics.borrow_watched().running_state.clone();
            if let Err(fatal) = state {
                return self.disk.failure().unwrap_or_else(|| fatal.to_string());
            }
            if metrics.changed().await.is_err() {
                return "the consensus core has ended".to_owned();
            }
        }
    }

    /// The next id that `namespace` may grant, as applied on this member.
    pub fn floor(&self, namespace: &NamespaceName) -> Option<u64> {
        self.state.read(|replica| replica.state.floor(namespace))
    }

    /// The state as applied on this member.
    pub const fn state(&self) -> &StateMachine {
        &self.state
    }

    /// The cluster that this member belongs to.
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The consensus core, for the calls of other members.
    pub(super) const fn raft(&self) -> &Raft {
        &self.raft
    }

    /// Checks that a snapshot can be read, before the core is given it: the core stops for good at one that can't.
    pub(super) fn check_snapshot(snapshot: &Snapshot) -> std::io::Result<()> {
        StateMachine::check(snapshot)
    }

    /// Notes that the leader called.
    pub(super) fn hear_leader(&self) {
        *self.leader_heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether the leader that the core names leads: a core that has stopped, or that waits for a quorum, still remembers
    /// the last one.
    fn is_led(&self, metrics: &openraft::RaftMetrics<TypeConfig>) -> bool {
        let is_alone = metrics.membership_config.voter_ids().nth(1).is_none();
        let silence = if metrics.current_leader == Some(metrics.id) {
            metrics.last_quorum_acked.as_ref().map(|acked| acked.elapsed())
        } else {
            self.leader_heard.lock().unwrap_or_else(PoisonError::into_inner).map(|heard| heard.elapsed())
        };
        metrics.running_state.is_ok() && (is_alone || silence.is_some_and(|silence| silence < HEARD_WITHIN))
    }

    /// Whose data this is.
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How the log is being written.
    pub fn writer_stats(&self) -> WriterStats {
        self.disk.stats()
    }
}

#[async_trait]
impl Allocator for Group {
    fn cluster_id(&self) -> Option<Arc<str>> {
        Some(Arc::clone(&self.cluster.id))
    }

    async fn submit(&self, command: Command) -> Result<Reply, CoordinationError> {
        self.submit_or_forward(command).await.0
    }

    async fn status(&self) -> Result<ClusterStatus, CoordinationError> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let (last_applied_index, worker_leases, namespaces) = self.state.read(|replica| {
            let namespaces = replica.state.namespaces().map(|namespace| NamespaceStatus {
                name: namespace.name.clone(),
                spec: namespace.spec,
                floor: namespace.floor,
                totals: namespace.totals,
            });
            let last_applied_index = replica.last_applied.as_ref().map(|id| id.index);
            (last_applied_index, replica.state.worker_totals().live, namespaces.collect())
        });
        Ok(ClusterStatus {
            cluster_id: self.cluster.id.to_string(),
            node_id: self.identity.node_id,
            leader: metrics.current_leader.filter(|_| self.is_led(&metrics)),
            term: metrics.current_term,
            last_log_index: metrics.last_log_index,
            last_applied_index,
            voters: metrics.membership_config.voter_ids().collect(),
            members: members(&metrics),
            worker_leases,
            audit_violations: self.state.audit().violations(),
            namespaces,
        })
    }

    async fn find_origin(&self, namespace: &NamespaceName, id: u64) -> Result<Option<IdOrigin>, CoordinationError> {
        Ok(self.state.read(|replica| replica.state.find_origin(namespace, id)))
    }

    async fn audit(&self, after: Option<u64>, follow: bool) -> Result<AuditStream, CoordinationError> {
        Ok(AuditLog::stream(self.state.audit(), after, follow))
    }

    async fn change_members(&self, change: MemberChange) -> Result<(), MemberError> {
        self.change_or_forward(change).await
    }
}

fn config(options: &GroupOptions) -> Result<Config, OpenError> {
    let config = Config {
        cluster_name: "stint".to_owned(),
        heartbeat_interval: 50,
        // A leader that is gone is replaced after its lease, which is the longest timeout, and one timeout more.
        election_timeout_min: 150,
        election_timeout_max: 250,
        enable_pre_vote: Some(true),
        // Twice the longest election timeout: with five voters a leader that lost its quorum must notice it.
        quorum_loss_probe_interval: Some(500),
        // A restarted leader campaigns again, so that each leadership is a term of its own, with its own stamps.
        enable_leader_restore: Some(false),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(options.snapshot_every),
        max_in_snapshot_log_to_keep: options.entries_kept,
        // Who is further behind than the log reaches is sent a snapshot.
        replication_lag_threshold: options.snapshot_every.saturating_mul(2),
        install_snapshot_timeout: SNAPSHOT_INSTALLED_WITHIN_MS,
        ..Config::default()
    };
    config.validate().map_err(consensus)
}

/// The members, and how far the leader knows each to be.
fn members(metrics: &openraft::RaftMetrics<TypeConfig>) -> Vec<MemberStatus> {
    let membership = &metrics.membership_config;
    let voters: BTreeSet<_> = membership.voter_ids().collect();
    let matched = |node_id| {
        if node_id == metrics.id {
            return metrics.last_log_index;
        }
        // Where nothing is written a member that is gone lacks nothing.
        silence(metrics, node_id).filter(|silence| *silence < HEARD_WITHIN)?;
        metrics.replication.as_ref()?.get(&node_id)?.as_ref().map(|id| id.index)
    };
    let status = |(&node_id, member): (&NodeId, &Member)| MemberStatus {
        node_id,
        address: member.address.clone(),
        incarnation: member.incarnation.clone(),
        is_voter: voters.contains(&node_id),
        matched_index: matched(node_id),
    };
    membership.nodes().map(status).collect()
}

/// Since when the leader has not heard of a member; nothing if it never did, or if another leads.
fn silence(metrics: &openraft::RaftMetrics<TypeConfig>, node_id: NodeId) -> Option<Duration> {
    metrics.heartbeat.as_ref()?.get(&node_id)?.as_ref().map(|acknowledged| acknowledged.elapsed())
}

fn consensus(error: impl std::error::Error + Send + Sync + 'static) -> OpenError {
    OpenError::Consensus(Box::new(error))
}
