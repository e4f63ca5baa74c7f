//! One member of the allocator's group: the log, the state, the consensus core, and the commands put to them.
//!
//! Guarantees: a command is answered only after it was committed and applied; every command carries the stamp of the
//! term it is appended in; no wait is without a deadline, and a disk that fails or hangs is an error, not a silence.

mod proposal;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use openraft::async_runtime::WatchReceiver;
use openraft::{Config, SnapshotPolicy};
use stint_idgen::allocator::{Command, IdOrigin, NamespaceName, Reply};

use self::proposal::Leadership;
use super::log_store::{Identity, LogStore, OpenLog, StoreError, WriterStats};
use super::network::NoPeers;
use super::state_machine::StateMachine;
use super::types::{Member, NodeId, Raft};
use crate::ports::clock::Clock;
use crate::ports::coordination::{
    Allocator, AuditStream, ClusterStatus, CoordinationError, MemberChange, MemberError, NamespaceStatus,
};
use crate::ports::entropy::Entropy;
use crate::ports::error_chain::Chain;

/// How long a stop may take before it is given up and the process should end anyway.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How a member is opened.
#[derive(Clone, Debug)]
pub struct GroupOptions {
    /// Its data directory; made when there is none.
    pub dir: PathBuf,
    /// Its number.
    pub node_id: NodeId,
    /// Where its RPC listener is reached, `host:port`; empty for a group of one.
    pub address: String,
    /// How long opening waits for a leader.
    pub open_timeout: Duration,
    /// How long a command may wait for its commit.
    pub submit_timeout: Duration,
    /// Entries between two snapshots.
    pub snapshot_every: u64,
    /// Entries kept behind a snapshot, so that a member a little behind needs no snapshot.
    pub entries_kept: u64,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for identities.
    pub entropy: Arc<dyn Entropy>,
}

impl GroupOptions {
    /// The options for member `node_id` in `dir`, with default times and sizes.
    pub fn new(dir: PathBuf, node_id: NodeId, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            dir,
            node_id,
            address: String::new(),
            open_timeout: Duration::from_secs(10),
            submit_timeout: Duration::from_secs(3),
            snapshot_every: 5_000,
            entries_kept: 1_000,
            clock,
            entropy,
        }
    }
}

/// Why a member can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its log can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its snapshot can't be used.
    #[error("can't restore the snapshot in {}", path.display())]
    Snapshot {
        /// The data directory.
        path: PathBuf,
        /// Why: damaged, or written by a newer version.
        #[source]
        source: std::io::Error,
    },
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
    raft: Raft,
    store: LogStore,
    state: StateMachine,
    leadership: Mutex<Option<Leadership>>,
    submit_timeout: Duration,
    clock: Arc<dyn Clock>,
    open: Mutex<Option<OpenLog>>,
}

impl Group {
    /// Opens the member in `options.dir` and waits until it can grant. An empty directory becomes a group of one.
    ///
    /// # Errors
    /// [`OpenError`]
    pub async fn open(options: GroupOptions) -> Result<Self, OpenError> {
        let log = LogStore::open(&options.dir, options.node_id, Arc::clone(&options.clock), &*options.entropy)?;
        Self::start(log, options).await
    }

    /// Runs a member on a log that is open.
    async fn start(log: OpenLog, options: GroupOptions) -> Result<Self, OpenError> {
        let store = log.store.clone();
        let state = StateMachine::restore(Arc::new(store.clone()))
            .map_err(|source| OpenError::Snapshot { path: options.dir.clone(), source })?;
        let raft = Raft::new(options.node_id, Arc::new(config(&options)?), NoPeers, store.clone(), state.clone());
        let group = Self {
            identity: log.identity.clone(),
            raft: raft.await.map_err(consensus)?,
            store,
            state,
            leadership: Mutex::new(None),
            submit_timeout: options.submit_timeout,
            clock: options.clock,
            open: Mutex::new(Some(log)),
        };
        match tokio::time::timeout(options.open_timeout, group.begin(options.address)).await {
            Ok(Ok(())) => Ok(group),
            Ok(Err(error)) => {
                group.stop().await;
                Err(error)
            }
            Err(_) => {
                group.stop().await;
                Err(OpenError::NoLeader { waited: options.open_timeout })
            }
        }
    }

    /// Makes an empty member a group of one, and waits until it leads.
    async fn begin(&self, address: String) -> Result<(), OpenError> {
        if self.raft.is_initialized().await.map_err(consensus)? {
            // The only voter need not wait for the tick that would find it so.
            if self.raft.voter_ids().eq([self.identity.node_id]) {
                self.raft.trigger().elect(false).await.map_err(consensus)?;
            }
        } else {
            let member = Member { address, incarnation: self.identity.incarnation.clone() };
            self.raft.initialize(BTreeMap::from([(self.identity.node_id, member)])).await.map_err(consensus)?;
        }
        let mut metrics = self.raft.metrics();
        while self.leading().is_none() {
            metrics.changed().await.map_err(consensus)?;
        }
        Ok(())
    }

    /// Stops the member: what was handed over is written, the data directory is released.
    pub async fn stop(&self) {
        let log = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        let stop = async {
            if let Err(error) = self.raft.shutdown().await {
                tracing::error!(error = %Chain(&error), "the consensus core did not stop cleanly");
            }
            if let Some(log) = log {
                log.close().await;
            }
        };
        if tokio::time::timeout(STOP_TIMEOUT, stop).await.is_err() {
            let waited_ms = self.store.health().waiting().as_millis();
            tracing::error!(%waited_ms, "the allocator did not stop in time; is the disk answering?");
        }
    }

    /// Resolves when the member has stopped by itself, with the reason: a failed disk, for one.
    pub async fn failed(&self) -> String {
        let mut metrics = self.raft.metrics();
        loop {
            let state = metrics.borrow_watched().running_state.clone();
            if let Err(fatal) = state {
                return self.store.health().failure().map_or_else(|| fatal.to_string(), str::to_owned);
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

    /// Whose data this is.
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How the log is being written.
    pub fn writer_stats(&self) -> WriterStats {
        self.store.health().stats()
    }
}

#[async_trait]
impl Allocator for Group {
    fn cluster_id(&self) -> Option<Arc<str>> {
        Some(self.identity.cluster_id.as_str().into())
    }

    async fn submit(&self, command: Command) -> Result<Reply, CoordinationError> {
        self.propose_within_deadline(command).await
    }

    async fn status(&self) -> Result<ClusterStatus, CoordinationError> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let (last_applied_index, namespaces) = self.state.read(|replica| {
            let namespaces = replica.state.namespaces().map(|namespace| NamespaceStatus {
                name: namespace.name.clone(),
                spec: namespace.spec,
                floor: namespace.floor,
                totals: namespace.totals,
            });
            (replica.last_applied.as_ref().map(|id| id.index), namespaces.collect())
        });
        Ok(ClusterStatus {
            cluster_id: self.identity.cluster_id.clone(),
            node_id: self.identity.node_id,
            // A core that has stopped still remembers who led.
            leader: metrics.current_leader.filter(|_| metrics.running_state.is_ok()),
            term: metrics.current_term,
            last_log_index: metrics.last_log_index,
            last_applied_index,
            voters: metrics.membership_config.voter_ids().collect(),
            members: Vec::new(),
            worker_leases: 0,
            audit_violations: 0,
            namespaces,
        })
    }

    async fn find_origin(&self, namespace: &NamespaceName, id: u64) -> Result<Option<IdOrigin>, CoordinationError> {
        Ok(self.state.read(|replica| replica.state.find_origin(namespace, id)))
    }

    async fn audit(&self, _after: Option<u64>, _follow: bool) -> Result<AuditStream, CoordinationError> {
        Ok(Box::pin(futures_util::stream::empty()))
    }

    async fn change_members(&self, _change: MemberChange) -> Result<(), MemberError> {
        Err(MemberError::Refused("this is a group of one: start allocators to have a cluster".to_owned()))
    }
}

fn config(options: &GroupOptions) -> Result<Config, OpenError> {
    let config = Config {
        cluster_name: "stint".to_owned(),
        heartbeat_interval: 50,
        election_timeout_min: 150,
        election_timeout_max: 300,
        enable_pre_vote: Some(true),
        // A restarted leader campaigns again, so that each leadership is a term of its own, with its own stamps.
        enable_leader_restore: Some(false),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(options.snapshot_every),
        max_in_snapshot_log_to_keep: options.entries_kept,
        ..Config::default()
    };
    config.validate().map_err(consensus)
}

fn consensus(error: impl std::error::Error + Send + Sync + 'static) -> OpenError {
    OpenError::Consensus(Box::new(error))
}
