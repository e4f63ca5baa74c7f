//! API keys and their owners.

use async_trait::async_trait;
use sqlx::FromRow;

use super::row::moment;
use super::{SqliteStore, begin, failed};
use crate::domain::access::{ApiKeyHash, Caller, OwnerId, Scopes};
use crate::domain::label::Title;
use crate::domain::timestamp::UnixMs;
use crate::ports::key_store::{KeyRecord, KeyStore, NewKey};
use crate::ports::link_store::StoreError;

/// One row of `api_keys`, with its owner's name.
#[derive(Debug, FromRow)]
struct KeyRow {
    id: i64,
    owner_id: i64,
    owner_name: String,
    name: String,
    scopes: i64,
    created_at: i64,
    revoked_at: Option<i64>,
}

impl TryFrom<KeyRow> for KeyRecord {
    type Error = StoreError;

    fn try_from(row: KeyRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            name: Title::from_stored(row.name),
            owner: OwnerId(row.owner_id),
            owner_name: Title::from_stored(row.owner_name),
            scopes: scopes(row.scopes)?,
            created_at: moment(row.created_at)?,
            revoked_at: row.revoked_at.map(moment).transpose()?,
        })
    }
}

fn scopes(bits: i64) -> Result<Scopes, StoreError> {
    u8::try_from(bits).map(Scopes::from_bits).map_err(|_| StoreError::Corrupt { what: "api_keys.scopes" })
}

#[async_trait]
impl KeyStore for SqliteStore {
    async fn find_caller(&self, hash: ApiKeyHash) -> Result<Option<Caller>, StoreError> {
        let row: Option<(i64, i64)> =
            sqlx::query_as("SELECT owner_id, scopes FROM api_keys WHERE hash = ? AND revoked_at IS NULL")
                .bind(hash.0.as_slice())
                .fetch_optional(&self.readers)
                .await
                .map_err(failed("find an API key"))?;
        row.map(|(owner, bits)| Ok(Caller { owner: OwnerId(owner), scopes: scopes(bits)? })).transpose()
    }

    async fn insert_key(&self, key: NewKey) -> Result<KeyRecord, StoreError> {
        let mut writer = self.writer().await?;
        let mut transaction = begin!(writer, "begin keeping an API key");
        let (owner,): (i64,) = sqlx::query_as(
            "INSERT INTO owners (name) VALUES (?) ON CONFLICT (name) DO UPDATE SET name = name RETURNING id",
        )
        .bind(key.owner_name.as_str())
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed("find or make an owner"))?;
        let (id,): (i64,) = sqlx::query_as(
            "INSERT INTO api_keys (owner_id, name, hash, scopes, created_at) VALUES (?, ?, ?, ?, ?) RETURNING id",
        )
        .bind(owner)
        .bind(key.name.as_str())
        .bind(key.hash.0.as_slice())
        .bind(i64::from(key.scopes.bits()))
        .bind(key.created_at.get())
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed("keep an API key"))?;
        transaction.commit().await.map_err(failed("commit an API key"))?;
        writer.done();
        Ok(KeyRecord {
            id,
            name: key.name,
            owner: OwnerId(owner),
            owner_name: key.owner_name,
            scopes: key.scopes,
            created_at: key.created_at,
            revoked_at: None,
        })
    }

    async fn list_keys(&self, after: i64, limit: usize) -> Result<Vec<KeyRecord>, StoreError> {
        let rows: Vec<KeyRow> = sqlx::query_as(
            "SELECT api_keys.*, owners.name AS owner_name FROM api_keys JOIN owners ON owners.id = owner_id
             WHERE api_keys.id > ? ORDER BY api_keys.id LIMIT ?",
        )
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await
        .map_err(failed("list API keys"))?;
        rows.into_iter().map(KeyRecord::try_from).collect()
    }

    async fn revoke_key(&self, id: i64, at: UnixMs) -> Result<Option<KeyRecord>, StoreError> {
        let mut writer = self.writer().await?;
        let row: Option<KeyRow> = sqlx::query_as(
            "UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?
             RETURNING *, (SELECT name FROM owners WHERE owners.id = owner_id) AS owner_name",
        )
        .bind(at.get())
        .bind(id)
        .fetch_optional(&mut *writer)
        .await
        .map_err(failed("revoke an API key"))?;
        writer.done();
        row.map(KeyRecord::try_from).transpose()
    }
}
