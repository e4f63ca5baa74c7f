//! Follows the record of changes: twice a second, and at once when another node says that there is something new.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::metrics::CacheMetrics;
use crate::ports::clock::Clock;
use crate::ports::error_chain::Chain;
use crate::service::changes::FollowChanges;

/// How often the record is looked at without a hint. A change is to be seen within a second.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(500);
/// The least time between two looks, however many hints come.
const LOOKED_AT_MOST_EVERY: Duration = Duration::from_millis(20);

/// Looks at the record until `stop` is cancelled; `hints` wakes it early.
pub async fn follow_changes(
    mut changes: FollowChanges,
    hints: Arc<Notify>,
    metrics: CacheMetrics,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let mut followed_at = clock.monotonic();
    let mut is_failing = false;
    loop {
        let began = clock.monotonic();
        let looked = tokio::select! {
            looked = changes.look(began) => looked,
            // A look that hangs must show as well.
            never = measure(&metrics, &*clock, followed_at) => match never {},
            () = stop.cancelled() => return,
        };
        let failure = match &looked {
            Ok(true) => None,
            Ok(false) => Some("the primary's timeline is changing".to_owned()),
            Err(error) => Some(Chain(error).to_string()),
        };
        match failure {
            None => {
                followed_at = began;
                if std::mem::take(&mut is_failing) {
                    tracing::info!("changes are followed again");
                }
            }
            Some(error) if !is_failing => {
                is_failing = true;
                tracing::warn!(error, "changes can't be followed; cached links may be older than the newest");
            }
            Some(_) => {}
        }
        metrics.changes_lag.set(clock.monotonic().saturating_sub(followed_at).as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "at most a thousand")]
        metrics.changes_missing.set(changes.missing() as f64);
        tokio::select! {
            () = sleep(LOOKED_AT_EVERY) => {}
            () = async { sleep(LOOKED_AT_MOST_EVERY).await; hints.notified().await } => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Sets the time since changes were last read, without end.
async fn measure(metrics: &CacheMetrics, clock: &dyn Clock, followed_at: Duration) -> std::convert::Infallible {
    loop {
        sleep(LOOKED_AT_EVERY).await;
        metrics.changes_lag.set(clock.monotonic().saturating_sub(followed_at).as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use tokio::sync::mpsc;
    use tokio::time::Instant;

    use super::*;
    use crate::cache::disabled::NoSharedCache;
    use crate::cache::memory::MemoryLinkCache;
    use crate::lifecycle::Tasks;
    use crate::metrics::Registry;
    use crate::ports::change_feed::{ChangeFeed, ChangePage};
    use crate::ports::clock::ManualClock;
    use crate::ports::link_store::StoreError;
    use crate::ports::spawn::Spawn as _;

    /// An empty record that tells when it was looked at.
    #[derive(Debug)]
    struct Watched(mpsc::Sender<Instant>);

    #[async_trait]
    impl ChangeFeed for Watched {
        async fn read(&self, _: i64, _: &[i64], _: usize) -> Result<ChangePage, StoreError> {
            self.0.send(Instant::now()).await.expect("the test lives");
            Ok(ChangePage { timeline: 1, changes: Vec::new() })
        }

        async fn forget_old_changes(&self) -> Result<u64, StoreError> {
            Ok(0)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_record_is_looked_at_twice_a_second_and_at_once_upon_a_hint() {
        let (clock, registry, tasks) = (Arc::<ManualClock>::default(), Registry::new().unwrap(), Tasks::default());
        let (looks, mut looked) = mpsc::channel(1);
        let local = MemoryLinkCache::new(10, Duration::from_secs(1), Arc::clone(&clock) as _);
        let changes = FollowChanges::new(Arc::new(Watched(looks)), Arc::new(local), Arc::new(NoSharedCache));
        let (hints, metrics) = (Arc::new(Notify::new()), CacheMetrics::new(&registry));
        let following = follow_changes(changes, Arc::clone(&hints), metrics, clock, tasks.stopping());
        tasks.start("changes", following);
        let first = looked.recv().await.unwrap();
        let second = looked.recv().await.unwrap();
        assert_eq!(second - first, LOOKED_AT_EVERY);
        assert!(LOOKED_AT_EVERY <= Duration::from_millis(500), "half of the second within which changes are seen");
        hints.notify_one();
        let third = looked.recv().await.unwrap();
        assert!(third - second <= 2 * LOOKED_AT_MOST_EVERY, "{:?}", third - second);
        assert!(registry.render().contains("stint_changes_lag_seconds 0"), "{}", registry.render());
        assert!(tasks.finish(Duration::from_secs(5)).await);
    }
}
