//! Rate limits: who may go on, and who must wait.
//!
//! Asking for what isn't there is paid for afterwards, since nobody knows before. Whoever has used up that allowance is
//! stopped at the door of this node until all of what it asked is paid for; the nodes share the account, not the door.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quick_cache::sync::Cache;

use crate::domain::rate::{Client, Policy, Rate};
use crate::ports::clock::Clock;
use crate::ports::rate_limiter::{RateLimiter, Taken};

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

/// Where a client stands after it asked for some of its allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Under which policy.
    pub policy: Policy,
    /// The whole allowance.
    pub rate: Rate,
    /// How many it wanted.
    pub wanted: u32,
    /// What it got.
    pub taken: Taken,
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

    /// Whether there is a limit of this policy.
    pub fn is_set(&self, policy: Policy) -> bool {
        self.limit(policy).is_some()
    }

    /// Takes some of the client's allowance, as many as are wanted or as there are; nothing where there is no limit.
    pub async fn take(&self, policy: Policy, client: Client, wanted: u32) -> Option<Standing> {
        let limit = self.limit(policy)?;
        Some(Standing { policy, rate: limit.rate, wanted, taken: limit.limiter.take(client, wanted).await })
    }

    /// Takes one of the client's allowance; answers where it stands, or nothing where there is no limit.
    ///
    /// # Errors
    /// [`Excess`], if it is used up.
    pub async fn take_one(&self, policy: Policy, client: Client) -> Result<Option<Standing>, Excess> {
        match self.take(policy, client, 1).await {
            Some(standing) if standing.is_short() => Err(standing.excess()),
            standing => Ok(standing),
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
        let Some(limit) = self.limit(Policy::Guess) else { return Ok(()) };
        let taken = limit.limiter.owe(client).await;
        if taken.granted > 0 {
            return Ok(());
        }
        self.door.stop(client, taken.next);
        Err(Excess { policy: Policy::Guess, rate: limit.rate, wait: taken.next })
    }

    fn limit(&self, policy: Policy) -> Option<&Limit> {
        self.limits.iter().find(|limit| limit.policy == policy)
    }
}

impl Standing {
    /// Whether the client wanted more than there was.
    pub const fn is_short(&self) -> bool {
        self.taken.granted < self.wanted
    }

    /// What to tell whoever got less than it wanted.
    pub const fn excess(&self) -> Excess {
        Excess { policy: self.policy, rate: self.rate, wait: self.taken.next }
    }
}

impl Door {
    /// For how long the client is stopped, if it is.
    fn stops(&self, client: Client) -> Option<Duration> {
        let last = Duration::from_nanos(self.last_ns.load(Ordering::Relaxed));
        if last.is_zero() {
            return None;
        }
        let now = self.clock.monotonic();
        if now >= last {
            return None;
        }
        self.stopped.get(&client)?.checked_sub(now).filter(|wait| !wait.is_zero())
    }

    fn stop(&self, client: Client, wait: Duration) {
        let until = self.clock.monotonic() + wait;
        self.stopped.insert(client, until);
        self.last_ns.fetch_max(u64::try_from(until.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
