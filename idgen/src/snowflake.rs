//! The layout of Snowflake ids: what `snowflake-rs` 0.1.1 packs into a number, kept to 63 bits.
//!
//! | bits | what |
//! |---|---|
//! | 41 | milliseconds since [`EPOCH_MS`], the crate's `STANDARD_EPOCH` |
//! | 10 | the worker id |
//! | 12 | a sequence number within the millisecond |
//!
//! The crate gives the timestamp 42 bits, but an id is stored as a negative `i64` key, so the highest stays 0. The 41
//! bits end on 2087-09-07; from then on [`decode`] says `None` and issuing must stop. Stored keys depend on this layout:
//! it is for ever.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Unix milliseconds of timestamp 0: 2017-12-31 16:00 UTC, midnight of 2018 in the crate author's time zone.
pub const EPOCH_MS: u64 = 1_514_736_000_000;

/// How many bits the timestamp has.
pub const TIMESTAMP_BITS: u32 = 41;

/// How many bits the worker id has.
pub const WORKER_BITS: u32 = 10;

/// How many bits the sequence number has.
pub const SEQUENCE_BITS: u32 = 12;

/// How many worker ids there are, from 0. The crate doesn't check: worker 1024 would be read as a later timestamp.
pub const WORKERS: u16 = 1 << WORKER_BITS;

/// The most ids to take from one worker in one millisecond. Below the 4,096 that the sequence number can tell apart:
/// asked for one more the crate spins under its lock until the clock moves, as long as a rollback may last.
pub const MAX_PER_MS: u32 = 4_000;

/// One past the last Unix millisecond that has ids.
pub const END_MS: u64 = EPOCH_MS + (1 << TIMESTAMP_BITS);

const WORKER_SHIFT: u32 = SEQUENCE_BITS;
const TIMESTAMP_SHIFT: u32 = SEQUENCE_BITS + WORKER_BITS;
const SEQUENCE_MASK: u64 = (1 << SEQUENCE_BITS) - 1;
const WORKER_MASK: u64 = (1 << WORKER_BITS) - 1;

const _: () = {
    assert!(TIMESTAMP_BITS + WORKER_BITS + SEQUENCE_BITS == 63, "an id is an i64 above 0");
    assert!(MAX_PER_MS < 1 << SEQUENCE_BITS);
    assert!(END_MS == 3_713_759_255_552, "2087-09-07 07:47:35 UTC");
    assert!(WORKERS as u64 - 1 == WORKER_MASK);
};

/// A worker id, 0 to 1023.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct WorkerId(u16);

/// A number that is no worker id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("worker ids are 0 to 1023, not {0}")]
pub struct NotAWorkerId(pub u16);

/// What a Snowflake id says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Snowflake {
    /// When it was made, by its maker's clock: Unix milliseconds.
    pub timestamp_ms: u64,
    /// Who made it.
    pub worker: WorkerId,
    /// Its number within the millisecond, 0 to 4095.
    pub sequence: u16,
}

/// What `id` says; `None` for a number of more than 63 bits.
pub const fn decode(id: u64) -> Option<Snowflake> {
    let since_epoch_ms = id >> TIMESTAMP_SHIFT;
    if since_epoch_ms >> TIMESTAMP_BITS != 0 {
        return None;
    }
    Some(Snowflake {
        timestamp_ms: EPOCH_MS + since_epoch_ms,
        worker: WorkerId(masked(id >> WORKER_SHIFT, WORKER_MASK)),
        sequence: masked(id, SEQUENCE_MASK),
    })
}

#[expect(clippy::cast_possible_truncation, reason = "both masks are narrower than 16 bits")]
const fn masked(value: u64, mask: u64) -> u16 {
    (value & mask) as u16
}

impl WorkerId {
    /// The worker id of a number.
    ///
    /// # Errors
    /// [`NotAWorkerId`] from 1024 on.
    pub const fn new(number: u16) -> Result<Self, NotAWorkerId> {
        if number < WORKERS { Ok(Self(number)) } else { Err(NotAWorkerId(number)) }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for WorkerId {
    type Error = NotAWorkerId;

    fn try_from(number: u16) -> Result<Self, NotAWorkerId> {
        Self::new(number)
    }
}

impl From<WorkerId> for u16 {
    fn from(worker: WorkerId) -> Self {
        worker.0
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Snowflake {
    /// The id that says this; `None` if a part doesn't fit its bits.
    pub const fn encode(self) -> Option<u64> {
        if self.timestamp_ms < EPOCH_MS || self.timestamp_ms >= END_MS || self.sequence as u64 > SEQUENCE_MASK {
            return None;
        }
        let worker = (self.worker.0 as u64) << WORKER_SHIFT;
        Some((self.timestamp_ms - EPOCH_MS) << TIMESTAMP_SHIFT | worker | self.sequence as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Key;

    fn snowflake(timestamp_ms: u64, worker: u16, sequence: u16) -> Snowflake {
        Snowflake { timestamp_ms, worker: WorkerId::new(worker).unwrap(), sequence }
    }

    /// Computed by the crate's formula, `(ms - epoch) << 22 | worker << 12 | sequence`.
    #[test]
    fn the_layout_is_pinned() {
        for (id, parts) in [
            (0, snowflake(EPOCH_MS, 0, 0)),
            (1, snowflake(EPOCH_MS, 0, 1)),
            (4_096, snowflake(EPOCH_MS, 1, 0)),
            (4_194_304, snowflake(EPOCH_MS + 1, 0, 0)),
            (1_020_616_769_536_020_487, snowflake(1_758_070_000_000, 5, 7)),
            (i64::MAX.unsigned_abs(), snowflake(END_MS - 1, 1023, 4095)),
        ] {
            assert_eq!((decode(id), parts.encode()), (Some(parts), Some(id)));
        }
    }

    #[test]
    fn a_number_of_more_than_63_bits_is_no_id() {
        assert_eq!((decode(1 << 63), decode(u64::MAX)), (None, None));
    }

    #[test]
    fn what_does_not_fit_its_bits_has_no_id() {
        for parts in [snowflake(EPOCH_MS - 1, 0, 0), snowflake(END_MS, 0, 0), snowflake(EPOCH_MS, 0, 4_096)] {
            assert_eq!(parts.encode(), None, "{parts:?}");
        }
        assert_eq!(WorkerId::new(1_024), Err(NotAWorkerId(1_024)));
        assert!(postcard::from_bytes::<WorkerId>(&postcard::to_allocvec(&1_024_u16).unwrap()).is_err());
    }

    #[test]
    fn every_id_above_0_is_a_key() {
        for id in [1, 4_194_304, i64::MAX.unsigned_abs()] {
            assert!(Key::from_snowflake(id).is_some());
        }
    }
}
