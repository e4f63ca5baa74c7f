//! Embedded storage: one SQLite file in WAL mode with `synchronous=FULL`, so that a commit has reached the disk.
//!
//! One connection writes, a few read. It serves one process; several nodes share a Postgres instead.

mod create;
mod fence;
mod keys;
mod links;
mod row;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::{Mutex, MutexGuard};

use crate::ports::link_store::StoreError;

/// Connections that read: more than the cores of a small machine use at once.
const READERS: u32 = 4;
/// How long a read waits for another process that holds the file (a backup).
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Links and keys in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    writer: Mutex<SqliteConnection>,
    readers: SqlitePool,
}

/// Why the file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file can't be opened or isn't a database.
    #[error("the database {path} can't be opened")]
    Open {
        /// Which file.
        path: String,
        /// What SQLite said.
        #[source]
        source: sqlx::Error,
    },
    /// The file's schema is of a newer Stint.
    #[error(
        "the database {path} was written by a newer version of Stint (schema {version}); use that version or newer"
    )]
    Newer {
        /// Which file.
        path: String,
        /// The schema version found.
        version: i64,
    },
    /// The schema could not be brought up to date.
    #[error("the schema of the database {path} can't be brought up to date")]
    Migrate {
        /// Which file.
        path: String,
        /// What went wrong.
        #[source]
        source: MigrateError,
    },
}

impl SqliteStore {
    /// Opens the file, makes it if it isn't there, and brings its schema up to date.
    ///
    /// # Errors
    /// [`OpenError`], naming the file.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        let shown = || path.display().to_string();
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging();
        let mut writer = options.clone().connect().await.map_err(|source| OpenError::Open { path: shown(), source })?;
        sqlx::migrate!("migrations/sqlite").run(&mut writer).await.map_err(|source| match source {
            MigrateError::VersionMissing(version) => OpenError::Newer { path: shown(), version },
            source => OpenError::Migrate { path: shown(), source },
        })?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_lazy_with(options.create_if_missing(false).read_only(true));
        Ok(Self { writer: Mutex::new(writer), readers })
    }

    /// Writes what is in the write-ahead log back and closes the file.
    pub async fn close(self: Arc<Self>) {
        self.readers.close().await;
        if let Some(store) = Arc::into_inner(self) {
            drop(store.writer.into_inner().close().await);
        }
    }

    async fn writer(&self) -> MutexGuard<'_, SqliteConnection> {
        self.writer.lock().await
    }
}

/// Begins a transaction that holds the write lock from the start, so that what it reads stays true until it commits.
macro_rules! begin {
    ($connection:expr, $operation:literal) => {
        sqlx::Connection::begin_with(&mut *$connection, "BEGIN IMMEDIATE")
            .await
            .map_err($crate::storage::sqlite::failed($operation))?
    };
}
use begin;

/// Turns a driver's error into the port's, naming what was tried.
fn failed(operation: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |error| match error {
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => {
            StoreError::Corrupt { what: operation }
        }
        error => StoreError::Unavailable { operation, source: Arc::new(error) },
    }
}
