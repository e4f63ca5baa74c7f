//! Two holders of one worker id, with clocks that say anything: what they give out lies in windows that don't overlap.

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;

use proptest::prelude::*;
use stint_idgen::allocator::{Command, HolderId, Reply, Stamped, State};
use stint_idgen::snowflake::EPOCH_MS;

use super::*;
use crate::ids::snowflake::{Generator, GeneratorFactory, RolledBack};

/// One thing that happens. Holders are 0 and 1.
#[derive(Clone, Debug)]
enum Step {
    /// Time passes, as the allocator sees it.
    Passes { ms: u64 },
    /// A holder's wall clock is set wrong by this much.
    Jumps { holder: usize, ahead_ms: i64 },
    /// A holder's monotonic clock stands still, or goes on.
    Stands { holder: usize, stands: bool },
    /// A holder's generator reads a clock that is wrong by so much more.
    Errs { holder: usize, ahead_ms: i64 },
    /// A holder asks for a lease; the answer takes so long.
    Leases { holder: usize, takes_ms: u64 },
    /// A holder renews; the answer takes so long, or is lost.
    Renews { holder: usize, takes_ms: u64, lost: bool },
    /// A holder's lease is released, and it doesn't know.
    Loses { holder: usize },
    /// A holder makes ids.
    Draws { holder: usize, count: usize },
}

/// A holder's clocks; its generator's clock is a third.
#[derive(Debug, Default)]
struct HolderClock(Mutex<Times>);

#[derive(Clone, Copy, Debug, Default)]
struct Times {
    now_ms: u64,
    monotonic_ms: u64,
    stands: bool,
    ahead_ms: i64,
    generator_ahead_ms: i64,
}

#[derive(Debug)]
struct HolderGenerators(Arc<HolderClock>);

/// As the crate's, but for the epoch and the spinning, where it panics.
#[derive(Debug)]
struct HolderGenerator {
    worker: WorkerId,
    last_ms: u64,
    sequence: u64,
    clock: Arc<HolderClock>,
}

struct Holder {
    clock: Arc<HolderClock>,
    generators: HolderGenerators,
    request: u64,
    maker: Option<Maker>,
}

struct World {
    state: State,
    now_ms: u64,
    holders: [Holder; 2],
    given: Vec<(LeaseId, u64)>,
}

impl Clock for HolderClock {
    fn unix_ms(&self) -> u64 {
        let times = rig::locked(&self.0);
        times.now_ms.saturating_add_signed(times.ahead_ms)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(rig::locked(&self.0).monotonic_ms)
    }
}

impl GeneratorFactory for HolderGenerators {
    fn make(&self, worker: WorkerId) -> Box<dyn Generator> {
        Box::new(HolderGenerator { worker, last_ms: 0, sequence: 0, clock: Arc::clone(&self.0) })
    }
}

impl Generator for HolderGenerator {
    fn generate(&mut self) -> Result<u64, RolledBack> {
        let generator_ahead_ms = rig::locked(&self.clock.0).generator_ahead_ms;
        let now_ms = self.clock.unix_ms().saturating_add_signed(generator_ahead_ms);
        if now_ms < self.last_ms {
            return Err(RolledBack);
        }
        self.sequence = if now_ms == self.last_ms { self.sequence + 1 } else { 0 };
        assert!(self.sequence < 4_096, "here the crate would spin");
        self.last_ms = now_ms;
        Ok(now_ms.wrapping_sub(EPOCH_MS) << 22 | u64::from(self.worker.get()) << 12 | self.sequence)
    }
}

impl World {
    /// A world in which all worker ids but one are leased to others for an hour.
    fn crowded() -> Self {
        let mut world = Self::new(State::default());
        for other in 0..1_023 {
            world.lease(HolderId(100 + other), 1, 3_600_000).expect("there are enough");
        }
        world
    }

    fn new(state: State) -> Self {
        let holder = |_| {
            let clock = Arc::new(HolderClock(Mutex::new(Times { now_ms: START_MS, ..Times::default() })));
            Holder { generators: HolderGenerators(Arc::clone(&clock)), clock, request: 0, maker: None }
        };
        Self { state, now_ms: START_MS, holders: [0, 1].map(holder), given: Vec::new() }
    }

    fn apply(&mut self, command: Command) -> Reply {
        self.state.apply(&Stamped { at_ms: self.now_ms, command })
    }

    fn lease(&mut self, holder: HolderId, request: u64, duration_ms: u64) -> Option<WorkerLease> {
        let label = String::new();
        match self.apply(Command::LeaseWorker { holder, label, request, duration_ms }) {
            Reply::WorkerLeased(granted) => Some(granted),
            _ => None,
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        for holder in &self.holders {
            let mut times = rig::locked(&holder.clock.0);
            times.now_ms += ms;
            times.monotonic_ms += if times.stands { 0 } else { ms };
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Passes { ms } => self.pass(ms),
            Step::Jumps { holder, ahead_ms } => rig::locked(&self.holders[holder].clock.0).ahead_ms = ahead_ms,
            Step::Stands { holder, stands } => rig::locked(&self.holders[holder].clock.0).stands = stands,
            Step::Errs { holder, ahead_ms } => rig::locked(&self.holders[holder].clock.0).generator_ahead_ms = ahead_ms,
            Step::Leases { holder, takes_ms } => self.ask(holder, takes_ms),
            Step::Renews { holder, takes_ms, lost } => self.renew(holder, takes_ms, lost),
            Step::Loses { holder } => {
                if let Some(window) = self.window(holder) {
                    let (worker, lease) = (window.worker(), window.lease());
                    self.apply(Command::ReleaseWorker { holder: HolderId(holder as u128), worker, lease });
                }
            }
            Step::Draws { holder, count } => self.draw(holder, count),
        }
    }

    fn window(&self, holder: usize) -> Option<WorkerWindow> {
        self.holders[holder].maker.as_ref().map(|maker| *maker.window())
    }

    fn ask(&mut self, at: usize, takes_ms: u64) {
        let sent_at = self.holders[at].clock.monotonic();
        self.holders[at].request += 1;
        let granted = self.lease(HolderId(at as u128), self.holders[at].request, 10_000);
        self.pass(takes_ms);
        let holder = &mut self.holders[at];
        if let Some(granted) = granted {
            holder.maker = Some(Maker::new(WorkerWindow::new(&granted, sent_at), &holder.generators));
        }
    }

    fn renew(&mut self, at: usize, takes_ms: u64, lost: bool) {
        let Some(window) = self.window(at) else { return };
        let (sent_at, holder) = (self.holders[at].clock.monotonic(), HolderId(at as u128));
        let (worker, lease) = (window.worker(), window.lease());
        let reply = self.apply(Command::RenewWorker { holder, worker, lease, duration_ms: 10_000 });
        self.pass(takes_ms);
        if let (Reply::WorkerRenewed(renewed), Some(maker), false) = (reply, &mut self.holders[at].maker, lost) {
            maker.renew(&renewed, sent_at);
        }
    }

    fn draw(&mut self, at: usize, count: usize) {
        let Holder { clock, generators, maker: Some(maker), .. } = &mut self.holders[at] else { return };
        for _ in 0..count {
            if let Ok(id) = maker.make(&**clock, generators) {
                self.given.push((maker.window().lease(), id));
            }
        }
    }

    /// No id twice; and by what the ids say, the times of one worker's leases don't overlap.
    fn check(&self) {
        assert_eq!(self.given.iter().map(|(_, id)| id).collect::<HashSet<_>>().len(), self.given.len());
        let mut spans: BTreeMap<(u16, LeaseId), (u64, u64)> = BTreeMap::new();
        for &(lease, id) in &self.given {
            let made = decode(id).unwrap();
            let span = spans.entry((made.worker.get(), lease)).or_insert((u64::MAX, 0));
            *span = (span.0.min(made.timestamp_ms), span.1.max(made.timestamp_ms));
        }
        let spans: Vec<_> = spans.into_iter().collect();
        for pair in spans.windows(2) {
            let [((one, _), (_, end)), ((other, _), (start, _))] = pair else { unreachable!("they are two") };
            assert!(one != other || end < start, "{pair:?}");
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let wrong = || prop_oneof![4 => Just(0), 4 => -15_000_i64..15_000, 1 => Just(-2 * START_MS.cast_signed()), 1 => Just(1 << 41)];
    let takes = || prop_oneof![3 => 0_u64..50, 1 => 0_u64..20_000];
    let step = prop_oneof![
        4 => prop_oneof![0_u64..3, 0_u64..12_000].prop_map(|ms| Step::Passes { ms }),
        2 => (0_usize..2, wrong()).prop_map(|(holder, ahead_ms)| Step::Jumps { holder, ahead_ms }),
        1 => (0_usize..2, any::<bool>()).prop_map(|(holder, stands)| Step::Stands { holder, stands }),
        1 => (0_usize..2, wrong()).prop_map(|(holder, ahead_ms)| Step::Errs { holder, ahead_ms }),
        3 => (0_usize..2, takes()).prop_map(|(holder, takes_ms)| Step::Leases { holder, takes_ms }),
        3 => (0_usize..2, takes(), any::<bool>())
            .prop_map(|(holder, takes_ms, lost)| Step::Renews { holder, takes_ms, lost }),
        2 => (0_usize..2).prop_map(|holder| Step::Loses { holder }),
        6 => (0_usize..2, prop_oneof![8 => 1_usize..20, 1 => Just(5_000)])
            .prop_map(|(holder, count)| Step::Draws { holder, count }),
    ];
    proptest::collection::vec(step, 20..120)
}

#[test]
fn two_holders_of_one_worker_id_give_out_ids_of_disjoint_times_whatever_their_clocks_say() {
    let crowded = World::crowded().state;
    let (cases, shared, many) = (400, Mutex::new(0_u32), Mutex::new(0_usize));
    proptest!(ProptestConfig::with_cases(cases), |(steps in steps())| {
        let mut world = World::new(crowded.clone());
        for step in &steps {
            world.step(step);
        }
        world.check();
        let workers = |at: u16| world.given.iter().filter(move |(_, id)| worker_of(*id) == at);
        let leases: HashSet<LeaseId> = workers(1_023).map(|(lease, _)| *lease).collect();
        *rig::locked(&shared) += u32::from(leases.len() > 1);
        *rig::locked(&many) += world.given.len();
    });
    let (shared, many) = (*rig::locked(&shared), *rig::locked(&many));
    assert!(shared > cases / 4 && many > 10_000, "only {shared} cases shared a worker id, {many} ids were made");
}
