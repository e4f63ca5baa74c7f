//! Snowflake ids, made in this process under a worker id that the allocator leases.
//!
//! **Invariant: two holders of one worker id use disjoint time windows, whatever their clocks say.** The allocator keeps
//! the windows apart; `maker` gives out no id from outside of its own. A task gets the lease, renews it, and releases it.
//! A wall clock that goes back makes ids unavailable for a while: at most a lease, if it had only been ahead before.

mod generator;
mod lease;
mod maker;
#[cfg(test)]
pub(super) mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use stint_idgen::allocator::{NamespaceName, Refusal};
use stint_idgen::snowflake::MAX_PER_MS;
use stint_idgen::{Key, WorkerWindow};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::metrics::SnowflakeMetrics;
use crate::ports::clock::Clock;
use crate::ports::coordination::Allocator;
use crate::ports::entropy::Entropy;
use crate::ports::id_source::{IdError, KeySource, NoSnowflake, SNOWFLAKE, SnowflakeIssuer};
use crate::ports::spawn::Spawn;
use maker::{Maker, NotMade};

pub use generator::{CrateGenerators, Generator, GeneratorFactory, RolledBack};

/// How far the clock may be behind the last id for a draw to wait until it has caught up. Corrections of a clock that is
/// kept by NTP are smaller; for a larger one an error at once is better than a queue of requests.
const SHORT_ROLLBACK: Duration = Duration::from_millis(50);
/// The least pause before the clock is looked at again: ids are counted by the millisecond.
const TICK: Duration = Duration::from_millis(1);
/// How many ids are made under the lock at a time, so that a large draw doesn't keep small ones waiting.
const CHUNK: usize = 256;

/// How a node makes Snowflake ids.
#[derive(Clone, Debug)]
pub struct SnowflakeOptions {
    /// What people call this node in the allocator's records.
    pub label: String,
    /// How long a worker lease lasts, 10 s to 1 h. Within half of it a lost allocator is not noticed.
    pub lease: Duration,
    /// How long a draw waits for a lease before it fails.
    pub patience: Duration,
}

/// Snowflake ids of this process.
#[derive(Debug)]
pub struct SnowflakeIds {
    shared: Arc<Shared>,
    namespace: NamespaceName,
}

/// What drawers and the lease task share.
#[derive(Debug)]
struct Shared {
    allocator: Arc<dyn Allocator>,
    options: SnowflakeOptions,
    generators: Arc<dyn GeneratorFactory>,
    metrics: SnowflakeMetrics,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// Never held across an await.
    hand: Mutex<Hand>,
    /// Changes with the hand; wakes those who wait for a lease.
    changes: watch::Sender<()>,
    /// Wakes the lease task: a draw found the lease over.
    wake: Notify,
}

/// The lease at hand.
#[derive(Debug)]
enum Hand {
    Held(Maker),
    Empty(Obstacle),
}

/// Why there are no ids.
#[derive(Clone, Debug)]
enum Obstacle {
    Unavailable(NoSnowflake),
    Refused(Refusal),
}

impl Default for SnowflakeOptions {
    fn default() -> Self {
        Self { label: String::new(), lease: Duration::from_mins(1), patience: Duration::from_secs(2) }
    }
}

impl From<Obstacle> for IdError {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::Unavailable(why) => Self::Snowflake(why),
            Obstacle::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

impl SnowflakeIds {
    /// Leases a worker id from `allocator`, and keeps it until the node stops.
    ///
    /// # Panics
    /// Never: the reserved name is a valid one.
    pub fn start(
        allocator: Arc<dyn Allocator>,
        options: SnowflakeOptions,
        generators: Arc<dyn GeneratorFactory>,
        metrics: SnowflakeMetrics,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        spawn: &dyn Spawn,
    ) -> Self {
        let hand = Mutex::new(Hand::Empty(Obstacle::Unavailable(NoSnowflake::NotLeased)));
        let (changes, wake) = (watch::Sender::default(), Notify::new());
        let shared = Arc::new(Shared { allocator, options, generators, metrics, clock, entropy, hand, changes, wake });
        spawn.spawn("worker lease", Box::pin(lease::run(Arc::clone(&shared), spawn.stopping())));
        let namespace = SNOWFLAKE.parse().expect("the reserved name is a valid one");
        Self { shared, namespace }
    }

    /// `count` ids, ascending.
    ///
    /// # Errors
    /// [`IdError::Snowflake`] when no lease came in time, or the clock is wrong; what was drawn till then is a gap.
    async fn make(&self, count: u64) -> Result<Vec<u64>, IdError> {
        let count = usize::try_from(count).map_err(|_| IdError::Exhausted)?;
        let mut drawn = Vec::with_capacity(count.min(MAX_PER_MS as usize));
        if self.shared.take(count, &mut drawn).is_err() {
            self.shared.take_in_time(count, &mut drawn).await?;
            // Another lease may have come in between, and its ids may be lower.
            drawn.sort_unstable();
        }
        Ok(drawn)
    }

    /// The worker id and its window, if ids can be made at this moment.
    ///
    /// # Errors
    /// Why they can't.
    pub fn lease(&self) -> Result<WorkerWindow, IdError> {
        match &*self.shared.hand() {
            Hand::Held(maker) => {
                maker.check(&*self.shared.clock)?;
                Ok(*maker.window())
            }
            Hand::Empty(obstacle) => Err(obstacle.clone().into()),
        }
    }
}

impl Shared {
    fn hand(&self) -> MutexGuard<'_, Hand> {
        self.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_hand(&self, hand: Hand) {
        *self.hand() = hand;
        self.changes.send_replace(());
    }

    /// Makes ids until `drawn` has `count` of them, or none can be made for now.
    fn take(&self, count: usize, drawn: &mut Vec<u64>) -> Result<(), Obstacle> {
        while drawn.len() < count {
            let mut hand = self.hand();
            let maker = match &mut *hand {
                Hand::Held(maker) => maker,
                Hand::Empty(obstacle) => return Err(obstacle.clone()),
            };
            for _ in 0..CHUNK.min(count - drawn.len()) {
                match maker.make(&*self.clock, &*self.generators) {
                    Ok(id) => drawn.push(id),
                    Err(why) => return Err(self.noted(why)),
                }
            }
        }
        Ok(())
    }

    /// Tells those who should know why there is no id.
    fn noted(&self, why: NotMade) -> Obstacle {
        match why {
            NotMade::Discarded(what) => self.metrics.count_discarded(what),
            NotMade::Unavailable(NoSnowflake::LeaseOver) => self.wake.notify_one(),
            NotMade::Unavailable(_) => {}
        }
        Obstacle::Unavailable(why.into())
    }

    /// Takes as long as waiting helps. Patience begins anew with each id.
    async fn take_in_time(&self, count: usize, drawn: &mut Vec<u64>) -> Result<(), IdError> {
        // Before the next look at the hand: a lease that comes after it is heard.
        let mut changes = self.changes.subscribe();
        let mut deadline = Instant::now() + self.options.patience;
        let mut stalled = false;
        loop {
            let before = drawn.len();
            let Err(obstacle) = self.take(count, drawn) else { return Ok(()) };
            let now = Instant::now();
            if drawn.len() > before {
                deadline = now + self.options.patience;
            }
            let Some(pause) = obstacle.pause(deadline.saturating_duration_since(now)) else {
                return Err(obstacle.into());
            };
            if !stalled && obstacle.is_stall() {
                self.metrics.ids.stalls.increment(1);
                stalled = true;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                heard = changes.changed() => heard.expect("the sender lives as long as this source"),
            }
        }
    }
}

impl Obstacle {
    /// How long to wait before the next try, with so much patience left; `None` if that is no use.
    fn pause(&self, patience: Duration) -> Option<Duration> {
        let Self::Unavailable(why) = self else { return None };
        if patience.is_zero() {
            return None;
        }
        let wanted = match why {
            NoSnowflake::ClockStands | NoSnowflake::Discarded { .. } => TICK,
            NoSnowflake::ClockWentBack { by } if *by <= SHORT_ROLLBACK => (*by).max(TICK),
            NoSnowflake::TooEarly { wait } if *wait <= patience => *wait,
            NoSnowflake::NotLeased | NoSnowflake::LeaseOver | NoSnowflake::NoWorkerFree { .. } => patience,
            NoSnowflake::ClockWentBack { .. }
            | NoSnowflake::TooEarly { .. }
            | NoSnowflake::TooLate { .. }
            | NoSnowflake::Stopping => return None,
        };
        Some(wanted.min(patience))
    }

    /// Whether waiting for this is out of the ordinary. The next millisecond is not.
    const fn is_stall(&self) -> bool {
        !matches!(self, Self::Unavailable(NoSnowflake::ClockStands))
    }
}

#[async_trait]
impl SnowflakeIssuer for SnowflakeIds {
    async fn draw(&self, count: u64) -> Result<Vec<u64>, IdError> {
        let drawn = self.make(count).await?;
        self.shared.metrics.ids.issued(&self.namespace).increment(count);
        Ok(drawn)
    }
}

#[async_trait]
impl KeySource for SnowflakeIds {
    async fn next_key(&self) -> Result<Key, IdError> {
        let drawn = self.make(1).await?;
        self.shared.metrics.ids.issued_to_links.increment(1);
        drawn.first().and_then(|&id| Key::from_snowflake(id)).ok_or(IdError::Exhausted)
    }
}
