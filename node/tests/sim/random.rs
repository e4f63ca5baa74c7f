//! Randomness from the seed: SplitMix64, forked so that each part of the world has a stream of its own.

use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use stint::ports::entropy::Entropy;

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream of numbers that the seed decides.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

/// The same, as a process takes its randomness.
#[derive(Debug)]
pub(crate) struct SeededEntropy(Mutex<Random>);

impl Random {
    pub(crate) const fn of(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Another stream, which depends on this one's past but not on its future.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    pub(crate) fn between(&mut self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.next() % (range.end() - range.start() + 1)
    }

    pub(crate) fn ms(&mut self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.between(range))
    }

    /// A number within `bound` of 0.
    pub(crate) fn around_zero(&mut self, bound: u64) -> i64 {
        let number = self.between(0..=2 * bound);
        number.cast_signed() - bound.cast_signed()
    }

    /// Whether something happens that happens `percent` times in a hundred.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.between(1..=100) <= percent
    }

    /// One of these, which are not none.
    pub(crate) fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        let last = among.len() as u64 - 1;
        &among[usize::try_from(self.between(0..=last)).expect("a length fits")]
    }
}

impl SeededEntropy {
    pub(crate) const fn new(random: Random) -> Self {
        Self(Mutex::new(random))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let mut random = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&random.next().to_le_bytes()[..chunk.len()]);
        }
    }
}
