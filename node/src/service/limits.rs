//! Rate limits: who may go on, and who must wait.
//!
//! Asking for what isn't there is paid for afterwards, since nobody knows before: whoever has used up that allowance is
//! stopped at the door, the longer the more it went on asking.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quick_cache::sync::Cache;

use crate::domain::rate::{Client, Policy, Rate};
use crate::ports::clock::Clock;
use crate::ports::rate_limiter::{Allowance, RateLimiter};

/// Clients at the door that are remembered.
const STOPPED_AT_ONCE: usize = 10_000;

/// The limits that are set.
#[derive(Debug)]
pub struct RateLimits {
    limits: Vec<Limit>,
    door: Door,
}

/// One limit.
#[derive(Clone, Debug)]
pub struct Limit {
    /// What is limited.
    pub policy: Policy,
    /// How much one client may do.
    pub rate: Rate,
    /// What counts.
    pub limiter: Arc<dyn RateLimiter>,
}

/// What is left of an allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Under which policy.
    pub policy: Policy,
    /// The whole allowance.
    pub rate: Rate,
    /// How many are left.
    pub left: u32,
}

/// An allowance is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// Under which policy.
    pub policy: Policy,
    /// The whole allowance.
    pub rate: Rate,
    /// Until one is back.
    pub wait: Duration,
}

/// Who is stopped before it can ask for what isn't there.
#[derive(Debug)]
struct Door {
    /// Until when, by the monotonic clock.
    stopped: Cache<Client, Duration>,
    /// When the last of them is free again, in nanoseconds: later than that nobody has to be looked up.
    last_ns: AtomicU64,
    clock: Arc<dyn Clock>,
}

impl RateLimits {
    /// These limits, at most one for each policy.
    pub fn new(limits: Vec<Limit>, clock: Arc<dyn Clock>) -> Self {
        let door = Door { stopped: Cache::new(STOPPED_AT_ONCE), last_ns: AtomicU64::new(0), clock };
        Self { limits, door }
    }

    /// Whether anything depends on the address that requests come from.
    pub fn look_at_addresses(&self) -> bool {
        self.limits.iter().any(|limit| limit.policy != Policy::Create)
    }

    /// Takes one of the client's allowance; answers what is left, or nothing where there is no limit.
    ///
    /// # Errors
    /// [`Excess`], if it is used up.
    pub async fn take(&self, policy: Policy, client: Client) -> Result<Option<Standing>, Excess> {
        let Some(limit) = self.limit(policy) else { return Ok(None) };
        match limit.limiter.take(client).await {
            Allowance::Granted { left } => Ok(Some(Standing { policy, rate: limit.rate, left })),
            Allowance::UsedUp { wait } => Err(Excess { policy, rate: limit.rate, wait }),
        }
    }

    /// Whether the client may ask for something that may not be there.
    ///
    /// # Errors
    /// [`Excess`], if it did so too often.
    pub fn admit(&self, client: Client) -> Result<(), Excess> {
        let Some(limit) = self.limit(Policy::Guess) else { return Ok(()) };
        match self.door.stops(client) {
            Some(wait) => Err(Excess { policy: Policy::Guess, rate: limit.rate, wait }),
            None => Ok(()),
        }
    }

    /// Takes note that the client asked for what isn't there.
    ///
    /// # Errors
    /// [`Excess`], if it did so too often: it must not be told.
    pub async fn note_guess(&self, client: Client) -> Result<(), Excess> {
        let Err(excess) = self.take(Policy::Guess, client).await else { return Ok(()) };
        let wait = self.door.stop(client, excess.wait, excess.rate);
        Err(Excess { wait, ..excess })
    }

    fn limit(&self, policy: Policy) -> Option<&Limit> {
        self.limits.iter().find(|limit| limit.policy == policy)
    }
}

impl Door {
    /// For how long the client is stopped, if it is.
    fn stops(&self, client: Client) -> Option<Duration> {
        let last_ns = self.last_ns.load(Ordering::Relaxed);
        if last_ns == 0 {
            return None;
        }
        let now = self.clock.monotonic();
        if now >= Duration::from_nanos(last_ns) {
            return None;
        }
        self.stopped.get(&client)?.checked_sub(now).filter(|wait| !wait.is_zero())
    }

    /// Stops the client until one of its allowance is back. One that is stopped already, by a request that was under way,
    /// owes what it has asked since as well; but never more than everything.
    fn stop(&self, client: Client, wait: Duration, rate: Rate) -> Duration {
        let now = self.clock.monotonic();
        let until = match self.stopped.get(&client).filter(|until| *until > now) {
            Some(until) => (until + rate.interval()).min(now + rate.period),
            None => now + wait,
        };
        self.stopped.insert(client, until);
        self.last_ns.fetch_max(u64::try_from(until.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        until - now
    }
}
