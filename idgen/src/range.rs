//! Half-open ranges of ids: what the allocator grants and the pool consumes.

use serde::{Deserialize, Serialize};

/// A non-empty half-open range of ids, `[start, end)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "(u64, u64)", into = "(u64, u64)")]
pub struct IdRange {
    start: u64,
    end: u64,
}

/// Why two numbers are no range: the end is not above the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a range must end above its start, but [{start}, {end}) does not")]
pub struct EmptyRange {
    /// The first id.
    pub start: u64,
    /// One past the last id.
    pub end: u64,
}

impl IdRange {
    /// The range `[start, end)`.
    ///
    /// # Errors
    /// [`EmptyRange`] unless `start < end`.
    pub const fn new(start: u64, end: u64) -> Result<Self, EmptyRange> {
        if start < end { Ok(Self { start, end }) } else { Err(EmptyRange { start, end }) }
    }

    /// The first id.
    pub const fn start(self) -> u64 {
        self.start
    }

    /// One past the last id.
    pub const fn end(self) -> u64 {
        self.end
    }

    /// How many ids the range holds; never 0.
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub const fn len(self) -> u64 {
        self.end - self.start
    }

    /// Whether `id` lies in the range.
    pub const fn contains(self, id: u64) -> bool {
        self.start <= id && id < self.end
    }

    /// Whether the two ranges share an id.
    pub const fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}

impl TryFrom<(u64, u64)> for IdRange {
    type Error = EmptyRange;

    fn try_from((start, end): (u64, u64)) -> Result<Self, EmptyRange> {
        Self::new(start, end)
    }
}

impl From<IdRange> for (u64, u64) {
    fn from(range: IdRange) -> Self {
        (range.start, range.end)
    }
}
