//! A limiter of this process alone: the generic cell rate algorithm, in memory that is bounded whoever asks.

use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use governor::Quota;
use governor::clock::Clock as GovernorClock;
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;

use crate::domain::rate::{Client, Rate};
use crate::ports::clock::Clock;
use crate::ports::rate_limiter::{Allowance, RateLimiter};

/// How often clients are forgotten that have their whole allowance again.
const SWEPT_EVERY: Duration = Duration::from_secs(5);
/// Clients from which on new ones are told apart roughly: some 20 MB.
const CROWD: usize = 1 << 18;
/// Into how many they are told apart then.
const CROWDED_CLIENTS: u64 = 1 << 16;

type Counted = governor::RateLimiter<Client, DashMapStateStore<Client>, Ticks, StateInformationMiddleware>;

/// Counts what clients do in this process.
pub struct LocalLimiter {
    counted: Counted,
    clock: Ticks,
    /// Whether more clients were remembered at the last sweep than there is room for.
    is_crowded: AtomicBool,
    crowd: usize,
    hasher: std::hash::RandomState,
}

/// The node's clock, as the algorithm reads it.
#[derive(Clone, Debug)]
struct Ticks(Arc<dyn Clock>);

impl GovernorClock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.monotonic()
    }
}

impl LocalLimiter {
    /// A limiter in which every client may do this much.
    pub fn new(rate: Rate, clock: Arc<dyn Clock>) -> Self {
        Self::with_room(rate, clock, CROWD)
    }

    pub(super) fn with_room(rate: Rate, clock: Arc<dyn Clock>, crowd: usize) -> Self {
        let quota = Quota::with_period(rate.interval()).expect("an interval is never zero").allow_burst(rate.count);
        let clock = Ticks(clock);
        let counted = Counted::new(quota, DashMapStateStore::default(), clock.clone());
        Self { counted, clock, is_crowded: AtomicBool::new(false), crowd, hasher: std::hash::RandomState::new() }
    }

    /// Takes one, if there is one.
    pub fn take_one(&self, client: Client) -> Allowance {
        match self.counted.check_key(&self.told_apart(client)) {
            Ok(state) => Allowance::Granted { left: state.remaining_burst_capacity() },
            Err(not_until) => Allowance::UsedUp { wait: not_until.wait_time_from(self.clock.now()) },
        }
    }

    /// Forgets now and then who has its whole allowance again. It doesn't end.
    pub async fn keep_small(&self) {
        loop {
            tokio::time::sleep(SWEPT_EVERY).await;
            self.sweep();
        }
    }

    pub(super) fn sweep(&self) {
        self.counted.retain_recent();
        self.counted.shrink_to_fit();
        let is_crowded = self.counted.len() > self.crowd;
        if self.is_crowded.swap(is_crowded, Ordering::Relaxed) != is_crowded && is_crowded {
            tracing::warn!(clients = self.counted.len(), "more clients than there is room for share their rate limits");
        }
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.counted.len()
    }

    /// The client; among too many, one that stands for some of them.
    fn told_apart(&self, client: Client) -> Client {
        if !self.is_crowded.load(Ordering::Relaxed) {
            return client;
        }
        let number = self.hasher.hash_one(client) % CROWDED_CLIENTS;
        match client {
            Client::Key(_) => Client::Key(number),
            Client::V4(_) | Client::V6(_) => Client::V6(number),
        }
    }
}

#[async_trait]
impl RateLimiter for LocalLimiter {
    async fn take(&self, client: Client) -> Allowance {
        self.take_one(client)
    }
}

impl fmt::Debug for LocalLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalLimiter")
    }
}
