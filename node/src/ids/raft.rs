//! Ids from the Raft-coordinated allocator.
//!
//! Each namespace has a pool with a block in use and the next one at hand; a task keeps it filled, so that drawing an
//! id neither waits nor locks. For `links` each block is recorded in the database before any of its ids is served.

mod refill;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use stint_idgen::allocator::{Command, NamespaceName, NamespaceSpec, Refusal, Reply};
use stint_idgen::{IdRange, Key, Lane, Pool};
use tokio::sync::{Notify, watch};

use crate::metrics::IdMetrics;
use crate::ports::clock::Clock;
use crate::ports::coordination::Allocator;
use crate::ports::entropy::Entropy;
use crate::ports::id_source::{IdError, IdIssuer, IdRun, KeySource, MAX_BLOCK};
use crate::ports::link_store::{FenceStore, StoreError};
use crate::ports::spawn::Spawn;

/// How a node holds ids.
#[derive(Clone, Debug)]
pub struct RaftIdOptions {
    /// What people call this node in the allocator's records.
    pub label: String,
    /// How long the blocks at hand should last at the measured rate.
    pub headroom: Duration,
    /// The smallest block to ask for, in ids.
    pub min_block: u64,
    /// The largest block to ask for, in ids.
    pub max_block: u64,
    /// How long a draw waits for a block before it fails.
    pub patience: Duration,
}

/// What every pool of this process shares.
#[derive(Debug)]
struct Context {
    allocator: Arc<dyn Allocator>,
    /// Where blocks of links are recorded; without it there is no pool of links.
    fence: Option<Arc<dyn FenceStore>>,
    options: RaftIdOptions,
    metrics: IdMetrics,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    spawn: Arc<dyn Spawn>,
}

/// Ids of all namespaces, from the Raft-coordinated allocator.
#[derive(Debug)]
pub struct RaftIds {
    context: Arc<Context>,
    links: Option<Arc<NamespacePool>>,
    others: RwLock<HashMap<NamespaceName, Arc<NamespacePool>>>,
}

/// One namespace's pool, as drawers and its refill task share it.
#[derive(Debug)]
struct NamespacePool {
    namespace: NamespaceName,
    /// How counters become ids. What of it may change has no part in that.
    spec: NamespaceSpec,
    pool: Arc<Pool>,
    /// Counters drawn for answers that failed, in order: the next answer has them.
    spare: Mutex<VecDeque<IdRange>>,
    /// Wakes the refill task.
    refill: Notify,
    /// Whether the refill task was woken already.
    asked: AtomicBool,
    /// The largest single draw that waits: the next block is at least that large.
    wanted: AtomicU64,
    /// Counts blocks; wakes those who wait for one.
    arrivals: watch::Sender<Arrivals>,
    /// Wakes the refill task from the pause after a refusal: what was refused may be had now.
    reopened: Notify,
}

/// How many blocks came, and why no more will, for now or for good.
#[derive(Clone, Debug, Default)]
struct Arrivals {
    blocks: u64,
    ended: Option<Ended>,
}

/// Why a pool gets no more blocks.
#[derive(Clone, Debug)]
enum Ended {
    Refused(Refusal),
    LaneTaken,
}

impl Ended {
    /// Whether the next request may be answered otherwise: quotas are raised.
    const fn may_pass(&self) -> bool {
        matches!(self, Self::Refused(Refusal::QuotaReached { .. } | Refusal::Exhausted(_)))
    }
}

impl From<Ended> for IdError {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Refused(Refusal::Exhausted(_)) => Self::Exhausted,
            Ended::Refused(refusal) => Self::Refused(refusal),
            Ended::LaneTaken => Self::LaneTaken,
        }
    }
}

impl RaftIds {
    /// Draws from `allocator`, recording blocks of links in `fence`. The namespace `links` must be there, and the lane
    /// checked ([`crate::service::fence`]).
    pub fn start(
        allocator: Arc<dyn Allocator>,
        fence: Arc<dyn FenceStore>,
        options: RaftIdOptions,
        metrics: IdMetrics,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        spawn: Arc<dyn Spawn>,
    ) -> Self {
        let fence = Some(fence);
        let context = Arc::new(Context { allocator, fence, options, metrics, clock, entropy, spawn });
        let links = Some(NamespacePool::start(NamespaceName::links(), links_spec(), &context));
        Self { context, links, others: RwLock::default() }
    }

    /// Draws from `allocator`, but no keys of links: without a database there is nothing to record their blocks in.
    pub fn without_links(
        allocator: Arc<dyn Allocator>,
        options: RaftIdOptions,
        metrics: IdMetrics,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        spawn: Arc<dyn Spawn>,
    ) -> Self {
        let context = Arc::new(Context { allocator, fence: None, options, metrics, clock, entropy, spawn });
        Self { context, links: None, others: RwLock::default() }
    }

    /// Whether draws go on without the allocator.
    ///
    /// # Errors
    /// Why they don't: no block has come yet, or a namespace has none left.
    pub fn readiness(&self) -> Result<(), String> {
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
        let mut pools = self.links.iter().chain(others.values()).peekable();
        if pools.peek().is_none() {
            return Err("no ids were drawn yet".to_owned());
        }
        match pools.find(|pool| pool.pool.remaining() == 0) {
            Some(dry) => Err(format!("no ids of `{}` are at hand", dry.namespace)),
            None => Ok(()),
        }
    }

    /// The pool of a namespace, started when it is first used.
    async fn pool(&self, namespace: &NamespaceName) -> Result<Arc<NamespacePool>, IdError> {
        if let Some(pool) = self.others.read().unwrap_or_else(PoisonError::into_inner).get(namespace) {
            return Ok(Arc::clone(pool));
        }
        let status = self.context.allocator.status().await?;
        let Some(known) = status.namespaces.into_iter().find(|known| known.name == *namespace) else {
            return Err(IdError::Refused(Refusal::UnknownNamespace(namespace.clone())));
        };
        let mut others = self.others.write().unwrap_or_else(PoisonError::into_inner);
        let pool = others
            .entry(known.name)
            .or_insert_with(|| NamespacePool::start(namespace.clone(), known.spec, &self.context));
        Ok(Arc::clone(pool))
    }
}

fn no_fence() -> IdError {
    let source = Arc::new(std::io::Error::new(std::io::ErrorKind::Unsupported, "no database is configured"));
    IdError::Fence(StoreError::Unavailable { operation: "record a block of ids", source })
}

/// The namespace of links is the whole Raft lane: its ids are the lane's counters.
pub fn links_spec() -> NamespaceSpec {
    NamespaceSpec::contiguous(0, Lane::CAPACITY, MAX_BLOCK)
}

impl Context {
    /// Makes or changes a namespace: its spec then, and whether it is new.
    async fn settle(&self, command: Command) -> Result<(NamespaceSpec, bool), IdError> {
        match self.allocator.submit(command).await? {
            Reply::Namespace { spec, created } => Ok((spec, created)),
            Reply::Refused(refusal) => Err(IdError::Refused(refusal)),
            reply => unreachable!("a namespace's settings are not answered with {reply:?}"),
        }
    }
}

impl NamespacePool {
    fn start(namespace: NamespaceName, spec: NamespaceSpec, context: &Arc<Context>) -> Arc<Self> {
        let (pool, filler) = Pool::new();
        let shared = Arc::new(Self {
            namespace,
            spec,
            pool,
            spare: Mutex::default(),
            refill: Notify::new(),
            asked: AtomicBool::new(true),
            wanted: AtomicU64::new(0),
            arrivals: watch::Sender::default(),
            reopened: Notify::new(),
        });
        let task = refill::run(Arc::clone(&shared), filler, Arc::clone(context));
        context.spawn.spawn("id refill", Box::pin(task));
        shared
    }

    /// Exactly `count` counters, rising.
    async fn draw_exactly(&self, context: &Context, count: u64) -> Result<Vec<IdRange>, IdError> {
        let mut drawn = self.take_spare(count);
        let mut missing = count - drawn.iter().map(|range| range.len()).sum::<u64>();
        while missing > 0 {
            match self.draw(context, missing, |pool| pool.take(missing)).await {
                Ok(range) => {
                    missing -= range.len();
                    drawn.push(range);
                }
                Err(error) => {
                    // Whoever asks for more than is left of a quota must not use it up for nothing.
                    self.keep(drawn);
                    return Err(error);
                }
            }
        }
        Ok(drawn)
    }

    /// At most `count` of the spare counters.
    fn take_spare(&self, count: u64) -> Vec<IdRange> {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut taken, mut missing) = (Vec::new(), count);
        while missing > 0
            && let Some(range) = spare.pop_front()
        {
            let cut = range.start() + missing.min(range.len());
            missing -= cut - range.start();
            taken.extend(IdRange::new(range.start(), cut));
            if let Ok(rest) = IdRange::new(cut, range.end()) {
                spare.push_front(rest);
            }
        }
        taken
    }

    fn keep(&self, drawn: Vec<IdRange>) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        spare.extend(drawn);
        // Spare counters were drawn before all that are still to be drawn: so answers rise.
        spare.make_contiguous().sort_unstable();
    }

    /// What was refused may be had now: the next draw asks again.
    fn reopen(&self) {
        self.arrivals.send_if_modified(|arrivals| arrivals.ended.take_if(|ended| ended.may_pass()).is_some());
        self.reopened.notify_one();
    }

    /// Draws with `draw` until it has something, waiting for blocks between tries.
    async fn draw<T>(&self, context: &Context, wanted: u64, draw: impl Fn(&Pool) -> Option<T>) -> Result<T, IdError> {
        if let Some(drawn) = draw(&self.pool) {
            self.ask_in_time();
            return Ok(drawn);
        }
        context.metrics.stalls.increment(1);
        self.wanted.fetch_max(wanted, Ordering::Relaxed);
        let patience = context.options.patience;
        tokio::time::timeout(patience, self.wait(draw)).await.unwrap_or(Err(IdError::Stalled { waited: patience }))
    }

    async fn wait<T>(&self, draw: impl Fn(&Pool) -> Option<T>) -> Result<T, IdError> {
        let mut arrivals = self.arrivals.subscribe();
        loop {
            let ended = arrivals.borrow_and_update().ended.clone();
            if let Some(drawn) = draw(&self.pool) {
                return Ok(drawn);
            }
            if let Some(ended) = ended {
                return Err(ended.into());
            }
            self.ask();
            arrivals.changed().await.expect("the sender lives as long as this pool");
        }
    }

    /// Asks for the next block while half of the current one remains.
    fn ask_in_time(&self) {
        if self.pool.wants_block() {
            self.ask();
        }
    }

    fn ask(&self) {
        if !self.asked.swap(true, Ordering::AcqRel) {
            self.refill.notify_one();
        }
    }
}

#[async_trait]
impl KeySource for RaftIds {
    async fn next_key(&self) -> Result<Key, IdError> {
        let links = self.links.as_ref().ok_or_else(no_fence)?;
        let counter = links.draw(&self.context, 1, Pool::next).await?;
        self.context.metrics.issued_to_links.increment(1);
        Lane::Raft.key(counter).ok_or(IdError::Exhausted)
    }
}

#[async_trait]
impl IdIssuer for RaftIds {
    async fn issue(&self, namespace: &NamespaceName, count: u64) -> Result<Vec<IdRun>, IdError> {
        let pool = self.pool(namespace).await?;
        let ranges = pool.draw_exactly(&self.context, count).await?;
        self.context.metrics.issued(namespace).increment(count);
        let run = |range| IdRun::of_counters(&pool.spec, range).expect("granted counters lie in their namespace");
        Ok(IdRun::join_all(ranges.into_iter().map(run)))
    }

    async fn create_namespace(
        &self,
        name: NamespaceName,
        spec: NamespaceSpec,
    ) -> Result<(NamespaceSpec, bool), IdError> {
        self.context.settle(Command::CreateNamespace { name, spec }).await
    }

    async fn update_namespace(
        &self,
        name: &NamespaceName,
        quota: Option<u64>,
        max_block: u64,
    ) -> Result<NamespaceSpec, IdError> {
        let command = Command::UpdateNamespace { name: name.clone(), quota, max_block };
        let (spec, _) = self.context.settle(command).await?;
        if let Some(pool) = self.others.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            pool.reopen();
        }
        Ok(spec)
    }
}
