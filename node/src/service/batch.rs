//! Group commit without a timer: whatever waits when the store becomes free goes together.
//!
//! The queue is bounded: when it is full a request is refused at once instead of waiting for its turn.

use std::future::Future;

use futures_util::future::join_all;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::ports::link_store::StoreError;

/// Requests that may wait. At 10,000 writes a second this is under half a second of waiting.
const QUEUE_LENGTH: usize = 4096;
/// Requests in one batch: large enough to amortise a commit, small enough to keep its latency in milliseconds.
const LARGEST_BATCH: usize = 512;

/// Why a batched request has no outcome.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BatchError {
    /// Too many requests wait already; nothing was done.
    #[error("too many writes are waiting")]
    Overloaded,
    /// The node is stopping; nothing was done.
    #[error("the node is stopping")]
    Stopping,
    /// The store failed, for the whole batch.
    #[error(transparent)]
    Store(#[from] StoreError),
}

struct Waiting<I, O> {
    item: I,
    reply: oneshot::Sender<Result<O, StoreError>>,
}

/// The entrance to a batch worker.
#[derive(Debug)]
pub struct Batcher<I, O> {
    queue: mpsc::Sender<Waiting<I, O>>,
}

impl<I, O> Batcher<I, O> {
    /// A batcher, and the worker that must be spawned for it. `work` answers one outcome for each item, in order; it is
    /// under way `at_once` times at most, so that many batches can wait for a distant store together.
    ///
    /// Once `stop` is cancelled the worker finishes what waits, and ends.
    pub fn new<W, F>(stop: CancellationToken, at_once: usize, work: W) -> (Self, impl Future<Output = ()>)
    where
        W: Fn(Vec<I>) -> F,
        F: Future<Output = Result<Vec<O>, StoreError>>,
    {
        let (queue, waiting) = mpsc::channel(QUEUE_LENGTH);
        let worker = async move {
            let waiting = Mutex::new(waiting);
            join_all((0..at_once).map(|_| run(&waiting, &stop, &work))).await;
        };
        (Self { queue }, worker)
    }

    /// Puts an item into the next batch and waits for its outcome.
    ///
    /// # Errors
    /// [`BatchError`]; after `Store` the whole batch failed. A commit that failed may have been made all the same.
    pub async fn submit(&self, item: I) -> Result<O, BatchError> {
        let (reply, outcome) = oneshot::channel();
        self.queue.try_send(Waiting { item, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => BatchError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => BatchError::Stopping,
        })?;
        Ok(outcome.await.map_err(|_| BatchError::Stopping)??)
    }
}

async fn run<I, O, W, F>(waiting: &Mutex<mpsc::Receiver<Waiting<I, O>>>, stop: &CancellationToken, work: &W)
where
    W: Fn(Vec<I>) -> F,
    F: Future<Output = Result<Vec<O>, StoreError>>,
{
    let mut batch = Vec::new();
    loop {
        // Whoever waits for the lock gets the batch after this one.
        let mut queue = waiting.lock().await;
        tokio::select! {
            received = queue.recv_many(&mut batch, LARGEST_BATCH) => if received == 0 {
                // Nobody can submit any more.
                drop(queue);
                return stop.cancelled().await;
            },
            () = stop.cancelled(), if !queue.is_closed() => { queue.close(); continue }
        }
        drop(queue);
        // Whoever has gone away wants nothing any more: a visit that nobody waits for is not counted.
        batch.retain(|entry| !entry.reply.is_closed());
        if batch.is_empty() {
            continue;
        }
        let (items, replies): (Vec<I>, Vec<_>) = batch.drain(..).map(|entry| (entry.item, entry.reply)).unzip();
        match work(items).await {
            Ok(outcomes) => {
                debug_assert_eq!(outcomes.len(), replies.len(), "one outcome for each item");
                for (reply, outcome) in replies.into_iter().zip(outcomes) {
                    // A waiter that has gone away changes nothing: its write was made.
                    let _ = reply.send(Ok(outcome));
                }
            }
            Err(error) => {
                for reply in replies {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn what_waits_together_goes_together_and_each_gets_its_own_outcome() {
        let transactions = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&transactions);
        let (batcher, worker) = Batcher::new(CancellationToken::new(), 1, move |items: Vec<u32>| {
            counted.fetch_add(1, Ordering::Relaxed);
            async move { Ok(items.into_iter().map(|item| item * 2).collect()) }
        });
        let requests = join_all((0..1000).map(|item| batcher.submit(item)));
        let outcomes = tokio::select! { outcomes = requests => outcomes, () = worker => unreachable!("it runs on") };
        for (item, outcome) in (0..).zip(outcomes) {
            assert_eq!(outcome.unwrap(), item * 2);
        }
        assert_eq!(transactions.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_batch_does_not_wait_for_the_one_before_it_if_several_may_be_under_way() {
        let stop = CancellationToken::new();
        let both = Arc::new(tokio::sync::Barrier::new(2));
        let (batcher, worker) = Batcher::new(stop.clone(), 2, move |items: Vec<u32>| {
            let both = Arc::clone(&both);
            async move {
                both.wait().await;
                Ok(items)
            }
        });
        let requests = async {
            let first = batcher.submit(1);
            let second = async {
                tokio::task::yield_now().await;
                batcher.submit(2).await
            };
            let outcomes = tokio::join!(first, second);
            stop.cancel();
            (outcomes.0.unwrap(), outcomes.1.unwrap())
        };
        assert_eq!(tokio::join!(requests, worker).0, (1, 2));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let (batcher, _worker) = Batcher::new(CancellationToken::new(), 1, |items: Vec<usize>| async { Ok(items) });
        let waiting: Vec<_> = (0..QUEUE_LENGTH).map(|item| Box::pin(batcher.submit(item))).collect();
        let mut all = join_all(waiting);
        assert!(futures_util::poll!(&mut all).is_pending());
        assert!(matches!(batcher.submit(0).await, Err(BatchError::Overloaded)));
    }

    #[tokio::test]
    async fn stopping_finishes_what_waits_and_refuses_what_comes_after() {
        let stop = CancellationToken::new();
        let (batcher, worker) = Batcher::new(stop.clone(), 1, |items: Vec<u32>| async { Ok(items) });
        let mut early = Box::pin(batcher.submit(1));
        assert!(futures_util::poll!(&mut early).is_pending());
        stop.cancel();
        worker.await;
        assert_eq!(early.await.unwrap(), 1);
        assert!(matches!(batcher.submit(2).await, Err(BatchError::Stopping)));
    }

    #[tokio::test]
    async fn a_failed_batch_fails_everybody_in_it() {
        let (batcher, worker) = Batcher::<u32, u32>::new(CancellationToken::new(), 1, |_| async {
            Err(StoreError::Corrupt { what: "test" })
        });
        let requests = join_all((0..3).map(|item| batcher.submit(item)));
        let outcomes = tokio::select! { outcomes = requests => outcomes, () = worker => unreachable!("it runs on") };
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(BatchError::Store(_)))));
    }
}
