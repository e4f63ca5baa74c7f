//! Which server is the primary, and which replicas may be read.
//!
//! Each server is looked at twice a second. A server is written to only while it takes writes, is of this database, and
//! is on the highest timeline that any node has seen; replicas are read while they are at most so far behind. Statements
//! are no matter of this module: who runs them tells here when they fail.

mod admission;
mod board;
mod first_look;
mod look_error;
mod primary;
mod probe;
mod replicas;
mod server;
mod status;
mod watch;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::postgres::PgPool;
use tokio::sync::watch as channel;

use super::connection::pool;
use super::failed;
use crate::metrics::DatabaseMetrics;
use crate::ports::link_store::StoreError;
use crate::ports::spawn::Spawn;
use crate::ports::timeline::TimelineRegister;
use board::Board;
use server::Server;

pub use admission::CheckError;
use admission::NotAdmitted;
pub use look_error::LookError;
pub use status::{NoPrimary, ReplicaStatus, ServersStatus};

/// The most that a replica may be behind, unless it is set otherwise. Caches keep what changed for twice as long.
pub const MAX_REPLICA_LAG: Duration = Duration::from_secs(30);

/// What is configured.
#[derive(Clone)]
pub struct ServerOptions {
    /// Servers of which any may be the primary, one URL each.
    pub primary_urls: Vec<String>,
    /// Read replicas, one URL each.
    pub replica_urls: Vec<String>,
    /// Most connections to each server, besides the one that looks at it.
    pub pool_size: u32,
    /// The most that a replica may be behind to be read.
    pub max_replica_lag: Duration,
}

/// The servers, watched.
#[derive(Debug)]
pub struct Servers {
    board: Arc<Board>,
    next: AtomicUsize,
    is_watched: bool,
    is_admitted: AtomicBool,
}

/// The primary of one timeline.
#[derive(Debug)]
pub struct Primary {
    /// Its connections.
    pub(super) pool: PgPool,
    /// Its timeline.
    pub(super) timeline: u32,
}

impl std::fmt::Debug for ServerOptions {
    /// Without the URLs, for their passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerOptions")
            .field("primary_urls", &self.primary_urls.len())
            .field("replica_urls", &self.replica_urls.len())
            .field("pool_size", &self.pool_size)
            .field("max_replica_lag", &self.max_replica_lag)
            .finish()
    }
}

impl ServerOptions {
    /// The servers named, each once. Replicas are numbered first, from 1.
    fn servers(&self) -> Result<Vec<Server>, LookError> {
        let replicas = self.replica_urls.len();
        let primaries = (replicas + 1..).zip(&self.primary_urls).map(|(number, url)| (number, url, true));
        let replicas = (1..).zip(&self.replica_urls).map(|(number, url)| (number, url, false));
        let mut servers: Vec<Server> = Vec::new();
        for (number, url, may_be_primary) in primaries.chain(replicas) {
            let server = Server::parse(url, may_be_primary, number)?;
            if !servers.iter().any(|known| known.is_same_as(&server)) {
                servers.push(server);
            }
        }
        Ok(servers)
    }
}

impl Servers {
    /// Looks at each server once, before anything is started; answers which are away, and may come.
    ///
    /// # Errors
    /// A refusal: a server that answers and doesn't let this node in, or a URL that can't be used.
    pub async fn first_look(options: &ServerOptions) -> Result<Vec<LookError>, LookError> {
        first_look::first_look(&options.servers()?).await
    }

    /// Starts watching. Waits for nothing: servers that are away are looked for.
    ///
    /// `register` is what nodes share of timelines; without one, this process's memory alone decides.
    ///
    /// # Errors
    /// A refusal, if a URL can't be used.
    pub fn start(
        options: &ServerOptions,
        register: Option<Arc<dyn TimelineRegister>>,
        metrics: Arc<DatabaseMetrics>,
        spawn: &dyn Spawn,
    ) -> Result<Self, LookError> {
        let servers = options.servers()?;
        let board = Arc::new(Board::new(servers, options.pool_size, options.max_replica_lag, Some(metrics)));
        let adopting = primary::adopt(Arc::clone(&board), register, spawn.stopping());
        spawn.spawn("database primary", Box::pin(adopting));
        for index in 0..board.servers.len() {
            let watching = watch::watch(Arc::clone(&board), index, spawn.stopping());
            spawn.spawn("database watch", Box::pin(watching));
        }
        Ok(Self { board, next: AtomicUsize::new(0), is_watched: true, is_admitted: AtomicBool::new(false) })
    }

    /// One server, taken for the primary without a look.
    ///
    /// # Errors
    /// [`StoreError`], if the URL can't be used.
    pub fn single(url: &str, pool_size: u32) -> Result<Self, StoreError> {
        let pool = pool(url.parse().map_err(failed("read the database's URL"))?, pool_size);
        let board = Board::new(Vec::new(), pool_size, MAX_REPLICA_LAG, None);
        board.install(Some(Primary { pool, timeline: 1 }));
        Ok(Self {
            board: Arc::new(board),
            next: AtomicUsize::new(0),
            is_watched: false,
            is_admitted: AtomicBool::new(true),
        })
    }

    /// The primary, if one is known and statements are let through.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], at once.
    pub(super) fn primary(&self) -> Result<Arc<Primary>, StoreError> {
        let missing = || StoreError::Unavailable { operation: "find the primary", source: Arc::new(self.no_primary()) };
        if !self.is_admitted() {
            return Err(StoreError::Unavailable { operation: "find the primary", source: Arc::new(NotAdmitted) });
        }
        self.board.primary().ok_or_else(missing)
    }

    /// A replica that doesn't lag too far behind, if there is one: another one each time.
    pub(super) fn replica(&self) -> Option<PgPool> {
        if !self.is_admitted() {
            return None;
        }
        let rotation = self.board.rotation();
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        rotation.get(turn.checked_rem(rotation.len())?).cloned()
    }

    /// Something that was asked of the primary failed: it is looked at again at once, and is none until it answers if it
    /// has gone or doesn't take writes any more.
    pub(super) fn doubt(&self, primary: &Primary, error: &sqlx::Error) {
        if !self.is_watched || !is_doubtful(error) {
            return;
        }
        let mut state = self.board.state();
        // A late answer of one that was replaced meanwhile says nothing of the one in use.
        let in_use = state.current.filter(|_| state.last.is_some_and(|(_, last)| last.timeline == primary.timeline));
        let Some(index) = in_use else { return };
        if refuses_everybody(error) {
            self.board.give_up(&mut state, &error.to_string());
        }
        drop(state);
        self.board.servers[index].wake.notify_one();
    }

    /// The timeline of the primary, as it changes; `None` while there is no primary.
    pub fn timelines(&self) -> channel::Receiver<Option<u32>> {
        self.board.timelines()
    }
}

/// Whether an error says something about the server, not about the statement.
fn is_doubtful(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            // Read-only, connection lost, out of resources, shutting down or starting.
            code == "25006" || ["08", "53", "57P", "58"].iter().any(|class| code.starts_with(class))
        }),
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::PoolTimedOut | sqlx::Error::Tls(_) => true,
        _ => false,
    }
}

/// Whether the next statement would fail in the same way.
fn refuses_everybody(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error.code().is_some_and(|code| code == "25006"),
        sqlx::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        _ => false,
    }
}
