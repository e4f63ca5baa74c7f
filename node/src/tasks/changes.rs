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
/// How long one look may take. A primary that hangs is as good as away.
const LOOK_WITHIN: Duration = Duration::from_secs(30);

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
            looked = tokio::time::timeout(LOOK_WITHIN, changes.look(began)) => looked,
            () = stop.cancelled() => return,
        };
        let failure = match &looked {
            Ok(Ok(true)) => None,
            Ok(Ok(false)) => Some("the primary's timeline is changing".to_owned()),
            Ok(Err(error)) => Some(Chain(error).to_string()),
            Err(_) => Some("the primary gave no answer in time".to_owned()),
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
