//! A host for one allocator: the real member and its real RPC server, over the simulated disk, clock and network.

use std::collections::hash_map::DefaultHasher;
use std::convert::Infallible;
use std::future::pending;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use stint::cluster::group::GroupOptions;
use stint::cluster::member::{AllocatorMember, MemberFailure, MemberOptions};
use stint::cluster::rpc::{ClusterSecret, RpcServer};
use stint::cluster::transport::Connections;
use stint::ports::coordination::Allocator;
use tokio_util::sync::CancellationToken;

use crate::clock::SimClock;
use crate::disk::Platter;
use crate::history::{Event, History, Observation};
use crate::network::{SimDialer, SimListener};
use crate::plan::Plan;
use crate::random::{Random, SeededEntropy};

/// The secret of the simulated cluster.
pub(crate) const SECRET: &str = "a secret for the simulation";

/// How long a command may wait for its commit.
const SUBMITTED_WITHIN: Duration = Duration::from_secs(2);

/// A machine that may run an allocator.
pub(crate) struct AllocatorHost {
    pub(crate) name: String,
    pub(crate) clock: Arc<SimClock>,
    plan: Arc<Plan>,
    history: History,
    seat: Mutex<Seat>,
}

/// What the machine is to run, and what it runs.
struct Seat {
    setup: Option<Setup>,
    member: Weak<AllocatorMember>,
    stop: CancellationToken,
    random: Random,
}

/// How an allocator is started.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) node_id: u64,
    pub(crate) platter: Platter,
    pub(crate) bootstrap: bool,
    /// Its volume was lost, so that it may be refused.
    pub(crate) may_give_up: bool,
}

impl AllocatorHost {
    pub(crate) fn new(name: &str, clock: SimClock, plan: &Arc<Plan>, history: &History, random: Random) -> Arc<Self> {
        let seat = Seat { setup: None, member: Weak::new(), stop: CancellationToken::new(), random };
        let (name, clock, seat) = (name.to_owned(), Arc::new(clock), Mutex::new(seat));
        Arc::new(Self { name, clock, plan: Arc::clone(plan), history: history.clone(), seat })
    }

    /// What the machine runs from its next start on.
    pub(crate) fn set_up(&self, setup: Option<Setup>) {
        self.seat().setup = setup;
    }

    pub(crate) fn setup(&self) -> Option<Setup> {
        self.seat().setup.clone()
    }

    /// Asks the process to stop as SIGTERM does.
    pub(crate) fn stop(&self) {
        self.seat().stop.cancel();
    }

    /// The program, from its start to its end; a crash cuts it off anywhere.
    pub(crate) async fn run(self: Arc<Self>) -> turmoil::Result {
        let (setup, entropy, stop) = {
            let mut seat = self.seat();
            seat.stop = CancellationToken::new();
            let entropy = SeededEntropy::new(seat.random.fork());
            (seat.setup.clone(), Arc::new(entropy), seat.stop.clone())
        };
        let Some(setup) = setup else { return pending().await };
        let group = GroupOptions {
            submit_timeout: SUBMITTED_WITHIN,
            snapshot_every: self.plan.snapshot_every,
            entries_kept: self.plan.entries_kept,
            ..GroupOptions::new(Arc::clone(&self.clock) as _, entropy)
        };
        let options = MemberOptions {
            peers: self.plan.founders.clone(),
            bootstrap: setup.bootstrap,
            secret: Some(ClusterSecret::of(SECRET)),
            cluster_id: None,
            group,
        };
        let connections = Connections::default();
        let storage = setup.platter.open();
        let (member, task) = AllocatorMember::new(storage, Arc::new(SimDialer), connections.clone(), options);
        self.seat().member = Arc::downgrade(&member);
        let server = RpcServer::new(Arc::clone(&member), None, connections.clone());
        let listener = SimListener::bind().await?;
        let failure = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            () = server.run(listener) => None,
            ended = task.run() => ended.err(),
            never = self.tell_of(&member) => match never {},
        };
        if let Some(failure) = failure {
            self.gave_up(&setup, &failure);
        } else if let Some(group) = member.group() {
            group.step_down().await;
            group.stop().await;
        }
        self.seat().member = Weak::new();
        connections.close().await;
        pending().await
    }

    /// Tells that the member takes part, as soon as it does.
    async fn tell_of(&self, member: &AllocatorMember) -> Infallible {
        member.running().await;
        let (node_id, incarnation) = (member.identity().node_id, member.identity().incarnation.clone());
        self.history.record(&Event::TakesPart { node_id, incarnation });
        pending().await
    }

    fn gave_up(&self, setup: &Setup, failure: &MemberFailure) {
        let (node_id, why) = (setup.node_id, failure.to_string());
        if !setup.may_give_up {
            let what = format!("member {node_id} gave up: {why}");
            self.history.violate(crate::invariants::progress_after_healing::NAME, what);
        }
        self.history.record(&Event::Note(format!("member {node_id} gave up: {why}")));
    }

    /// The member as it is at this moment, if it is running and in a cluster.
    pub(crate) fn observe(&self, with_state: bool) -> Option<Observation> {
        let member = self.seat().member.upgrade()?;
        let group = member.group()?;
        let status = group.status().now_or_never()?.ok()?;
        let (clock_ms, state) = group.state().read(|replica| {
            let bytes = with_state.then(|| replica.state.encode());
            (replica.state.clock_ms(), bytes.as_deref().map(hash))
        });
        Some(Observation {
            node_id: status.node_id,
            term: status.term,
            // Not from the status: that looks at how long ago a quorum was heard, and out here no simulated clock ticks.
            leads: group.leading().is_some(),
            applied: status.last_applied_index?,
            clock_ms,
            namespaces: status.namespaces.into_iter().map(|it| (it.name, it.floor, it.totals)).collect(),
            state,
            audit_violations: status.audit_violations,
        })
    }

    fn seat(&self) -> MutexGuard<'_, Seat> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
