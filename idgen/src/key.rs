//! Keys and codes: a link's primary key is one `i64`, and one computes the other.
//!
//! | code | key |
//! |---|---|
//! | 1 to 6 Base62 characters of value `v` | `offset(length) + v` (custom aliases only) |
//! | 7 to 10 characters of value `v` | `offset(length) + p`, where `v = permutation(p)` |
//! | 11 characters of value `v` in `1..=2^63-1` | `-v` (a Snowflake id) |
//!
//! `offset(length) = 1 + 62 + 62^2 + … + 62^(length-1)`. This layout is for ever: stored keys depend on it.

mod code;
mod codec;

use std::fmt;
use std::num::NonZeroI64;

use serde::{Deserialize, Serialize};

use crate::base62::power;

pub use code::{Code, NotACode};
pub use codec::{AliasPlace, KeyCodec};

/// The lengths of generated codes, which are permuted; shorter ones are aliases only and are not.
pub(crate) const PERMUTED_LENGTHS: std::ops::RangeInclusive<u32> = 7..=10;

/// The longest code of a positive key.
pub(crate) const MAX_POSITIVE_LENGTH: u32 = 10;

/// The length of a negative key's code.
pub(crate) const SNOWFLAKE_LENGTH: u32 = 11;

/// The first key of each length; the last entry is one past the largest key.
const OFFSETS: [u64; MAX_POSITIVE_LENGTH as usize + 2] = {
    let mut offsets = [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut length = 1;
    while length <= MAX_POSITIVE_LENGTH {
        offsets[length as usize + 1] = offsets[length as usize] + power(length);
        length += 1;
    }
    offsets
};

const MAX: i64 = {
    let max = OFFSETS[MAX_POSITIVE_LENGTH as usize + 1] - 1;
    assert!(max < i64::MAX as u64);
    max.cast_signed()
};

/// A link's primary key: never 0, never `i64::MIN`, at most [`Key::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Key(NonZeroI64);

/// A number that is the key of no code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a key")]
pub struct NotAKey(pub i64);

/// Where a key lies in the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyPlace {
    /// A positive key: the code's length, and the position among the keys of that length.
    Positive { length: u32, position: u64 },
    /// A negative key: the Snowflake id.
    Snowflake(u64),
}

impl Key {
    /// The largest key: that of the last code with 10 characters.
    pub const MAX: Self = Self(NonZeroI64::new(MAX).expect("the largest key is above 0"));

    /// The smallest key: that of the largest Snowflake id, `2^63 - 1`.
    pub const MIN: Self = Self(NonZeroI64::new(-i64::MAX).expect("the smallest key is below 0"));

    /// The key of this number; `None` for 0, `i64::MIN`, and what lies above [`Key::MAX`].
    pub const fn new(number: i64) -> Option<Self> {
        match NonZeroI64::new(number) {
            Some(number) if number.get() != i64::MIN && number.get() <= MAX => Some(Self(number)),
            _ => None,
        }
    }

    /// The number, as it is stored.
    pub const fn get(self) -> i64 {
        self.0.get()
    }

    /// The key of a Snowflake id, `1..=2^63-1`.
    pub const fn from_snowflake(id: u64) -> Option<Self> {
        if id <= i64::MAX as u64 { Self::new(-id.cast_signed()) } else { None }
    }

    /// The key at `position` among those of `length`; the caller keeps both within the layout.
    pub(crate) fn at(length: u32, position: u64) -> Self {
        debug_assert!((1..=MAX_POSITIVE_LENGTH).contains(&length) && position < power(length));
        let number = (OFFSETS[length as usize] + position).cast_signed();
        Self::new(number).expect("a position within its length gives a key within the domain")
    }

    pub(crate) fn place(self) -> KeyPlace {
        if self.get() < 0 {
            return KeyPlace::Snowflake(self.get().unsigned_abs());
        }
        let number = self.get().unsigned_abs();
        // Lengths are tried from the long end: generated keys are the common case.
        let length = (1..=MAX_POSITIVE_LENGTH).rev().find(|&length| OFFSETS[length as usize] <= number);
        let length = length.expect("every positive number is at or above the first offset, 1");
        KeyPlace::Positive { length, position: number - OFFSETS[length as usize] }
    }
}

impl TryFrom<i64> for Key {
    type Error = NotAKey;

    fn try_from(number: i64) -> Result<Self, NotAKey> {
        Self::new(number).ok_or(NotAKey(number))
    }
}

impl From<Key> for i64 {
    fn from(key: Key) -> Self {
        key.get()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests;
