//! Snowflake numbers over a simulated clock, which now and then reads something else than it shows.

use std::sync::{Arc, Mutex, PoisonError};

use stint::ids::snowflake::{Generator, GeneratorFactory, RolledBack};
use stint::ports::clock::Clock;
use stint_idgen::snowflake::{SEQUENCE_BITS, Snowflake, WorkerId};

use crate::clock::SimClock;
use crate::random::Random;

/// How far off a bad reading is, in milliseconds.
const GLITCH_MS: u64 = 20_000;

/// Makes generators for one host.
#[derive(Debug)]
pub(super) struct SimGenerators {
    clock: Arc<SimClock>,
    random: Mutex<Random>,
}

#[derive(Debug)]
struct SimGenerator {
    clock: Arc<SimClock>,
    random: Random,
    worker: WorkerId,
    last_ms: u64,
    sequence: u16,
}

impl SimGenerators {
    pub(super) fn new(clock: &Arc<SimClock>, random: Random) -> Self {
        Self { clock: Arc::clone(clock), random: Mutex::new(random) }
    }
}

impl GeneratorFactory for SimGenerators {
    fn make(&self, worker: WorkerId) -> Box<dyn Generator> {
        let random = self.random.lock().unwrap_or_else(PoisonError::into_inner).fork();
        Box::new(SimGenerator { clock: Arc::clone(&self.clock), random, worker, last_ms: 0, sequence: 0 })
    }
}

impl Generator for SimGenerator {
    fn generate(&mut self) -> Result<u64, RolledBack> {
        let glitch = if self.random.chance(3) { self.random.around_zero(GLITCH_MS) } else { 0 };
        let timestamp_ms = self.clock.unix_ms().saturating_add_signed(glitch);
        if timestamp_ms < self.last_ms {
            return Err(RolledBack);
        }
        self.sequence = if timestamp_ms == self.last_ms { self.sequence + 1 } else { 0 };
        self.last_ms = timestamp_ms;
        let within = self.sequence < 1 << SEQUENCE_BITS;
        let id = Snowflake { timestamp_ms, worker: self.worker, sequence: self.sequence }.encode();
        id.filter(|_| within).ok_or(RolledBack)
    }
}
