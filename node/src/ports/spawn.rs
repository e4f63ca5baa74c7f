//! Spawning as a parameter, so that every task is named, tracked and stopped.

use std::future::Future;
use std::pin::Pin;

use tokio_util::sync::CancellationToken;

/// A task to be spawned.
pub type BoxTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Starts background tasks.
pub trait Spawn: Send + Sync + std::fmt::Debug + 'static {
    /// Starts `task`. It must end soon after [`Spawn::stopping`] is cancelled; one that ends earlier stops the process.
    fn spawn(&self, name: &'static str, task: BoxTask);

    /// Cancelled when background tasks are to finish.
    fn stopping(&self) -> CancellationToken;
}
