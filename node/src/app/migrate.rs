//! `stint migrate`: brings the schema of the database up to date.

use anyhow::Context;

use crate::config::Config;
use crate::storage::postgres::{MigrateReport, SchemaError, migrate};

/// Migrates the database, on whichever of its servers is the primary.
///
/// # Errors
/// One line that says what is wrong with it.
pub async fn migrate_database(config: &Config) -> anyhow::Result<MigrateReport> {
    let mut refused: Option<SchemaError> = None;
    for url in &config.database.primary_urls {
        match migrate(url.expose()).await {
            Ok(report) => return Ok(report),
            // What answers says more than what is away.
            Err(error) if refused.as_ref().is_none_or(SchemaError::is_away) => refused = Some(error),
            Err(_) => {}
        }
    }
    Err(refused.context("there is no database: name it with DATABASE_URL")?.into())
}
