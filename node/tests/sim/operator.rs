//! The operator: makes the namespaces, takes worker ids out of use, and changes the members when the nemesis says so.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use stint::cluster::transport::Connections;
use stint::ports::coordination::{Allocator, MemberChange};
use stint_idgen::allocator::{Command, HolderId, MAX_WORKER_LEASE};
use stint_idgen::snowflake::WORKERS;
use tokio::time::{sleep, timeout};

use crate::history::{Event, History};
use crate::holders::allocators;
use crate::plan::Plan;
use crate::random::Random;

/// How long a change may take before the operator tries again.
const CHANGED_WITHIN: Duration = Duration::from_secs(4);
/// Commands at the same time.
const AT_ONCE: usize = 100;

/// The operator's machine, and what there is to do.
pub(crate) struct Operator {
    plan: Arc<Plan>,
    history: History,
    random: Random,
    ready: AtomicBool,
    orders: Mutex<Orders>,
}

#[derive(Default)]
struct Orders {
    last: u64,
    waiting: VecDeque<(u64, MemberChange)>,
    outcomes: BTreeMap<u64, Result<(), String>>,
}

impl Operator {
    pub(crate) fn new(plan: &Arc<Plan>, history: &History, random: Random) -> Arc<Self> {
        let (plan, history) = (Arc::clone(plan), history.clone());
        Arc::new(Self { plan, history, random, ready: AtomicBool::new(false), orders: Mutex::default() })
    }

    /// Whether the world is as the plan says.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Orders a change; its outcome is asked for by number.
    pub(crate) fn order(&self, change: MemberChange) -> u64 {
        let mut orders = self.orders();
        orders.last += 1;
        let number = orders.last;
        orders.waiting.push_back((number, change));
        number
    }

    /// How an order went, once that is known.
    pub(crate) fn outcome(&self, number: u64) -> Option<Result<(), String>> {
        self.orders().outcomes.remove(&number)
    }

    pub(crate) async fn run(self: Arc<Self>) -> turmoil::Result {
        let (mut random, connections) = (self.random.clone(), Connections::default());
        let allocator = allocators(&self.plan, &mut random, &connections);
        for (name, spec) in &self.plan.namespaces {
            insist(&allocator, Command::CreateNamespace { name: name.clone(), spec: *spec }).await;
        }
        if let Some(left) = self.plan.workers_left {
            self.take_workers(&allocator, left).await;
        }
        self.ready.store(true, Ordering::Relaxed);
        loop {
            let next = self.orders().waiting.pop_front();
            let Some((number, change)) = next else {
                sleep(Duration::from_millis(20)).await;
                continue;
            };
            let changed = timeout(CHANGED_WITHIN, allocator.change_members(change.clone())).await;
            let outcome = match changed {
                Ok(outcome) => outcome.map_err(|error| error.to_string()),
                Err(_) => Err("it takes too long".to_owned()),
            };
            self.history.record(&Event::Note(format!("{change:?}: {outcome:?}")));
            self.orders().outcomes.insert(number, outcome);
        }
    }

    /// Leases worker ids for longer than any run, until so many are left.
    async fn take_workers(&self, allocator: &dyn Allocator, left: u16) {
        let duration_ms = u64::try_from(MAX_WORKER_LEASE.as_millis()).expect("it is an hour");
        let commands: Vec<_> = (0..u128::from(WORKERS - left))
            .map(|number| {
                let (holder, label) = (HolderId(number), "crowd".to_owned());
                Command::LeaseWorker { holder, label, request: 1, duration_ms }
            })
            .collect();
        for some in commands.chunks(AT_ONCE) {
            join_all(some.iter().map(|command| insist(allocator, command.clone()))).await;
        }
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends a command until it is answered.
async fn insist(allocator: &dyn Allocator, command: Command) {
    while allocator.submit(command.clone()).await.is_err() {
        sleep(Duration::from_millis(50)).await;
    }
}
