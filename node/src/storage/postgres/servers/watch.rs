//! Watching one server: a look about twice a second, and at once when somebody doubts it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::board::Board;
use super::probe::Probe;

/// Between two looks.
const LOOKS_EVERY: Duration = Duration::from_millis(500);

/// Looks at one server until it is time to stop.
pub(super) async fn watch(board: Arc<Board>, index: usize, stop: CancellationToken) {
    let server = &board.servers[index];
    let mut probe = Probe::new(server);
    let watching = async {
        loop {
            board.record(index, probe.look().await);
            tokio::select! {
                () = sleep(LOOKS_EVERY) => {}
                () = server.wake.notified() => probe.disconnect(),
            }
        }
    };
    tokio::select! {
        () = watching => {}
        () = stop.cancelled() => {}
    }
}
