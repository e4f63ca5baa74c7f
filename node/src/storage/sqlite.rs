//! Embedded storage: one SQLite file in WAL mode with `synchronous=FULL`, so that a commit has reached the disk.
//!
//! One connection writes, a few read. It serves one process; several nodes share a Postgres instead.

mod clicks;
mod create;
mod fence;
mod keys;
mod links;
mod row;
#[cfg(test)]
mod tests;

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// The connection that writes; none after a write that failed, until the next one.
    writer: Mutex<Option<SqliteConnection>>,
    write_failed: AtomicBool,
    write_options: SqliteConnectOptions,
    readers: SqlitePool,
}

/// The writing connection, for one write. Unless that is [`Writer::done`], the connection is thrown away: after an
/// error, or a caller who went away half-way, nobody knows what state it is in.
struct Writer<'a> {
    connection: MutexGuard<'a, Option<SqliteConnection>>,
    write_failed: &'a AtomicBool,
    done: bool,
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
            .connect_lazy_with(options.clone().create_if_missing(false).read_only(true));
        let write_options = options.create_if_missing(false);
        Ok(Self { writer: Mutex::new(Some(writer)), write_failed: AtomicBool::new(false), write_options, readers })
    }

    /// Writes what is in the write-ahead log back and closes the file.
    pub async fn close(self: Arc<Self>) {
        self.readers.close().await;
        if let Some(writer) = Arc::into_inner(self).and_then(|store| store.writer.into_inner()) {
            drop(writer.close().await);
        }
    }

    /// The writing connection, opened again if the last write failed.
    async fn writer(&self) -> Result<Writer<'_>, StoreError> {
        let mut connection = self.writer.lock().await;
        if connection.is_none() {
            let opened = self.write_options.connect().await.map_err(failed("open the database again"))?;
            *connection = Some(opened);
        }
        Ok(Writer { connection, write_failed: &self.write_failed, done: false })
    }

    /// Whether the last write was made. If it wasn't, tries another: a disk that has space again is noticed.
    async fn check_writing(&self) -> Result<(), StoreError> {
        if !self.write_failed.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut writer = self.writer().await?;
        sqlx::query(
            "INSERT INTO settings (name, value) VALUES ('write_probe', '1')
             ON CONFLICT (name) DO UPDATE SET value = value + 1",
        )
        .execute(&mut *writer)
        .await
        .map_err(failed("write to the database"))?;
        writer.done();
        Ok(())
    }
}

impl Writer<'_> {
    fn done(&mut self) {
        self.done = true;
    }
}

impl Deref for Writer<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        self.connection.as_ref().expect("it was opened before the writer was made")
    }
}

impl DerefMut for Writer<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        self.connection.as_mut().expect("it was opened before the writer was made")
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.write_failed.store(!self.done, Ordering::Release);
        if !self.done {
            *self.connection = None;
        }
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
