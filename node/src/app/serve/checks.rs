//! What a shortener checks of its database before it believes a code or draws a key: again and again while servers are
//! away, and once for all when they answer.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use stint_idgen::{CodeKey, Lane};
use tokio::time::sleep;

use crate::config::IdSourceKind;
use crate::ids::raft::links_spec;
use crate::ports::coordination::Allocator;
use crate::ports::error_chain::Chain;
use crate::service::fence::{
    FenceError, check_code_key, check_raft_lane, check_workers, claim_block_lane, same_code_key,
};
use crate::storage::postgres::PgStore;
use crate::storage::postgres::servers::{CheckError, Servers};

/// The pause between two tries.
const BETWEEN_TRIES: Duration = Duration::from_millis(250);

/// What is checked.
#[derive(Debug)]
pub(super) struct StartChecks {
    pub(super) servers: Arc<Servers>,
    pub(super) store: Arc<PgStore>,
    pub(super) allocator: Arc<dyn Allocator>,
    pub(super) code_key: CodeKey,
    pub(super) sources: Vec<IdSourceKind>,
    /// Whether a lost or replaced id source may be put right.
    pub(super) repair_ids: bool,
}

/// Why a check wasn't passed.
enum Failure {
    /// Something is away.
    NotYet(String),
    /// Something answers, and doesn't fit: waiting won't help.
    Refused(anyhow::Error),
}

impl StartChecks {
    /// Checks until all is well.
    ///
    /// # Errors
    /// One line about what doesn't fit.
    pub(super) async fn run(&self) -> anyhow::Result<()> {
        let mut said = String::new();
        loop {
            match self.once().await {
                Ok(()) => return Ok(()),
                Err(Failure::Refused(error)) => return Err(error),
                Err(Failure::NotYet(reason)) if reason == said => {}
                Err(Failure::NotYet(reason)) => {
                    tracing::warn!(reason, "the database can't be checked yet: no links are created");
                    said = reason;
                }
            }
            sleep(BETWEEN_TRIES).await;
        }
    }

    async fn once(&self) -> Result<(), Failure> {
        if let Some(stored) = self.servers.check().await? {
            same_code_key(&self.code_key, stored)?;
            // From here on links are followed, be it from replicas.
            self.servers.admit();
        } else if self.servers.status().primary.is_some() {
            self.servers.admit();
        }
        check_code_key(&*self.store, &self.code_key).await?;
        for source in &self.sources {
            match source {
                IdSourceKind::Raft => {
                    check_raft_lane(&*self.allocator, &*self.store, links_spec(), self.repair_ids).await?;
                }
                IdSourceKind::Redis => claim_block_lane(&*self.store, Lane::Redis).await?,
                IdSourceKind::Postgres => claim_block_lane(&*self.store, Lane::Postgres).await?,
                IdSourceKind::Snowflake => check_workers(&*self.allocator, &*self.store, self.repair_ids).await?,
            }
        }
        Ok(())
    }
}

impl From<CheckError> for Failure {
    fn from(error: CheckError) -> Self {
        let chain = Chain(&error).to_string();
        if error.is_refusal() { Self::Refused(anyhow!(chain)) } else { Self::NotYet(chain) }
    }
}

impl From<FenceError> for Failure {
    fn from(error: FenceError) -> Self {
        let chain = Chain(&error).to_string();
        match error {
            FenceError::Allocator(_) | FenceError::Store(_) => Self::NotYet(chain),
            _ => Self::Refused(anyhow!(chain)),
        }
    }
}
