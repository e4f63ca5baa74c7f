//! Ids from the Raft-coordinated allocator.
//!
//! Each namespace has a pool with a block in use and the next one at hand; a task keeps it filled, so that drawing an
//! id neither waits nor locks. For `links` each block is recorded in the database before any of its ids is served.

mod holder;
#[cfg(test)]
pub(super) mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use stint_idgen::allocator::{Command, NamespaceName, NamespaceSpec, Refusal, Reply};
use stint_idgen::{IdRange, Key, Lane, Pool};

use super::supply::{BlockOptions, History, Supply};
use crate::metrics::IdMetrics;
use crate::ports::clock::Clock;
use crate::ports::coordination::Allocator;
use crate::ports::entropy::Entropy;
use crate::ports::id_source::{IdError, IdIssuer, IdRun, KeySource, MAX_BLOCK};
use crate::ports::link_store::{FenceStore, StoreError};
use crate::ports::spawn::Spawn;
use holder::Holder;

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

/// One namespace's ids.
#[derive(Debug)]
struct NamespacePool {
    /// How counters become ids. What of it may change has no part in that.
    spec: NamespaceSpec,
    supply: Arc<Supply>,
    /// Counters drawn for answers that failed, in order: the next answer has them.
    spare: Mutex<VecDeque<IdRange>>,
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
        pools.try_for_each(|pool| pool.supply.readiness())
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

impl RaftIdOptions {
    const fn blocks(&self) -> BlockOptions {
        let Self { headroom, min_block, max_block, patience, .. } = *self;
        BlockOptions { headroom, min_block, max_block, patience }
    }
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
        let holder = Holder::new(namespace.clone(), Arc::clone(context));
        let supply = Supply::start(
            namespace,
            Box::new(holder),
            // The allocator vouches for a grant, whatever becomes of the database.
            History::endless(),
            context.options.blocks(),
            context.metrics.clone(),
            Arc::clone(&context.clock),
            &*context.spawn,
        );
        Arc::new(Self { spec, supply, spare: Mutex::default() })
    }

    /// Exactly `count` counters, rising.
    async fn draw_exactly(&self, count: u64) -> Result<Vec<IdRange>, IdError> {
        let mut drawn = self.take_spare(count);
        let mut missing = count - drawn.iter().map(|range| range.len()).sum::<u64>();
        while missing > 0 {
            match self.supply.draw(missing, |pool| pool.take(missing)).await {
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
}

#[async_trait]
impl KeySource for RaftIds {
    async fn next_key(&self) -> Result<Key, IdError> {
        let links = self.links.as_ref().ok_or_else(no_fence)?;
        let counter = links.supply.draw(1, Pool::next).await?;
        self.context.metrics.issued_to_links.increment(1);
        Lane::Raft.key(counter).ok_or(IdError::Exhausted)
    }
}

#[async_trait]
impl IdIssuer for RaftIds {
    async fn issue(&self, namespace: &NamespaceName, count: u64) -> Result<Vec<IdRun>, IdError> {
        let pool = self.pool(namespace).await?;
        let ranges = pool.draw_exactly(count).await?;
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
            pool.supply.reopen();
        }
        Ok(spec)
    }
}
