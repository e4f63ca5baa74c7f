//! Reads that go together: one is in flight at a time, and whoever comes meanwhile goes with the next one.
//!
//! There is no timer and no task: whoever is first in line reads for everybody who waits, and a reader that goes away
//! half-way leaves the line to the next. A read begins after everybody in it has come, so a "no" is true for each.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::ports::link_store::StoreError;

/// Keys in one read: it takes the primary about a millisecond.
const LARGEST_READ: usize = 1000;

type Answer<V> = Result<Option<V>, StoreError>;

/// The line of those who wait.
pub(super) struct Coalescer<K, V> {
    waiting: Mutex<Vec<(K, oneshot::Sender<Answer<V>>)>>,
    turn: tokio::sync::Mutex<()>,
}

impl<K, V> Default for Coalescer<K, V> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }
}

impl<K, V> fmt::Debug for Coalescer<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coalescer").finish_non_exhaustive()
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Coalescer<K, V> {
    /// What `read` finds for `key`. It is given the keys of everybody who waits, each once, if it is this caller's turn.
    pub(super) async fn find<F>(&self, key: K, read: impl Fn(Vec<K>) -> F) -> Answer<V>
    where
        F: Future<Output = Result<HashMap<K, V>, StoreError>>,
    {
        loop {
            let (reply, mut answer) = oneshot::channel();
            self.waiting().push((key.clone(), reply));
            loop {
                tokio::select! {
                    biased;
                    answered = &mut answer => match answered {
                        Ok(answer) => return answer,
                        // Its reader went away: once more, at the end of the line.
                        Err(_) => break,
                    },
                    // In a line longer than one read takes, this caller may still not be in it.
                    _turn = self.turn.lock() => self.read_for_all(&read).await,
                }
            }
        }
    }

    async fn read_for_all<F>(&self, read: impl Fn(Vec<K>) -> F)
    where
        F: Future<Output = Result<HashMap<K, V>, StoreError>>,
    {
        let line = self.take_line();
        if line.is_empty() {
            return;
        }
        let found = read(line.keys().cloned().collect()).await;
        for (key, replies) in line {
            let answer = found.as_ref().map(|found| found.get(&key).cloned()).map_err(Clone::clone);
            for reply in replies {
                // Who has gone away wants no answer.
                let _ = reply.send(answer.clone());
            }
        }
    }

    /// The first of the line, without those who have gone away.
    fn take_line(&self) -> HashMap<K, Vec<oneshot::Sender<Answer<V>>>> {
        let mut waiting = self.waiting();
        waiting.retain(|(_, reply)| !reply.is_closed());
        let taken = waiting.len().min(LARGEST_READ);
        let mut line: HashMap<K, Vec<_>> = HashMap::with_capacity(taken);
        for (key, reply) in waiting.drain(..taken) {
            line.entry(key).or_default().push(reply);
        }
        line
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<(K, oneshot::Sender<Answer<V>>)>> {
        // A poisoned lock holds a whole line still: every change of it is one push or drain.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use futures_util::poll;
    use tokio::sync::Semaphore;

    use super::*;

    /// Reads that find every even number, as its double, and wait for a permit each.
    #[derive(Default)]
    struct Reads {
        made: AtomicUsize,
        largest: AtomicUsize,
        permits: Option<Semaphore>,
    }

    impl Reads {
        async fn read(&self, keys: Vec<u32>) -> Result<HashMap<u32, u32>, StoreError> {
            self.made.fetch_add(1, Ordering::Relaxed);
            self.largest.fetch_max(keys.len(), Ordering::Relaxed);
            tokio::task::yield_now().await;
            if let Some(permits) = &self.permits {
                permits.acquire().await.unwrap().forget();
            }
            Ok(keys.into_iter().filter(|key| key % 2 == 0).map(|key| (key, 2 * key)).collect())
        }
    }

    #[tokio::test]
    async fn whoever_comes_while_one_reads_goes_with_the_next_read() {
        let (line, reads) = (Coalescer::default(), Reads::default());
        let found = join_all((0..500).map(|key| line.find(key, |keys| reads.read(keys)))).await;
        for (key, found) in (0..).zip(found) {
            assert_eq!(found.unwrap(), (key % 2 == 0).then_some(2 * key));
        }
        assert_eq!(reads.made.load(Ordering::Relaxed), 2, "the first alone, then all who came meanwhile");
    }

    #[tokio::test]
    async fn a_long_line_is_read_in_bounded_parts() {
        let (line, reads) = (Coalescer::default(), Reads::default());
        let found = join_all((0..2500).map(|key| line.find(key, |keys| reads.read(keys)))).await;
        assert!(found.into_iter().zip(0..).all(|(found, key)| found.unwrap() == (key % 2 == 0).then_some(2 * key)));
        assert_eq!(reads.largest.load(Ordering::Relaxed), LARGEST_READ);
        assert_eq!(reads.made.load(Ordering::Relaxed), 1 + 3);
    }

    #[tokio::test]
    async fn a_reader_that_goes_away_leaves_nobody_behind() {
        let line = Arc::new(Coalescer::default());
        let reads = Reads { permits: Some(Semaphore::new(0)), ..Reads::default() };
        let mut waiting: Vec<_> = (0..10).map(|_| Box::pin(line.find(4, |keys| reads.read(keys)))).collect();
        // The first reads alone and is stuck; the second reads for the rest, and goes away while it does.
        for find in &mut waiting {
            assert!(poll!(find).is_pending());
        }
        drop(waiting.remove(0));
        assert!(poll!(&mut waiting[0]).is_pending());
        assert!(poll!(&mut waiting[0]).is_pending());
        drop(waiting.remove(0));
        reads.permits.as_ref().unwrap().add_permits(10);
        for found in join_all(waiting).await {
            assert_eq!(found.unwrap(), Some(8));
        }
    }

    #[tokio::test]
    async fn a_failed_read_fails_everybody_in_it_and_nobody_else() {
        let (line, reads) = (Coalescer::default(), Reads::default());
        let failing = |_| async { Err(StoreError::Corrupt { what: "test" }) };
        let failed = join_all((0..3).map(|key: u32| line.find(key, failing))).await;
        assert!(failed.iter().all(Result::is_err));
        assert_eq!(line.find(2, |keys| reads.read(keys)).await.unwrap(), Some(4));
    }
}
