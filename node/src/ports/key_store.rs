//! Where API keys are kept.

use async_trait::async_trait;

use super::link_store::StoreError;
use crate::domain::access::{ApiKeyHash, Caller, OwnerId, Scopes};
use crate::domain::label::Title;
use crate::domain::timestamp::UnixMs;

/// An API key as it is kept: everything but the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// Its number.
    pub id: i64,
    /// What people call it.
    pub name: Title,
    /// Whose it is.
    pub owner: OwnerId,
    /// The owner's name.
    pub owner_name: Title,
    /// What it may do.
    pub scopes: Scopes,
    /// When it was made.
    pub created_at: UnixMs,
    /// When it was revoked.
    pub revoked_at: Option<UnixMs>,
}

/// An API key to be kept.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// What people call it.
    pub name: Title,
    /// The owner's name; an unknown one becomes a new owner.
    pub owner_name: Title,
    /// What it may do.
    pub scopes: Scopes,
    /// The key's hash.
    pub hash: ApiKeyHash,
    /// When it was made.
    pub created_at: UnixMs,
}

/// Keeps API keys.
#[async_trait]
pub trait KeyStore: Send + Sync + std::fmt::Debug + 'static {
    /// Who holds the key with this hash; `None` if nobody does (any more).
    async fn find_caller(&self, hash: ApiKeyHash) -> Result<Option<Caller>, StoreError>;

    /// Keeps a new key.
    async fn insert_key(&self, key: NewKey) -> Result<KeyRecord, StoreError>;

    /// Keys above the number `after`, revoked ones too, by number, at most `limit`.
    async fn list_keys(&self, after: i64, limit: usize) -> Result<Vec<KeyRecord>, StoreError>;

    /// Revokes a key; `None` if there is no such key. Revoking again changes nothing.
    async fn revoke_key(&self, id: i64, at: UnixMs) -> Result<Option<KeyRecord>, StoreError>;
}
