//! What a namespace is made with, and how the numbers that are granted become its ids.

use serde::{Deserialize, Serialize};

/// What a namespace is made with. Only its quota and its block limit may change.
///
/// Grants are ranges of counters, from `start` upwards without holes. Counter `c` is the id
/// `start + offset + (c - start)·stride`: with a stride of 1 and no offset they are the same. Regions that are to share
/// a span without talking to each other take one start, one stride, and an offset each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceSpec {
    /// The first counter; also the lowest id, before the offset.
    pub start: u64,
    /// One past the last id that may be granted: nothing is granted beyond, nothing wraps.
    pub limit: u64,
    /// The largest block one grant may have, in ids.
    pub max_block: u64,
    /// How far apart neighbouring ids are, from 1.
    pub stride: u64,
    /// Which of the `stride` interleaved sequences this is, from 0.
    pub offset: u64,
    /// How many ids may be granted in total; `None` for as many as there are.
    pub quota: Option<u64>,
}

impl NamespaceSpec {
    /// Every id of `[start, limit)`, without a quota, in blocks of at most `max_block`.
    pub const fn contiguous(start: u64, limit: u64, max_block: u64) -> Self {
        Self { start, limit, max_block, stride: 1, offset: 0, quota: None }
    }

    /// The id of a counter; `None` outside the namespace.
    pub const fn id(&self, counter: u64) -> Option<u64> {
        if counter < self.start || counter >= self.counter_limit() {
            return None;
        }
        // Below the limit, as the counter is below its own: neither operation can overflow.
        Some(self.start + self.offset + (counter - self.start) * self.stride)
    }

    /// The counter of an id; `None` if the namespace has no such id.
    pub fn counter(&self, id: u64) -> Option<u64> {
        let above = id.checked_sub(self.start)?.checked_sub(self.offset)?;
        let index = above.checked_div(self.stride)?;
        (id < self.limit && index * self.stride == above).then(|| self.start + index)
    }

    /// One past the last counter.
    pub const fn counter_limit(&self) -> u64 {
        let Some(first) = self.start.checked_add(self.offset) else { return self.start };
        if first >= self.limit || self.stride == 0 {
            return self.start;
        }
        // At most `limit - start` of them.
        self.start + (self.limit - 1 - first) / self.stride + 1
    }

    /// Whether anything can be granted from it. Offsets from the stride on would meet another sequence's ids.
    pub(super) const fn is_servable(&self) -> bool {
        self.start < self.counter_limit() && self.max_block > 0 && self.offset < self.stride
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn spec(start: u64, limit: u64, stride: u64, offset: u64) -> NamespaceSpec {
        NamespaceSpec { stride, offset, ..NamespaceSpec::contiguous(start, limit, 10) }
    }

    #[test]
    fn counters_become_ids_and_come_back() {
        let region = spec(100, 200, 10, 3);
        assert_eq!([99, 100, 101, 109, 110].map(|it| region.id(it)), [None, Some(103), Some(113), Some(193), None]);
        assert_eq!([103, 193].map(|it| region.counter(it)), [Some(100), Some(109)]);
        for foreign in [0, 99, 100, 102, 104, 203, u64::MAX] {
            assert_eq!(region.counter(foreign), None, "{foreign}");
        }
        let plain = spec(5, 10, 1, 0);
        assert_eq!((plain.id(7), plain.counter(7), plain.counter_limit()), (Some(7), Some(7), 10));
    }

    #[test]
    fn nothing_wraps_at_the_end_of_the_numbers() {
        for (bad, why) in [
            (spec(5, 5, 1, 0), "empty"),
            (spec(5, 10, 0, 0), "no stride"),
            (spec(5, 10, 3, 3), "the offset is that of another sequence"),
            (spec(5, 10, 9, 5), "the first id is past the limit"),
            (spec(u64::MAX - 1, u64::MAX, u64::MAX, u64::MAX - 1), "the first id is past all numbers"),
        ] {
            assert!(!bad.is_servable(), "{why}");
        }
        let widest = spec(0, u64::MAX, u64::MAX, u64::MAX - 1);
        assert!(widest.is_servable());
        assert_eq!((widest.counter_limit(), widest.id(0), widest.id(1)), (1, Some(u64::MAX - 1), None));
        let all = spec(0, u64::MAX, 1, 0);
        assert_eq!((all.id(u64::MAX - 1), all.id(u64::MAX)), (Some(u64::MAX - 1), None));
    }
}
