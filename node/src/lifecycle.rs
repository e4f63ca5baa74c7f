//! Starting and stopping: tracked tasks, signals, readiness.
//!
//! Stop order: not ready → drain delay (proxies notice) → stop accepting → drain → background tasks finish → stores
//! close. A second signal, or the deadline, is hard.

#[cfg(test)]
mod tests;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ports::spawn::{BoxTask, Spawn};

/// The background tasks of one node.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    failed: CancellationToken,
}

impl Tasks {
    /// Resolves when a task ended although nobody asked it to: the node can't go on.
    pub async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Asks all tasks to finish and waits for them; false if they didn't within `deadline`.
    pub async fn finish(&self, deadline: Duration) -> bool {
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(deadline, self.tracker.wait()).await.is_ok()
    }

    /// Starts `task`, as [`Spawn::spawn`] does.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn start(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let tasks = self.clone();
        tokio::spawn(self.tracker.track_future(async move {
            let ended = AssertUnwindSafe(task).catch_unwind().await;
            if ended.is_err() || !tasks.stop.is_cancelled() {
                tracing::error!(task = name, panicked = ended.is_err(), "a background task ended early; stopping");
                tasks.failed.cancel();
            }
        }));
    }

    /// Starts a task that has no end of its own: it is dropped when tasks are to finish.
    pub fn start_endless(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.start(name, async move {
            tokio::select! {
                () = task => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

impl Spawn for Tasks {
    fn spawn(&self, name: &'static str, task: BoxTask) {
        self.start(name, task);
    }

    fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }
}

/// Whether new requests are welcome. Shared by the admin port and whoever stops the node.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    stopping: Arc<AtomicBool>,
}

impl Readiness {
    /// From now on `/readyz` says no.
    pub fn begin_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Whether the node is on its way out.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

/// Raises the number of files this process may open as far as it is allowed to; answers that number.
pub fn raise_open_files() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    // No limit at all is `None`.
    current.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}

/// SIGTERM and SIGINT.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes over both signals.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn take() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next of either.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
