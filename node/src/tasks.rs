//! Housekeeping that no request waits for.

pub mod changes;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::domain::timestamp::UnixMs;
use crate::metrics::Registry;
use crate::ports::change_feed::ChangeFeed;
use crate::ports::clock::Clock;
use crate::ports::error_chain::Chain;
use crate::ports::link_store::LinkStore;

/// How often histogram samples are folded.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// How often old idempotency keys are forgotten, and how long they are kept.
const FORGOTTEN_EVERY: Duration = Duration::from_hours(1);
/// How often old changes are forgotten.
const CHANGES_FORGOTTEN_EVERY: Duration = Duration::from_mins(5);
const BETWEEN_CHUNKS: Duration = Duration::from_millis(50);
const IDEMPOTENCY_KEPT_MS: u64 = 24 * 60 * 60 * 1000;

/// Folds raw histogram samples, which would pile up in memory otherwise.
pub async fn fold_metrics(registry: Registry, stop: CancellationToken) {
    while pause(UPKEEP_EVERY, &stop).await {
        registry.run_upkeep();
    }
}

/// Forgets idempotency keys after 24 hours.
pub async fn forget_idempotency_keys(store: Arc<dyn LinkStore>, clock: Arc<dyn Clock>, stop: CancellationToken) {
    loop {
        let before = UnixMs::from_clock(clock.unix_ms().saturating_sub(IDEMPOTENCY_KEPT_MS));
        match store.forget_idempotency_before(before).await {
            Ok(0) => {}
            // More may be left: writers get their turn in between.
            Ok(_) if pause(BETWEEN_CHUNKS, &stop).await => continue,
            Ok(_) => return,
            Err(error) => tracing::warn!(error = %Chain(&error), "old idempotency keys were kept"),
        }
        if !pause(FORGOTTEN_EVERY, &stop).await {
            return;
        }
    }
}

/// Forgets changes after an hour.
pub async fn forget_old_changes(feed: Arc<dyn ChangeFeed>, stop: CancellationToken) {
    loop {
        match feed.forget_old_changes().await {
            Ok(0) => {}
            Ok(_) if pause(BETWEEN_CHUNKS, &stop).await => continue,
            Ok(_) => return,
            Err(error) => tracing::warn!(error = %Chain(&error), "old changes were kept"),
        }
        if !pause(CHANGES_FORGOTTEN_EVERY, &stop).await {
            return;
        }
    }
}

/// Waits; false when it is time to stop.
async fn pause(duration: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = sleep(duration) => true,
        () = stop.cancelled() => false,
    }
}
