//! What the log looks like to its readers: everything that was handed to the writer, flushed or not.
//!
//! openraft reads entries as soon as `append` returns, long before they are on disk. So the newest entries stay in
//! memory: all that are not flushed yet, and enough of the flushed ones that applying rarely reads the disk.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::types::{Entry, LogId, Vote};

/// Flushed entries kept in memory. One takes some hundred bytes, or up to 200 KiB where its 16 KiB are many commands.
const FLUSHED_KEPT: usize = 256;

/// The readers' side of the log.
#[derive(Debug, Default)]
pub(super) struct View {
    /// The last vote that is on disk.
    pub(super) vote: Option<Vote>,
    /// The last entry known to be committed.
    pub(super) committed: Option<LogId>,
    /// The last entry removed from the front.
    pub(super) purged: Option<LogId>,
    /// The last entry, or the last one removed when there is none.
    pub(super) last: Option<LogId>,
    /// The newest entries, without a gap.
    cache: BTreeMap<u64, Entry>,
}

impl View {
    /// The view of a log found on disk.
    pub(super) fn recovered(
        vote: Option<Vote>,
        committed: Option<LogId>,
        purged: Option<LogId>,
        last: Option<LogId>,
    ) -> Self {
        Self { vote, committed, purged, last, cache: BTreeMap::new() }
    }

    /// Entries were handed to the writer.
    pub(super) fn append(&mut self, entries: &[Entry]) {
        if let Some(entry) = entries.last() {
            self.last = Some(entry.log_id);
        }
        self.cache.extend(entries.iter().map(|entry| (entry.log_id.index, entry.clone())));
    }

    /// Entries after `last` are to be removed.
    pub(super) fn truncate(&mut self, last: Option<LogId>) {
        let from = next(last.as_ref());
        if from >= next(self.last.as_ref()) {
            return;
        }
        self.cache.split_off(&from);
        self.last = last;
    }

    /// Entries up to `upto` are to be removed.
    pub(super) fn purge(&mut self, upto: LogId) {
        self.cache = self.cache.split_off(&(upto.index + 1));
        self.last = self.last.take().max(Some(upto));
        self.purged = self.purged.take().max(Some(upto));
    }

    /// Entries before `index` are on disk: the oldest of them need not be kept in memory any more.
    pub(super) fn flushed_to(&mut self, index: u64) {
        while self.cache.len() > FLUSHED_KEPT
            && let Some(first) = self.cache.first_entry()
            && *first.key() < index
        {
            first.remove();
        }
    }

    /// The part of `range` that must be read from disk, and the entries that follow it.
    pub(super) fn read(&self, range: Range<u64>) -> (Range<u64>, Vec<Entry>) {
        let start = range.start.max(next(self.purged.as_ref()));
        let end = range.end.min(next(self.last.as_ref()));
        let cached_from = self.cache.first_key_value().map_or(end, |(index, _)| (*index).clamp(start.min(end), end));
        if start >= end {
            return (start..start, Vec::new());
        }
        let cached = self.cache.range(cached_from..end).map(|(_, entry)| entry.clone()).collect();
        (start..cached_from, cached)
    }
}

/// The index after an entry.
fn next(id: Option<&LogId>) -> u64 {
    id.map_or(0, |id| id.index + 1)
}
