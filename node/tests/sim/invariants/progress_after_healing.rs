//! Once the nemesis has stopped and all is healed, every client is served again within [`WITHIN`].

use std::collections::BTreeSet;
use std::time::Duration;

pub(crate) const NAME: &str = "progress_after_healing";

/// Elections, new connections and the longest pause between retries, with room. In a crowded world a worker's next window
/// begins where its last ends, which may be two or three leases of 10 s ahead.
pub(crate) const WITHIN: Duration = Duration::from_secs(40);

/// Who still waits.
#[derive(Debug)]
pub(crate) struct Progress {
    waiting: BTreeSet<(String, &'static str)>,
    healed_at: Duration,
}

impl Progress {
    /// All is healed, and these clients want these things.
    pub(crate) fn expect(healed_at: Duration, waiting: BTreeSet<(String, &'static str)>) -> Self {
        Self { waiting, healed_at }
    }

    /// Notes when each client was last served; true once each of them was.
    pub(crate) fn note(&mut self, served: impl Fn(&str, &'static str) -> Option<Duration>) -> bool {
        self.waiting.retain(|(host, what)| served(host, what).is_none_or(|at| at <= self.healed_at));
        self.waiting.is_empty()
    }

    /// Who waits for too long.
    pub(crate) fn overdue(&self, now: Duration) -> Option<String> {
        (now > self.healed_at + WITHIN).then(|| format!("{:?} were not served within {WITHIN:?}", self.waiting))
    }
}
