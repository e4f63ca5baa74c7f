//! The way to Redis: one connection that everybody in the process shares, made again when it is lost.
//!
//! Every call ends within a deadline, and whoever asks while Redis is away is told at once: at most one dial is under way,
//! and between failed ones there is a pause. Each connection has a number, the generation: what was known of Redis's
//! memory under one says nothing under the next.

mod address;
mod first_look;
#[cfg(test)]
#[path = "../tests/it/support/redis.rs"]
pub(crate) mod real;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, ErrorKind, RedisError};
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use self::address::Address;
use crate::ports::error_chain::Chain;

pub use first_look::{FirstLook, RedisRefused};

/// The pause after a dial that failed; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest such pause: so long after Redis is back it may go unnoticed.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How often an idle connection is tried, so that a silent end of it costs no caller its deadline.
const TRIED_EVERY: Duration = Duration::from_secs(1);

/// A Redis server. Clones share the connection.
#[derive(Clone, Debug)]
pub struct RedisServer {
    shared: Arc<Shared>,
}

/// Whether there is a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisState {
    /// There is one.
    Up {
        /// Its number, from 1.
        generation: u64,
    },
    /// There is none, or it hasn't been made yet.
    Away,
}

/// How long Redis is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection, from finding the server to its first answer.
    pub connection: Duration,
    /// For an answer that nobody else waits for.
    pub answer: Duration,
    /// For an answer that somebody's redirect waits for. A hundred times what it takes; a later one costs more than the
    /// store's.
    pub visitor: Duration,
}

#[derive(Debug)]
struct Shared {
    address: Address,
    patience: Patience,
    line: RwLock<Line>,
    state: watch::Sender<RedisState>,
    dialling: Mutex<()>,
    /// Whether [`RedisServer::keep_connected`] runs, so that no caller dials.
    is_kept: AtomicBool,
    lost: Notify,
}

#[derive(Debug)]
struct Line {
    connection: Option<MultiplexedConnection>,
    generation: u64,
    pause: Duration,
    /// When the next dial may begin, and why the last one failed.
    resting: Option<(Instant, RedisError)>,
}

impl Default for Patience {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self { connection: ms(750), answer: ms(250), visitor: ms(100) }
    }
}

impl RedisServer {
    /// The server at a URL; nothing is dialled yet.
    ///
    /// `redis://[user[:password]@]host[:port][/db]`; `rediss://` for TLS, checked against the system's roots, or those in
    /// the file of `?ca_file=/path.pem`. `redis+sentinel://[user[:password]@]host[:port],…/service[/db]` asks Sentinels
    /// for the primary of `service` (`rediss+sentinel://` speaks TLS to them and to Redis); where they want credentials of
    /// their own, `?sentinel_user=…&sentinel_password=…`.
    ///
    /// # Errors
    /// [`RedisError`], if the URL can't be used.
    pub fn open(url: &str) -> Result<Self, RedisError> {
        Self::open_with(url, Patience::default())
    }

    /// The same, waited for as long as this.
    ///
    /// # Errors
    /// [`RedisError`], if the URL can't be used.
    pub fn open_with(url: &str, patience: Patience) -> Result<Self, RedisError> {
        // The redis crate takes the process's provider, and there is none when two are compiled in. Whoever was first stays.
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let line = Line { connection: None, generation: 0, pause: FIRST_PAUSE, resting: None };
        Ok(Self {
            shared: Arc::new(Shared {
                address: Address::parse(url)?,
                patience,
                line: RwLock::new(line),
                state: watch::Sender::new(RedisState::Away),
                dialling: Mutex::default(),
                is_kept: AtomicBool::new(false),
                lost: Notify::new(),
            }),
        })
    }

    /// The connection at hand. Without one it is an error at once, unless nobody keeps the connection and it is time to
    /// dial: then the caller does it.
    ///
    /// # Errors
    /// [`RedisError`], if Redis can't be reached.
    pub async fn connection(&self) -> Result<MultiplexedConnection, RedisError> {
        self.line().await.map(|(connection, _)| connection)
    }

    /// The same, with the connection's number.
    ///
    /// # Errors
    /// [`RedisError`], if Redis can't be reached.
    pub async fn line(&self) -> Result<(MultiplexedConnection, u64), RedisError> {
        if let Some(open) = self.at_hand() {
            return Ok(open);
        }
        self.resting()?;
        let _dialling = self.shared.dialling.lock().await;
        if let Some(open) = self.at_hand() {
            return Ok(open);
        }
        self.resting()?;
        self.dial().await
    }

    /// How long it is waited for.
    pub fn patience(&self) -> Patience {
        self.shared.patience
    }

    /// The number of the connection at hand; 0 without one.
    pub fn generation(&self) -> u64 {
        match *self.shared.state.borrow() {
            RedisState::Up { generation } => generation,
            RedisState::Away => 0,
        }
    }

    /// Whether there is a connection, as it changes.
    pub fn watch(&self) -> watch::Receiver<RedisState> {
        self.shared.state.subscribe()
    }

    /// A new connection for messages of channels, for its caller alone.
    ///
    /// # Errors
    /// [`RedisError`], if Redis can't be reached.
    pub async fn channels(&self) -> Result<PubSub, RedisError> {
        let made = timeout(self.shared.patience.connection, async {
            self.shared.address.client().await?.get_async_pubsub().await
        });
        made.await.unwrap_or_else(|_| Err(too_late()))
    }

    /// Takes note that a call failed: after an error of the connection there is none until a new one is made.
    #[expect(clippy::unused_async, reason = "callers await it, and it may have to wait one day")]
    pub async fn failed(&self, error: &RedisError) {
        self.lost(self.generation(), error);
    }

    /// Takes note that a call on the connection `generation` failed.
    pub fn lost(&self, generation: u64, error: &RedisError) {
        if !ends_connection(error) {
            return;
        }
        let mut line = self.line_mut();
        if line.generation != generation || line.connection.take().is_none() {
            return;
        }
        self.shared.state.send_replace(RedisState::Away);
        drop(line);
        self.shared.lost.notify_one();
        tracing::warn!(error = %Chain(error), "Redis is away; going on without it");
    }

    /// Keeps the connection: makes it, tries it, makes it again. It doesn't end. While it runs no caller waits for a dial.
    pub async fn keep_connected(&self) {
        let _kept = Kept::begin(&self.shared.is_kept);
        loop {
            let Some((mut connection, generation)) = self.at_hand() else {
                let dialling = self.shared.dialling.lock().await;
                // A caller may have dialled before it knew that the connection is kept.
                let is_away = self.at_hand().is_none() && self.dial().await.is_err();
                drop(dialling);
                if is_away {
                    let pause = self.line_mut().pause;
                    sleep(pause).await;
                }
                continue;
            };
            tokio::select! {
                () = self.shared.lost.notified() => {}
                () = sleep(TRIED_EVERY) => {
                    if let Err(error) = redis::cmd("PING").exec_async(&mut connection).await {
                        self.lost(generation, &error);
                    }
                }
            }
        }
    }

    fn at_hand(&self) -> Option<(MultiplexedConnection, u64)> {
        let line = self.shared.line.read().unwrap_or_else(PoisonError::into_inner);
        line.connection.clone().map(|connection| (connection, line.generation))
    }

    /// An error while nobody but the keeper may dial.
    fn resting(&self) -> Result<(), RedisError> {
        let line = self.shared.line.read().unwrap_or_else(PoisonError::into_inner);
        match &line.resting {
            Some((until, error)) if Instant::now() < *until => Err(error.clone()),
            _ if self.shared.is_kept.load(Ordering::Relaxed) => {
                Err((ErrorKind::Io, "Redis is away, and will be dialled again").into())
            }
            _ => Ok(()),
        }
    }

    async fn dial(&self) -> Result<(MultiplexedConnection, u64), RedisError> {
        let made = timeout(self.shared.patience.connection, self.make()).await.unwrap_or_else(|_| Err(too_late()));
        let mut line = self.line_mut();
        match made {
            Ok(connection) => {
                line.generation += 1;
                line.connection = Some(connection.clone());
                line.pause = FIRST_PAUSE;
                line.resting = None;
                self.shared.state.send_replace(RedisState::Up { generation: line.generation });
                tracing::info!(server = %self.shared.address, generation = line.generation, "connected to Redis");
                Ok((connection, line.generation))
            }
            Err(error) => {
                if line.resting.is_none() {
                    tracing::warn!(server = %self.shared.address, error = %Chain(&error), "Redis can't be reached");
                }
                line.resting = Some((Instant::now() + line.pause, error.clone()));
                line.pause = (line.pause * 2).min(LONGEST_PAUSE);
                Err(error)
            }
        }
    }

    async fn make(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.shared.patience.connection))
            .set_response_timeout(Some(self.shared.patience.answer));
        let client = self.shared.address.client().await?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        // The handshake of a server that wants a password succeeds without one, and a paused one takes connections.
        redis::cmd("PING").exec_async(&mut connection).await?;
        self.shared.address.check_role(&mut connection).await?;
        Ok(connection)
    }

    fn line_mut(&self) -> std::sync::RwLockWriteGuard<'_, Line> {
        // A poisoned lock holds whole entries still: nothing between its changes panics.
        self.shared.line.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While it lives, the connection is kept.
struct Kept<'a>(&'a AtomicBool);

impl<'a> Kept<'a> {
    fn begin(flag: &'a AtomicBool) -> Self {
        flag.store(true, Ordering::Relaxed);
        Self(flag)
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Whether after this error another connection is better than this one: it is broken or late, or the server isn't what it
/// was (a replica by now, loading its data, with another password).
fn ends_connection(error: &RedisError) -> bool {
    let changed = ["READONLY", "LOADING", "MASTERDOWN", "NOAUTH"];
    error.is_unrecoverable_error()
        || error.is_timeout()
        || error.code().is_some_and(|code| changed.contains(&code))
        || error.kind() == ErrorKind::Parse
}

fn too_late() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}
