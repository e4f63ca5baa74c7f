//! Connections: how each is set up, and what their errors mean.
//!
//! PgBouncer in transaction mode gives each transaction another connection, where a prepared statement may be missing
//! or another one have its name. From version 1.21 it follows prepared statements (`max_prepared_statements`), and works;
//! without that the first errors of this kind say so.

use std::io;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};

/// How long the server works on one statement. The slowest are batches of 512 behind another batch's locks.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request waits for a free connection: with more patience it would meet a client that has gone.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a connection may be used: with time the pool spreads over what a name resolves to.
const LARGEST_AGE: Duration = Duration::from_mins(30);

/// Done once on each new connection, in one message. Locks are waited for less long than a statement may take, so that
/// the error says what it was. A server whose commits don't wait for the disk is asked to do so for ours: what is
/// acknowledged is kept, and an id mark that is forgotten would be served twice.
const SET_UP: &str = "
    SET statement_timeout = '5s';
    SET lock_timeout = '4s';
    SET idle_in_transaction_session_timeout = '10s';
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// A pooler that mixes up prepared statements stands between.
#[derive(Debug, thiserror::Error)]
#[error(
    "a pooler hands each transaction another connection without its prepared statements: use PgBouncer 1.21 or newer \
     with max_prepared_statements above 0, or pool_mode = session"
)]
pub(super) struct Pooler(#[source] pub(super) sqlx::Error);

/// Connections to one server, opened as they are needed; each is to be [`set_up`] by whoever makes the pool.
pub(super) fn pool_options(largest: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(largest)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .max_lifetime(LARGEST_AGE)
        // A round trip before each statement; whoever meets a dead connection asks again instead.
        .test_before_acquire(false)
}

/// A pool of connections to one server.
pub(super) fn pool(options: PgConnectOptions, largest: u32) -> PgPool {
    let set_up = pool_options(largest).after_connect(|connection, _| Box::pin(set_up(connection)));
    set_up.connect_lazy_with(options.application_name("stint"))
}

/// Makes a new connection ready.
pub(super) async fn set_up(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(SET_UP).execute(connection).await.map(drop)
}

/// The error of a server that doesn't answer.
pub(super) fn silence() -> sqlx::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the server doesn't answer").into()
}

/// Whether the connection broke, so that nobody knows what became of its last statement.
pub(super) fn is_broken(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        // 08: the connection. 57P01 and 57P02: shut down or crashed. 57P05: idle for too long.
        error => code(error).is_some_and(|code| code.starts_with("08") || ["57P01", "57P02", "57P05"].contains(&code)),
    }
}

/// Whether the server may be no primary any more.
pub(super) fn is_doubtful(error: &sqlx::Error) -> bool {
    // 25006: it is read-only. 57P03: it doesn't take connections yet, or any more.
    is_broken(error)
        || matches!(error, sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed)
        || ["25006", "57P03"].map(Some).contains(&code(error))
}

/// Whether the connection was ended by its server in words, which undid what it was at.
pub(super) fn was_undone(error: &sqlx::Error) -> bool {
    ["57P01", "57P05"].map(Some).contains(&code(error)) || is_contended(error)
}

/// Whether another transaction came in between: 40001 (a row changed) or 40P01 (a deadlock). The same may work now.
pub(super) fn is_contended(error: &sqlx::Error) -> bool {
    ["40001", "40P01"].map(Some).contains(&code(error))
}

/// Whether a prepared statement is missing (26000), or another one has its name (42P05).
pub(super) fn is_pooler(error: &sqlx::Error) -> bool {
    ["26000", "42P05"].map(Some).contains(&code(error))
}

/// The server's code for the error, if it comes from the server.
pub(super) fn code(error: &sqlx::Error) -> Option<&str> {
    use sqlx::postgres::PgDatabaseError;
    match error {
        sqlx::Error::Database(error) => error.try_downcast_ref::<PgDatabaseError>().map(PgDatabaseError::code),
        _ => None,
    }
}
