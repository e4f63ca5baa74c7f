//! Nodes over an allocator without replication, which fails as it is told to, and a fence in memory.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use stint_idgen::allocator::{
    Command, HolderId, IdOrigin, NamespaceName, NamespaceSpec, NamespaceTotals, Refusal, Reply, Stamped, State,
};
use stint_idgen::{Key, Lane};
use tokio::sync::Semaphore;

use crate::ids::raft::{RaftIdOptions, RaftIds};
use crate::lifecycle::Tasks;
use crate::metrics::{IdMetrics, Registry};
use crate::ports::clock::ManualClock;
use crate::ports::coordination::{
    Allocator, AuditStream, ClusterStatus, CoordinationError, MemberChange, MemberError, NamespaceStatus,
};
use crate::ports::entropy::Entropy;
use crate::ports::id_source::{IdError, KeySource as _};
use crate::ports::link_store::{FenceStore, LaneMark, StoreError};

pub(in crate::ids) const PATIENCE: Duration = Duration::from_secs(2);
/// Ids in a block, unless a test says otherwise: below 256 of them, nothing is kept per thread.
pub(in crate::ids) const BLOCK: u64 = 100;
const SOURCE: &str = "one";

/// What goes wrong with a request for a block.
#[derive(Clone, Debug)]
pub(in crate::ids) enum Trouble {
    Unavailable,
    /// The block is granted, but the answer is lost.
    LostAnswer,
    /// Nothing is granted, and nobody knows.
    LostRequest,
    Refused(Refusal),
}

/// The real state machine, in one process.
#[derive(Debug)]
pub(in crate::ids) struct TestAllocator {
    state: Mutex<State>,
    troubles: Mutex<VecDeque<Trouble>>,
    pub(in crate::ids) is_away: AtomicBool,
    /// Reports of used blocks wait here.
    pub(in crate::ids) reports: Semaphore,
    requests: Mutex<Vec<(HolderId, u64)>>,
}

/// The Raft lane's row of a database.
#[derive(Debug)]
pub(in crate::ids) struct TestFence {
    lane: Mutex<LaneMark>,
    pub(in crate::ids) is_away: AtomicBool,
}

/// Bytes that count up: no two identities are the same.
#[derive(Debug, Default)]
struct Counting(AtomicU8);

/// An allocator and a fence that several nodes share.
pub(in crate::ids) struct Rig {
    pub(in crate::ids) allocator: Arc<TestAllocator>,
    pub(in crate::ids) fence: Arc<TestFence>,
    entropy: Arc<Counting>,
}

/// One node's ids.
pub(in crate::ids) struct Node {
    pub(in crate::ids) ids: Arc<RaftIds>,
    pub(in crate::ids) tasks: Tasks,
    pub(in crate::ids) metrics: Registry,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TestAllocator {
    pub(in crate::ids) fn trouble(&self, troubles: impl IntoIterator<Item = Trouble>) {
        locked(&self.troubles).extend(troubles);
    }

    pub(in crate::ids) fn totals(&self, namespace: &NamespaceName) -> NamespaceTotals {
        locked(&self.state).namespace(namespace).expect("the namespace is there").totals
    }

    /// The request numbers under which blocks were asked for, in order.
    pub(in crate::ids) fn requests(&self) -> Vec<u64> {
        locked(&self.requests).iter().map(|(_, request)| *request).collect()
    }

    pub(in crate::ids) fn apply(&self, command: Command) -> Reply {
        locked(&self.state).apply(&Stamped { at_ms: 1, command })
    }
}

#[async_trait]
impl Allocator for TestAllocator {
    fn cluster_id(&self) -> Option<Arc<str>> {
        Some(SOURCE.into())
    }

    async fn submit(&self, command: Command) -> Result<Reply, CoordinationError> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(CoordinationError::Unavailable { source: "away".into() });
        }
        match &command {
            Command::Grant { holder, request, .. } => locked(&self.requests).push((*holder, *request)),
            Command::Return { .. } => drop(self.reports.acquire().await.expect("it is never closed")),
            _ => {}
        }
        let is_grant = matches!(command, Command::Grant { .. });
        let trouble = if is_grant { locked(&self.troubles).pop_front() } else { None };
        match trouble {
            None => Ok(self.apply(command)),
            Some(Trouble::Unavailable) => Err(CoordinationError::Unavailable { source: "away".into() }),
            Some(Trouble::LostRequest) => Err(CoordinationError::OutcomeUnknown { source: "lost".into() }),
            Some(Trouble::LostAnswer) => {
                self.apply(command);
                Err(CoordinationError::OutcomeUnknown { source: "lost".into() })
            }
            Some(Trouble::Refused(refusal)) => Ok(Reply::Refused(refusal)),
        }
    }

    async fn status(&self) -> Result<ClusterStatus, CoordinationError> {
        let namespaces = locked(&self.state)
            .namespaces()
            .map(|space| NamespaceStatus {
                name: space.name.clone(),
                spec: space.spec,
                floor: space.floor,
                totals: space.totals,
            })
            .collect();
        Ok(ClusterStatus {
            cluster_id: SOURCE.to_owned(),
            node_id: 1,
            leader: Some(1),
            term: 1,
            last_log_index: None,
            last_applied_index: None,
            voters: vec![1],
            members: Vec::new(),
            worker_leases: 0,
            audit_violations: 0,
            namespaces,
        })
    }

    async fn find_origin(&self, namespace: &NamespaceName, id: u64) -> Result<Option<IdOrigin>, CoordinationError> {
        Ok(locked(&self.state).find_origin(namespace, id))
    }

    async fn audit(&self, _: Option<u64>, _: bool) -> Result<AuditStream, CoordinationError> {
        unreachable!("drawing ids reads no audit")
    }

    async fn change_members(&self, _: MemberChange) -> Result<(), MemberError> {
        unreachable!("drawing ids changes no members")
    }
}

impl TestFence {
    pub(in crate::ids) fn mark(&self) -> u64 {
        locked(&self.lane).mark
    }

    /// Another source takes the lane over.
    pub(in crate::ids) fn take_over(&self) {
        "two".clone_into(&mut locked(&self.lane).source);
    }
}

#[async_trait]
impl FenceStore for TestFence {
    async fn claim_code_key(&self, _: &str) -> Result<String, StoreError> {
        unreachable!("drawing ids claims nothing")
    }

    async fn find_lane(&self, _: Lane) -> Result<Option<LaneMark>, StoreError> {
        unreachable!("drawing ids looks for nothing")
    }

    async fn claim_lane(&self, _: Lane, _: &str) -> Result<LaneMark, StoreError> {
        unreachable!("drawing ids claims nothing")
    }

    async fn replace_lane_source(&self, _: Lane, _: &str) -> Result<(), StoreError> {
        unreachable!("drawing ids replaces nothing")
    }

    async fn raise_mark(&self, lane: Lane, source: &str, mark: u64) -> Result<bool, StoreError> {
        assert_eq!(lane, Lane::Raft);
        if self.is_away.load(Ordering::Relaxed) {
            let source = Arc::new(std::io::Error::other("away"));
            return Err(StoreError::Unavailable { operation: "test", source });
        }
        let mut lane = locked(&self.lane);
        if lane.source != source {
            return Ok(false);
        }
        lane.mark = lane.mark.max(mark);
        Ok(true)
    }
}

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0.fetch_add(1, Ordering::Relaxed));
    }
}

impl Rig {
    /// An allocator whose namespace of links has room for a long test.
    pub(in crate::ids) fn new() -> Self {
        Self::with_links(1_000_000)
    }

    /// An allocator with so many keys for links.
    pub(in crate::ids) fn with_links(limit: u64) -> Self {
        let allocator = TestAllocator {
            state: Mutex::default(),
            troubles: Mutex::default(),
            is_away: AtomicBool::new(false),
            reports: Semaphore::new(Semaphore::MAX_PERMITS),
            requests: Mutex::default(),
        };
        let lane = Mutex::new(LaneMark { source: SOURCE.to_owned(), mark: 0 });
        let fence = TestFence { lane, is_away: AtomicBool::new(false) };
        let rig = Self { allocator: Arc::new(allocator), fence: Arc::new(fence), entropy: Arc::default() };
        rig.create(NamespaceName::links(), limit);
        rig
    }

    pub(in crate::ids) fn create(&self, name: NamespaceName, limit: u64) {
        self.create_with(name, NamespaceSpec::contiguous(0, limit, 1 << 20));
    }

    pub(in crate::ids) fn create_with(&self, name: NamespaceName, spec: NamespaceSpec) {
        let reply = self.allocator.apply(Command::CreateNamespace { name, spec });
        assert!(matches!(reply, Reply::Namespace { created: true, .. }), "{reply:?}");
    }

    pub(in crate::ids) fn node(&self) -> Node {
        self.node_with(BLOCK, PATIENCE)
    }

    /// A node that asks for blocks of this size (a large draw asks for more), and waits so long for one.
    pub(in crate::ids) fn node_with(&self, block: u64, patience: Duration) -> Node {
        let headroom = Duration::from_mins(10);
        let options =
            RaftIdOptions { label: "test".to_owned(), headroom, min_block: block, max_block: 100_000, patience };
        let (tasks, metrics) = (Tasks::default(), Registry::new().unwrap());
        let ids = RaftIds::start(
            Arc::clone(&self.allocator) as _,
            Arc::clone(&self.fence) as _,
            options,
            IdMetrics::new(&metrics, "raft"),
            Arc::<ManualClock>::default(),
            Arc::clone(&self.entropy) as _,
            Arc::new(tasks.clone()),
        );
        Node { ids: Arc::new(ids), tasks, metrics }
    }

    /// How the ids of links were spent.
    pub(in crate::ids) fn links(&self) -> NamespaceTotals {
        self.allocator.totals(&NamespaceName::links())
    }
}

impl Node {
    /// The next key, as its counter in the lane of Raft.
    pub(in crate::ids) async fn draw(&self) -> Result<u64, IdError> {
        self.ids.next_key().await.map(counter)
    }

    /// Draws so many keys one after another, letting the refill task run in between.
    pub(in crate::ids) async fn draw_many(&self, count: u64) -> Vec<u64> {
        let mut drawn = Vec::new();
        for _ in 0..count {
            drawn.push(self.draw().await.expect("ids are at hand"));
            tokio::task::yield_now().await;
        }
        drawn
    }

    /// How many draws had to wait.
    pub(in crate::ids) fn stalls(&self) -> u64 {
        let text = self.metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix("stint_id_stalls_total "));
        line.expect("the metric is there").parse().expect("it is a whole number")
    }
}

pub(in crate::ids) fn counter(key: Key) -> u64 {
    let (lane, counter) = Lane::locate(key).expect("a lane has the key");
    assert_eq!(lane, Lane::Raft);
    counter
}
