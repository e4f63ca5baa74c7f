//! Time as a parameter.

use std::time::Duration;

/// Where time comes from. One implementation reads the machine's clocks, others are fixed for tests.
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// Milliseconds since the Unix epoch. May jump in either direction.
    fn unix_ms(&self) -> u64;

    /// Time since an arbitrary fixed moment of this process. Never goes back.
    fn monotonic(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clocks")]
    fn unix_ms(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// Time since the machine started. Unlike `Instant` it goes on while the machine is suspended, so that waking up
    /// doesn't look like a jump of the wall clock.
    fn monotonic(&self) -> Duration {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs().try_into().unwrap_or(0))
    }
}

/// Clocks that stand still until they are moved, for tests. They begin at 2026-01-01T00:00:00Z.
#[derive(Debug, Default)]
pub struct ManualClock {
    elapsed: std::sync::Mutex<Duration>,
}

impl ManualClock {
    const START_UNIX_MS: u64 = 1_767_225_600_000;

    /// Moves both clocks ahead.
    ///
    /// # Panics
    /// If another thread panicked while it moved them.
    pub fn advance(&self, by: Duration) {
        *self.elapsed.lock().expect("no holder of this lock panics") += by;
    }
}

impl Clock for ManualClock {
    fn unix_ms(&self) -> u64 {
        Self::START_UNIX_MS + u64::try_from(self.monotonic().as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Duration {
        *self.elapsed.lock().expect("no holder of this lock panics")
    }
}
