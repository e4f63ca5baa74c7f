//! Forgetting which chunks were counted, once none of them can come again.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::timestamp::UnixMs;
use crate::ports::click_store::ClickStore;
use crate::ports::clock::Clock;
use crate::ports::error_chain::Chain;

/// A day longer than the stream's entries are believed: see `consumer::STALE_AFTER`.
const KEPT_MS: u64 = 7 * 24 * 60 * 60 * 1000;
/// Also how long after a start the first time is.
const EVERY: Duration = Duration::from_hours(1);
const BETWEEN_PIECES: Duration = Duration::from_millis(50);

/// Forgets chunks after 7 days.
pub(super) async fn forget_old_chunks(store: Arc<dyn ClickStore>, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let mut pause = EVERY;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
        let before = UnixMs::from_clock(clock.unix_ms().saturating_sub(KEPT_MS));
        pause = match store.forget_chunks_before(before).await {
            Ok(0) => EVERY,
            // More may be left: others get their turn in between.
            Ok(_) => BETWEEN_PIECES,
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "the numbers of old click chunks were kept");
                EVERY
            }
        };
    }
}
