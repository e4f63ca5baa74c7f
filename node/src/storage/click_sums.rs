//! Chunks of clicks as every database adds them: which numbers they have, and what the new ones come to.
//!
//! Both are sorted, so that transactions lock rows in one order.

use std::collections::BTreeMap;

use stint_idgen::Key;

use crate::ports::click_store::{ChunkId, ClickChunk, Day};

/// Numbers of one process that share a row.
const SPAN: u64 = 64;

/// A row of numbers: the process, and which 64 of its chunks.
pub(super) type Span = (u128, i64);

/// Where the number of a chunk is kept: its row, and its bit there.
fn place(id: ChunkId) -> (Span, i64) {
    let span = i64::try_from(id.seq / SPAN).expect("a 64th of any number fits");
    ((id.process, span), 1_i64 << (id.seq % SPAN))
}

/// The numbers of all chunks, as a bit each.
pub(super) fn spans(chunks: &[ClickChunk]) -> BTreeMap<Span, i64> {
    let mut spans = BTreeMap::new();
    for (span, bit) in chunks.iter().map(|chunk| place(chunk.id)) {
        *spans.entry(span).or_default() |= bit;
    }
    spans
}

/// What the chunks whose bits are `fresh` come to, each counted once.
pub(super) fn sums(chunks: &[ClickChunk], mut fresh: BTreeMap<Span, i64>) -> ClickSums {
    let mut sums = ClickSums::default();
    for chunk in chunks {
        let (span, bit) = place(chunk.id);
        let Some(left) = fresh.get_mut(&span).filter(|left| **left & bit != 0) else { continue };
        *left &= !bit;
        for (key, day, clicks) in &chunk.clicks {
            *sums.totals.entry(*key).or_default() += clicks;
            *sums.days.entry((*key, *day)).or_default() += clicks;
            sums.clicks += clicks;
        }
    }
    sums
}

/// New clicks, added up.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ClickSums {
    /// All of them.
    pub(super) clicks: u64,
    /// By link.
    pub(super) totals: BTreeMap<Key, u64>,
    /// By link and day.
    pub(super) days: BTreeMap<(Key, Day), u64>,
}

/// As databases keep it. More than 2^63 clicks were never made.
pub(super) fn stored(clicks: u64) -> i64 {
    i64::try_from(clicks).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(process: u128, seq: u64, number: i64, clicks: u64) -> ClickChunk {
        let clicks = vec![(Key::new(number).unwrap(), Day(1), clicks)];
        ClickChunk { id: ChunkId { process, seq }, clicks }
    }

    #[test]
    fn chunks_share_a_row_by_process_and_number() {
        let chunks = [(1, 1), (1, 63), (1, 64), (2, 1), (1, 1)].map(|(process, seq)| chunk(process, seq, 5, 1));
        let expected = [((1, 0), (1 << 1) | i64::MIN), ((1, 1), 1), ((2, 0), 2)];
        assert_eq!(spans(&chunks), BTreeMap::from(expected));
    }

    #[test]
    fn only_fresh_chunks_are_added_up_and_a_repeat_among_them_is_not() {
        let chunks = [chunk(1, 1, 5, 3), chunk(1, 2, 5, 4), chunk(1, 1, 5, 3), chunk(2, 1, 6, 1)];
        let sums = sums(&chunks, BTreeMap::from([((1, 0), 2), ((2, 0), 2)]));
        assert_eq!(sums.clicks, 4);
        assert_eq!(sums.totals.values().copied().collect::<Vec<_>>(), [3, 1]);
        assert_eq!(sums.days.len(), 2);
    }
}
