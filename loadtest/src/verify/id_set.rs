//! Ids that were handed out, as ranges: neighbours are one range, so that millions of ids are a few entries.

use std::collections::BTreeMap;

/// A set of ids that refuses what it has.
#[derive(Debug, Default)]
pub(crate) struct IdSet {
    /// Start → end (exclusive); disjoint, and never adjacent.
    ranges: BTreeMap<u64, u64>,
}

impl IdSet {
    /// Takes the ids from `start` to below `end` in; the first that was there already is the error.
    pub(crate) fn insert(&mut self, start: u64, end: u64) -> Result<(), u64> {
        if start >= end {
            return Ok(());
        }
        let before = self.ranges.range(..=start).next_back().map(|(&start, &end)| (start, end));
        if before.is_some_and(|(_, end)| end > start) {
            return Err(start);
        }
        let after = self.ranges.range(start..).next().map(|(&start, &end)| (start, end));
        if let Some((next, _)) = after
            && next < end
        {
            return Err(next);
        }
        let merged_start = before.filter(|&(_, end)| end == start).map_or(start, |(start, _)| start);
        let merged_end = after.filter(|&(start, _)| start == end).map_or(end, |(_, end)| end);
        self.ranges.remove(&end);
        self.ranges.insert(merged_start, merged_end);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_was_there_is_named() {
        let mut ids = IdSet::default();
        assert_eq!(ids.insert(10, 20), Ok(()));
        assert_eq!(ids.insert(30, 40), Ok(()));
        for (start, end, twice) in [(10, 11, 10), (19, 20, 19), (5, 11, 10), (20, 31, 30), (25, 99, 30), (12, 14, 12)] {
            assert_eq!(ids.insert(start, end), Err(twice), "{start}..{end}");
        }
        assert_eq!(ids.ranges, BTreeMap::from([(10, 20), (30, 40)]), "what is refused changes nothing");
    }

    #[test]
    fn neighbours_become_one_range() {
        let mut ids = IdSet::default();
        for id in [3, 1, 2, 5, 4] {
            assert_eq!(ids.insert(id, id + 1), Ok(()));
        }
        assert_eq!(ids.ranges, BTreeMap::from([(1, 6)]));
        assert_eq!(ids.insert(7, 7), Ok(()), "nothing is nothing");
        assert_eq!(ids.insert(6, 10), Ok(()));
        assert_eq!(ids.ranges, BTreeMap::from([(1, 10)]));
    }
}
