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
pub struct SystemClock {
    started: std::time::Instant,
}

impl SystemClock {
    /// Clocks whose monotonic time begins now.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clocks")]
    #[expect(clippy::new_without_default, reason = "the moment of the call matters")]
    pub fn new() -> Self {
        Self { started: std::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clocks")]
    fn unix_ms(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
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
