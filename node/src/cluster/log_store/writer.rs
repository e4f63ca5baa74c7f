//! The one thread that writes: it takes whatever waits in the queue and commits it with one fsync.
//!
//! Guarantees: votes and entries reach the disk in the order they were handed over; nobody is told of a write before
//! it is on disk; after the first failed write nothing is written any more, and every writer is told so.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{io, thread};

use metrics::Histogram;
use tokio::sync::{mpsc, oneshot};

use super::super::disk::{Cluster, WriterStats};
use super::super::types::{Entry, IoFlushed, LogId, Vote};
use super::Shared;
use super::disk::Disk;
use crate::ports::clock::Clock;
use crate::ports::error_chain::Chain;

/// Writes that may wait. A full queue holds the consensus core back, which holds its callers back.
const QUEUE: usize = 1_024;

/// The most writes in one transaction.
const BATCH: usize = 1_024;

/// Purged entries that are erased in one transaction at most: few enough that nobody notices.
const ERASED_AT_ONCE: u64 = 2_048;

/// Told when a write is on disk, or why it is not.
pub(super) type Ack = oneshot::Sender<io::Result<()>>;

/// One write.
pub(super) enum Op {
    /// Remember a vote.
    Vote { vote: Vote, ack: Ack },
    /// Add entries at the end.
    Append { entries: Vec<Entry>, flushed: IoFlushed },
    /// Remove the entries from an index on.
    Truncate { from: u64, ack: Ack },
    /// Remove the entries up to one, inclusive. Nobody waits for it: entries that come back after a crash are harmless.
    Purge { upto: LogId },
    /// Replace the snapshot.
    Snapshot { record: Vec<u8>, ack: Ack },
    /// Remember to which cluster the data belongs.
    Join { cluster: Cluster, ack: Ack },
    /// Write what is before it, release the file, and end.
    Stop,
}

/// One write and what was known when it was handed over.
pub(super) struct Job {
    pub(super) op: Op,
    /// The last committed entry. It was handed over before, so what lies on disk never claims an entry it lacks.
    pub(super) committed: Option<LogId>,
}

/// How the writing goes.
#[derive(Debug)]
pub(super) struct Health {
    clock: Arc<dyn Clock>,
    failed: OnceLock<String>,
    /// When the running transaction began, in milliseconds of the monotonic clock plus one; 0 when there is none.
    writing_since: AtomicU64,
    /// The value of `writing_since` that was last reported as a stall.
    reported: AtomicU64,
    commits: AtomicU64,
    entries: AtomicU64,
    commit_micros: AtomicU64,
    measured: OnceLock<Histogram>,
}

impl Health {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            failed: OnceLock::new(),
            writing_since: AtomicU64::new(0),
            reported: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            commit_micros: AtomicU64::new(0),
            measured: OnceLock::new(),
        }
    }

    /// Why nothing can be written any more, if so.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failed.get().map(String::as_str)
    }

    /// How long the disk has kept the running write waiting.
    pub(super) fn waiting(&self) -> Duration {
        match self.writing_since.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => self.clock.monotonic().saturating_sub(Duration::from_millis(since - 1)),
        }
    }

    /// Logs that the disk has not answered for `waited`, once for each write that it keeps waiting.
    pub(super) fn report_stall(&self, waited: Duration) {
        let since = self.writing_since.load(Ordering::Relaxed);
        if since != 0 && self.reported.swap(since, Ordering::Relaxed) != since {
            tracing::error!(waited_ms = millis(waited), "the disk doesn't answer; commands are refused until it does");
        }
    }

    /// The counters.
    pub(super) fn stats(&self) -> WriterStats {
        WriterStats {
            commits: self.commits.load(Ordering::Relaxed),
            entries: self.entries.load(Ordering::Relaxed),
            busy: Duration::from_micros(self.commit_micros.load(Ordering::Relaxed)),
        }
    }

    /// Measures each write from now on; the first measure given stays.
    pub(super) fn measure(&self, writes: Histogram) {
        let _ = self.measured.set(writes);
    }

    fn begin(&self) -> Duration {
        let now = self.clock.monotonic();
        self.writing_since.store(millis(now) + 1, Ordering::Relaxed);
        now
    }

    fn end(&self, began: Duration, entries: u64) {
        self.writing_since.store(0, Ordering::Relaxed);
        let took = self.clock.monotonic().saturating_sub(began);
        if let Some(writes) = self.measured.get() {
            writes.record(took);
        }
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.entries.fetch_add(entries, Ordering::Relaxed);
        self.commit_micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// Starts the writer; the receiver resolves once it has ended and released the file.
pub(super) fn start(shared: Arc<Shared>, disk: Arc<Disk>) -> io::Result<(mpsc::Sender<Job>, Ended)> {
    let (queue, jobs) = mpsc::channel(QUEUE);
    let (ended, on_end) = oneshot::channel();
    let first = disk.first_stored()?.unwrap_or(0);
    let end = shared.view().purged.map_or(0, |id| id.index + 1).max(first);
    let mut writer = Writer { shared, disk, jobs, committed: None, purged: first..end };
    let thread = thread::Builder::new().name("stint-raft-log".into()).spawn(move || {
        writer.run();
        writer.shared.release();
        drop(writer);
        // Nobody may be listening: the store may have been dropped without a stop.
        let _ = ended.send(());
    })?;
    Ok((queue, Ended { thread, on_end }))
}

/// The end of the writer thread.
#[derive(Debug)]
pub(super) struct Ended {
    thread: thread::JoinHandle<()>,
    on_end: oneshot::Receiver<()>,
}

impl Ended {
    /// Waits for the thread to end and joins it.
    pub(super) async fn join(self) {
        // The thread sends as its last act, so that joining never blocks for long.
        let _ = self.on_end.await;
        if self.thread.join().is_err() {
            tracing::error!("the log's writer thread panicked");
        }
    }
}

struct Writer {
    shared: Arc<Shared>,
    disk: Arc<Disk>,
    jobs: mpsc::Receiver<Job>,
    /// The last committed entry on disk, as far as this thread wrote it.
    committed: Option<LogId>,
    /// Purged entries that are still stored: those from `start` to below `end`. A log is purged in large pieces, and
    /// erased in small ones, beside what is written anyway.
    purged: Range<u64>,
}

impl Writer {
    fn run(&mut self) {
        let mut batch = Vec::new();
        while let Some(first) = self.jobs.blocking_recv() {
            batch.push(first);
            while batch.len() < BATCH
                && let Ok(job) = self.jobs.try_recv()
            {
                batch.push(job);
            }
            let stop = batch.iter().any(|job| matches!(job.op, Op::Stop));
            let written = self.write(&batch);
            let failed = written.is_err();
            settle(batch.drain(..), &written);
            if stop || failed {
                break;
            }
        }
        self.jobs.close();
        let gone = Err(io::Error::other(self.shared.health.failure().unwrap_or("the log is closed").to_owned()));
        while let Ok(job) = self.jobs.try_recv() {
            settle([job], &gone);
        }
    }

    fn write(&mut self, batch: &[Job]) -> io::Result<()> {
        let health = &self.shared.health;
        let committed = batch.last().and_then(|job| job.committed).filter(|id| Some(id) > self.committed.as_ref());
        let began = health.begin();
        // A panic in the database must not leave the queue without a reader and callers without an answer.
        for job in batch {
            if let Op::Purge { upto } = &job.op {
                self.purged.end = self.purged.end.max(upto.index + 1);
            }
        }
        let erase_to = self.purged.end.min(self.purged.start + ERASED_AT_ONCE);
        let written =
            catch_unwind(AssertUnwindSafe(|| self.disk.commit(batch, committed.as_ref(), self.purged.start..erase_to)))
                .unwrap_or_else(|_| Err(io::Error::other("the database panicked")));
        health.end(began, batch.iter().map(Job::entries).sum());
        match written {
            Ok(()) => {
                self.committed = committed.or(self.committed.take());
                self.purged.start = erase_to;
                self.shared.flushed(batch);
                Ok(())
            }
            Err(error) => {
                tracing::error!(
                    error = %Chain(&error),
                    "writing the log failed; this node steps aside"
                );
                // Set once: the thread ends here.
                let _ = health.failed.set(error.to_string());
                Err(error)
            }
        }
    }
}

impl Job {
    fn entries(&self) -> u64 {
        match &self.op {
            Op::Append { entries, .. } => entries.len() as u64,
            _ => 0,
        }
    }
}

/// Tells everyone in the batch how it went.
fn settle(batch: impl IntoIterator<Item = Job>, written: &io::Result<()>) {
    for job in batch {
        let result = match written {
            Ok(()) => Ok(()),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        match job.op {
            // A caller that has gone away needs no answer.
            Op::Vote { ack, .. } | Op::Truncate { ack, .. } | Op::Snapshot { ack, .. } | Op::Join { ack, .. } => {
                drop(ack.send(result));
            }
            Op::Append { flushed, .. } => flushed.io_completed(result),
            Op::Purge { .. } | Op::Stop => {}
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
