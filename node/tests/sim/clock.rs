//! The clocks of a simulated host. The wall clock is wrong by an offset that steps, and both run fast or slow.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use stint::ports::clock::Clock;

/// 2026-01-01T00:00:00Z: where every run begins.
const BEGIN_UNIX_MS: i64 = 1_767_225_600_000;

/// Clocks made of the simulation's time. They go on while the host is down.
#[derive(Debug)]
pub(crate) struct SimClock {
    /// How much too fast they run, in millionths.
    drift_ppm: i64,
    /// How far the wall clock is ahead.
    offset_ms: AtomicI64,
}

impl SimClock {
    pub(crate) const fn new(drift_ppm: i64, offset_ms: i64) -> Self {
        Self { drift_ppm, offset_ms: AtomicI64::new(offset_ms) }
    }

    /// Sets the wall clock this far ahead of the simulation's time, at once.
    pub(crate) fn step_to(&self, offset_ms: i64) {
        self.offset_ms.store(offset_ms, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn unix_ms(&self) -> u64 {
        let since = i64::try_from(self.monotonic().as_millis()).expect("a run takes seconds");
        (BEGIN_UNIX_MS + self.offset_ms.load(Ordering::Relaxed) + since).cast_unsigned()
    }

    fn monotonic(&self) -> Duration {
        let elapsed = turmoil::sim_elapsed().expect("only simulated hosts read their clocks");
        let micros = i64::try_from(elapsed.as_micros()).expect("a run takes seconds");
        Duration::from_micros((micros + micros * self.drift_ppm / 1_000_000).cast_unsigned())
    }
}
