//! The allocator's state under openraft: applies committed entries, keeps snapshots.
//!
//! Guarantees: applying reads no clock, no randomness and no file; the state in memory is the last snapshot plus the
//! entries after it; a snapshot is on disk before openraft may drop the entries it covers.

#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use futures_util::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use stint_idgen::allocator::State;

use super::audit::AuditLog;
use super::types::{Applied, Entry, LogId, Proposal, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};

/// Where snapshots are kept: one, the newest.
pub trait SnapshotStore: Debug + Send + Sync + 'static {
    /// The snapshot kept: what it covers, and the encoded state.
    ///
    /// # Errors
    /// When it can't be read.
    fn load(&self) -> io::Result<Option<(SnapshotMeta, Vec<u8>)>>;

    /// Replaces the snapshot; done once it is on disk.
    fn save(&self, meta: &SnapshotMeta, state: Vec<u8>) -> BoxFuture<'static, io::Result<()>>;
}

/// The replicated state of one member. Clones share it.
#[derive(Clone, Debug)]
pub struct StateMachine {
    replica: Arc<Mutex<Replica>>,
    audit: Arc<AuditLog>,
    snapshots: Arc<dyn SnapshotStore>,
}

/// The state and how far the log is in it.
#[derive(Clone, Debug, Default)]
pub struct Replica {
    /// The allocator's state.
    pub state: State,
    /// The last entry applied.
    pub last_applied: Option<LogId>,
    /// The members, as of the last entry applied.
    pub membership: StoredMembership,
}

/// A moment of the state, to be saved.
#[derive(Debug)]
pub struct SnapshotBuilder {
    meta: SnapshotMeta,
    state: Vec<u8>,
    snapshots: Arc<dyn SnapshotStore>,
}

impl StateMachine {
    /// The state as of the snapshot kept, or an empty one.
    ///
    /// # Errors
    /// When the snapshot can't be read, or was written by a newer version.
    pub fn restore(snapshots: Arc<dyn SnapshotStore>) -> io::Result<Self> {
        let replica = match snapshots.load()? {
            Some((meta, state)) => Replica::restore(&meta, &state)?,
            None => Replica::default(),
        };
        let audit = Arc::new(AuditLog::resume(&replica.state));
        Ok(Self { replica: Arc::new(Mutex::new(replica)), audit, snapshots })
    }

    /// The audit of what this member has applied.
    pub const fn audit(&self) -> &Arc<AuditLog> {
        &self.audit
    }

    /// Checks that a snapshot can be restored.
    ///
    /// # Errors
    /// When it can't be read, or was written by a newer version.
    pub fn check(snapshot: &Snapshot) -> io::Result<()> {
        Replica::restore(&snapshot.meta, &snapshot.snapshot).map(drop)
    }

    /// Reads the state of this member, which may be behind the leader's.
    pub fn read<T>(&self, read: impl FnOnce(&Replica) -> T) -> T {
        read(&self.replica())
    }

    fn replica(&self) -> MutexGuard<'_, Replica> {
        // `apply` is the only thing that could panic in here, and then openraft stops the member.
        self.replica.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Replica {
    fn restore(meta: &SnapshotMeta, state: &[u8]) -> io::Result<Self> {
        let state = State::decode(state).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(Self { state, last_applied: meta.last_log_id, membership: meta.last_membership.clone() })
    }

    fn apply(&mut self, entry: Entry, audit: &AuditLog) -> Applied {
        let Entry { log_id, payload } = entry;
        let applied = match payload {
            EntryPayload::Blank => Vec::new(),
            EntryPayload::Normal(Proposal(commands)) => {
                let replies: Vec<_> = commands.iter().map(|stamped| self.state.apply(stamped)).collect();
                audit.observe(log_id.index, &commands, &replies);
                replies
            }
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(log_id), membership);
                Vec::new()
            }
        };
        self.last_applied = Some(log_id);
        applied
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = Vec<u8>;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok(self.read(|replica| (replica.last_applied, replica.membership.clone())))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let applied = self.replica().apply(entry, &self.audit);
            if let Some(responder) = responder {
                responder.send(applied);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        let (meta, state) = self.read(|replica| {
            let last_membership = replica.membership.clone();
            (SnapshotMeta { last_log_id: replica.last_applied, last_membership }, replica.state.encode())
        });
        SnapshotBuilder { meta, state, snapshots: Arc::clone(&self.snapshots) }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, state: Vec<u8>) -> io::Result<()> {
        // Read before it replaces the one kept: what can't be read must not be kept.
        let replica = Replica::restore(meta, &state)?;
        self.snapshots.save(meta, state).await?;
        self.audit.skip_to(&replica.state);
        *self.replica() = replica;
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        Ok(self.snapshots.load()?.map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = Vec<u8>;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let snapshot = Snapshot { meta: self.meta.clone(), snapshot: self.state.clone() };
        self.snapshots.save(&self.meta, self.state.clone()).await?;
        Ok(snapshot)
    }
}
