//! The fast path of invalidation: another node says that something changed. Losing it costs nothing but speed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use redis::RedisError;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::redis_server::{RedisServer, RedisState};

/// Where changes are announced. Channels know neither databases nor prefixes; a foreign hint costs one look at the record.
pub(super) const CHANNEL: &str = "stint:changes";
/// How long the channel may be silent before it is tried.
const SILENT_FOR: Duration = Duration::from_secs(30);
/// The pause before a lost channel is opened again.
const PAUSE: Duration = Duration::from_secs(1);

/// Wakes whoever follows the changes when some are announced. It doesn't end.
pub async fn listen(server: RedisServer, wake: Arc<Notify>) {
    let mut state = server.watch();
    loop {
        if state.wait_for(|state| *state != RedisState::Away).await.is_err() {
            return;
        }
        if let Err(error) = receive(&server, &wake).await {
            tracing::debug!(%error, "announcements of changes are not received; the record is read all the same");
        }
        sleep(PAUSE).await;
    }
}

async fn receive(server: &RedisServer, wake: &Notify) -> Result<(), RedisError> {
    let (mut sink, mut messages) = server.channels().await?.split();
    sink.subscribe(CHANNEL).await?;
    loop {
        // Also at the start: something may have been announced before.
        wake.notify_one();
        match timeout(SILENT_FOR, messages.next()).await {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(()),
            Err(_) => match timeout(PAUSE, sink.ping::<redis::Value>()).await {
                Ok(answer) => drop(answer?),
                Err(_) => return Ok(()),
            },
        }
    }
}
