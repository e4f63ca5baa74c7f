//! Finding, listing, changing and deleting links, and counting their visits.

use async_trait::async_trait;
use sqlx::{Sqlite, Transaction};
use stint_idgen::Key;

use super::row::{LinkRow, write_tags};
use super::{SqliteStore, begin, failed};
use crate::domain::access::OwnerId;
use crate::domain::alias::Alias;
use crate::domain::label::{Tags, Title};
use crate::domain::link::Link;
use crate::domain::target_url::{TargetUrl, UrlHash};
use crate::domain::timestamp::UnixMs;
use crate::ports::link_store::{
    CreateOutcome, Idempotency, LinkChange, LinkStore, ListQuery, NewLink, Replay, StoreError, VisitOutcome,
};

/// Idempotency keys forgotten in one transaction: a few milliseconds in which nobody else writes.
const FORGOTTEN_AT_ONCE: i64 = 1000;

#[async_trait]
impl LinkStore for SqliteStore {
    async fn create(&self, links: Vec<NewLink>) -> Result<Vec<CreateOutcome>, StoreError> {
        self.create_batch(links).await
    }

    async fn find(&self, key: Key) -> Result<Option<Link>, StoreError> {
        let row: Option<LinkRow> = sqlx::query_as("SELECT * FROM links WHERE key = ?")
            .bind(key.get())
            .fetch_optional(&self.readers)
            .await
            .map_err(failed("find a link"))?;
        row.map(Link::try_from).transpose()
    }

    async fn find_replay(&self, owner: OwnerId, request: &Idempotency) -> Result<Option<Replay>, StoreError> {
        let row: Option<(Vec<u8>, bool, i64)> = sqlx::query_as(
            "SELECT request_hash, created, link_key FROM idempotency WHERE owner_id = ? AND idempotency_key = ?",
        )
        .bind(owner.0)
        .bind(&request.key)
        .fetch_optional(&self.readers)
        .await
        .map_err(failed("find an idempotency key"))?;
        let Some((hash, created, key)) = row else { return Ok(None) };
        if hash != request.request_hash {
            return Ok(Some(Replay::Mismatch));
        }
        let link = self.find(super::row::key(key)?).await?;
        Ok(link.map(|link| Replay::Same { link, created }))
    }

    async fn find_alias(&self, alias: &Alias) -> Result<Option<Key>, StoreError> {
        let row: Option<(i64,)> = sqlx::query_as("SELECT key FROM aliases WHERE alias = ?")
            .bind(alias.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(failed("find an alias"))?;
        row.map(|(key,)| super::row::key(key)).transpose()
    }

    async fn find_reusable(&self, owner: OwnerId, hash: UrlHash, url: &TargetUrl) -> Result<Option<Link>, StoreError> {
        let row: Option<LinkRow> = sqlx::query_as(
            "SELECT links.* FROM targets JOIN links USING (key)
             WHERE targets.owner_id = ? AND targets.url_hash = ? AND links.url = ?",
        )
        .bind(owner.0)
        .bind(hash.0.as_slice())
        .bind(url.as_str())
        .fetch_optional(&self.readers)
        .await
        .map_err(failed("find a link to reuse"))?;
        row.map(Link::try_from).transpose()
    }

    async fn list(&self, query: ListQuery) -> Result<Vec<Link>, StoreError> {
        let (created_at, key) =
            query.after.map_or((UnixMs::MAX.get(), i64::MAX), |after| (after.created_at.get(), after.key.get()));
        let statement = match (query.owner, &query.tag) {
            (Some(_), Some(_)) => {
                "SELECT links.* FROM link_tags AS tagged JOIN links USING (key)
                 WHERE tagged.owner_id = ?1 AND tagged.tag = ?5 AND (tagged.created_at, tagged.key) < (?2, ?3)
                 ORDER BY tagged.created_at DESC, tagged.key DESC LIMIT ?4"
            }
            (Some(_), None) => {
                "SELECT * FROM links
                 WHERE owner_id = ?1 AND url IS NOT NULL AND (created_at, key) < (?2, ?3)
                 ORDER BY created_at DESC, key DESC LIMIT ?4"
            }
            (None, _) => "SELECT * FROM links WHERE url IS NOT NULL AND key < ?3 ORDER BY key DESC LIMIT ?4",
        };
        let rows: Vec<LinkRow> = sqlx::query_as(statement)
            .bind(query.owner.map(|owner| owner.0))
            .bind(created_at)
            .bind(key)
            .bind(i64::try_from(query.limit).unwrap_or(i64::MAX))
            .bind(query.tag)
            .fetch_all(&self.readers)
            .await
            .map_err(failed("list links"))?;
        rows.into_iter().map(Link::try_from).collect()
    }

    async fn update(&self, key: Key, change: LinkChange) -> Result<Option<Link>, StoreError> {
        let mut writer = self.writer().await?;
        let mut transaction = begin!(writer, "begin changing a link");
        let Some(before) = live_link(&mut transaction, key).await? else {
            transaction.rollback().await.map_err(failed("end a change that isn't one"))?;
            writer.done();
            return Ok(None);
        };
        let mut after = before.clone();
        after.version += 1;
        if let Some(content) = &mut after.content {
            change.apply(content);
        }
        write_change(&mut transaction, &before, &after).await?;
        transaction.commit().await.map_err(failed("commit a changed link"))?;
        writer.done();
        Ok(Some(after))
    }

    async fn delete(&self, key: Key) -> Result<Option<Link>, StoreError> {
        let mut writer = self.writer().await?;
        let mut transaction = begin!(writer, "begin deleting a link");
        let Some(before) = live_link(&mut transaction, key).await? else {
            transaction.rollback().await.map_err(failed("end a change that isn't one"))?;
            writer.done();
            return Ok(None);
        };
        let after = Link { version: before.version + 1, content: None, ..before.clone() };
        write_change(&mut transaction, &before, &after).await?;
        transaction.commit().await.map_err(failed("commit a deleted link"))?;
        writer.done();
        Ok(Some(after))
    }

    async fn count_visits(&self, keys: Vec<Key>) -> Result<Vec<VisitOutcome>, StoreError> {
        let mut writer = self.writer().await?;
        let mut transaction = begin!(writer, "begin counting visits");
        let mut outcomes = Vec::with_capacity(keys.len());
        for key in keys {
            outcomes.push(count_visit(&mut transaction, key).await?);
        }
        transaction.commit().await.map_err(failed("commit visits"))?;
        writer.done();
        Ok(outcomes)
    }

    async fn forget_idempotency_before(&self, moment: UnixMs) -> Result<u64, StoreError> {
        let mut writer = self.writer().await?;
        let delete = "DELETE FROM idempotency WHERE (owner_id, idempotency_key) IN
                      (SELECT owner_id, idempotency_key FROM idempotency WHERE created_at < ? LIMIT ?)";
        let done = sqlx::query(delete)
            .bind(moment.get())
            .bind(FORGOTTEN_AT_ONCE)
            .execute(&mut *writer)
            .await
            .map_err(failed("forget idempotency keys"))?;
        writer.done();
        Ok(done.rows_affected())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.check_writing().await?;
        sqlx::query("SELECT 1").execute(&self.readers).await.map_err(failed("ask for a sign of life"))?;
        Ok(())
    }
}

async fn live_link(transaction: &mut Transaction<'_, Sqlite>, key: Key) -> Result<Option<Link>, StoreError> {
    let row: Option<LinkRow> = sqlx::query_as("SELECT * FROM links WHERE key = ? AND url IS NOT NULL")
        .bind(key.get())
        .fetch_optional(&mut **transaction)
        .await
        .map_err(failed("read a link to change"))?;
    row.map(Link::try_from).transpose()
}

async fn count_visit(transaction: &mut Transaction<'_, Sqlite>, key: Key) -> Result<VisitOutcome, StoreError> {
    let counted = sqlx::query("UPDATE links SET visits = visits + 1 WHERE key = ? AND visits < max_visits")
        .bind(key.get())
        .execute(&mut **transaction)
        .await
        .map_err(failed("count a visit"))?;
    if counted.rows_affected() == 1 {
        return Ok(VisitOutcome::Counted);
    }
    let link = live_link(transaction, key).await?;
    let limited = link.and_then(|link| link.content).is_some_and(|content| content.limit.is_some());
    Ok(if limited { VisitOutcome::UsedUp } else { VisitOutcome::NotLimited })
}

/// Writes the new version of a link, with everything that hangs on it.
async fn write_change(
    transaction: &mut Transaction<'_, Sqlite>,
    before: &Link,
    after: &Link,
) -> Result<(), StoreError> {
    let content = after.content.as_ref();
    let limit = content.and_then(|content| content.limit);
    sqlx::query(
        "UPDATE links SET version = ?2, url = ?3, expires_at = ?4, max_visits = ?5, visits = ?6, title = ?7, tags = ?8
         WHERE key = ?1",
    )
    .bind(after.key.get())
    .bind(after.version)
    .bind(content.map(|content| content.url.as_str()))
    .bind(content.and_then(|content| content.expires_at).map(UnixMs::get))
    .bind(limit.map(|limit| limit.max))
    .bind(limit.map(|limit| limit.visits))
    .bind(content.and_then(|content| content.title.as_ref()).map(Title::as_str))
    .bind(content.and_then(|content| write_tags(&content.tags)))
    .execute(&mut **transaction)
    .await
    .map_err(failed("write a changed link"))?;
    if !after.keeps_target_of(before) {
        forget_target(transaction, before).await?;
    }
    rewrite_tags(transaction, before, content.map(|content| &content.tags)).await
}

/// Takes a link out of reuse.
async fn forget_target(transaction: &mut Transaction<'_, Sqlite>, link: &Link) -> Result<(), StoreError> {
    let Some(content) = &link.content else { return Ok(()) };
    sqlx::query("DELETE FROM targets WHERE owner_id = ? AND url_hash = ? AND key = ?")
        .bind(link.owner.0)
        .bind(content.url.hash().0.as_slice())
        .bind(link.key.get())
        .execute(&mut **transaction)
        .await
        .map_err(failed("take a link out of reuse"))?;
    Ok(())
}

async fn rewrite_tags(
    transaction: &mut Transaction<'_, Sqlite>,
    before: &Link,
    tags: Option<&Tags>,
) -> Result<(), StoreError> {
    let old = before.content.as_ref().map(|content| &content.tags);
    if old == tags {
        return Ok(());
    }
    let statements = [
        ("DELETE FROM link_tags WHERE owner_id = ? AND tag = ? AND created_at = ? AND key = ?", old),
        ("INSERT INTO link_tags (owner_id, tag, created_at, key) VALUES (?, ?, ?, ?)", tags),
    ];
    for (statement, tags) in statements {
        for tag in tags.into_iter().flat_map(Tags::iter) {
            sqlx::query(statement)
                .bind(before.owner.0)
                .bind(tag)
                .bind(before.created_at.get())
                .bind(before.key.get())
                .execute(&mut **transaction)
                .await
                .map_err(failed("replace a link's tags"))?;
        }
    }
    Ok(())
}
