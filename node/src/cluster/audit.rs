//! The audit of what a member has applied: the auditor's verdicts, the newest records, and those who follow them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::stream;
use stint_idgen::allocator::{AuditRecord, Auditor, Reply, Stamped, State};
use tokio::sync::watch;

use super::group::MAX_COMMANDS;
use crate::ports::coordination::{AuditStream, CoordinationError};

/// Records kept for whoever comes late. Who wants them all follows, and is told when it was too slow.
const KEPT: usize = 50_000;

/// Records handed over at a time.
const BATCH: usize = 256;

/// The audit of one member.
#[derive(Debug)]
pub struct AuditLog {
    seen: Mutex<Seen>,
    /// The index of the newest record.
    newest: watch::Sender<u64>,
}

#[derive(Debug)]
struct Seen {
    auditor: Auditor,
    /// What auditors before this one found.
    past_violations: u64,
    records: VecDeque<AuditRecord>,
    /// The index of the newest record that is not kept any more.
    dropped: Option<u64>,
}

/// Records were dropped before they were read.
#[derive(Debug, thiserror::Error)]
#[error("the audit records up to index {upto} are not kept any more: read on from there")]
struct TooLate {
    upto: u64,
}

impl AuditLog {
    /// The audit of a state that was restored: what it says was granted counts as seen.
    pub(super) fn resume(state: &State) -> Self {
        let auditor = Auditor::resume(state);
        let seen = Seen { auditor, past_violations: 0, records: VecDeque::new(), dropped: None };
        Self { seen: Mutex::new(seen), newest: watch::Sender::new(0) }
    }

    /// Takes note of a log entry that was applied: its commands, and the replies to them.
    pub(super) fn observe(&self, log_index: u64, entries: &[Stamped], replies: &[Reply]) {
        let first = log_index * MAX_COMMANDS as u64;
        let mut seen = self.seen();
        let mut newest = None;
        for (index, (entry, reply)) in (first..).zip(entries.iter().zip(replies)) {
            newest = seen.observe(index, entry, reply).or(newest);
        }
        drop(seen);
        if let Some(newest) = newest {
            self.newest.send_replace(newest);
        }
    }

    /// A snapshot took the place of entries that this member never saw.
    pub(super) fn skip_to(&self, state: &State) {
        let mut seen = self.seen();
        seen.past_violations += seen.auditor.violations();
        seen.auditor = Auditor::resume(state);
    }

    /// How many contradictions were found.
    pub fn violations(&self) -> u64 {
        let seen = self.seen();
        seen.past_violations + seen.auditor.violations()
    }

    /// The records behind index `after`; with `follow` those to come as well.
    pub(super) fn stream(audit: &Arc<Self>, after: Option<u64>, follow: bool) -> AuditStream {
        let reader = Reader {
            audit: Arc::clone(audit),
            newest: audit.newest.subscribe(),
            // Who asks from the beginning takes what there is.
            after: after.or_else(|| audit.seen().dropped),
            follow,
            batch: VecDeque::new(),
            ended: false,
        };
        Box::pin(stream::unfold(reader, |mut reader| async move {
            let next = reader.next().await?;
            Some((next, reader))
        }))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // A panic in `apply` stops the member for good.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// Takes note of one command; with the index of its record, if there is one.
    fn observe(&mut self, index: u64, entry: &Stamped, reply: &Reply) -> Option<u64> {
        let record = self.auditor.observe(index, entry, reply)?;
        if let Some(violation) = &record.violation {
            tracing::error!(index, violation, "the audit found a contradiction: ids may have been granted twice");
        }
        self.records.push_back(record);
        if self.records.len() > KEPT {
            self.dropped = self.records.pop_front().map(|record| record.index);
        }
        Some(index)
    }
}

/// Somebody who reads the records.
struct Reader {
    audit: Arc<AuditLog>,
    newest: watch::Receiver<u64>,
    after: Option<u64>,
    follow: bool,
    batch: VecDeque<AuditRecord>,
    ended: bool,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<AuditRecord, CoordinationError>> {
        loop {
            if let Some(record) = self.batch.pop_front() {
                self.after = Some(record.index);
                return Some(Ok(record));
            }
            if self.ended {
                return None;
            }
            self.newest.mark_unchanged();
            if let Err(too_late) = self.read() {
                self.ended = true;
                return Some(Err(CoordinationError::Unavailable { source: Box::new(too_late) }));
            }
            if self.batch.is_empty() && (!self.follow || self.newest.changed().await.is_err()) {
                return None;
            }
        }
    }

    /// Takes the next records at hand.
    fn read(&mut self) -> Result<(), TooLate> {
        let seen = self.audit.seen();
        match seen.dropped {
            Some(upto) if self.after.is_none_or(|after| after < upto) => return Err(TooLate { upto }),
            _ => {}
        }
        let from = self.after.map_or(0, |after| seen.records.partition_point(|record| record.index <= after));
        self.batch.extend(seen.records.range(from..).take(BATCH).cloned());
        Ok(())
    }
}
