//! Shared storage: one Postgres primary that is written to, and replicas that are read where an older answer will do.
//!
//! What a method answers is durable and exact, also when connections break half-way: creating finds out what became
//! of a commit in doubt, reading asks again, and any other change says that it isn't known.

mod change;
mod changes;
pub mod clicks;
mod coalesce;
mod connection;
mod create;
mod fence;
mod keys;
mod links;
mod row;
mod schema;
pub mod servers;
#[cfg(test)]
mod tests;
mod visits;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgPool;
use sqlx::{Postgres, Transaction};
use stint_idgen::Key;
use tokio::time::{Instant, timeout};

pub use self::schema::{MigrateReport, SchemaError, check_schema, migrate};

use self::coalesce::Coalescer;
use self::connection::{Pooler, STATEMENT_TIMEOUT, is_broken, is_doubtful, is_pooler, silence, was_undone};
use self::servers::{Primary, Servers};
use crate::domain::link::Link;
use crate::ports::link_store::StoreError;

/// How long a statement whose connection broke is tried again: over connections that died with the primary, and on
/// the primary that takes its place. Whoever waits for it waits a little longer than for a commit, no more.
const RETRIED_FOR: Duration = Duration::from_secs(2);
/// The pause while there is no primary to try on.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// How long an answer is waited for: longer than the server works on one, so that only a server that is cut off, or
/// stands still, is given up.
const ANSWERED_WITHIN: Duration = STATEMENT_TIMEOUT.saturating_add(Duration::from_secs(1));
/// How long a replica's answer is waited for where the primary can be asked instead: one that stands still leaves the
/// rotation seconds later.
const COPY_ANSWERED_WITHIN: Duration = Duration::from_millis(500);

type PgTransaction = Transaction<'static, Postgres>;

/// Links and keys in Postgres.
#[derive(Debug)]
pub struct PgStore {
    servers: Arc<Servers>,
    /// Reads of links by key from the primary.
    links: Coalescer<Key, Link>,
    /// Reads of aliases from the primary.
    aliases: Coalescer<String, Key>,
}

impl PgStore {
    /// A store over `servers`, whose schema was checked.
    pub fn new(servers: Arc<Servers>) -> Self {
        Self { servers, links: Coalescer::default(), aliases: Coalescer::default() }
    }

    /// Asks the primary, again if its connection breaks: for whatever may be done twice.
    async fn repeatable<T, F>(&self, operation: &'static str, work: impl Fn(PgPool) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        self.retried(operation, is_broken, work).await.map(|(_, found)| found)
    }

    /// Asks the primary for what must not be done twice: again only if it certainly wasn't done.
    async fn unrepeatable<T, F>(&self, operation: &'static str, work: impl Fn(PgPool) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        self.retried(operation, was_undone, work).await.map(|(_, done)| done)
    }

    /// Begins a transaction on the primary. Being its first statement, this finds out whether the connection is alive.
    async fn begin(&self, operation: &'static str) -> Result<(Arc<Primary>, PgTransaction), StoreError> {
        self.retried(operation, is_broken, |pool: PgPool| async move { pool.begin().await }).await
    }

    /// Asks the primary, again for a while after the errors that `again` names; answers which primary it was.
    async fn retried<T, F>(
        &self,
        operation: &'static str,
        again: fn(&sqlx::Error) -> bool,
        work: impl Fn(PgPool) -> F,
    ) -> Result<(Arc<Primary>, T), StoreError>
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        let started = Instant::now();
        loop {
            let primary = self.servers.primary()?;
            match self.once(&primary, work(primary.pool.clone())).await {
                Ok(answer) => return Ok((primary, answer)),
                Err(error) if again(&error) && started.elapsed() < RETRIED_FOR => {}
                Err(error) => return Err(failed(operation)(error)),
            }
        }
    }

    /// Waits for an answer of the primary, and doubts it if it fails as a server does that is no primary any more.
    async fn once<T>(
        &self,
        primary: &Primary,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let answer = timeout(ANSWERED_WITHIN, work).await.unwrap_or_else(|_| Err(silence()));
        if let Err(error) = &answer
            && is_doubtful(error)
        {
            self.servers.doubt(primary, error);
        }
        answer
    }
}

/// Turns a driver's error into the port's, naming what was tried.
fn failed(operation: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |error| match error {
        sqlx::Error::Decode(source) => match source.downcast::<StoreError>() {
            Ok(error) => *error,
            Err(_) => StoreError::Corrupt { what: operation },
        },
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) => StoreError::Corrupt { what: operation },
        error if is_pooler(&error) => StoreError::Unavailable { operation, source: Arc::new(Pooler(error)) },
        error => StoreError::Unavailable { operation, source: Arc::new(error) },
    }
}
