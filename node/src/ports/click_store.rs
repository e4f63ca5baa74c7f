//! Counting followed links: a sink that never waits, and a store that counts each chunk once.

use std::fmt;

use async_trait::async_trait;
use stint_idgen::Key;

use super::link_store::StoreError;
use crate::domain::timestamp::UnixMs;

/// Days since 1970-01-01, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i32);

/// Milliseconds of a day.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

impl Day {
    /// The day of a moment.
    ///
    /// # Panics
    /// Never: moments end with the year 9999.
    pub fn of(moment: UnixMs) -> Self {
        Self(i32::try_from(moment.get() / DAY_MS).expect("the year 9999 ends before day 2^31"))
    }

    /// The day `days` earlier, or 1970-01-01.
    #[must_use]
    pub const fn back(self, days: u16) -> Self {
        let earlier = self.0 - days as i32;
        Self(if earlier < 0 { 0 } else { earlier })
    }

    /// The day with this number; `None` before 1970 or after 9999.
    pub fn new(number: i32) -> Option<Self> {
        UnixMs::new(i64::from(number) * DAY_MS).ok().map(Self::of)
    }
}

/// As in `2026-11-25`.
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = UnixMs::new(i64::from(self.0) * DAY_MS).map_err(|_| fmt::Error)?.to_string();
        f.write_str(moment.split('T').next().unwrap_or_default())
    }
}

/// Takes clicks in, without waiting and without an error: what is too much is dropped and counted as dropped.
pub trait ClickSink: Send + Sync + std::fmt::Debug + 'static {
    /// Notes that a link was followed.
    fn record(&self, key: Key, at: UnixMs);
}

/// What makes a chunk of clicks recognisable, so that it is counted once however often it is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChunkId {
    /// The process that collected it: random, new at each start.
    pub process: u128,
    /// Its number in that process, from 1.
    pub seq: u64,
}

/// How often each link was followed on each day, as one process saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClickChunk {
    /// Which chunk it is.
    pub id: ChunkId,
    /// The clicks, sorted by key and day, each pair once.
    pub clicks: Vec<(Key, Day, u64)>,
}

/// How often a link was followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClickTotals {
    /// Ever.
    pub total: u64,
    /// By day, latest first, since the day asked for. Days without a click are left out.
    pub days: Vec<(Day, u64)>,
}

impl ClickTotals {
    /// What rows of (day, clicks) say, the total without a day; days come latest first.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], if a number can't be one.
    pub fn from_rows(rows: Vec<(Option<i32>, i64)>) -> Result<Self, StoreError> {
        let mut totals = Self::default();
        for (day, clicks) in rows {
            let clicks =
                u64::try_from(clicks).map_err(|_| StoreError::Corrupt { what: "a negative number of clicks" })?;
            match day.map(|day| Day::new(day).ok_or(StoreError::Corrupt { what: "the day of clicks" })).transpose()? {
                Some(day) => totals.days.push((day, clicks)),
                None => totals.total = clicks,
            }
        }
        totals.days.sort_unstable_by(|one, next| next.cmp(one));
        Ok(totals)
    }
}

/// Counts clicks for good.
#[async_trait]
pub trait ClickStore: Send + Sync + std::fmt::Debug + 'static {
    /// Adds chunks in one transaction, each unless it was added before; answers how many clicks were new. After an error
    /// it may still have been done: the same chunks may be added again.
    async fn add_chunks(&self, chunks: &[ClickChunk], now: UnixMs) -> Result<u64, StoreError>;

    /// What was counted for a link: ever, and on each day from `since` on.
    async fn clicks(&self, key: Key, since: Day) -> Result<ClickTotals, StoreError>;

    /// Forgets which chunks were last added before a moment, some at a time; answers how many records it dropped. 0 means
    /// that none are left.
    async fn forget_chunks_before(&self, moment: UnixMs) -> Result<u64, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_that_of_utc_and_is_shown_as_people_write_it() {
        let day = |text: &str| Day::of(text.parse().unwrap());
        assert_eq!(day("2026-11-25T00:00:00Z").to_string(), "2026-11-25");
        assert_eq!(day("2026-11-25T23:59:59.999Z").to_string(), "2026-11-25");
        assert_eq!(day("2026-11-26T00:30:00+01:00").to_string(), "2026-11-25");
        assert_eq!(day("2026-03-01T12:00:00Z").back(1).to_string(), "2026-02-28");
        assert_eq!(Day(3).back(9), Day(0));
        assert_eq!((Day::of(UnixMs::MAX).to_string().as_str(), Day::new(-1)), ("9999-12-31", None));
        assert_eq!((Day::new(0), Day::new(2_932_896), Day::new(2_932_897)), (Some(Day(0)), Some(Day(2_932_896)), None));
    }
}
