//! The arithmetic of one client's allowance, in nanoseconds.

use std::time::Duration;

use crate::domain::rate::Rate;
use crate::ports::rate_limiter::Taken;

/// An allowance, ready to be counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// Until one is back.
    interval: u64,
    /// How many there are.
    count: u64,
}

/// Whether what isn't there can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// It can't.
    Take,
    /// It was used already.
    Owe,
}

impl Bucket {
    pub(super) fn new(rate: Rate) -> Self {
        Self { interval: nanoseconds(rate.interval()), count: rate.count.get().into() }
    }

    /// When everything will be back after `wanted` are used at `now`, and what came of it; `kept` is when it would have been.
    pub(super) fn step(self, kept: u64, now: Duration, wanted: u32, mode: Mode) -> (u64, Taken) {
        let (now, whole) = (nanoseconds(now), self.interval * self.count);
        let back = kept.max(now);
        let there = (now + whole).saturating_sub(back) / self.interval;
        let granted = there.min(wanted.into());
        let used = if mode == Mode::Owe { wanted.into() } else { granted };
        let back = (back + used * self.interval).min(now + 2 * whole);
        let left = there - granted;
        let next = (back + (left + 1) * self.interval).saturating_sub(now + whole);
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        (back, Taken { granted: small(granted), left: small(left), next: Duration::from_nanos(next) })
    }
}

/// 584 years.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
