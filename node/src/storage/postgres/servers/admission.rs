//! Nothing is read or written until one server was seen to hold this deployment's data: a wrong code key would make every
//! code name another link.

use std::sync::atomic::Ordering;

use super::Servers;
use super::status::NoPrimary;
use crate::storage::postgres::schema::{SchemaError, check_schema};

/// Why the database can't be used, or not yet.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// No server can be asked.
    #[error("no database server can be asked")]
    NoServer(#[source] NoPrimary),
    /// The schema doesn't fit.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A statement failed.
    #[error("the code key's fingerprint can't be read from the database")]
    Read(#[source] sqlx::Error),
}

/// Nothing is let through yet.
#[derive(Debug, thiserror::Error)]
#[error("the database was not checked yet; see /readyz")]
pub(super) struct NotAdmitted;

impl CheckError {
    /// Whether a server answers and refuses, so that waiting won't help.
    pub const fn is_refusal(&self) -> bool {
        match self {
            Self::NoServer(_) | Self::Read(_) => false,
            Self::Schema(error) => !error.is_away(),
        }
    }
}

impl Servers {
    /// Checks the schema, on the primary or else on a replica, and answers the fingerprint of the code key that the
    /// database was first used with; `None` before the first.
    ///
    /// # Errors
    /// [`CheckError`]
    pub async fn check(&self) -> Result<Option<String>, CheckError> {
        let primary = self.board.primary().map(|primary| primary.pool.clone());
        let pool = primary.or_else(|| self.board.rotation().first().cloned());
        let pool = pool.ok_or_else(|| CheckError::NoServer(self.no_primary()))?;
        check_schema(&pool).await?;
        let stored = sqlx::query_scalar("SELECT value FROM settings WHERE name = 'code_key'");
        stored.fetch_optional(&pool).await.map_err(CheckError::Read)
    }

    /// Lets statements through from now on.
    pub fn admit(&self) {
        self.is_admitted.store(true, Ordering::Release);
    }

    /// Whether statements are let through.
    pub fn is_admitted(&self) -> bool {
        self.is_admitted.load(Ordering::Acquire)
    }
}
