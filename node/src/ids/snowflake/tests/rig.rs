//! Nodes over an allocator without replication, clocks that are moved by hand, and a generator over those clocks that
//! errs as it is told to. Time is tokio's: paused, it passes only where somebody waits for it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use stint_idgen::allocator::{Command, HolderId, IdOrigin, NamespaceName, Reply, Stamped, State};
use stint_idgen::snowflake::{EPOCH_MS, WorkerId};
use tokio::time::Instant;

use crate::ids::snowflake::{CrateGenerators, Generator, GeneratorFactory, RolledBack, SnowflakeIds, SnowflakeOptions};
use crate::lifecycle::Tasks;
use crate::metrics::{Registry, SnowflakeMetrics};
use crate::ports::clock::{Clock, SystemClock};
use crate::ports::coordination::{Allocator, AuditStream, ClusterStatus, CoordinationError, MemberChange, MemberError};
use crate::ports::entropy::Entropy;

pub(in crate::ids) const PATIENCE: Duration = Duration::from_secs(2);
pub(in crate::ids) const LEASE: Duration = Duration::from_mins(1);
/// 2026-01-01, when the test begins by the allocator's clock.
pub(in crate::ids) const START_MS: u64 = 1_767_225_600_000;

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug)]
pub(in crate::ids) enum Trouble {
    /// It is applied, but the answer is lost.
    LostAnswer,
    /// It is not applied, and nobody knows.
    LostRequest,
    /// It is applied, and never answered.
    Hangs,
}

/// The real state machine, in one process, with a clock that is right.
#[derive(Debug)]
pub(in crate::ids) struct TestAllocator {
    state: Mutex<State>,
    started: Instant,
    starts_at_ms: AtomicU64,
    troubles: Mutex<VecDeque<Trouble>>,
    pub(in crate::ids) is_away: AtomicBool,
    commands: Mutex<Vec<Command>>,
}

/// A node's clocks. The monotonic one is right.
#[derive(Debug)]
pub(in crate::ids) struct TestClock {
    started: Instant,
    /// How far the wall clock is ahead.
    pub(in crate::ids) ahead_ms: AtomicI64,
    /// Where the wall clock stands still; 0 while it goes.
    pub(in crate::ids) stands_at_ms: AtomicI64,
}

/// Generators that work as the crate does, over a node's clock.
#[derive(Debug)]
pub(in crate::ids) struct TestGenerators {
    clock: Arc<TestClock>,
    faults: Arc<Faults>,
}

/// What is wrong with the generators.
#[derive(Debug, Default)]
pub(in crate::ids) struct Faults {
    /// How far their clock is ahead of the node's.
    pub(in crate::ids) ahead_ms: AtomicI64,
    /// Bits that are flipped in each number.
    pub(in crate::ids) flipped: AtomicI64,
}

#[derive(Debug)]
struct TestGenerator {
    worker: WorkerId,
    last_ms: u64,
    sequence: u64,
    clock: Arc<TestClock>,
    faults: Arc<Faults>,
}

/// Bytes that count up: no two identities are the same.
#[derive(Debug, Default)]
struct Counting(AtomicU8);

/// An allocator that several nodes share.
pub(in crate::ids) struct Rig {
    pub(in crate::ids) allocator: Arc<TestAllocator>,
    entropy: Arc<Counting>,
}

/// One node's ids.
pub(in crate::ids) struct Node {
    pub(in crate::ids) ids: Arc<SnowflakeIds>,
    pub(in crate::ids) clock: Arc<TestClock>,
    pub(in crate::ids) faults: Arc<Faults>,
    pub(in crate::ids) tasks: Tasks,
    pub(in crate::ids) metrics: Registry,
}

pub(in crate::ids) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn elapsed_ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).expect("a test is short")
}

impl TestAllocator {
    pub(in crate::ids) fn trouble(&self, troubles: impl IntoIterator<Item = Trouble>) {
        locked(&self.troubles).extend(troubles);
    }

    pub(in crate::ids) fn apply(&self, command: Command) -> Reply {
        locked(&self.state)
            .apply(&Stamped { at_ms: self.starts_at_ms.load(Ordering::Relaxed) + elapsed_ms(self.started), command })
    }

    /// For nodes with the machine's clocks.
    pub(in crate::ids) fn follow_the_wall_clock(&self) {
        self.starts_at_ms.store(SystemClock.unix_ms(), Ordering::Relaxed);
    }

    pub(in crate::ids) fn state(&self) -> State {
        locked(&self.state).clone()
    }

    /// The request numbers under which worker ids were asked for, in order.
    pub(in crate::ids) fn requests(&self) -> Vec<u64> {
        let request = |command: &Command| match command {
            Command::LeaseWorker { request, .. } => Some(*request),
            _ => None,
        };
        locked(&self.commands).iter().filter_map(request).collect()
    }

    /// Gives up every lease behind its holder's back.
    pub(in crate::ids) fn revoke(&self) {
        let state = self.state();
        for live in state.worker_leases() {
            let (holder, worker, lease) = (live.holder, live.worker, live.lease);
            assert_eq!(self.apply(Command::ReleaseWorker { holder, worker, lease }), Reply::WorkerReleased);
        }
    }

    /// Leases every worker id to others for this long.
    pub(in crate::ids) fn lease_all(&self, length: Duration) {
        for other in 0..1_024 {
            let duration_ms = u64::try_from(length.as_millis()).expect("it is short");
            let holder = HolderId(u128::MAX - other);
            let command = Command::LeaseWorker { holder, label: String::new(), request: 1, duration_ms };
            assert!(matches!(self.apply(command), Reply::WorkerLeased(_)));
        }
    }
}

#[async_trait]
impl Allocator for TestAllocator {
    fn cluster_id(&self) -> Option<Arc<str>> {
        Some("one".into())
    }

    async fn submit(&self, command: Command) -> Result<Reply, CoordinationError> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(CoordinationError::Unavailable { source: "away".into() });
        }
        locked(&self.commands).push(command.clone());
        let trouble = locked(&self.troubles).pop_front();
        let reply = if matches!(trouble, Some(Trouble::LostRequest)) { None } else { Some(self.apply(command)) };
        match (trouble, reply) {
            (None, Some(reply)) => Ok(reply),
            (Some(Trouble::Hangs), _) => std::future::pending().await,
            _ => Err(CoordinationError::OutcomeUnknown { source: "lost".into() }),
        }
    }

    async fn status(&self) -> Result<ClusterStatus, CoordinationError> {
        unreachable!("leasing a worker asks for no status")
    }

    async fn find_origin(&self, _: &NamespaceName, _: u64) -> Result<Option<IdOrigin>, CoordinationError> {
        unreachable!("leasing a worker looks for no id")
    }

    async fn audit(&self, _: Option<u64>, _: bool) -> Result<AuditStream, CoordinationError> {
        unreachable!("leasing a worker reads no audit")
    }

    async fn change_members(&self, _: MemberChange) -> Result<(), MemberError> {
        unreachable!("leasing a worker changes no members")
    }
}

impl TestClock {
    pub(in crate::ids) fn new() -> Arc<Self> {
        Arc::new(Self { started: Instant::now(), ahead_ms: AtomicI64::new(0), stands_at_ms: AtomicI64::new(0) })
    }

    /// Moves the wall clock away from the right time.
    pub(in crate::ids) fn set_ahead(&self, ms: i64) {
        self.ahead_ms.store(ms, Ordering::Relaxed);
    }

    /// Stops the wall clock at this moment.
    pub(in crate::ids) fn stop_at(&self, unix_ms: u64) {
        self.stands_at_ms.store(unix_ms.cast_signed(), Ordering::Relaxed);
    }

    pub(in crate::ids) fn go_on(&self) {
        self.stop_at(0);
    }
}

impl Clock for TestClock {
    fn unix_ms(&self) -> u64 {
        match self.stands_at_ms.load(Ordering::Relaxed) {
            0 => (START_MS + elapsed_ms(self.started)).saturating_add_signed(self.ahead_ms.load(Ordering::Relaxed)),
            stands_at_ms => stands_at_ms.unsigned_abs(),
        }
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

impl TestGenerators {
    pub(in crate::ids) fn new(clock: &Arc<TestClock>) -> Self {
        Self { clock: Arc::clone(clock), faults: Arc::default() }
    }

    pub(in crate::ids) fn faults(&self) -> Arc<Faults> {
        Arc::clone(&self.faults)
    }
}

impl GeneratorFactory for TestGenerators {
    fn make(&self, worker: WorkerId) -> Box<dyn Generator> {
        let (clock, faults) = (Arc::clone(&self.clock), Arc::clone(&self.faults));
        Box::new(TestGenerator { worker, last_ms: 0, sequence: 0, clock, faults })
    }
}

impl Generator for TestGenerator {
    fn generate(&mut self) -> Result<u64, RolledBack> {
        let now_ms = self.clock.unix_ms().saturating_add_signed(self.faults.ahead_ms.load(Ordering::Relaxed));
        if now_ms < self.last_ms {
            return Err(RolledBack);
        }
        self.sequence = if now_ms == self.last_ms { self.sequence + 1 } else { 0 };
        assert!(self.sequence < 4_096, "here the crate would spin");
        assert!(now_ms >= EPOCH_MS, "here the crate would underflow");
        self.last_ms = now_ms;
        let id = (now_ms - EPOCH_MS) << 22 | u64::from(self.worker.get()) << 12 | self.sequence;
        Ok(id ^ self.faults.flipped.load(Ordering::Relaxed).cast_unsigned())
    }
}

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0.fetch_add(1, Ordering::Relaxed));
    }
}

impl Rig {
    pub(in crate::ids) fn new() -> Self {
        let allocator = TestAllocator {
            state: Mutex::default(),
            started: Instant::now(),
            starts_at_ms: AtomicU64::new(START_MS),
            troubles: Mutex::default(),
            is_away: AtomicBool::new(false),
            commands: Mutex::default(),
        };
        Self { allocator: Arc::new(allocator), entropy: Arc::default() }
    }

    pub(in crate::ids) fn node(&self) -> Node {
        self.node_with(LEASE)
    }

    /// A node with leases of this length.
    pub(in crate::ids) fn node_with(&self, lease: Duration) -> Node {
        let clock = TestClock::new();
        let generators = TestGenerators::new(&clock);
        let faults = generators.faults();
        let (tasks, metrics) = (Tasks::default(), Registry::new().unwrap());
        let ids = self.start(lease, Arc::new(generators), &metrics, Arc::clone(&clock) as _, &tasks);
        Node { ids, clock, faults, tasks, metrics }
    }

    /// Ids of the real crate, over the machine's clocks.
    pub(in crate::ids) fn real_ids(&self, tasks: &Tasks) -> Arc<SnowflakeIds> {
        self.start(LEASE, Arc::new(CrateGenerators), &Registry::new().unwrap(), Arc::new(SystemClock), tasks)
    }

    fn start(
        &self,
        lease: Duration,
        generators: Arc<dyn GeneratorFactory>,
        metrics: &Registry,
        clock: Arc<dyn Clock>,
        tasks: &Tasks,
    ) -> Arc<SnowflakeIds> {
        Arc::new(SnowflakeIds::start(
            Arc::clone(&self.allocator) as _,
            SnowflakeOptions { label: "test".to_owned(), lease, patience: PATIENCE },
            generators,
            SnowflakeMetrics::new(metrics),
            clock,
            Arc::clone(&self.entropy) as _,
            tasks,
        ))
    }
}

impl Node {
    /// A metric's value.
    pub(in crate::ids) fn metric(&self, name: &str) -> String {
        let text = self.metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.expect("the metric is there").to_owned()
    }
}
