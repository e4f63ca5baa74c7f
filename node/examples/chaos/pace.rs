//! The only place that waits: for a fault to last, or until something holds, with a deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How often a condition is looked at.
const LOOKED_EVERY: Duration = Duration::from_millis(50);

/// Lets a fault last, or paces a loop.
pub(crate) async fn hold(duration: Duration) {
    sleep(duration).await;
}

/// Waits until a condition holds; answers how long that took.
pub(crate) async fn until(
    what: &str,
    within: Duration,
    mut holds: impl AsyncFnMut() -> bool,
) -> anyhow::Result<Duration> {
    let began = Instant::now();
    while !holds().await {
        anyhow::ensure!(began.elapsed() < within, "not within {} s: {what}", within.as_secs());
        sleep(LOOKED_EVERY).await;
    }
    Ok(began.elapsed())
}
