//! One run: the hosts, the nemesis and the invariants of one seed, stepped until all is healed and everybody served.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use turmoil::Sim;

use crate::allocators::{AllocatorHost, Setup};
use crate::clock::SimClock;
use crate::disk::Platter;
use crate::history::{Event, History, Violation};
use crate::holders::{HolderHost, IDS, SNOWFLAKES};
use crate::invariants::progress_after_healing::{self, Progress};
use crate::invariants::replicas_agree;
use crate::nemesis::Nemesis;
use crate::operator::Operator;
use crate::plan::Plan;
use crate::random::Random;
use crate::raw::{GRANTS, RawHost};

/// One step of the simulation: how coarse the network's time is.
const TICK: Duration = Duration::from_millis(4);
/// How many steps lie between two looks at the members; each tenth compares their states.
const STEPS_PER_LOOK: u64 = 6;
/// How long the cluster may take to be founded and made ready.
const READY_WITHIN: Duration = Duration::from_mins(1);
/// How long members may take to have applied the same, once nobody wants anything any more.
const AGREED_WITHIN: Duration = Duration::from_secs(10);
/// The largest wrongness of clocks that are right, in milliseconds.
const SKEW_MS: u64 = 100;
/// How fast or slow a clock may run, in millionths.
const DRIFT_PPM: u64 = 10_000;

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) violation: Option<Violation>,
    /// How many events there were, and their hash.
    pub(crate) trace: (u64, u64),
    pub(crate) elapsed: Duration,
}

/// The hosts of one run.
pub(crate) struct World {
    pub(crate) plan: Arc<Plan>,
    pub(crate) history: History,
    pub(crate) allocators: Vec<Arc<AllocatorHost>>,
    pub(crate) holders: Vec<Arc<HolderHost>>,
    pub(crate) operator: Arc<Operator>,
    raw_clients: Vec<Arc<RawHost>>,
    quiet: Arc<AtomicBool>,
}

/// Runs one seed; every event is written to the file `trace`, if there is one.
pub(crate) fn run(seed: u64, trace: Option<&str>) -> Outcome {
    let mut random = Random::of(seed);
    let plan = Arc::new(Plan::draw(&mut random));
    let mut sim = turmoil::Builder::new()
        .rng_seed(random.next())
        .epoch(UNIX_EPOCH)
        .tick_duration(TICK)
        .simulation_duration(Duration::MAX)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(plan.latency)
        .enable_random_order()
        .tcp_capacity(4_096)
        .build();
    let world = World::new(plan, &mut random, History::new(trace));
    world.register(&mut sim);
    let nemesis = Nemesis::new(&world, random.fork());
    let violation = world.drive(&mut sim, nemesis).err();
    let (trace, elapsed) = (world.history.trace(), sim.elapsed());
    Outcome { violation, trace, elapsed }
}

impl World {
    fn new(plan: Arc<Plan>, random: &mut Random, history: History) -> Self {
        let quiet = Arc::new(AtomicBool::new(false));
        history.record(&Event::Note(format!("{plan:?}")));
        let clock = |random: &mut Random| SimClock::new(random.around_zero(DRIFT_PPM), random.around_zero(SKEW_MS));
        let allocators: Vec<_> = (plan.allocators.iter())
            .map(|name| AllocatorHost::new(name, clock(random), &plan, &history, random.fork()))
            .collect();
        for (host, node_id) in allocators.iter().zip(plan.founders.keys().copied()) {
            let platter = Platter::empty(node_id, random.fork(), &history);
            host.set_up(Some(Setup { node_id, platter, bootstrap: true, may_give_up: false }));
        }
        let holders = (plan.holders.iter())
            .map(|name| HolderHost::new(name, clock(random), &plan, &history, &quiet, random.fork()))
            .collect();
        let raw_clients =
            plan.raw_clients.iter().map(|name| RawHost::new(name, &plan, &history, &quiet, random.fork())).collect();
        let operator = Operator::new(&plan, &history, random.fork());
        Self { plan, history, allocators, holders, operator, raw_clients, quiet }
    }

    fn register(&self, sim: &mut Sim<'_>) {
        for host in &self.allocators {
            let program = Arc::clone(host);
            sim.host(host.name.as_str(), move || Arc::clone(&program).run());
        }
        let program = Arc::clone(&self.operator);
        sim.host("operator", move || Arc::clone(&program).run());
        for host in &self.holders {
            let program = Arc::clone(host);
            sim.host(host.name.as_str(), move || Arc::clone(&program).run());
        }
        for host in &self.raw_clients {
            let program = Arc::clone(host);
            sim.host(host.name.as_str(), move || Arc::clone(&program).run());
        }
    }

    /// From the founding to the end.
    fn drive(&self, sim: &mut Sim<'_>, mut nemesis: Nemesis) -> Result<(), Violation> {
        self.until(sim, READY_WITHIN, "the cluster is ready", |_, _| self.operator.is_ready())?;
        let calm_at = sim.elapsed() + self.plan.chaos;
        self.until(sim, Duration::MAX, "the nemesis stops", |sim, _| {
            nemesis.work(self, sim);
            sim.elapsed() >= calm_at
        })?;
        nemesis.heal(self, sim);
        let mut progress = Progress::expect(sim.elapsed(), self.plan.served_within(), self.wishes());
        self.until(sim, Duration::MAX, "everybody is served", |sim, _| {
            nemesis.finish_surgery(self, sim);
            if let Some(who) = progress.overdue(sim.elapsed()) {
                self.history.violate(progress_after_healing::NAME, who);
            }
            progress.note(|host, what| self.history.served(host, what)) && !nemesis.is_operating()
        })?;
        self.quiet.store(true, Ordering::Relaxed);
        let voters = nemesis.members();
        self.until(sim, AGREED_WITHIN, "every member has applied the same", |_, looked| looked && self.agree(&voters))?;
        self.history.end();
        self.history.violation().map_or(Ok(()), Err)
    }

    /// Steps until something holds, or an invariant is broken.
    fn until(
        &self,
        sim: &mut Sim<'_>,
        within: Duration,
        what: &str,
        mut holds: impl FnMut(&mut Sim<'_>, bool) -> bool,
    ) -> Result<(), Violation> {
        let deadline = sim.elapsed().saturating_add(within);
        for step in 1_u64.. {
            sim.step().expect("no host's program ends with an error");
            self.history.set_now(sim.elapsed());
            let looks = step.is_multiple_of(STEPS_PER_LOOK);
            if looks {
                self.look(step.is_multiple_of(10 * STEPS_PER_LOOK));
            }
            if let Some(violation) = self.history.violation() {
                return Err(violation);
            }
            if holds(sim, looks) {
                break;
            }
            if sim.elapsed() > deadline {
                self.history.violate(replicas_agree::NAME, format!("not within {within:?}: {what}"));
            }
        }
        self.history.violation().map_or(Ok(()), Err)
    }

    /// Looks at every member.
    fn look(&self, with_state: bool) {
        for found in self.allocators.iter().filter_map(|host| host.observe(with_state)) {
            self.history.record(&Event::Found(found));
        }
    }

    /// Whether these members have applied the same entries; then their states are compared.
    fn agree(&self, members: &BTreeSet<u64>) -> bool {
        let found = self.allocators.iter().filter_map(|host| host.observe(true));
        let found: Vec<_> = found.filter(|member| members.contains(&member.node_id)).collect();
        let agree = found.len() == members.len() && found.iter().all(|member| member.applied == found[0].applied);
        if agree {
            for member in found {
                self.history.record(&Event::Found(member));
            }
        }
        agree
    }

    /// Who wants what in the end.
    fn wishes(&self) -> BTreeSet<(String, &'static str)> {
        let mut wishes = BTreeSet::new();
        for name in &self.plan.holders {
            wishes.insert((name.clone(), IDS));
            if !self.plan.wild_clocks {
                wishes.insert((name.clone(), SNOWFLAKES));
            }
        }
        wishes.extend(self.plan.raw_clients.iter().map(|name| (name.clone(), GRANTS)));
        wishes
    }
}
