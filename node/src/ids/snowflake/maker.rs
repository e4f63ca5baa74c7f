//! Ids under one worker lease: asks a generator, and gives out only what the lease allows.
//!
//! **Invariant: an id is given out only if the timestamp and the worker decoded from it are the lease's, and only once.**
//! Neither the generator nor any clock is trusted for that. The clocks are read before each call all the same, since
//! the generator of the crate has no answer but to spin when it is asked for more than a millisecond has.

use std::time::Duration;

use stint_idgen::WorkerWindow;
use stint_idgen::allocator::WorkerLease;
use stint_idgen::snowflake::{END_MS, EPOCH_MS, MAX_PER_MS, Snowflake, decode};

use super::generator::{Generator, GeneratorFactory};
use crate::metrics::Discard;
use crate::ports::clock::Clock;
use crate::ports::id_source::NoSnowflake;

/// One lease in use.
#[derive(Debug)]
pub(super) struct Maker {
    window: WorkerWindow,
    generator: Box<dyn Generator>,
    last: Option<Given>,
}

/// The last id given out.
#[derive(Clone, Copy, Debug)]
struct Given {
    id: u64,
    timestamp_ms: u64,
    /// How many ids with this timestamp were given out, this one included.
    in_millisecond: u32,
}

/// Why there is no id this time.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotMade {
    /// None was made.
    Unavailable(NoSnowflake),
    /// One was made that must not be given out.
    Discarded(Discard),
}

impl From<NotMade> for NoSnowflake {
    fn from(why: NotMade) -> Self {
        match why {
            NotMade::Unavailable(why) => why,
            NotMade::Discarded(what) => Self::Discarded { what: what.name() },
        }
    }
}

impl Maker {
    pub(super) fn new(window: WorkerWindow, generators: &dyn GeneratorFactory) -> Self {
        Self { window, generator: generators.make(window.worker()), last: None }
    }

    pub(super) const fn window(&self) -> &WorkerWindow {
        &self.window
    }

    /// Takes in a renewal whose request was sent at `sent_at`, monotonic.
    pub(super) fn renew(&mut self, renewed: &WorkerLease, sent_at: Duration) {
        self.window.renew(renewed, sent_at);
    }

    /// One id.
    pub(super) fn make(&mut self, clock: &dyn Clock, generators: &dyn GeneratorFactory) -> Result<u64, NotMade> {
        self.check(clock).map_err(NotMade::Unavailable)?;
        let Ok(id) = self.generator.generate() else {
            // The clock went back since it was looked at.
            let by = self.behind(clock.unix_ms());
            return Err(NotMade::Unavailable(NoSnowflake::ClockWentBack { by }));
        };
        let given = self.judge(id);
        match given {
            Ok(given) => self.last = Some(given),
            // It saw a time that the clock didn't show before, and would insist on it. A fresh one has seen nothing; and
            // as none is asked again after a number that wasn't given out, none makes more in a millisecond than were.
            Err(_) => self.generator = generators.make(self.window.worker()),
        }
        given.map(|given| given.id).map_err(NotMade::Discarded)
    }

    /// Whether an id can be made at this moment.
    pub(super) fn check(&self, clock: &dyn Clock) -> Result<(), NoSnowflake> {
        if !self.window.may_issue(clock.monotonic()) {
            return Err(NoSnowflake::LeaseOver);
        }
        let now_ms = clock.unix_ms();
        let by = self.behind(now_ms);
        if !by.is_zero() {
            return Err(NoSnowflake::ClockWentBack { by });
        }
        let (from_ms, until_ms) = (self.window.not_before_ms().max(EPOCH_MS), self.window.lease_until_ms().min(END_MS));
        if now_ms < from_ms {
            return Err(NoSnowflake::TooEarly { wait: Duration::from_millis(from_ms - now_ms) });
        }
        if now_ms >= until_ms {
            return Err(NoSnowflake::TooLate { by: Duration::from_millis(now_ms - until_ms + 1) });
        }
        match self.last {
            Some(last) if last.timestamp_ms == now_ms && last.in_millisecond >= MAX_PER_MS => {
                Err(NoSnowflake::ClockStands)
            }
            _ => Ok(()),
        }
    }

    /// How far the wall clock is behind the last id.
    fn behind(&self, now_ms: u64) -> Duration {
        let last_ms = self.last.map_or(0, |last| last.timestamp_ms);
        Duration::from_millis(last_ms.saturating_sub(now_ms))
    }

    /// Whether `id` may be given out, as far as it says so itself.
    fn judge(&self, id: u64) -> Result<Given, Discard> {
        // 0 is in the layout, but no key.
        let Some(Snowflake { timestamp_ms, worker, .. }) = decode(id).filter(|_| id > 0) else {
            return Err(Discard::Layout);
        };
        if worker != self.window.worker() {
            return Err(Discard::Worker);
        }
        if !self.window.accepts(timestamp_ms) {
            return Err(Discard::Window);
        }
        let in_millisecond = match self.last {
            Some(last) if id <= last.id => return Err(Discard::Order),
            Some(last) if timestamp_ms == last.timestamp_ms => last.in_millisecond + 1,
            _ => 1,
        };
        if in_millisecond > MAX_PER_MS {
            return Err(Discard::Rate);
        }
        Ok(Given { id, timestamp_ms, in_millisecond })
    }
}

#[cfg(test)]
mod tests;
