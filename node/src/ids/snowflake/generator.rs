//! What makes the numbers: the crate `snowflake-rs`, behind a trait, so that a simulation can put one over its own clock.
//!
//! A generator guarantees nothing. What it makes is checked by `maker`, which also decides when it may be asked at all.

use std::fmt;

use snowflake_rs::{STANDARD_EPOCH, SnowFlakeId};
use stint_idgen::snowflake::{EPOCH_MS, WorkerId};

const _: () = assert!(STANDARD_EPOCH == EPOCH_MS, "the crate counts time from where the layout does");

/// Makes numbers in the layout of [`stint_idgen::snowflake`].
pub trait Generator: Send + fmt::Debug {
    /// The next number.
    ///
    /// # Errors
    /// [`RolledBack`] if its clock is behind the number before.
    fn generate(&mut self) -> Result<u64, RolledBack>;
}

/// The generator's clock is behind its last number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the clock of the id generator went back")]
pub struct RolledBack;

/// Makes generators: a fresh one for each lease, and in the place of one that made what can't be used.
pub trait GeneratorFactory: Send + Sync + fmt::Debug + 'static {
    /// A generator for this worker id.
    fn make(&self, worker: WorkerId) -> Box<dyn Generator>;
}

/// Generators of the crate `snowflake-rs`, over the machine's clock.
#[derive(Debug)]
pub struct CrateGenerators;

impl GeneratorFactory for CrateGenerators {
    fn make(&self, worker: WorkerId) -> Box<dyn Generator> {
        Box::new(SnowFlakeId::new(worker.get(), STANDARD_EPOCH))
    }
}

impl Generator for SnowFlakeId {
    fn generate(&mut self) -> Result<u64, RolledBack> {
        // The text names a moment and calls it a duration.
        self.generate_id().map_err(|_| RolledBack)
    }
}
