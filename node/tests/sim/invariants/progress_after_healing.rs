//! Once the nemesis has stopped and all is healed, every client is served again within [`WITHIN`], or what
//! the plan adds to it.

use std::collections::BTreeSet;
use std::time::Duration;

pub(crate) const NAME: &str = "progress_after_healing";

/// Elections, new connections, the longest pause between retries, and the leases of 10 s of processes that were killed,
/// with room.
pub(crate) const WITHIN: Duration = Duration::from_secs(40);

/// Who still waits.
#[derive(Debug)]
pub(crate) struct Progress {
    waiting: BTreeSet<(String, &'static str)>,
    healed_at: Duration,
    within: Duration,
}

impl Progress {
    /// All is healed, and these clients want these things in time.
    pub(crate) fn expect(healed_at: Duration, within: Duration, waiting: BTreeSet<(String, &'static str)>) -> Self {
        Self { waiting, healed_at, within }
    }

    /// Notes when each client was last served; true once each of them was.
    pub(crate) fn note(&mut self, served: impl Fn(&str, &'static str) -> Option<Duration>) -> bool {
        self.waiting.retain(|(host, what)| served(host, what).is_none_or(|at| at <= self.healed_at));
        self.waiting.is_empty()
    }

    /// Who waits for too long.
    pub(crate) fn overdue(&self, now: Duration) -> Option<String> {
        let Self { waiting, healed_at, within } = self;
        (now > *healed_at + *within).then(|| format!("{waiting:?} were not served within {within:?}"))
    }
}
