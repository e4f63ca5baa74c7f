//! A database that isn't there: a node without one serves ids, and says of everything else that it is not available.

use std::sync::Arc;

use async_trait::async_trait;
use stint_idgen::{Key, Lane};

use crate::domain::access::{ApiKeyHash, Caller, OwnerId};
use crate::domain::alias::Alias;
use crate::domain::link::Link;
use crate::domain::target_url::{TargetUrl, UrlHash};
use crate::domain::timestamp::UnixMs;
use crate::ports::click_store::{ClickChunk, ClickStore, ClickTotals, Day};
use crate::ports::key_store::{KeyRecord, KeyStore, NewKey};
use crate::ports::link_store::{
    CreateOutcome, FenceStore, Idempotency, LaneMark, LinkChange, LinkStore, ListQuery, NewLink, Replay, StoreError,
    VisitOutcome,
};

/// No database.
#[derive(Clone, Copy, Debug)]
pub struct NoDatabase;

#[derive(Debug, thiserror::Error)]
#[error("no database is configured")]
struct NotConfigured;

fn absent<T>(operation: &'static str) -> Result<T, StoreError> {
    Err(StoreError::Unavailable { operation, source: Arc::new(NotConfigured) })
}

#[async_trait]
impl LinkStore for NoDatabase {
    async fn create(&self, _links: Vec<NewLink>) -> Result<Vec<CreateOutcome>, StoreError> {
        absent("create links")
    }

    async fn find_replay(&self, _owner: OwnerId, _request: &Idempotency) -> Result<Option<Replay>, StoreError> {
        absent("find an idempotency key")
    }

    async fn find(&self, _key: Key) -> Result<Option<Link>, StoreError> {
        absent("find a link")
    }

    async fn find_alias(&self, _alias: &Alias) -> Result<Option<Key>, StoreError> {
        absent("find an alias")
    }

    async fn find_reusable(
        &self,
        _owner: OwnerId,
        _hash: UrlHash,
        _url: &TargetUrl,
    ) -> Result<Option<Link>, StoreError> {
        absent("find a link by its target")
    }

    async fn list(&self, _query: ListQuery) -> Result<Vec<Link>, StoreError> {
        absent("list links")
    }

    async fn update(&self, _key: Key, _change: LinkChange) -> Result<Option<Link>, StoreError> {
        absent("change a link")
    }

    async fn delete(&self, _key: Key) -> Result<Option<Link>, StoreError> {
        absent("delete a link")
    }

    async fn count_visits(&self, _keys: Vec<Key>) -> Result<Vec<VisitOutcome>, StoreError> {
        absent("count visits")
    }

    async fn forget_idempotency_before(&self, _moment: UnixMs) -> Result<u64, StoreError> {
        absent("forget idempotency keys")
    }

    async fn ping(&self) -> Result<(), StoreError> {
        absent("ping")
    }
}

#[async_trait]
impl KeyStore for NoDatabase {
    /// Nobody: a key that isn't the bootstrap key is wrong, not unknown for the moment.
    async fn find_caller(&self, _hash: ApiKeyHash) -> Result<Option<Caller>, StoreError> {
        Ok(None)
    }

    async fn insert_key(&self, _key: NewKey) -> Result<KeyRecord, StoreError> {
        absent("keep an API key")
    }

    async fn list_keys(&self, _after: i64, _limit: usize) -> Result<Vec<KeyRecord>, StoreError> {
        absent("list API keys")
    }

    async fn revoke_key(&self, _id: i64, _at: UnixMs) -> Result<Option<KeyRecord>, StoreError> {
        absent("revoke an API key")
    }
}

#[async_trait]
impl FenceStore for NoDatabase {
    async fn claim_code_key(&self, _fingerprint: &str) -> Result<String, StoreError> {
        absent("claim the code key")
    }

    async fn find_lane(&self, _lane: Lane) -> Result<Option<LaneMark>, StoreError> {
        absent("find a lane")
    }

    async fn claim_lane(&self, _lane: Lane, _source: &str) -> Result<LaneMark, StoreError> {
        absent("claim a lane")
    }

    async fn replace_lane_source(&self, _lane: Lane, _source: &str) -> Result<(), StoreError> {
        absent("replace a lane's source")
    }

    async fn raise_mark(&self, _lane: Lane, _source: &str, _mark: u64) -> Result<bool, StoreError> {
        absent("raise a lane's mark")
    }
}

#[async_trait]
impl ClickStore for NoDatabase {
    async fn add_chunks(&self, _chunks: &[ClickChunk], _now: UnixMs) -> Result<u64, StoreError> {
        absent("count clicks")
    }

    async fn clicks(&self, _key: Key, _since: Day) -> Result<ClickTotals, StoreError> {
        absent("read a link's clicks")
    }

    async fn forget_chunks_before(&self, _moment: UnixMs) -> Result<u64, StoreError> {
        Ok(0)
    }
}
