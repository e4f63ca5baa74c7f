//! Finding and listing links, and what is asked of the store around them.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgPool;
use stint_idgen::Key;

use super::row::{self, LinkRow, decode, find, owner_id, place};
use super::{ANSWERED_WITHIN, COPY_ANSWERED_WITHIN, PgStore, silence};
use crate::domain::access::OwnerId;
use crate::domain::alias::Alias;
use crate::domain::link::Link;
use crate::domain::target_url::{TargetUrl, UrlHash};
use crate::domain::timestamp::UnixMs;
use crate::ports::link_store::{
    CreateOutcome, Idempotency, LinkChange, LinkStore, ListQuery, NewLink, Replay, StoreError, VisitOutcome,
};

/// Idempotency keys forgotten in one transaction: some tens of milliseconds.
const FORGET: &str = "
    DELETE FROM idempotency WHERE (owner_id, idempotency_key) IN
        (SELECT owner_id, idempotency_key FROM idempotency WHERE created_at < $1 ORDER BY created_at LIMIT 10000)";

const FIND: &str = find!("FROM links WHERE key = ANY($1)");
/// Reads slot by slot, as the index has them, and sorts what is in each.
pub(super) const LIST: &str = find!(
    "FROM links WHERE owner_id = $1 AND url IS NOT NULL
       AND least(created_at >> 13, 2147483647)::integer <= least($2 >> 13, 2147483647)::integer
       AND (created_at, key) < ($2, $3)
     ORDER BY least(created_at >> 13, 2147483647)::integer DESC, created_at DESC, key DESC LIMIT $4"
);
const FIND_ALIASES: &str = "SELECT alias, key FROM aliases WHERE alias = ANY($1)";

#[async_trait]
impl LinkStore for PgStore {
    async fn create(&self, links: Vec<NewLink>) -> Result<Vec<CreateOutcome>, StoreError> {
        self.create_batch(links).await
    }

    async fn find_replay(&self, owner: OwnerId, request: &Idempotency) -> Result<Option<Replay>, StoreError> {
        let key = &request.key;
        let find = |pool: PgPool| async move {
            let find =
                "SELECT request_hash, created, link_key FROM idempotency WHERE owner_id = $1 AND idempotency_key = $2";
            sqlx::query_as(find).bind(owner_id(owner)).bind(key).fetch_optional(&pool).await
        };
        let row: Option<(Vec<u8>, bool, i64)> = self.repeatable("find an idempotency key", find).await?;
        let Some((hash, created, key)) = row else { return Ok(None) };
        if hash != request.request_hash {
            return Ok(Some(Replay::Mismatch));
        }
        let link = self.find(row::key(key)?).await?;
        Ok(link.map(|link| Replay::Same { link, created }))
    }

    async fn find(&self, key: Key) -> Result<Option<Link>, StoreError> {
        let read = |keys: Vec<Key>| {
            let keys: Vec<i64> = keys.into_iter().map(Key::get).collect();
            self.repeatable("find links", move |pool| find_links(pool, keys.clone()))
        };
        self.links.find(key, read).await
    }

    /// A replica that fails knows no link: the primary is asked next anyway.
    async fn find_copy(&self, key: Key) -> Result<Option<Link>, StoreError> {
        match self.servers.replica() {
            Some(replica) => {
                let found = self.copied(find_links(replica, vec![key.get()])).await;
                Ok(found.ok().and_then(|mut links| links.remove(&key)))
            }
            None => self.find(key).await,
        }
    }

    /// An alias never changes its key, so a replica's "yes" is as good as the primary's.
    async fn find_alias(&self, alias: &Alias) -> Result<Option<Key>, StoreError> {
        let alias = alias.as_str();
        if let Some(replica) = self.servers.replica()
            && let Ok(found) = self.copied(find_aliases(replica, vec![alias.to_owned()])).await
            && let Some(key) = found.get(alias)
        {
            return Ok(Some(*key));
        }
        let read =
            |aliases: Vec<String>| self.repeatable("find aliases", move |pool| find_aliases(pool, aliases.clone()));
        self.aliases.find(alias.to_owned(), read).await
    }

    async fn find_reusable(&self, owner: OwnerId, hash: UrlHash, url: &TargetUrl) -> Result<Option<Link>, StoreError> {
        let find = |pool: PgPool| async move {
            let find = find!(
                "FROM targets JOIN links USING (key)
                 WHERE targets.hash = $1 AND links.owner_id = $2 AND links.url = $3"
            );
            let query = sqlx::query_as(find).bind(place(owner, hash)).bind(owner_id(owner)).bind(url.as_str());
            query.fetch_optional(&pool).await
        };
        let row: Option<LinkRow> = self.repeatable("find a link to reuse", find).await?;
        row.map(Link::try_from).transpose()
    }

    async fn list(&self, query: ListQuery) -> Result<Vec<Link>, StoreError> {
        let query = &query;
        let rows = self.read_anywhere("list links", |pool| list(pool, query)).await?;
        rows.into_iter().map(Link::try_from).collect()
    }

    async fn update(&self, key: Key, change: LinkChange) -> Result<Option<Link>, StoreError> {
        self.change(key, "change a link", |content| {
            let mut content = content.clone();
            change.apply(&mut content);
            Some(content)
        })
        .await
    }

    async fn delete(&self, key: Key) -> Result<Option<Link>, StoreError> {
        self.change(key, "delete a link", |_| None).await
    }

    async fn count_visits(&self, keys: Vec<Key>) -> Result<Vec<VisitOutcome>, StoreError> {
        self.count_batch(keys).await
    }

    async fn forget_idempotency_before(&self, moment: UnixMs) -> Result<u64, StoreError> {
        let forget = |pool: PgPool| async move { sqlx::query(FORGET).bind(moment.get()).execute(&pool).await };
        Ok(self.repeatable("forget idempotency keys", forget).await?.rows_affected())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let ask = |pool: PgPool| async move { sqlx::query("SELECT 1").execute(&pool).await };
        self.repeatable("ask for a sign of life", ask).await.map(drop)
    }
}

impl PgStore {
    /// Reads from the primary, or from a replica while there is no primary.
    pub(super) async fn read_anywhere<T, F>(
        &self,
        operation: &'static str,
        work: impl Fn(PgPool) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        let error = match self.repeatable(operation, &work).await {
            Err(error) if error.retryable() => error,
            answer => return answer,
        };
        match self.servers.replica() {
            Some(replica) => within(ANSWERED_WITHIN, work(replica)).await.map_err(|_| error),
            None => Err(error),
        }
    }

    /// A replica's answer, if it comes in time: there is less of it while the primary can be asked.
    async fn copied<T>(&self, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
        let patience = if self.servers.primary().is_ok() { COPY_ANSWERED_WITHIN } else { ANSWERED_WITHIN };
        within(patience, work).await
    }
}

async fn find_links(pool: PgPool, keys: Vec<i64>) -> Result<HashMap<Key, Link>, sqlx::Error> {
    let rows: Vec<LinkRow> = sqlx::query_as(FIND).bind(keys).fetch_all(&pool).await?;
    rows.into_iter().map(|row| row::link(row).map(|link| (link.key, link))).collect()
}

async fn find_aliases(pool: PgPool, aliases: Vec<String>) -> Result<HashMap<String, Key>, sqlx::Error> {
    let rows: Vec<(String, i64)> = sqlx::query_as(FIND_ALIASES).bind(aliases).fetch_all(&pool).await?;
    rows.into_iter().map(|(alias, key)| Ok((alias, row::key(key).map_err(decode)?))).collect()
}

async fn list(pool: PgPool, query: &ListQuery) -> Result<Vec<LinkRow>, sqlx::Error> {
    let (created_at, key) =
        query.after.map_or((UnixMs::MAX.get(), i64::MAX), |after| (after.created_at.get(), after.key.get()));
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let rows = match (query.owner.map(owner_id), &query.tag) {
        (Some(owner), Some(tag)) => sqlx::query_as(find!(
            "FROM link_tags AS tagged JOIN links USING (key)
             WHERE tagged.owner_id = $1 AND tagged.tag = $2 AND (tagged.created_at, tagged.key) < ($3, $4)
             ORDER BY tagged.created_at DESC, tagged.key DESC LIMIT $5"
        ))
        .bind(owner)
        .bind(tag)
        .bind(created_at),
        (Some(owner), None) => return list_by_owner(pool, owner, created_at, key, limit).await,
        (None, _) => sqlx::query_as(find!("FROM links WHERE url IS NOT NULL AND key < $1 ORDER BY key DESC LIMIT $2")),
    };
    rows.bind(key).bind(limit).fetch_all(&pool).await
}

/// Planned for this owner, by a statement without a name: a plan for one with few links would sort all of one with many.
/// A pooler may give each part of such a statement to another server, unless a transaction holds on to one.
async fn list_by_owner(
    pool: PgPool,
    owner: i32,
    created_at: i64,
    key: i64,
    limit: i64,
) -> Result<Vec<LinkRow>, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let query = sqlx::query_as(LIST).persistent(false).bind(owner).bind(created_at).bind(key).bind(limit);
    let rows = query.fetch_all(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(rows)
}

async fn within<T>(patience: Duration, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    tokio::time::timeout(patience, work).await.unwrap_or_else(|_| Err(silence()))
}
