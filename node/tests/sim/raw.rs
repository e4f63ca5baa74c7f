//! Raw clients: they send the allocator's commands themselves, twice, late, out of order, and write every answer down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join;
use stint::cluster::remote::RemoteAllocator;
use stint::cluster::transport::Connections;
use stint::ports::coordination::Allocator;
use stint_idgen::allocator::{Command, Grant, HolderId, Reply, WorkerLease};
use tokio::time::sleep;

use crate::history::{Event, History};
use crate::holders::allocators;
use crate::plan::Plan;
use crate::random::Random;

/// What a raw client wants.
pub(crate) const GRANTS: &str = "grants";

/// How long a raw client's leases last.
const LEASE_MS: u64 = 10_000;
/// How many requests and grants are kept, to be sent again.
const KEPT: usize = 8;

/// A machine that runs a raw client.
pub(crate) struct RawHost {
    pub(crate) name: String,
    plan: Arc<Plan>,
    history: History,
    quiet: Arc<AtomicBool>,
    random: Mutex<Random>,
}

/// One process: another holder at each start.
struct RawClient {
    host: Arc<RawHost>,
    random: Random,
    /// They ask the members in different orders.
    allocators: [RemoteAllocator; 2],
    holder: HolderId,
    request: u64,
    lease_request: u64,
    sent: Vec<(u64, Command)>,
    grants: Vec<Grant>,
    lease: Option<WorkerLease>,
}

impl RawHost {
    pub(crate) fn new(
        name: &str,
        plan: &Arc<Plan>,
        history: &History,
        quiet: &Arc<AtomicBool>,
        random: Random,
    ) -> Arc<Self> {
        let (plan, quiet, random) = (Arc::clone(plan), Arc::clone(quiet), Mutex::new(random));
        Arc::new(Self { name: name.to_owned(), plan, history: history.clone(), quiet, random })
    }

    pub(crate) async fn run(self: Arc<Self>) -> turmoil::Result {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner).fork();
        let connections = Connections::default();
        let allocators = [0, 1].map(|_| allocators(&self.plan, &mut random, &connections));
        let holder = HolderId(u128::from(random.next()) << 64 | u128::from(random.next()));
        let (sent, grants) = (Vec::new(), Vec::new());
        let (request, lease_request, lease) = (0, 0, None);
        RawClient { host: self, random, allocators, holder, request, lease_request, sent, grants, lease }.run().await
    }
}

impl RawClient {
    async fn run(mut self) -> turmoil::Result {
        loop {
            sleep(self.random.ms(10..=120)).await;
            if self.host.quiet.load(Ordering::Relaxed) {
                continue;
            }
            // Where worker ids are few, they go from hand to hand.
            let last = if self.host.plan.is_crowded() { 105 } else { 100 };
            match self.random.between(1..=last) {
                1..=55 => self.grant().await,
                56..=76 => self.repeat().await,
                77..=95 => self.give_back().await,
                _ => self.lease().await,
            }
        }
    }

    /// Sends a new request until it is answered, or gives it up.
    async fn grant(&mut self) {
        self.request += 1;
        let (request, holder) = (self.request, self.holder);
        let (namespace, _) = self.random.pick(&self.host.plan.namespaces).clone();
        let want = self.random.between(1..=40);
        self.host.history.record(&Event::Asked { holder, request, namespace: namespace.clone() });
        let command = Command::Grant { namespace, want, holder, label: self.host.name.clone(), request };
        self.sent.push((request, command.clone()));
        if self.sent.len() > KEPT {
            self.sent.remove(0);
        }
        while !self.send(request, &command).await && !self.random.chance(10) {
            sleep(self.random.ms(5..=200)).await;
        }
    }

    /// Sends a request that was sent before.
    async fn repeat(&mut self) {
        if self.sent.is_empty() {
            return;
        }
        let (request, command) = self.random.pick(&self.sent).clone();
        self.send(request, &command).await;
    }

    /// Sends a request, sometimes twice at once; true if it was answered.
    async fn send(&mut self, request: u64, command: &Command) -> bool {
        let [one, other] = &self.allocators;
        let replies = if self.random.chance(30) {
            let (one, other) = join(one.submit(command.clone()), other.submit(command.clone())).await;
            [one.ok(), other.ok()]
        } else {
            let allocator = if self.random.chance(50) { one } else { other };
            [allocator.submit(command.clone()).await.ok(), None]
        };
        let answered = replies.iter().any(Option::is_some);
        for reply in replies.into_iter().flatten() {
            self.host.history.record(&Event::Answered { holder: self.holder, request, reply: reply.clone() });
            if let Reply::Granted(grant) = reply {
                self.host.history.record(&Event::Served { host: self.host.name.clone(), what: GRANTS });
                if !self.grants.contains(&grant) {
                    self.grants.push(grant);
                }
            }
        }
        answered
    }

    /// Reports about a grant, maybe not for the first time.
    async fn give_back(&mut self) {
        if self.grants.is_empty() {
            return;
        }
        let grant = self.random.pick(&self.grants).clone();
        let used_to = self.random.between(grant.range.start()..=grant.range.end());
        let command = Command::Return { holder: self.holder, grant: grant.id, used_to };
        if let Some(Reply::Returned { unused }) = self.submit(command).await {
            self.host.history.record(&Event::Returned { grant: grant.id, unused });
        }
        // What stays is returned again, much later.
        if self.random.chance(60) || self.grants.len() > KEPT {
            self.grants.retain(|other| *other != grant);
        }
    }

    /// Takes a worker id, or prolongs the lease, or gives it up.
    async fn lease(&mut self) {
        let (holder, duration_ms) = (self.holder, LEASE_MS);
        let command = match self.lease.take() {
            None => {
                self.lease_request += 1;
                let (label, request) = (self.host.name.clone(), self.lease_request);
                Command::LeaseWorker { holder, label, request, duration_ms }
            }
            Some(WorkerLease { worker, lease, .. }) if self.random.chance(60) => {
                Command::RenewWorker { holder, worker, lease, duration_ms }
            }
            Some(WorkerLease { worker, lease, .. }) => Command::ReleaseWorker { holder, worker, lease },
        };
        if let Some(Reply::WorkerLeased(lease) | Reply::WorkerRenewed(lease)) = self.submit(command).await {
            self.host.history.record(&Event::Leased { process: None, lease });
            self.lease = Some(lease);
        }
    }

    async fn submit(&mut self, command: Command) -> Option<Reply> {
        for _ in 0..3 {
            if let Ok(reply) = self.random.pick(&self.allocators).submit(command.clone()).await {
                return Some(reply);
            }
            sleep(Duration::from_millis(50)).await;
        }
        None
    }
}
