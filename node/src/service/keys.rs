//! API keys: making, listing and revoking them, and telling who sends a request.

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;
use subtle::ConstantTimeEq;

use crate::domain::access::{ApiKey, ApiKeyHash, Caller, Scopes};
use crate::domain::label::Title;
use crate::domain::timestamp::UnixMs;
use crate::ports::clock::Clock;
use crate::ports::entropy::{Entropy, random_128};
use crate::ports::key_store::{KeyRecord, KeyStore, NewKey};
use crate::ports::link_store::StoreError;

/// How long a key is trusted without asking the store: the longest that a revoked key works on another node.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
/// Keys remembered.
const REMEMBERED: usize = 10_000;

/// Manages API keys.
#[derive(Debug)]
pub struct ManageKeys {
    store: Arc<dyn KeyStore>,
    bootstrap: Option<ApiKeyHash>,
    known: Cache<ApiKeyHash, (Caller, Duration)>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl ManageKeys {
    /// Manages the keys of `store`. The `bootstrap` key is always good and has every scope.
    pub fn new(
        store: Arc<dyn KeyStore>,
        bootstrap: Option<ApiKeyHash>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { store, bootstrap, known: Cache::new(REMEMBERED), clock, entropy }
    }

    /// Who sends `key`; `None` if nobody holds it (any more).
    ///
    /// # Errors
    /// [`StoreError`] when the key isn't known yet and the store gives no answer.
    pub async fn authenticate(&self, key: &str) -> Result<Option<Caller>, StoreError> {
        let hash = ApiKeyHash::of(key);
        if self.bootstrap.is_some_and(|bootstrap| bool::from(bootstrap.0.ct_eq(&hash.0))) {
            return Ok(Some(Caller::BOOTSTRAP));
        }
        let now = self.clock.monotonic();
        if let Some((caller, _)) = self.known.get(&hash).filter(|(_, until)| now < *until) {
            return Ok(Some(caller));
        }
        let caller = self.store.find_caller(hash).await?;
        match caller {
            Some(caller) => self.known.insert(hash, (caller, now + TRUSTED_FOR)),
            None => drop(self.known.remove(&hash)),
        }
        Ok(caller)
    }

    /// Makes a key. It can't be shown again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create(
        &self,
        name: Title,
        owner_name: Title,
        scopes: Scopes,
    ) -> Result<(ApiKey, KeyRecord), StoreError> {
        let key = ApiKey::from_random(random_128(&*self.entropy));
        let created_at = UnixMs::from_clock(self.clock.unix_ms());
        let hash = ApiKeyHash::of(key.expose());
        let record = self.store.insert_key(NewKey { name, owner_name, scopes, hash, created_at }).await?;
        Ok((key, record))
    }

    /// Keys above the number `after`, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self, after: i64, limit: usize) -> Result<Vec<KeyRecord>, StoreError> {
        self.store.list_keys(after, limit).await
    }

    /// Revokes a key, at once on this node; `None` if there is no such key.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn revoke(&self, id: i64) -> Result<Option<KeyRecord>, StoreError> {
        let record = self.store.revoke_key(id, UnixMs::from_clock(self.clock.unix_ms())).await?;
        self.known.clear();
        Ok(record)
    }
}
