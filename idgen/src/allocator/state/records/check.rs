//! The rules that records keep, checked when a snapshot is read.

use std::collections::BTreeSet;

use super::super::namespaces::Namespace;
use super::super::{MAX_ENDED_GRANTS, MAX_ENDED_PER_NAMESPACE, State};
use super::{Book, Records};
use crate::allocator::{GrantFate, GrantId, NamespaceTotals};

impl Records {
    /// Checks every record; the error says which rule is broken. What is not written must be rebuilt before.
    pub(in crate::allocator::state) fn check(&self, state: &State) -> Result<(), &'static str> {
        if self.order.len() > MAX_ENDED_GRANTS {
            return Err("more ended grants are remembered than may be");
        }
        let is_number = |number: &u64| (1..=self.ended).contains(number);
        if !self.order.keys().all(is_number) || self.ended > state.last_grant {
            return Err("a grant's end has a number that was not given yet");
        }
        let mut ids = BTreeSet::new();
        for (name, book) in &self.books {
            let namespace = state.namespaces.get(name).ok_or("grants are remembered of no namespace")?;
            book.check(namespace, state.clock_ms)?;
            let own = book.live.keys().copied().chain(book.ended.values().map(|ended| ended.id));
            for id in own {
                if id.0 == 0 || id.0 > state.last_grant || !ids.insert(id) {
                    return Err("a grant has a number that was not given yet, or that of another");
                }
            }
        }
        Ok(())
    }
}

impl Book {
    /// Grants must ascend in their counters, numbers and times alike, below the namespace's floor, and add up to no
    /// more than its totals.
    fn check(&self, namespace: &Namespace, now_ms: u64) -> Result<(), &'static str> {
        if self.ended.len() > MAX_ENDED_PER_NAMESPACE {
            return Err("more ended grants of a namespace are remembered than may be");
        }
        let (mut last, mut end, mut at_ms) = (GrantId(0), namespace.spec.start, 0);
        let mut sums = NamespaceTotals::default();
        for &place in self.by_start.values() {
            let (id, grant, fate) = self.at(place).ok_or("a remembered grant is missing")?;
            let range = grant.range;
            if range.start() < end || range.end() > namespace.floor || id <= last {
                return Err("a grant overlaps another, lies outside what was granted, or is out of order");
            }
            if grant.granted_at_ms > now_ms || (grant.granted_at_ms != 0 && grant.granted_at_ms < at_ms) {
                return Err("a grant's time is not between those of its neighbours");
            }
            (last, end, at_ms) = (id, range.end(), grant.granted_at_ms.max(at_ms));
            // The ranges are disjoint and below the floor, so no sum overflows.
            match fate {
                GrantFate::Live => sums.live += range.len(),
                GrantFate::Lost => sums.lost += range.len(),
                GrantFate::Returned { used_to } if used_to < range.start() || used_to > range.end() => {
                    return Err("a grant was returned to a position outside it");
                }
                GrantFate::Returned { used_to } => {
                    sums.used += used_to - range.start();
                    sums.returned += range.end() - used_to;
                }
            }
        }
        let totals = &namespace.totals;
        let is_part = sums.used <= totals.used && sums.returned <= totals.returned && sums.lost <= totals.lost;
        if sums.live == totals.live && is_part {
            Ok(())
        } else {
            Err("a namespace's grants are not those of its totals")
        }
    }
}
