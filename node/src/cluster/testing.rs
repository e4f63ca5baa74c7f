//! What the cluster's tests share: a clock, an entropy source, and a disk that loses what was not flushed.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use redb::StorageBackend;
use stint_idgen::allocator::{Command, Grant, HolderId, NamespaceName, NamespaceSpec, Reply};

use crate::ports::clock::Clock;
use crate::ports::entropy::Entropy;

/// A wall clock that is set by hand, and a monotonic clock that follows tokio's.
#[derive(Debug)]
pub(super) struct TestClock {
    unix_ms: AtomicU64,
    began: tokio::time::Instant,
}

impl TestClock {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { unix_ms: AtomicU64::new(1_800_000_000_000), began: tokio::time::Instant::now() })
    }

    pub(super) fn advance_wall(&self, ms: u64) {
        self.unix_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn unix_ms(&self) -> u64 {
        self.unix_ms.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        self.began.elapsed()
    }
}

/// Counts up: every draw differs, every run is the same.
#[derive(Debug, Default)]
pub(super) struct CountingEntropy(AtomicU64);

impl Entropy for CountingEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let count = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        bytes.fill(0);
        let length = bytes.len().min(8);
        bytes[..length].copy_from_slice(&count.to_le_bytes()[..length]);
    }
}

/// A disk in memory. What is written is durable only once it is synced; syncs can be held up or made to fail.
#[derive(Clone, Debug, Default)]
pub(super) struct TestDisk(Arc<(Mutex<DiskState>, Condvar)>);

#[derive(Debug, Default)]
struct DiskState {
    written: Vec<u8>,
    durable: Vec<u8>,
    /// What was written since the last sync, in order.
    unsynced: Vec<(u64, Vec<u8>)>,
    syncs: u64,
    held: bool,
    syncing: bool,
    failing: bool,
}

impl TestDisk {
    /// The disk as a crash at this moment would leave it, if nothing but what was synced had reached it.
    pub(super) fn after_crash(&self) -> Self {
        Self::holding(self.state().durable.clone())
    }

    /// The disk as a crash could leave it as well: of the writes since the last sync, those whose bit is set.
    pub(super) fn after_torn_crash(&self, survivors: u64) -> Self {
        let state = self.state();
        let mut bytes = state.durable.clone();
        bytes.resize(bytes.len().max(state.written.len()), 0);
        for (number, (offset, data)) in state.unsynced.iter().enumerate() {
            if survivors >> (number % 64) & 1 == 1 {
                bytes[span(*offset, data.len())].copy_from_slice(data);
            }
        }
        Self::holding(bytes)
    }

    fn holding(bytes: Vec<u8>) -> Self {
        let state = DiskState { written: bytes.clone(), durable: bytes, ..DiskState::default() };
        Self(Arc::new((Mutex::new(state), Condvar::new())))
    }

    /// Writes that a crash could tear apart, once a sync is held up; none as long as it isn't.
    pub(super) fn torn_writes(&self) -> usize {
        let state = self.state();
        if state.syncing { state.unsynced.len() } else { 0 }
    }

    pub(super) fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Lets every sync wait until it is released.
    pub(super) fn hold(&self, held: bool) {
        self.state().held = held;
        self.0.1.notify_all();
    }

    /// Makes every write and sync fail, as a full disk does.
    pub(super) fn fail(&self) {
        self.state().failing = true;
    }

    fn state(&self) -> std::sync::MutexGuard<'_, DiskState> {
        self.0.0.lock().unwrap()
    }

    fn healthy(&self) -> io::Result<std::sync::MutexGuard<'_, DiskState>> {
        let state = self.state();
        if state.failing {
            Err(io::Error::new(io::ErrorKind::StorageFull, "no space left on device"))
        } else {
            Ok(state)
        }
    }
}

fn span(offset: u64, length: usize) -> std::ops::Range<usize> {
    let start = usize::try_from(offset).unwrap();
    start..start + length
}

impl StorageBackend for TestDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().written.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        let bytes = state.written.get(span(offset, out.len())).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.healthy()?.written.resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.healthy()?;
        state.syncing = true;
        while state.held {
            state = self.0.1.wait(state).unwrap();
        }
        state.syncing = false;
        state.syncs += 1;
        state.unsynced.clear();
        state.durable = state.written.clone();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.healthy()?;
        state.written[span(offset, data.len())].copy_from_slice(data);
        state.unsynced.push((offset, data.to_vec()));
        Ok(())
    }
}

pub(super) fn links() -> NamespaceName {
    "links".to_owned().try_into().unwrap()
}

pub(super) fn create_links() -> Command {
    Command::CreateNamespace { name: links(), spec: NamespaceSpec::contiguous(1, 1 << 40, 1 << 20) }
}

pub(super) fn grant(holder: u128, request: u64) -> Command {
    let label = format!("holder-{holder}");
    Command::Grant { namespace: links(), want: 10, holder: HolderId(holder), label, request }
}

pub(super) fn granted(reply: Reply) -> Grant {
    match reply {
        Reply::Granted(grant) => grant,
        other => panic!("expected a grant, got {other:?}"),
    }
}
