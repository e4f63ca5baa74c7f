//! Keys of links from the first of several sources that has any.
//!
//! Each source has its own part of the keys, so which one is used decides nothing about uniqueness. One that is out is
//! remembered: a draw does not wait for it again, and a task looks once a second whether it is back.

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use stint_idgen::Key;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::metrics::FallbackMetrics;
use crate::ports::error_chain::Chain;
use crate::ports::id_source::{IdError, KeySource};
use crate::ports::spawn::Spawn;

/// How often sources that are out are asked for a key; each one they give is a gap.
const PROBED_EVERY: Duration = Duration::from_secs(1);

/// A source and what metrics and the log call it.
pub type NamedSource = (&'static str, Arc<dyn KeySource>);

/// Sources in the order in which they are to be used.
#[derive(Debug)]
pub struct FallbackKeys {
    list: Arc<List>,
}

#[derive(Debug)]
struct List {
    sources: Vec<NamedSource>,
    /// The source in use.
    active: AtomicUsize,
    /// Which sources are out. Never held across an await.
    out: Mutex<Vec<bool>>,
    /// Wakes the task that looks after them.
    went_out: Notify,
    metrics: FallbackMetrics,
}

impl FallbackKeys {
    /// Uses the first of `sources`, and the others in order while it is out.
    ///
    /// # Panics
    /// If there is no source.
    pub fn start(sources: Vec<NamedSource>, metrics: FallbackMetrics, spawn: &dyn Spawn) -> Self {
        assert!(!sources.is_empty(), "keys come from at least one source");
        let out = Mutex::new(vec![false; sources.len()]);
        let list = List { sources, active: AtomicUsize::new(0), out, went_out: Notify::new(), metrics };
        let list = Arc::new(list);
        spawn.spawn("id fallback", Box::pin(watch_over(Arc::clone(&list), spawn.stopping())));
        Self { list }
    }

    /// The name of the source in use.
    pub fn active(&self) -> &'static str {
        self.list.sources[self.list.active.load(Ordering::Acquire)].0
    }
}

impl List {
    fn out(&self) -> MutexGuard<'_, Vec<bool>> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a source is out; answers the one to use instead, if any isn't out.
    fn mark_out(&self, source: usize, error: &IdError) -> Option<usize> {
        let mut out = self.out();
        out[source] = true;
        let next = self.choose(&out, Some(error));
        self.went_out.notify_one();
        next
    }

    fn mark_back(&self, source: usize) {
        let mut out = self.out();
        out[source] = false;
        self.choose(&out, None);
    }

    /// Makes the first source that isn't out the active one. If all are, the last one that was active stays it.
    fn choose(&self, out: &[bool], error: Option<&IdError>) -> Option<usize> {
        let chosen = out.iter().position(|out| !out)?;
        let before = self.active.swap(chosen, Ordering::AcqRel);
        if before != chosen {
            let (from, to) = (self.sources[before].0, self.sources[chosen].0);
            self.metrics.count_switch(from, to);
            if let Some(error) = error {
                tracing::warn!(from, to, error = %Chain(error), "keys of links come from another source");
            } else {
                tracing::info!(from, to, "keys of links come from an earlier source of the list again");
            }
        }
        Some(chosen)
    }

    fn sources_out(&self) -> Vec<usize> {
        self.out().iter().enumerate().filter(|(_, out)| **out).map(|(source, _)| source).collect()
    }

    async fn probe(&self, source: usize) {
        if self.sources[source].1.next_key().await.is_ok() {
            self.mark_back(source);
        }
    }
}

#[async_trait]
impl KeySource for FallbackKeys {
    /// What a source answers for good (its lane is taken, or used up) is passed on: that wants an operator.
    async fn next_key(&self) -> Result<Key, IdError> {
        let mut source = self.list.active.load(Ordering::Acquire);
        let mut first = None;
        for _ in 0..self.list.sources.len() {
            let error = match self.list.sources[source].1.next_key().await {
                Ok(key) => return Ok(key),
                Err(error) if error.retryable() => error,
                Err(error) => return Err(first.unwrap_or(error)),
            };
            let next = self.list.mark_out(source, &error);
            first.get_or_insert(error);
            let Some(next) = next else { break };
            source = next;
        }
        Err(first.expect("a list has a source, and it failed"))
    }
}

/// Asks the sources that are out, all at once, until each is back.
async fn watch_over(list: Arc<List>, stop: CancellationToken) {
    let endless = async {
        loop {
            let out = list.sources_out();
            if out.is_empty() {
                list.went_out.notified().await;
            }
            sleep(PROBED_EVERY).await;
            join_all(list.sources_out().into_iter().map(|source| list.probe(source))).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = endless => {}
    }
}
