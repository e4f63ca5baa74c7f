//! The database file: its tables, how it is opened and checked, and how one batch of writes is committed.
//!
//! Guarantees: one process at a time; a file is either absent or complete (it is made under another name and moved
//! into place), so an empty or shortened file is damage and never mistaken for a first start.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use redb::{Builder, Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};

use super::super::codec::{self, CodecError};
use super::super::disk::{Cluster, Identity};
use super::super::types::{Entry, LogId, NodeId, SnapshotMeta, Vote};
use super::trial;
use super::writer::{Job, Op};
use crate::ports::entropy::{Entropy, random_128};

const DATABASE_FILE: &str = "raft.redb";
const UNFINISHED_FILE: &str = "raft.redb.new";
const LOCK_FILE: &str = "raft.lock";

/// The layout of the tables below; a file with a higher one is refused.
const LAYOUT: u8 = 1;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");

const LAYOUT_KEY: &str = "layout";
const CLUSTER_ID_KEY: &str = "cluster_id";
const INCARNATION_KEY: &str = "incarnation";
const FOUNDERS_KEY: &str = "founders";
const NODE_ID_KEY: &str = "node_id";
const VOTE_KEY: &str = "vote";
const COMMITTED_KEY: &str = "committed";
const PURGED_KEY: &str = "purged";
const SNAPSHOT_KEY: &str = "snapshot";

/// redb's default is 1 GiB. The log is read from memory, and what lies on disk is a few megabytes.
const CACHE_BYTES: usize = 16 << 20;

/// Why the stored log can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory can't be made or read.
    #[error("can't prepare the data directory {}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process has it open.
    #[error("the data directory {} is in use by another process", path.display())]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// The file can't be read or written.
    #[error("can't open the log in {}", path.display())]
    Open {
        /// The data directory.
        path: PathBuf,
        /// What the database said.
        #[source]
        source: redb::Error,
    },
    /// The file is damaged.
    #[error("the log in {} is damaged; replace this member by a new one; only a group of one may go back to a backup", path.display())]
    Damaged {
        /// The data directory.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A newer program wrote it.
    #[error("the log in {} was written by a newer version of stint (format {found}; this one reads up to {known})", path.display())]
    Newer {
        /// The data directory.
        path: PathBuf,
        /// The format found.
        found: u8,
        /// The newest format this program reads.
        known: u8,
    },
    /// The directory was made for another member.
    #[error("the data directory {} belongs to node {found}, not to node {asked}", path.display())]
    OtherNode {
        /// The data directory.
        path: PathBuf,
        /// Whose it is.
        found: NodeId,
        /// Who asked.
        asked: NodeId,
    },
    /// The writer thread can't be started.
    #[error("can't start the thread that writes the log")]
    Thread(#[source] io::Error),
}

/// What a restart begins with.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) identity: Identity,
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
    pub(super) last: Option<LogId>,
}

/// The open database. Dropping it releases the directory.
#[derive(Debug)]
pub(super) struct Disk {
    database: Database,
    _lock: Option<File>,
}

impl Disk {
    /// Opens the log in `dir`, making both when there is none.
    pub(super) fn open(dir: &Path, node_id: NodeId, entropy: &dyn Entropy) -> Result<(Self, Recovered), StoreError> {
        let directory = |source| StoreError::Directory { path: dir.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(directory)?;
        let lock = lock(dir)?;
        let path = dir.join(DATABASE_FILE);
        if !path.try_exists().map_err(directory)? {
            create(dir, node_id, entropy)?;
        }
        trial::open_copy(&fs::read(&path).map_err(directory)?, &builder()).map_err(|error| refuse(dir, error))?;
        let database = builder().open(&path).map_err(|error| refuse(dir, error.into()))?;
        let disk = Self { database, _lock: Some(lock) };
        let recovered = disk.recover().map_err(|fault| fault.at(dir))?;
        if recovered.identity.node_id != node_id {
            let found = recovered.identity.node_id;
            return Err(StoreError::OtherNode { path: dir.to_owned(), found, asked: node_id });
        }
        Ok((disk, recovered))
    }

    /// Opens the log in a storage that is not a directory, making it when the storage is empty.
    pub(super) fn on(
        backend: impl StorageBackend,
        node_id: NodeId,
        entropy: &dyn Entropy,
    ) -> Result<(Self, Recovered), StoreError> {
        let path = Path::new("memory");
        let directory = |source| StoreError::Directory { path: path.to_owned(), source };
        let fresh = backend.len().map_err(directory)? == 0;
        let database = builder().create_with_backend(backend).map_err(|error| refuse(path, error.into()))?;
        if fresh {
            initialise(&database, node_id, entropy).map_err(|error| refuse(path, error))?;
        }
        let disk = Self { database, _lock: None };
        let recovered = disk.recover().map_err(|fault| fault.at(path))?;
        Ok((disk, recovered))
    }

    /// The entries of `start..end`, in order; fewer where the log holds fewer.
    pub(super) fn entries(&self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let read = || -> Result<Vec<Entry>, Fault> {
            let log = self.database.begin_read()?.open_table(LOG)?;
            log.range(start..end)?.map(|row| Ok(codec::decode_entry(row?.1.value())?)).collect()
        };
        read().map_err(Into::into)
    }

    /// The stored snapshot: what it covers, and the encoded state.
    pub(super) fn snapshot(&self) -> io::Result<Option<(SnapshotMeta, Vec<u8>)>> {
        let read = || -> Result<_, Fault> {
            let meta = self.database.begin_read()?.open_table(META)?;
            let row = meta.get(SNAPSHOT_KEY)?;
            Ok(row.map(|record| codec::decode_snapshot(record.value())).transpose()?)
        };
        read().map_err(Into::into)
    }

    /// The first entry that is stored, purged ones that were not erased yet included.
    pub(super) fn first_stored(&self) -> io::Result<Option<u64>> {
        let read = || -> Result<_, Fault> {
            let log = self.database.begin_read()?.open_table(LOG)?;
            Ok(log.first()?.map(|(index, _)| index.value()))
        };
        read().map_err(Into::into)
    }

    /// Writes a batch in one transaction, and erases those entries: once it returns, all of it is on disk.
    pub(super) fn commit(&self, batch: &[Job], committed: Option<&LogId>, erased: Range<u64>) -> io::Result<()> {
        let write = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            {
                let mut meta = transaction.open_table(META)?;
                let mut log = transaction.open_table(LOG)?;
                for job in batch {
                    write_op(&job.op, &mut meta, &mut log)?;
                }
                // Even of nothing, it would write pages anew.
                if !erased.is_empty() {
                    log.retain_in(..erased.end, |_, _| false)?;
                }
                if let Some(id) = committed {
                    meta.insert(COMMITTED_KEY, codec::encode_log_id(id).as_slice())?;
                }
            }
            Ok(transaction.commit()?)
        };
        write().map_err(io_error)
    }

    fn recover(&self) -> Result<Recovered, Fault> {
        let transaction = self.database.begin_read()?;
        let meta = transaction.open_table(META)?;
        let bytes =
            |key: &str| -> Result<Option<Vec<u8>>, Fault> { Ok(meta.get(key)?.map(|row| row.value().to_vec())) };
        let text = |key| -> Result<String, Fault> {
            let value = bytes(key)?.ok_or(Fault::Missing(key))?;
            String::from_utf8(value).map_err(|_| Fault::Missing(key))
        };
        match bytes(LAYOUT_KEY)?.ok_or(Fault::Missing(LAYOUT_KEY))?.as_slice() {
            [LAYOUT] => {}
            [found, ..] => return Err(Fault::Layout(*found)),
            [] => return Err(Fault::Missing(LAYOUT_KEY)),
        }
        let node_id = bytes(NODE_ID_KEY)?.and_then(|value| value.try_into().ok()).map(u64::from_be_bytes);
        let cluster = match bytes(CLUSTER_ID_KEY)? {
            Some(_) => Some(Cluster {
                id: text(CLUSTER_ID_KEY)?.into(),
                founders: bytes(FOUNDERS_KEY)?.map(|value| codec::decode_founders(&value)).transpose()?,
            }),
            None => None,
        };
        let identity = Identity {
            cluster,
            incarnation: text(INCARNATION_KEY)?,
            node_id: node_id.ok_or(Fault::Missing(NODE_ID_KEY))?,
        };
        let log_id = |key| -> Result<Option<LogId>, Fault> {
            Ok(bytes(key)?.map(|value| codec::decode_log_id(&value)).transpose()?)
        };
        let purged = log_id(PURGED_KEY)?;
        let stored = match transaction.open_table(LOG)?.last()? {
            Some((_, entry)) => Some(codec::decode_entry(entry.value())?.log_id),
            None => None,
        };
        // Purged entries may still be there.
        let last = stored.max(purged);
        let vote = bytes(VOTE_KEY)?.map(|value| codec::decode_vote(&value)).transpose()?;
        Ok(Recovered { identity, vote, committed: log_id(COMMITTED_KEY)?, purged, last })
    }
}

/// What can be wrong with a file, before its path is known.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("the database refused")]
    Database(#[source] redb::Error),
    #[error(transparent)]
    Record(#[from] CodecError),
    #[error("the record `{0}` is missing or malformed")]
    Missing(&'static str),
    #[error("the tables have layout {0}")]
    Layout(u8),
}

impl<E: Into<redb::Error>> From<E> for Fault
where
    E: RedbError,
{
    fn from(error: E) -> Self {
        Self::Database(error.into())
    }
}

/// The error types of redb that reading can meet; marks them for `?` into [`Fault`].
trait RedbError {}
impl RedbError for redb::StorageError {}
impl RedbError for redb::TableError {}
impl RedbError for redb::TransactionError {}

impl Fault {
    fn at(self, path: &Path) -> StoreError {
        let path = path.to_owned();
        match self {
            Self::Database(source) => refuse(&path, source),
            Self::Record(CodecError::Newer { found }) => StoreError::Newer { path, found, known: codec::FORMAT },
            Self::Layout(found) if found > LAYOUT => StoreError::Newer { path, found, known: LAYOUT },
            fault => StoreError::Damaged { path, source: fault.into() },
        }
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Database(error) => io_error(error),
            fault => Self::new(io::ErrorKind::InvalidData, fault),
        }
    }
}

fn builder() -> Builder {
    let mut builder = Database::builder();
    // Without the check redb may panic, much later, on a page that was altered behind its back.
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.to_owned();
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(dir.join(LOCK_FILE));
    let file = file.map_err(|source| StoreError::Directory { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path }),
        Err(TryLockError::Error(source)) => Err(StoreError::Directory { path, source }),
    }
}

fn create(dir: &Path, node_id: NodeId, entropy: &dyn Entropy) -> Result<(), StoreError> {
    let directory = |source| StoreError::Directory { path: dir.to_owned(), source };
    let unfinished = dir.join(UNFINISHED_FILE);
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(directory(error)),
        _ => {}
    }
    let database = builder().create(&unfinished).map_err(|error| refuse(dir, error.into()))?;
    initialise(&database, node_id, entropy).map_err(|error| refuse(dir, error))?;
    drop(database);
    fs::rename(&unfinished, dir.join(DATABASE_FILE)).map_err(directory)?;
    // The rename, and the directory itself, are on disk only once their directories are.
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(directory)?;
    match dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent).and_then(|parent| parent.sync_all()).map_err(directory),
        None => Ok(()),
    }
}

fn initialise(database: &Database, node_id: NodeId, entropy: &dyn Entropy) -> Result<(), redb::Error> {
    let incarnation = format!("{:032x}", u128::from_be_bytes(random_128(entropy)));
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(LAYOUT_KEY, [LAYOUT].as_slice())?;
        meta.insert(INCARNATION_KEY, incarnation.as_bytes())?;
        meta.insert(NODE_ID_KEY, node_id.to_be_bytes().as_slice())?;
        transaction.open_table(LOG)?;
    }
    Ok(transaction.commit()?)
}

fn write_op(
    op: &Op,
    meta: &mut redb::Table<'_, &str, &[u8]>,
    log: &mut redb::Table<'_, u64, &[u8]>,
) -> Result<(), redb::Error> {
    match op {
        Op::Vote { vote, .. } => drop(meta.insert(VOTE_KEY, codec::encode_vote(vote).as_slice())?),
        Op::Append { entries, .. } => {
            for entry in entries {
                log.insert(entry.log_id.index, codec::encode_entry(entry).as_slice())?;
            }
        }
        Op::Truncate { from, .. } => log.retain_in(*from.., |_, _| false)?,
        Op::Purge { upto } => drop(meta.insert(PURGED_KEY, codec::encode_log_id(upto).as_slice())?),
        Op::Snapshot { record, .. } => drop(meta.insert(SNAPSHOT_KEY, record.as_slice())?),
        Op::Join { cluster, .. } => {
            meta.insert(CLUSTER_ID_KEY, cluster.id.as_bytes())?;
            if let Some(founders) = &cluster.founders {
                meta.insert(FOUNDERS_KEY, codec::encode_founders(founders).as_slice())?;
            }
        }
        Op::Stop => {}
    }
    Ok(())
}

fn refuse(path: &Path, error: redb::Error) -> StoreError {
    let path = path.to_owned();
    match error {
        redb::Error::DatabaseAlreadyOpen => StoreError::InUse { path },
        // The file is shorter than its header says, or no database at all.
        redb::Error::Io(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
            StoreError::Damaged { path, source: error.into() }
        }
        error @ (redb::Error::Corrupted(_) | redb::Error::TableDoesNotExist(_)) => {
            StoreError::Damaged { path, source: error.into() }
        }
        source => StoreError::Open { path, source },
    }
}

fn io_error(error: redb::Error) -> io::Error {
    match error {
        redb::Error::Io(error) => error,
        error => io::Error::other(error),
    }
}

#[cfg(test)]
pub(in super::super) mod testing {
    use super::*;

    /// Puts a record of a closed file, past every rule.
    pub(in super::super::super) fn put(path: &Path, key: &str, value: &[u8]) {
        let database = builder().open(path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(META).unwrap().insert(key, value).unwrap();
        transaction.commit().unwrap();
    }
}
