//! The log as openraft sees it: every write that was handed over, durable or not.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use metrics::Histogram;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use stint::cluster::disk::{Cluster, MemberDisk, WriterStats};
use stint::cluster::state_machine::SnapshotStore;
use stint::cluster::types::{Entry, LogId, SnapshotMeta, TypeConfig, Vote};
use tokio::sync::{mpsc, oneshot};

use super::{Op, Platter, Stored, Told, Write};

/// One process's log. Clones share it; it ends with the process.
#[derive(Clone)]
pub(crate) struct SimLog {
    platter: Platter,
    view: Arc<Mutex<Stored>>,
    queue: mpsc::Sender<Told>,
}

/// The disk under a log, as the member's keeper sees it.
#[derive(Debug)]
pub(super) struct SimDisk(SimLog);

impl SimLog {
    pub(super) const fn new(platter: Platter, view: Arc<Mutex<Stored>>, queue: mpsc::Sender<Told>) -> Self {
        Self { platter, view, queue }
    }

    fn view(&self) -> MutexGuard<'_, Stored> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn hand_over(&self, op: Op, told: Told) -> io::Result<()> {
        let slot = self.queue.reserve().await.map_err(|_| io::Error::other("the disk is gone"))?;
        let mut view = self.view();
        let write = Write { op, committed: view.committed };
        view.apply(write.clone());
        self.platter.take(write);
        slot.send(told);
        Ok(())
    }

    /// Hands a write over and waits until it is durable.
    async fn write(&self, op: Op) -> io::Result<()> {
        let (waiter, done) = oneshot::channel();
        self.hand_over(op, Told::Waiter(waiter)).await?;
        done.await.map_err(|_| io::Error::other("the disk is gone"))?
    }
}

impl Debug for SimLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimLog")
    }
}

impl SimDisk {
    pub(super) const fn new(log: SimLog) -> Self {
        Self(log)
    }
}

impl RaftLogReader<TypeConfig> for SimLog {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let range = (range.start_bound().cloned(), range.end_bound().cloned());
        if matches!(range, (Bound::Included(start), Bound::Excluded(end)) if start >= end) {
            return Ok(Vec::new());
        }
        Ok(self.view().entries.range(range).map(|(_, entry)| entry.clone()).collect())
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.view().vote)
    }
}

impl RaftLogStorage<TypeConfig> for SimLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let view = self.view();
        Ok(LogState { last_purged_log_id: view.purged, last_log_id: view.last() })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.write(Op::Vote(*vote)).await?;
        self.platter.voted(vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.view().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.view().committed)
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.hand_over(Op::Append(entries.into_iter().collect()), Told::Core(flushed)).await
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let from = last_log_id.as_ref().map_or(0, |id| id.index + 1);
        self.write(Op::Truncate { from }).await
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        self.hand_over(Op::Purge { upto: log_id }, Told::Nobody).await
    }
}

impl SnapshotStore for SimLog {
    fn load(&self) -> io::Result<Option<(SnapshotMeta, Vec<u8>)>> {
        Ok(self.platter.snapshot())
    }

    fn save(&self, meta: &SnapshotMeta, state: Vec<u8>) -> BoxFuture<'static, io::Result<()>> {
        let (log, op) = (self.clone(), Op::Snapshot(meta.clone(), state));
        Box::pin(async move { log.write(op).await })
    }
}

#[async_trait]
impl MemberDisk for SimDisk {
    fn failure(&self) -> Option<String> {
        None
    }

    fn waiting(&self) -> Duration {
        Duration::ZERO
    }

    fn report_stall(&self, _waited: Duration) {}

    fn stats(&self) -> WriterStats {
        WriterStats::default()
    }

    fn measure(&self, _writes: Histogram) {}

    async fn join_cluster(&self, cluster: Cluster) -> io::Result<()> {
        self.0.write(Op::Join(cluster)).await
    }

    async fn close(&self) {
        // Behind everything else in the queue.
        let _ = self.0.write(Op::Nothing).await;
    }
}
