//! Holders: what a shortener runs to have ids, over the simulated network and clock. A restart keeps nothing but the
//! label.

mod generator;
mod witness;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stint::cluster::remote::{RemoteAllocator, RemoteOptions};
use stint::cluster::rpc::ClusterSecret;
use stint::cluster::transport::Connections;
use stint::ids::raft::{RaftIdOptions, RaftIds};
use stint::ids::snowflake::{SnowflakeIds, SnowflakeOptions};
use stint::metrics::{IdMetrics, Registry, SnowflakeMetrics};
use stint::ports::coordination::Allocator;
use stint::ports::id_source::{IdIssuer, SnowflakeIssuer};
use stint::ports::spawn::{BoxTask, Spawn};
use stint_idgen::IdRange;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::generator::SimGenerators;
use self::witness::Witness;
use crate::allocators::SECRET;
use crate::clock::SimClock;
use crate::history::{Event, History};
use crate::network::SimDialer;
use crate::plan::Plan;
use crate::random::{Random, SeededEntropy};

/// What a holder wants.
pub(crate) const IDS: &str = "ids";
pub(crate) const SNOWFLAKES: &str = "snowflakes";

/// A machine that runs a holder.
pub(crate) struct HolderHost {
    pub(crate) name: String,
    pub(crate) clock: Arc<SimClock>,
    plan: Arc<Plan>,
    history: History,
    /// Nobody is to want anything any more.
    quiet: Arc<AtomicBool>,
    life: Mutex<Life>,
}

struct Life {
    stop: CancellationToken,
    random: Random,
}

/// The background tasks of one process.
#[derive(Debug, Default)]
struct HolderTasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

/// The allocators, as a client reaches them.
pub(crate) fn allocators(plan: &Plan, random: &mut Random, connections: &Connections) -> RemoteAllocator {
    let mut addresses = plan.addresses();
    let first = random.between(0..=addresses.len() as u64 - 1);
    addresses.rotate_left(usize::try_from(first).expect("it is below a length"));
    let secret = Some(ClusterSecret::of(SECRET));
    let options = RemoteOptions { addresses, secret, cluster_id: None, patience: random.ms(600..=2_500) };
    RemoteAllocator::new(options, &(Arc::new(SimDialer) as _), connections)
}

impl HolderHost {
    pub(crate) fn new(
        name: &str,
        clock: SimClock,
        plan: &Arc<Plan>,
        history: &History,
        quiet: &Arc<AtomicBool>,
        random: Random,
    ) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            clock: Arc::new(clock),
            plan: Arc::clone(plan),
            history: history.clone(),
            quiet: Arc::clone(quiet),
            life: Mutex::new(Life { stop: CancellationToken::new(), random }),
        })
    }

    /// Ends the process cleanly; another takes its place.
    pub(crate) fn restart(&self) {
        self.life().stop.cancel();
    }

    /// One process after the other, until the host crashes.
    pub(crate) async fn run(self: Arc<Self>) -> turmoil::Result {
        loop {
            self.live().await;
        }
    }

    /// One process.
    async fn live(&self) {
        let (mut random, stop) = {
            let mut life = self.life();
            life.stop = CancellationToken::new();
            (life.random.fork(), life.stop.clone())
        };
        let process = self.history.next_process();
        let (tasks, connections) = (Arc::new(HolderTasks::default()), Connections::default());
        let allocator: Arc<dyn Allocator> = Arc::new(allocators(&self.plan, &mut random, &connections));
        let ids = self.raft_ids(&allocator, &tasks, &mut random);
        let witness = Witness { allocator, process, history: self.history.clone() };
        let snowflakes = self.snowflake_ids(Arc::new(witness), &tasks, &mut random);
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.draw(process, &ids, random.fork()) => {}
            () = self.make(process, &snowflakes, random.fork()) => {}
        }
        tasks.end().await;
        connections.close().await;
    }

    fn raft_ids(&self, allocator: &Arc<dyn Allocator>, tasks: &Arc<HolderTasks>, random: &mut Random) -> RaftIds {
        let min_block = random.between(1..=8);
        let options = RaftIdOptions {
            label: self.name.clone(),
            headroom: random.ms(200..=1_500),
            min_block,
            max_block: min_block + random.between(0..=80),
            patience: Duration::from_secs(1),
        };
        let metrics = IdMetrics::new(&registry(), "raft");
        let entropy = Arc::new(SeededEntropy::new(random.fork()));
        let (clock, spawn) = (Arc::clone(&self.clock) as _, Arc::clone(tasks) as _);
        RaftIds::without_links(Arc::clone(allocator), options, metrics, clock, entropy, spawn)
    }

    fn snowflake_ids(&self, allocator: Arc<dyn Allocator>, tasks: &HolderTasks, random: &mut Random) -> SnowflakeIds {
        let patience = Duration::from_millis(500);
        let options = SnowflakeOptions { label: self.name.clone(), lease: Duration::from_secs(10), patience };
        let metrics = SnowflakeMetrics::new(&registry());
        let generators = Arc::new(SimGenerators::new(&self.clock, random.fork()));
        let entropy = Arc::new(SeededEntropy::new(random.fork()));
        SnowflakeIds::start(allocator, options, generators, metrics, Arc::clone(&self.clock) as _, entropy, tasks)
    }

    /// Draws ids for ever.
    async fn draw(&self, process: u64, ids: &RaftIds, mut random: Random) {
        loop {
            self.pause(&mut random).await;
            let (namespace, _) = random.pick(&self.plan.namespaces);
            let Ok(runs) = ids.issue(namespace, random.between(1..=12)).await else { continue };
            for run in runs {
                // Their stride is 1, so that ids are what was granted.
                let range = IdRange::new(run.first(), run.end()).expect("no run is empty");
                self.history.record(&Event::Drew { process, namespace: namespace.clone(), range });
            }
            self.history.record(&Event::Served { host: self.name.clone(), what: IDS });
        }
    }

    /// Makes Snowflake ids for ever.
    async fn make(&self, process: u64, snowflakes: &SnowflakeIds, mut random: Random) {
        loop {
            self.pause(&mut random).await;
            let Ok(ids) = snowflakes.draw(random.between(1..=6)).await else { continue };
            let lease = snowflakes.lease().ok().map(|window| (window.worker(), window.lease()));
            self.history.record(&Event::Made { process, lease, ids });
            self.history.record(&Event::Served { host: self.name.clone(), what: SNOWFLAKES });
        }
    }

    async fn pause(&self, random: &mut Random) {
        sleep(random.ms(20..=150)).await;
        while self.quiet.load(Ordering::Relaxed) {
            sleep(Duration::from_secs(1)).await;
        }
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn registry() -> Registry {
    Registry::new().expect("its bounds are right")
}

impl HolderTasks {
    async fn end(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

impl Spawn for HolderTasks {
    #[expect(clippy::disallowed_methods, reason = "it is tracked here")]
    fn spawn(&self, _name: &'static str, task: BoxTask) {
        tokio::spawn(self.tracker.track_future(task));
    }

    fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }
}
