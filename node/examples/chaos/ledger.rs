//! Every range that anybody was handed, and the exact answer to whether any id is in two of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Ranges by namespace, and draws that failed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    ranges: BTreeMap<String, Vec<Range>>,
    failures: Vec<Failure>,
}

/// Ids `start..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Range {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// A draw that was not answered with ids.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// Which holder.
    pub(crate) holder: usize,
    /// The holder's ids so far.
    pub(crate) drawn_before: u64,
    /// 503 with `Retry-After`: what is said once the headroom is used up.
    pub(crate) is_polite: bool,
    /// What was said instead of ids.
    pub(crate) said: String,
}

impl Ledger {
    /// Keeps what a holder was handed.
    pub(crate) fn add(&self, namespace: &str, ranges: &[Range]) {
        let mut entries = self.lock();
        match entries.ranges.get_mut(namespace) {
            Some(known) => known.extend(ranges),
            None => drop(entries.ranges.insert(namespace.to_owned(), ranges.to_vec())),
        }
    }

    /// Keeps a draw that failed.
    pub(crate) fn fail(&self, failure: Failure) {
        self.lock().failures.push(failure);
    }

    /// The failures from the `since`th on.
    pub(crate) fn failures(&self, since: usize) -> Vec<Failure> {
        self.lock().failures[since..].to_vec()
    }

    /// How many draws failed.
    pub(crate) fn failed(&self) -> usize {
        self.lock().failures.len()
    }

    /// How many ids of a namespace were handed out, those in two ranges counted twice.
    pub(crate) fn ids(&self, namespace: &str) -> u64 {
        self.lock().ranges.get(namespace).map_or(0, |ranges| ranges.iter().map(|range| range.end - range.start).sum())
    }

    /// How many ids were handed out again.
    pub(crate) fn duplicates(&self) -> u64 {
        let all: Vec<Vec<Range>> = self.lock().ranges.values().cloned().collect();
        all.into_iter().map(repeated).sum()
    }

    /// The ranges that are empty, or not wholly within `first..limit`.
    pub(crate) fn outside(&self, namespace: &str, first: u64, limit: u64) -> Vec<Range> {
        let entries = self.lock();
        let ranges = entries.ranges.get(namespace).into_iter().flatten();
        ranges.filter(|range| range.start >= range.end || range.start < first || range.end > limit).copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many ids are in a range although they are in an earlier one.
fn repeated(mut ranges: Vec<Range>) -> u64 {
    ranges.sort_unstable();
    let mut reached = 0;
    let mut repeated = 0;
    for Range { start, end } in ranges {
        repeated += end.min(reached).saturating_sub(start);
        reached = reached.max(end);
    }
    repeated
}
