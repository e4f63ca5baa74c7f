//! Changes of members: a lost volume and its replacement, one member more, one less. One at a time, under whatever else
//! goes wrong meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use stint::ports::coordination::MemberChange;
use turmoil::Sim;

use crate::allocators::Setup;
use crate::disk::Platter;
use crate::history::Event;
use crate::invariants::one_volume_per_number;
use crate::network::address;
use crate::random::Random;
use crate::world::World;

/// The members, and what is being done to them.
pub(super) struct Surgery {
    random: Random,
    /// By the place of their host.
    members: BTreeMap<usize, u64>,
    /// Higher than the number of any member before.
    next_number: u64,
    step: Option<Step>,
    order: Option<u64>,
}

/// What is to be done next, with the member on a host.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Its volume was lost, and it is tried whether it takes its old place back.
    Lost { host: usize, until: Duration },
    /// It is to be removed; then its host gets a new member, or none.
    Remove { host: usize, replace: bool },
    /// A new member, with an empty disk, is to be added.
    Add { host: usize },
}

impl Surgery {
    pub(super) fn new(world: &World, random: Random) -> Self {
        let members: BTreeMap<_, _> = world.plan.founders.keys().copied().enumerate().collect();
        let next_number = members.len() as u64 + 1;
        Self { random, members, next_number, step: None, order: None }
    }

    pub(super) fn members(&self) -> BTreeSet<u64> {
        self.members.values().copied().collect()
    }

    pub(super) const fn is_operating(&self) -> bool {
        self.step.is_some()
    }

    /// Begins one, if none is under way.
    pub(super) fn begin(&mut self, world: &World, sim: &mut Sim<'_>) {
        if self.is_operating() {
            return;
        }
        let hosts: Vec<_> = self.members.keys().copied().collect();
        let host = *self.random.pick(&hosts);
        let spare = (0..world.allocators.len()).find(|place| !self.members.contains_key(place));
        self.step = match (self.random.between(1..=4), spare) {
            (1, Some(host)) => Some(self.set_up_new(world, sim, host)),
            (2, None) => Some(Step::Remove { host, replace: false }),
            _ => Some(self.lose_volume(world, sim, host)),
        };
        world.history.record(&Event::Note(format!("surgery: {:?}", self.step)));
    }

    /// Does the next step, once the one before is done.
    pub(super) fn go_on(&mut self, world: &World, sim: &mut Sim<'_>) {
        let Some(step) = self.step else { return };
        let outcome = match self.order {
            None => None,
            Some(order) => match world.operator.outcome(order) {
                None => return,
                outcome => outcome,
            },
        };
        self.order = None;
        self.step = match step {
            Step::Lost { host, until } => {
                if matches!(outcome, Some(Ok(()))) {
                    let what = "an empty volume took the place of a lost one under its number".to_owned();
                    world.history.violate(one_volume_per_number::NAME, what);
                }
                if sim.elapsed() < until {
                    Some(self.tempt(world, step, host))
                } else {
                    Some(Step::Remove { host, replace: true })
                }
            }
            Step::Remove { host, replace } => match outcome {
                Some(Ok(())) => self.removed(world, sim, host, replace),
                // An earlier attempt has done it.
                Some(Err(why)) if why.contains("there is no member") => self.removed(world, sim, host, replace),
                _ => {
                    let node_id = self.members[&host];
                    self.order = Some(world.operator.order(MemberChange::Remove { node_id }));
                    Some(step)
                }
            },
            Step::Add { .. } if matches!(outcome, Some(Ok(()))) => None,
            Step::Add { host } => {
                self.order = Some(world.operator.order(self.addition(world, host)));
                Some(step)
            }
        };
    }

    fn addition(&self, world: &World, host: usize) -> MemberChange {
        MemberChange::Add { node_id: self.members[&host], address: address(&world.allocators[host].name) }
    }

    /// The empty member asks to be taken in under its old number, which nobody may grant.
    fn tempt(&mut self, world: &World, step: Step, host: usize) -> Step {
        self.order = Some(world.operator.order(self.addition(world, host)));
        step
    }

    fn lose_volume(&mut self, world: &World, sim: &mut Sim<'_>, host: usize) -> Step {
        let node_id = self.members[&host];
        let bootstrap = self.random.chance(60);
        Self::set_up(
            world,
            sim,
            host,
            Setup {
                node_id,
                platter: Platter::empty(node_id, self.random.clone(), &world.history),
                bootstrap,
                may_give_up: true,
            },
        );
        Step::Lost { host, until: sim.elapsed() + self.random.ms(200..=3_000) }
    }

    /// Starts an empty member with a number that was never used.
    fn set_up_new(&mut self, world: &World, sim: &mut Sim<'_>, host: usize) -> Step {
        let node_id = self.next_number;
        self.next_number += 1;
        self.members.insert(host, node_id);
        let platter = Platter::empty(node_id, self.random.fork(), &world.history);
        Self::set_up(world, sim, host, Setup { node_id, platter, bootstrap: false, may_give_up: false });
        Step::Add { host }
    }

    fn removed(&mut self, world: &World, sim: &mut Sim<'_>, host: usize, replace: bool) -> Option<Step> {
        self.members.remove(&host);
        if replace {
            return Some(self.set_up_new(world, sim, host));
        }
        world.allocators[host].set_up(None);
        sim.crash(world.allocators[host].name.as_str());
        sim.bounce(world.allocators[host].name.as_str());
        None
    }

    fn set_up(world: &World, sim: &mut Sim<'_>, host: usize, setup: Setup) {
        let host = &world.allocators[host];
        sim.crash(host.name.as_str());
        host.set_up(Some(setup));
        sim.bounce(host.name.as_str());
    }
}
