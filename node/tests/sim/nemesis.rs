//! What goes wrong, when the seed says so: crashes, cuts, clocks, disks, leaders, members; and how it is healed.

mod surgery;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use stint::ports::coordination::MemberChange;
use turmoil::Sim;

use self::surgery::Surgery;
use crate::history::Event;
use crate::holders::HolderHost;
use crate::random::Random;
use crate::world::World;

/// How wrong a clock may be set, in milliseconds.
const STEP_MS: u64 = 3_000;
/// The same in a world of wild clocks.
const WILD_STEP_MS: u64 = 3_600_000;
/// How wrong clocks are that are right again.
const RIGHT_MS: u64 = 30;

/// How long an allocator is down after a crash, in milliseconds.
const DOWN_MS: RangeInclusive<u64> = 30..=3_000;
/// The same after a power cut of all: nothing goes on meanwhile.
const DARK_MS: RangeInclusive<u64> = 30..=800;

/// The source of all evil.
pub(crate) struct Nemesis {
    random: Random,
    next_at: Duration,
    /// What is undone when.
    repairs: Vec<(Duration, Repair)>,
    /// Pairs of hosts with something wrong between them.
    broken_links: BTreeSet<(String, String)>,
    surgery: Surgery,
}

/// How one thing is put right.
#[derive(Debug)]
enum Repair {
    Start(String),
    Link { from: String, to: String, held: bool },
    Disk(usize),
}

/// What is wrong with a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Both,
    OneWay,
    Held,
}

impl Nemesis {
    pub(crate) fn new(world: &World, mut random: Random) -> Self {
        let surgery = Surgery::new(world, random.fork());
        let (repairs, broken_links) = (Vec::new(), BTreeSet::new());
        Self { random, next_at: Duration::ZERO, repairs, broken_links, surgery }
    }

    /// The members that the cluster has, as far as the operator knows.
    pub(crate) fn members(&self) -> BTreeSet<u64> {
        self.surgery.members()
    }

    /// Whether members are being changed.
    pub(crate) const fn is_operating(&self) -> bool {
        self.surgery.is_operating()
    }

    /// Does what is due.
    pub(crate) fn work(&mut self, world: &World, sim: &mut Sim<'_>) {
        self.surgery.go_on(world, sim);
        self.repair(world, sim, false);
        if sim.elapsed() < self.next_at {
            return;
        }
        self.next_at = sim.elapsed() + self.random.ms(50..=900);
        if world.plan.power_cuts {
            (0..world.allocators.len()).for_each(|host| set_slow(world, host, true));
        }
        if world.plan.is_crowded() && self.random.chance(25) {
            let holder = self.random.pick(&world.holders);
            return restart(world, holder);
        }
        match self.random.between(1..=100) {
            1..=16 => self.crash_allocators(world, sim),
            17..=22 => self.stop_allocator(world, sim),
            23..=36 => self.cut_allocator(world, sim),
            37..=46 => self.cut_pair(world, sim),
            47..=54 => self.cut_client(world, sim),
            55..=66 => self.step_clock(world),
            67..=72 => self.slow_disk(world, sim),
            73..=80 => self.transfer(world),
            81..=92 => self.kill_client(world, sim),
            _ => self.surgery.begin(world, sim),
        }
    }

    /// Goes on with a change of members only.
    pub(crate) fn finish_surgery(&mut self, world: &World, sim: &mut Sim<'_>) {
        self.surgery.go_on(world, sim);
    }

    /// Puts everything right, and stops.
    pub(crate) fn heal(&mut self, world: &World, sim: &mut Sim<'_>) {
        self.repair(world, sim, true);
        (0..world.allocators.len()).for_each(|host| set_slow(world, host, false));
        for clock in clocks(world) {
            clock.step_to(self.random.around_zero(RIGHT_MS));
        }
        world.history.record(&Event::Note("all is healed".to_owned()));
    }

    /// Undoes what is due, or everything.
    fn repair(&mut self, world: &World, sim: &mut Sim<'_>, all: bool) {
        let now = sim.elapsed();
        let (due, later) = std::mem::take(&mut self.repairs).into_iter().partition(|(at, _)| all || *at <= now);
        self.repairs = later;
        for (_, repair) in due {
            note(world, format!("repair: {repair:?}"));
            match repair {
                Repair::Start(name) => sim.bounce(name),
                Repair::Link { from, to, held } => {
                    if held {
                        sim.release(from.as_str(), to.as_str());
                    } else {
                        sim.repair(from.as_str(), to.as_str());
                    }
                    self.broken_links.remove(&pair(&from, &to));
                }
                Repair::Disk(host) => set_slow(world, host, false),
            }
        }
    }

    fn later(&mut self, sim: &Sim<'_>, ms: RangeInclusive<u64>, repair: Repair) {
        self.repairs.push((sim.elapsed() + self.random.ms(ms), repair));
    }

    /// One, some, or all at once: a power cut.
    fn crash_allocators(&mut self, world: &World, sim: &mut Sim<'_>) {
        let cut = world.plan.power_cuts;
        let (part, down) = if cut { (100, DARK_MS) } else { (*self.random.pick(&[20, 20, 50, 100]), DOWN_MS) };
        for host in &world.allocators {
            if self.random.chance(part) && sim.is_host_running(host.name.as_str()) {
                note(world, format!("crash {}", host.name));
                sim.crash(host.name.as_str());
                self.later(sim, down.clone(), Repair::Start(host.name.clone()));
            }
        }
    }

    fn stop_allocator(&mut self, world: &World, sim: &mut Sim<'_>) {
        let host = self.random.pick(&world.allocators);
        if self.is_down(&host.name) || !sim.is_host_running(host.name.as_str()) {
            return;
        }
        note(world, format!("stop {}", host.name));
        host.stop();
        self.later(sim, 500..=3_000, Repair::Start(host.name.clone()));
    }

    fn is_down(&self, name: &str) -> bool {
        self.repairs.iter().any(|(_, repair)| matches!(repair, Repair::Start(down) if down == name))
    }

    /// Between one allocator and some or all of the others.
    fn cut_allocator(&mut self, world: &World, sim: &mut Sim<'_>) {
        let host = self.random.pick(&world.plan.allocators).clone();
        let part = *self.random.pick(&[50, 100, 100]);
        let (cut, outward) = (self.cut(), self.random.chance(50));
        for other in world.plan.allocators.iter().filter(|other| **other != host) {
            if self.random.chance(part) {
                let (from, to) = if outward { (&host, other) } else { (other, &host) };
                self.break_link(world, sim, from, to, cut);
            }
        }
    }

    fn cut_pair(&mut self, world: &World, sim: &mut Sim<'_>) {
        let (from, to) = (self.random.pick(&world.plan.allocators), self.random.pick(&world.plan.allocators));
        if from != to {
            let cut = self.cut();
            self.break_link(world, sim, from, to, cut);
        }
    }

    /// Between one client and some of the allocators.
    fn cut_client(&mut self, world: &World, sim: &mut Sim<'_>) {
        let clients: Vec<_> = world.plan.clients().collect();
        let client = *self.random.pick(&clients);
        let cut = self.cut();
        for allocator in &world.plan.allocators {
            if self.random.chance(70) {
                self.break_link(world, sim, allocator, client, cut);
            }
        }
    }

    fn cut(&mut self) -> Cut {
        *self.random.pick(&[Cut::Both, Cut::OneWay, Cut::Held])
    }

    fn break_link(&mut self, world: &World, sim: &Sim<'_>, from: &str, to: &str, cut: Cut) {
        if !self.broken_links.insert(pair(from, to)) {
            return;
        }
        note(world, format!("cut {from} from {to}: {cut:?}"));
        match cut {
            Cut::Both => sim.partition(from, to),
            Cut::OneWay => sim.partition_oneway(from, to),
            Cut::Held => sim.hold(from, to),
        }
        let (from, to) = (from.to_owned(), to.to_owned());
        self.later(sim, 100..=4_000, Repair::Link { from, to, held: cut == Cut::Held });
    }

    fn step_clock(&mut self, world: &World) {
        let bound = if world.plan.wild_clocks && self.random.chance(30) { WILD_STEP_MS } else { STEP_MS };
        let clocks = clocks(world);
        let offset_ms = self.random.around_zero(bound);
        note(world, format!("a clock is now wrong by {offset_ms} ms"));
        self.random.pick(&clocks).step_to(offset_ms);
    }

    fn slow_disk(&mut self, world: &World, sim: &Sim<'_>) {
        let host = self.random.between(0..=world.allocators.len() as u64 - 1);
        let host = usize::try_from(host).expect("it is an index");
        note(world, format!("the disk of {} is slow", world.allocators[host].name));
        set_slow(world, host, true);
        self.later(sim, 500..=4_000, Repair::Disk(host));
    }

    fn transfer(&mut self, world: &World) {
        let members: Vec<_> = self.members().into_iter().map(Some).chain([None]).collect();
        let to = *self.random.pick(&members);
        world.operator.order(MemberChange::Transfer { to });
    }

    fn kill_client(&mut self, world: &World, sim: &mut Sim<'_>) {
        let clients: Vec<_> = world.plan.clients().collect();
        let name = (*self.random.pick(&clients)).clone();
        let holder = world.holders.iter().find(|holder| holder.name == name);
        if let Some(holder) = holder.filter(|_| self.random.chance(40)) {
            restart(world, holder);
        } else if sim.is_host_running(name.as_str()) {
            note(world, format!("kill {name}"));
            sim.crash(name.as_str());
            self.later(sim, 10..=1_500, Repair::Start(name));
        }
    }
}

fn note(world: &World, what: String) {
    world.history.record(&Event::Note(what));
}

/// In an orderly way: what it leased is free, and wanted, before the lease would have ended.
fn restart(world: &World, holder: &HolderHost) {
    note(world, format!("restart {}", holder.name));
    holder.restart();
}

fn pair(one: &str, other: &str) -> (String, String) {
    (one.min(other).to_owned(), one.max(other).to_owned())
}

fn set_slow(world: &World, host: usize, slow: bool) {
    if let Some(setup) = world.allocators[host].setup() {
        setup.platter.set_slow(slow);
    }
}

fn clocks(world: &World) -> Vec<Arc<crate::clock::SimClock>> {
    let allocators = world.allocators.iter().map(|host| Arc::clone(&host.clock));
    allocators.chain(world.holders.iter().map(|host| Arc::clone(&host.clock))).collect()
}
