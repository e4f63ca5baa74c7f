//! Links and keys in Postgres: one primary that is written to, and replicas that are read.

pub mod clicks;
pub mod servers;

use std::sync::Arc;

use crate::ports::link_store::StoreError;

/// Turns a driver's error into the port's, naming what was tried.
fn failed(operation: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |error| match error {
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => {
            StoreError::Corrupt { what: operation }
        }
        error => StoreError::Unavailable { operation, source: Arc::new(error) },
    }
}
