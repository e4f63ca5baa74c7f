//! A simulated disk under a member: the Raft log, the vote and the snapshot, written through one ordered queue.
//!
//! What was handed over is durable only after a delay; then whoever waits is told. A crash keeps what is durable and any
//! beginning of what was on its way, told or not. It stands in for `cluster::log_store`, which has tests of its own.

mod log;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openraft::storage::IOFlushed;
use openraft::vote::RaftLeaderId;
use stint::cluster::disk::{Cluster, Identity};
use stint::cluster::group::Storage;
use stint::cluster::types::{Entry, LogId, NodeId, SnapshotMeta, TypeConfig, Vote};
use tokio::sync::{mpsc, oneshot};

use self::log::SimDisk;
pub(crate) use self::log::SimLog;
use crate::history::{Event, History};
use crate::random::Random;

/// Writes that may wait for the disk.
const QUEUE: usize = 1_024;
/// How long a flush takes.
const FLUSH_MS: std::ops::RangeInclusive<u64> = 1..=8;
/// How long it takes while the disk is slow.
const SLOW_FLUSH_MS: std::ops::RangeInclusive<u64> = 20..=120;

/// A disk, as it lies in its machine: it survives the processes that use it.
#[derive(Clone, Debug)]
pub(crate) struct Platter(Arc<Mutex<Contents>>);

#[derive(Debug)]
struct Contents {
    identity: Identity,
    durable: Stored,
    /// Handed over and not durable yet, in order.
    on_their_way: VecDeque<Write>,
    slow: bool,
    random: Random,
    history: History,
}

/// What can be read back.
#[derive(Clone, Debug, Default)]
struct Stored {
    cluster: Option<Cluster>,
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    entries: BTreeMap<u64, Entry>,
    snapshot: Option<(SnapshotMeta, Vec<u8>)>,
}

/// One write, and what was known to be committed when it was handed over.
#[derive(Clone, Debug)]
struct Write {
    op: Op,
    committed: Option<LogId>,
}

#[derive(Clone, Debug)]
enum Op {
    Vote(Vote),
    Append(Vec<Entry>),
    Truncate { from: u64 },
    Purge { upto: LogId },
    Snapshot(SnapshotMeta, Vec<u8>),
    Join(Cluster),
    Nothing,
}

/// Who is told once a write is durable.
enum Told {
    Nobody,
    Waiter(oneshot::Sender<io::Result<()>>),
    Core(IOFlushed<TypeConfig>),
}

impl Platter {
    /// An empty disk for a member of this number.
    pub(crate) fn empty(node_id: NodeId, mut random: Random, history: &History) -> Self {
        let incarnation = format!("{:016x}{:016x}", random.next(), random.next());
        let identity = Identity { node_id, incarnation, cluster: None };
        let (durable, on_their_way) = (Stored::default(), VecDeque::new());
        let history = history.clone();
        Self(Arc::new(Mutex::new(Contents { identity, durable, on_their_way, slow: false, random, history })))
    }

    /// Makes each flush take long, or no longer.
    pub(crate) fn set_slow(&self, slow: bool) {
        self.contents().slow = slow;
    }

    /// What a process that starts now finds: a crash may have kept some of what was on its way.
    pub(crate) fn open(&self) -> Storage<SimLog> {
        let mut contents = self.contents();
        let waiting = contents.on_their_way.len() as u64;
        let kept = contents.random.between(0..=waiting);
        contents.flush(usize::try_from(kept).expect("it is a length"));
        contents.on_their_way.clear();
        let identity = Identity { cluster: contents.durable.cluster.clone(), ..contents.identity.clone() };
        let view = Arc::new(Mutex::new(contents.durable.clone()));
        drop(contents);
        let (queue, told) = mpsc::channel(QUEUE);
        spawn_writer(self.clone(), told);
        let log = SimLog::new(self.clone(), view, queue);
        let disk = Arc::new(SimDisk::new(log.clone()));
        Storage { snapshots: Arc::new(log.clone()), log, disk, identity }
    }

    /// The durable snapshot.
    fn snapshot(&self) -> Option<(SnapshotMeta, Vec<u8>)> {
        self.contents().durable.snapshot.clone()
    }

    /// Takes a write; it becomes durable in its turn.
    fn take(&self, write: Write) {
        self.contents().on_their_way.push_back(write);
    }

    /// The member was told that its vote is durable, so it may tell others of it. A crash before that leaves no vote.
    fn voted(&self, vote: &Vote) {
        let contents = self.contents();
        let (term, candidate) = (vote.leader_id.term(), *vote.leader_id.node_id());
        let node_id = contents.identity.node_id;
        contents.history.record(&Event::Voted { node_id, term, candidate, committed: vote.committed });
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    /// Makes the first `count` writes durable.
    fn flush(&mut self, count: usize) {
        for write in self.on_their_way.drain(..count) {
            self.durable.apply(write);
        }
    }

    fn delay(&mut self) -> Duration {
        self.random.ms(if self.slow { SLOW_FLUSH_MS } else { FLUSH_MS })
    }
}

impl Stored {
    fn apply(&mut self, Write { op, committed }: Write) {
        self.committed = committed;
        match op {
            Op::Vote(vote) => self.vote = Some(vote),
            Op::Append(entries) => self.entries.extend(entries.into_iter().map(|entry| (entry.log_id.index, entry))),
            Op::Truncate { from } => drop(self.entries.split_off(&from)),
            Op::Purge { upto } => {
                self.entries = self.entries.split_off(&(upto.index + 1));
                self.purged = self.purged.max(Some(upto));
            }
            Op::Snapshot(meta, state) => self.snapshot = Some((meta, state)),
            Op::Join(cluster) => self.cluster = Some(cluster),
            Op::Nothing => {}
        }
    }

    fn last(&self) -> Option<LogId> {
        self.entries.last_key_value().map(|(_, entry)| entry.log_id).or(self.purged)
    }
}

impl Told {
    fn tell(self) {
        match self {
            Self::Nobody => {}
            // Whoever waited may have been dropped.
            Self::Waiter(waiter) => drop(waiter.send(Ok(()))),
            Self::Core(core) => core.io_completed(Ok(())),
        }
    }
}

/// Starts what makes writes durable: all that wait go together, and are told together.
#[expect(clippy::disallowed_methods, reason = "it ends with its host's runtime")]
fn spawn_writer(platter: Platter, mut queue: mpsc::Receiver<Told>) {
    tokio::spawn(async move {
        let mut batch = Vec::new();
        while queue.recv_many(&mut batch, QUEUE).await > 0 {
            let delay = platter.contents().delay();
            tokio::time::sleep(delay).await;
            platter.contents().flush(batch.len());
            batch.drain(..).for_each(Told::tell);
        }
    });
}
