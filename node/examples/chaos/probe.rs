//! Asks the allocators for ids without a pause, as several holders would, and notes the longest time without an answer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stint::cluster::remote::RemoteAllocator;
use stint::ports::coordination::Allocator as _;
use stint::ports::entropy::{OsEntropy, random_128};
use stint_idgen::allocator::{Command, Grant, HolderId, NamespaceName, NamespaceSpec, Reply};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::ledger::{Ledger, Range};
use crate::pace::hold;

/// The namespace that the probe draws from.
pub(crate) const NAMESPACE: &str = "probe";
/// One past its last id.
pub(crate) const LIMIT: u64 = 1 << 40;

/// How many requests are under way at any time.
const IN_FLIGHT: u64 = 4;
/// The pause between two requests of one holder.
const PAUSE: Duration = Duration::from_millis(5);

/// A running probe.
#[derive(Debug)]
pub(crate) struct Probe {
    gaps: Arc<Mutex<Gaps>>,
    asking: JoinSet<()>,
}

/// Times between answers.
#[derive(Debug)]
struct Gaps {
    last: Instant,
    longest: Duration,
}

impl Probe {
    /// Makes the namespace and begins to ask.
    pub(crate) async fn start(allocators: RemoteAllocator, ledger: Ledger) -> anyhow::Result<Self> {
        let name = NamespaceName::try_from(NAMESPACE.to_owned())?;
        let spec = NamespaceSpec::contiguous(0, LIMIT, 1);
        let reply = allocators.submit(Command::CreateNamespace { name: name.clone(), spec }).await?;
        anyhow::ensure!(matches!(reply, Reply::Namespace { created: true, .. }), "{reply:?}");
        let gaps = Arc::new(Mutex::new(Gaps { last: Instant::now(), longest: Duration::ZERO }));
        let allocators = Arc::new(allocators);
        let mut asking = JoinSet::new();
        for _ in 0..IN_FLIGHT {
            let gaps = Arc::clone(&gaps);
            asking.spawn(ask(Arc::clone(&allocators), name.clone(), ledger.clone(), gaps));
        }
        Ok(Self { gaps, asking })
    }

    /// Stops asking.
    pub(crate) async fn stop(&mut self) {
        self.asking.shutdown().await;
    }

    /// From now on gaps are of another episode.
    pub(crate) fn begin(&self) {
        let mut gaps = self.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        *gaps = Gaps { last: Instant::now(), longest: Duration::ZERO };
    }

    /// The longest time without a grant since the episode began, one that is not over included.
    pub(crate) fn longest(&self) -> Duration {
        let gaps = self.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        gaps.longest.max(gaps.last.elapsed())
    }

    /// How long ago the last grant was.
    pub(crate) fn silence(&self) -> Duration {
        self.gaps.lock().unwrap_or_else(PoisonError::into_inner).last.elapsed()
    }
}

/// One holder: each request is repeated under its number until it is answered, and then accounted for.
async fn ask(allocators: Arc<RemoteAllocator>, namespace: NamespaceName, ledger: Ledger, gaps: Arc<Mutex<Gaps>>) {
    let holder = HolderId(u128::from_be_bytes(random_128(&OsEntropy)));
    for request in 1.. {
        let grant = loop {
            let label = "chaos probe".to_owned();
            let command = Command::Grant { namespace: namespace.clone(), want: 1, holder, label, request };
            if let Ok(Reply::Granted(grant)) = allocators.submit(command).await {
                break grant;
            }
            hold(PAUSE).await;
        };
        gaps.lock().unwrap_or_else(PoisonError::into_inner).note();
        let Grant { id, range, .. } = grant;
        ledger.add(NAMESPACE, &[Range { start: range.start(), end: range.end() }]);
        // Accounting only: what is not heard stays in the books as live.
        let _ = allocators.submit(Command::Return { holder, grant: id, used_to: range.end() }).await;
        hold(PAUSE).await;
    }
}

impl Gaps {
    fn note(&mut self) {
        self.longest = self.longest.max(self.last.elapsed());
        self.last = Instant::now();
    }
}
