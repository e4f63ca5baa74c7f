//! The Raft log in a redb file: votes, entries, and the snapshot.
//!
//! Guarantees: all writes go through one ordered queue to one thread, which commits whatever waits with one fsync
//! (group commit); a write is acknowledged only after that; a reader sees an entry as soon as it was handed over.

mod disk;
mod trial;
mod view;
mod writer;

#[cfg(test)]
pub(super) use disk::testing;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use metrics::Histogram;
use openraft::storage::{LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use redb::StorageBackend;
use tokio::sync::{mpsc, oneshot};

pub use disk::StoreError;

use self::disk::{Disk, Recovered};
use self::view::View;
use self::writer::{Ack, Ended, Health, Job, Op};
use super::codec;
use super::disk::{Cluster, Identity, MemberDisk, WriterStats};
use super::state_machine::SnapshotStore;
use super::types::{Entry, IoFlushed, LogId, NodeId, SnapshotMeta, TypeConfig, Vote};
use crate::ports::clock::Clock;
use crate::ports::entropy::Entropy;

/// The log of one member. Clones share it.
#[derive(Clone, Debug)]
pub struct LogStore {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Job>,
}

/// Reads the log, for replication and for applying.
#[derive(Clone, Debug)]
pub struct LogReader {
    shared: Arc<Shared>,
}

/// A log that was opened.
#[derive(Debug)]
pub struct OpenLog {
    /// The log.
    pub store: LogStore,
    /// Whose data it is.
    pub identity: Identity,
    /// The means to look after the file, and to close it.
    pub disk: Arc<LogDisk>,
}

/// The file under a log.
#[derive(Debug)]
pub struct LogDisk {
    store: LogStore,
    ended: Mutex<Option<Ended>>,
}

/// What the store, its readers and the writer thread have in common.
#[derive(Debug)]
struct Shared {
    view: Mutex<View>,
    /// Gone once the writer has ended, so that the file is released whoever still holds a reader.
    disk: Mutex<Option<Arc<Disk>>>,
    health: Health,
}

impl LogStore {
    /// Opens the log in `dir`, or makes one there, with a new identity.
    ///
    /// # Errors
    /// [`StoreError`]: in use, damaged, of a newer version, of another node, or not to be read.
    pub fn open(
        dir: &Path,
        node_id: NodeId,
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
    ) -> Result<OpenLog, StoreError> {
        Self::start(Disk::open(dir, node_id, entropy)?, clock)
    }

    /// Opens the log in a storage that is not a directory: for tests and simulation.
    ///
    /// # Errors
    /// [`StoreError`], as for [`Self::open`].
    pub fn open_on(
        backend: impl StorageBackend,
        node_id: NodeId,
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
    ) -> Result<OpenLog, StoreError> {
        Self::start(Disk::on(backend, node_id, entropy)?, clock)
    }

    fn start((disk, found): (Disk, Recovered), clock: Arc<dyn Clock>) -> Result<OpenLog, StoreError> {
        let disk = Arc::new(disk);
        let shared = Arc::new(Shared {
            view: Mutex::new(View::recovered(found.vote, found.committed, found.purged, found.last)),
            disk: Mutex::new(Some(Arc::clone(&disk))),
            health: Health::new(clock),
        });
        let (queue, ended) = writer::start(Arc::clone(&shared), disk).map_err(StoreError::Thread)?;
        let store = Self { shared, queue };
        let disk = Arc::new(LogDisk { store: store.clone(), ended: Mutex::new(Some(ended)) });
        Ok(OpenLog { store, identity: found.identity, disk })
    }

    /// Hands a write over, once there is room for it. `update` changes the readers' view at that very moment.
    async fn hand_over(&self, op: Op, update: impl FnOnce(&mut View, &Op) + Send) -> io::Result<()> {
        let slot = self.queue.reserve().await.map_err(|_| self.closed())?;
        let mut view = self.shared.view();
        update(&mut view, &op);
        let committed = view.committed;
        // Sent under the lock: the view and the queue always agree on the order.
        slot.send(Job { op, committed });
        Ok(())
    }

    /// Hands a write over and waits until it is on disk.
    async fn write(
        &self,
        op: impl FnOnce(Ack) -> Op + Send,
        update: impl FnOnce(&mut View, &Op) + Send,
    ) -> io::Result<()> {
        let (ack, written) = oneshot::channel();
        self.hand_over(op(ack), update).await?;
        written.await.map_err(|_| self.closed())?
    }

    fn closed(&self) -> io::Error {
        io::Error::other(self.shared.health.failure().unwrap_or("the log is closed").to_owned())
    }
}

#[async_trait]
impl MemberDisk for LogDisk {
    fn failure(&self) -> Option<String> {
        self.store.shared.health.failure().map(str::to_owned)
    }

    fn waiting(&self) -> Duration {
        self.store.shared.health.waiting()
    }

    fn report_stall(&self, waited: Duration) {
        self.store.shared.health.report_stall(waited);
    }

    fn stats(&self) -> WriterStats {
        self.store.shared.health.stats()
    }

    fn measure(&self, writes: Histogram) {
        self.store.shared.health.measure(writes);
    }

    async fn join_cluster(&self, cluster: Cluster) -> io::Result<()> {
        self.store.write(|ack| Op::Join { cluster, ack }, |_, _| {}).await
    }

    async fn close(&self) {
        // A writer that has failed has ended already.
        let _ = self.store.hand_over(Op::Stop, |_, _| {}).await;
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ended) = ended {
            ended.join().await;
        }
    }
}

impl Shared {
    fn view(&self) -> MutexGuard<'_, View> {
        // Every change of the view is complete before its lock is released, so a panic elsewhere can't have spoilt it.
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn disk(&self) -> io::Result<Arc<Disk>> {
        let disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        disk.clone().ok_or_else(|| io::Error::other("the log is closed"))
    }

    /// Lets go of the file.
    fn release(&self) {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// A batch is on disk.
    fn flushed(&self, batch: &[Job]) {
        let mut view = self.view();
        for job in batch {
            match &job.op {
                Op::Append { entries, .. } => {
                    if let Some(entry) = entries.last() {
                        view.flushed_to(entry.log_id.index + 1);
                    }
                }
                Op::Vote { vote, .. } => view.vote = Some(*vote),
                Op::Truncate { .. } | Op::Purge { .. } | Op::Snapshot { .. } | Op::Join { .. } | Op::Stop => {}
            }
        }
    }

    fn read(&self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let (stored, cached) = self.view().read(start..end);
        if stored.is_empty() {
            return Ok(cached);
        }
        let mut entries = self.disk()?.entries(stored.start, stored.end)?;
        entries.extend(cached);
        match entries.array_windows().find(|[a, b]| a.log_id.index + 1 != b.log_id.index) {
            None => Ok(entries),
            Some([entry, _]) => {
                let message = format!("the log has a hole after entry {}", entry.log_id.index);
                Err(io::Error::new(io::ErrorKind::InvalidData, message))
            }
        }
    }
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let start = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(index) => index + 1,
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX,
        };
        self.shared.read(start, end)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.shared.view().vote)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let view = self.shared.view();
        Ok(LogState { last_purged_log_id: view.purged, last_log_id: view.last })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        LogReader { shared: Arc::clone(&self.shared) }
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let vote = *vote;
        self.write(|ack| Op::Vote { vote, ack }, |_, _| {}).await
    }

    // Written with the next batch, not by itself: it only spares a restart some waiting for the leader.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.shared.view().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.shared.view().committed)
    }

    async fn append<I>(&mut self, entries: I, flushed: IoFlushed) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let op = Op::Append { entries: entries.into_iter().collect(), flushed };
        self.hand_over(op, |view, op| {
            if let Op::Append { entries, .. } = op {
                view.append(entries);
            }
        })
        .await
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let from = last_log_id.as_ref().map_or(0, |id| id.index + 1);
        self.write(|ack| Op::Truncate { from, ack }, |view, _| view.truncate(last_log_id)).await
    }

    // Not waited for: the core would stand still for an fsync that nothing depends on.
    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        self.hand_over(Op::Purge { upto: log_id }, |view, _| view.purge(log_id)).await
    }
}

impl SnapshotStore for LogStore {
    fn load(&self) -> io::Result<Option<(SnapshotMeta, Vec<u8>)>> {
        self.shared.disk()?.snapshot()
    }

    fn save(&self, meta: &SnapshotMeta, state: Vec<u8>) -> BoxFuture<'static, io::Result<()>> {
        let record = codec::encode_snapshot(meta, state);
        let store = self.clone();
        Box::pin(async move { store.write(|ack| Op::Snapshot { record, ack }, |_, _| {}).await })
    }
}
