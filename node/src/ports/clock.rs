//! Time as a parameter.

use std::time::Duration;

/// Where time comes from. One implementation reads the machine's clocks, others are fixed for tests.
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// Milliseconds since the Unix epoch. May jump in either direction.
    fn unix_ms(&self) -> u64;

    /// Time since an arbitrary fixed moment of this process. Never goes back.
    fn monotonic(&self) -> Duration;
}
