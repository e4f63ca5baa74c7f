//! The look at all servers before a node starts: what refuses now will not be better later, what is away may come.

use futures_util::future::join_all;
use sqlx::{Connection, Executor, PgConnection};
use tokio::time::timeout;

use super::look_error::LookError;
use super::probe::{self, CONNECT_DEADLINE, Probe};
use super::server::Server;

const POOLER_REMEDY: &str = "set pool_mode = session for this database in pgbouncer.ini, or use PgBouncer 1.21 or later \
                             with max_prepared_statements above 0, or the server's own port";

/// Looks at each server once; answers who is away.
///
/// # Errors
/// The first refusal, in the order of the configuration.
pub(super) async fn first_look(servers: &[Server]) -> Result<Vec<LookError>, LookError> {
    let mut away = Vec::new();
    for seen in join_all(servers.iter().map(look)).await {
        match seen {
            Ok(()) => {}
            Err(error) if error.is_refusal() => return Err(error),
            Err(error) => away.push(error),
        }
    }
    Ok(away)
}

async fn look(server: &Server) -> Result<(), LookError> {
    Probe::new(server).look().await?;
    let (one, two) = (probe::connect(server).await?, probe::connect(server).await?);
    match timeout(CONNECT_DEADLINE, keeps_statements(one, two)).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => {
            let reason = "it is a connection pooler in transaction mode that loses prepared statements";
            Err(LookError::refused(&server.name, reason, POOLER_REMEDY))
        }
        Ok(Err(error)) => Err(LookError::of(&server.name, &error)),
        Err(_) => Err(LookError::slow(&server.name, "two connections don't get a session each within 2 s")),
    }
}

/// Whether a prepared statement is there when it is used again. A pooler in transaction mode gives the session of the
/// first connection to the second, which keeps it in a transaction; the first then gets one that knows no statement.
async fn keeps_statements(mut one: PgConnection, mut two: PgConnection) -> sqlx::Result<bool> {
    async fn prepared(connection: &mut PgConnection) -> sqlx::Result<i32> {
        sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(connection).await
    }
    prepared(&mut one).await?;
    two.execute(sqlx::raw_sql("BEGIN; SELECT 1")).await?;
    let kept = match prepared(&mut one).await {
        Ok(_) => Ok(true),
        // "prepared statement does not exist", or one of that name is another client's.
        Err(sqlx::Error::Database(error)) if matches!(error.code().as_deref(), Some("26000" | "42P05")) => Ok(false),
        Err(error) => Err(error),
    };
    two.execute(sqlx::raw_sql("ROLLBACK")).await?;
    let _ = tokio::join!(one.close(), two.close());
    kept
}
