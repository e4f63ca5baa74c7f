//! What a seed decides before the run begins: how large the world is, and how bad its network and clocks are.

use std::collections::BTreeMap;
use std::time::Duration;

use stint_idgen::allocator::{MAX_WORKER_WAIT, NamespaceName, NamespaceSpec};

use crate::invariants::progress_after_healing;
use crate::network::address;
use crate::random::Random;

/// One world.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The members that the cluster begins with, and their addresses.
    pub(crate) founders: BTreeMap<u64, String>,
    /// The allocators' hosts: the founders', then spare ones.
    pub(crate) allocators: Vec<String>,
    pub(crate) holders: Vec<String>,
    pub(crate) raw_clients: Vec<String>,
    pub(crate) namespaces: Vec<(NamespaceName, NamespaceSpec)>,
    /// The slowest message, without holds.
    pub(crate) latency: Duration,
    pub(crate) snapshot_every: u64,
    pub(crate) entries_kept: u64,
    /// How long the nemesis is at work.
    pub(crate) chaos: Duration,
    /// Clocks may jump by an hour. Then nobody can demand Snowflake ids in time.
    pub(crate) wild_clocks: bool,
    /// How many worker ids are left in a crowded world: hardly more than there are clients, so that those are used again
    /// and again.
    pub(crate) workers_left: Option<u16>,
    /// Every crash is a power cut that hits all allocators at once, while their disks are slow: what was told too early
    /// is lost everywhere.
    pub(crate) power_cuts: bool,
}

impl Plan {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let size = if random.chance(70) { 3 } else { 5 };
        let named = |what: &str, count: u64| (1..=count).map(|number| format!("{what}-{number}")).collect::<Vec<_>>();
        let allocators = named("allocator", size + 1);
        let founders = (1..=size).zip(allocators.iter().map(|host| address(host))).collect();
        let (holders, raw_clients) = (named("holder", random.between(2..=3)), named("raw", 2));
        let clients = u16::try_from(holders.len() + raw_clients.len()).expect("they are a few");
        let workers_left = if random.chance(20) { Some(clients + u16::from(random.chance(50))) } else { None };
        let namespaces = named("names", random.between(1..=3)).into_iter().map(|name| {
            let name = name.parse().expect("the name is plain");
            let start = random.between(0..=1_000);
            (name, NamespaceSpec::contiguous(start, 1 << 40, random.between(5..=60)))
        });
        Self {
            founders,
            allocators,
            namespaces: namespaces.collect(),
            holders,
            raw_clients,
            latency: random.ms(4..=30),
            snapshot_every: random.between(20..=200),
            entries_kept: random.between(0..=20),
            chaos: random.ms(5_000..=10_000),
            wild_clocks: random.chance(20),
            workers_left,
            power_cuts: random.chance(20),
        }
    }

    pub(crate) const fn is_crowded(&self) -> bool {
        self.workers_left.is_some()
    }

    /// How long after healing everybody must have been served. In a crowded world a worker's next window begins where its
    /// last one ends, which may be as far ahead as the allocator lets it be.
    pub(crate) fn served_within(&self) -> Duration {
        let wait = if self.is_crowded() { MAX_WORKER_WAIT } else { Duration::ZERO };
        progress_after_healing::WITHIN + wait
    }

    /// Where all allocators can be reached.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.allocators.iter().map(|host| address(host)).collect()
    }

    /// Every host that is not an allocator.
    pub(crate) fn clients(&self) -> impl Iterator<Item = &String> {
        self.holders.iter().chain(&self.raw_clients)
    }
}
