//! Sets of counters as the auditor keeps them: disjoint intervals that touch nowhere.

use std::collections::BTreeMap;

use crate::IdRange;

/// How many intervals are kept. Grants of an allocator that does its work follow each other, and what a raised floor
/// skips is filled in, so there is one. Only a faulty allocator leaves holes; past this many the lowest is filled in,
/// which hides nothing: a grant that starts below the highest end is a violation in a hole as well.
const MAX_INTERVALS: usize = 1_024;

/// Start → end of each interval.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Intervals(BTreeMap<u64, u64>);

impl Intervals {
    /// The lowest interval that shares a counter with `range`.
    pub(super) fn overlapped_by(&self, range: IdRange) -> Option<(u64, u64)> {
        // Intervals ascend in their ends too, so only the last that starts before the range can reach into it.
        let before = self.0.range(..=range.start()).next_back().filter(|&(_, &end)| end > range.start());
        let found = before.or_else(|| self.0.range(range.start()..range.end()).next());
        found.map(|(&start, &end)| (start, end))
    }

    /// One past the highest counter.
    pub(super) fn end(&self) -> Option<u64> {
        self.0.last_key_value().map(|(_, &end)| end)
    }

    /// Adds a range; what it overlaps or touches becomes one interval with it.
    pub(super) fn add(&mut self, range: IdRange) {
        let (mut start, mut end) = (range.start(), range.end());
        while let Some((from, to)) = self.0.range(..=end).next_back().map(|(&from, &to)| (from, to)) {
            if to < start {
                break;
            }
            self.0.remove(&from);
            (start, end) = (start.min(from), end.max(to));
        }
        self.0.insert(start, end);
        if self.0.len() > MAX_INTERVALS {
            self.fill_lowest_hole();
        }
    }

    fn fill_lowest_hole(&mut self) {
        if let (Some((start, _)), Some((_, end))) = (self.0.pop_first(), self.0.pop_first()) {
            self.0.insert(start, end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> IdRange {
        IdRange::new(start, end).unwrap()
    }

    fn listed(intervals: &Intervals) -> Vec<(u64, u64)> {
        intervals.0.iter().map(|(&start, &end)| (start, end)).collect()
    }

    #[test]
    fn what_touches_or_overlaps_becomes_one() {
        let mut intervals = Intervals::default();
        for (start, end) in [(10, 20), (30, 40), (20, 25), (50, 60)] {
            intervals.add(range(start, end));
        }
        assert_eq!(listed(&intervals), [(10, 25), (30, 40), (50, 60)]);
        intervals.add(range(24, 50));
        assert_eq!(listed(&intervals), [(10, 60)]);
        intervals.add(range(0, u64::MAX));
        assert_eq!((listed(&intervals), intervals.end()), (vec![(0, u64::MAX)], Some(u64::MAX)));
    }

    #[test]
    fn an_overlap_is_found_on_every_side() {
        let mut intervals = Intervals::default();
        intervals.add(range(10, 20));
        intervals.add(range(30, 40));
        for (start, end, found) in [
            (0, 10, None),
            (20, 30, None),
            (40, 50, None),
            (0, 11, Some((10, 20))),
            (19, 21, Some((10, 20))),
            (12, 13, Some((10, 20))),
            (25, 31, Some((30, 40))),
            (0, 100, Some((10, 20))),
        ] {
            assert_eq!(intervals.overlapped_by(range(start, end)), found, "[{start}, {end})");
        }
    }

    #[test]
    fn the_number_of_intervals_is_bounded_and_no_counter_is_dropped() {
        let mut intervals = Intervals::default();
        let count = MAX_INTERVALS as u64 + 10;
        for index in 0..count {
            intervals.add(range(3 * index, 3 * index + 1));
        }
        assert_eq!(intervals.0.len(), MAX_INTERVALS);
        assert!((0..count).all(|index| intervals.overlapped_by(range(3 * index, 3 * index + 1)).is_some()));
        assert_eq!(listed(&intervals)[0], (0, 31));
    }
}
