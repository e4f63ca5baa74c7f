//! API keys and their owners.

use async_trait::async_trait;
use sqlx::FromRow;
use sqlx::postgres::PgPool;

use super::PgStore;
use super::row::{moment, owner};
use crate::domain::access::{ApiKeyHash, Caller, OwnerId, Scopes};
use crate::domain::label::Title;
use crate::domain::timestamp::UnixMs;
use crate::ports::key_store::{KeyRecord, KeyStore, NewKey};
use crate::ports::link_store::StoreError;

/// A new key, and its owner if the name is new. (`DO UPDATE` so that a known name is returned as well.)
const INSERT: &str = "
    WITH owner AS (
        INSERT INTO owners (name) VALUES ($1) ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id
    )
    INSERT INTO api_keys (owner_id, name, hash, scopes, created_at) SELECT id, $2, $3, $4, $5 FROM owner
    RETURNING id, owner_id";

/// One row of `api_keys`, with its owner's name.
#[derive(Debug, FromRow)]
struct KeyRow {
    id: i64,
    owner_id: i32,
    owner_name: String,
    name: String,
    scopes: i16,
    created_at: i64,
    revoked_at: Option<i64>,
}

impl TryFrom<KeyRow> for KeyRecord {
    type Error = StoreError;

    fn try_from(row: KeyRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            name: Title::from_stored(row.name),
            owner: owner(row.owner_id),
            owner_name: Title::from_stored(row.owner_name),
            scopes: scopes(row.scopes)?,
            created_at: moment(row.created_at)?,
            revoked_at: row.revoked_at.map(moment).transpose()?,
        })
    }
}

fn scopes(bits: i16) -> Result<Scopes, StoreError> {
    u8::try_from(bits).map(Scopes::from_bits).map_err(|_| StoreError::Corrupt { what: "api_keys.scopes" })
}

#[async_trait]
impl KeyStore for PgStore {
    /// Asks a replica while the primary is away: callers go on reading then, and a key revoked in the last seconds before
    /// may still count.
    async fn find_caller(&self, hash: ApiKeyHash) -> Result<Option<Caller>, StoreError> {
        let find = |pool: PgPool| async move {
            let find = "SELECT owner_id, scopes FROM api_keys WHERE hash = $1 AND revoked_at IS NULL";
            sqlx::query_as(find).bind(hash.0).fetch_optional(&pool).await
        };
        let row: Option<(i32, i16)> = self.read_anywhere("find an API key", find).await?;
        row.map(|(id, bits)| Ok(Caller { owner: owner(id), scopes: scopes(bits)? })).transpose()
    }

    async fn insert_key(&self, key: NewKey) -> Result<KeyRecord, StoreError> {
        let insert = |pool: PgPool| {
            let query = sqlx::query_as(INSERT)
                .bind(key.owner_name.as_str())
                .bind(key.name.as_str())
                .bind(key.hash.0)
                .bind(i16::from(key.scopes.bits()))
                .bind(key.created_at.get());
            async move { query.fetch_one(&pool).await }
        };
        let (id, owner): (i64, i32) = self.unrepeatable("keep an API key", insert).await?;
        Ok(KeyRecord {
            id,
            name: key.name,
            owner: OwnerId(i64::from(owner)),
            owner_name: key.owner_name,
            scopes: key.scopes,
            created_at: key.created_at,
            revoked_at: None,
        })
    }

    async fn list_keys(&self, after: i64, limit: usize) -> Result<Vec<KeyRecord>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let list = |pool: PgPool| async move {
            let list =
                "SELECT api_keys.id, owner_id, owners.name AS owner_name, api_keys.name, scopes, created_at, revoked_at
                        FROM api_keys JOIN owners ON owners.id = owner_id
                        WHERE api_keys.id > $1 ORDER BY api_keys.id LIMIT $2";
            sqlx::query_as::<_, KeyRow>(list).bind(after).bind(limit).fetch_all(&pool).await
        };
        self.repeatable("list API keys", list).await?.into_iter().map(KeyRecord::try_from).collect()
    }

    async fn revoke_key(&self, id: i64, at: UnixMs) -> Result<Option<KeyRecord>, StoreError> {
        let revoke = |pool: PgPool| async move {
            let revoke = "UPDATE api_keys SET revoked_at = coalesce(revoked_at, $2) FROM owners
                          WHERE api_keys.id = $1 AND owners.id = owner_id
                          RETURNING api_keys.id, owner_id, owners.name AS owner_name, api_keys.name, scopes, created_at,
                                    revoked_at";
            sqlx::query_as::<_, KeyRow>(revoke).bind(id).bind(at.get()).fetch_optional(&pool).await
        };
        self.repeatable("revoke an API key", revoke).await?.map(KeyRecord::try_from).transpose()
    }
}
