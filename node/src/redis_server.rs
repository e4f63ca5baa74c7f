//! The way to Redis: one connection that everybody in the process shares, made again when it is lost.
//!
//! Every call ends within a deadline, and whoever asks while Redis is away is told at once.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError};
use tokio::sync::Mutex;

/// How long making a connection may take.
const CONNECTED_WITHIN: Duration = Duration::from_millis(500);
/// How long an answer may take.
const ANSWERED_WITHIN: Duration = Duration::from_millis(250);

/// A Redis server, dialled when it is first used. Clones share the connection.
#[derive(Clone, Debug)]
pub struct RedisServer {
    client: Client,
    connection: Arc<Mutex<Option<MultiplexedConnection>>>,
}

impl RedisServer {
    /// The server at a `redis://` or `rediss://` URL; nothing is dialled yet.
    ///
    /// # Errors
    /// [`RedisError`], if the URL can't be used.
    pub fn open(url: &str) -> Result<Self, RedisError> {
        Ok(Self { client: Client::open(url)?, connection: Arc::default() })
    }

    /// The connection at hand, or a new one.
    ///
    /// # Errors
    /// [`RedisError`], if Redis can't be reached.
    pub async fn connection(&self) -> Result<MultiplexedConnection, RedisError> {
        let mut connection = self.connection.lock().await;
        if let Some(open) = &*connection {
            return Ok(open.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECTED_WITHIN))
            .set_response_timeout(Some(ANSWERED_WITHIN));
        let made = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        *connection = Some(made.clone());
        Ok(made)
    }

    /// Takes note that a call failed: after an error of the connection the next call makes a new one.
    pub async fn failed(&self, error: &RedisError) {
        if error.is_unrecoverable_error() || error.is_timeout() {
            *self.connection.lock().await = None;
        }
    }
}
