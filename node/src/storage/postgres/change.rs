//! Changing and deleting links: the new version, what hangs on it, and its record in `changes`, in one transaction.

use sqlx::PgConnection;
use stint_idgen::Key;

use super::row::{self, LinkRow, find, owner_id, place};
use super::{PgStore, failed};
use crate::domain::label::{Tags, Title};
use crate::domain::link::{Link, LinkContent};
use crate::domain::timestamp::UnixMs;
use crate::ports::link_store::StoreError;

const WRITE: &str = "
    WITH changed AS (INSERT INTO changes (key, version) VALUES ($1, $2))
    UPDATE links SET version = $2, url = $3, expires_at = $4, max_visits = $5, visits = $6, title = $7,
                     tags = string_to_array($8, ',')
    WHERE key = $1";

impl PgStore {
    /// Gives a live link what `edit` makes of its content; `None` leaves a tombstone.
    ///
    /// If the connection breaks the change may have been made. Its caller is told that this isn't known, and may repeat it.
    pub(super) async fn change(
        &self,
        key: Key,
        operation: &'static str,
        edit: impl FnOnce(&LinkContent) -> Option<LinkContent>,
    ) -> Result<Option<Link>, StoreError> {
        let (primary, mut transaction) = self.begin(operation).await?;
        let work = async {
            let Some(before) = lock(&mut transaction, key).await? else { return Ok(None) };
            let content = before.content.as_ref().and_then(edit);
            let after = Link { version: before.version + 1, content, ..before.clone() };
            write(&mut transaction, &before, &after).await?;
            transaction.commit().await?;
            Ok(Some(after))
        };
        self.once(&primary, work).await.map_err(failed(operation))
    }
}

/// The link, which nobody else changes until the transaction ends; if it is live.
async fn lock(connection: &mut PgConnection, key: Key) -> Result<Option<Link>, sqlx::Error> {
    let find = find!("FROM links WHERE key = $1 AND url IS NOT NULL FOR UPDATE");
    let row: Option<LinkRow> = sqlx::query_as(find).bind(key.get()).fetch_optional(connection).await?;
    row.map(row::link).transpose()
}

/// Writes the new version of a link, with everything that hangs on it.
async fn write(connection: &mut PgConnection, before: &Link, after: &Link) -> Result<(), sqlx::Error> {
    let content = after.content.as_ref();
    let limit = content.and_then(|content| content.limit);
    // A 2^31st change of one link is refused rather than wrapped.
    let version = i32::try_from(after.version).map_err(|_| StoreError::Corrupt { what: "a version past 2^31" });
    sqlx::query(WRITE)
        .bind(after.key.get())
        .bind(version.map_err(row::decode)?)
        .bind(content.map(|content| content.url.as_str()))
        .bind(content.and_then(|content| content.expires_at).map(UnixMs::get))
        .bind(limit.map(|limit| limit.max))
        .bind(limit.map(|limit| limit.visits))
        .bind(content.and_then(|content| content.title.as_ref()).map(Title::as_str))
        .bind(content.and_then(|content| row::write_tags(&content.tags)))
        .execute(&mut *connection)
        .await?;
    if !after.keeps_target_of(before) {
        forget_target(connection, before).await?;
    }
    rewrite_tags(connection, before, content.map(|content| &content.tags)).await
}

/// Takes a link out of reuse.
async fn forget_target(connection: &mut PgConnection, link: &Link) -> Result<(), sqlx::Error> {
    let Some(content) = &link.content else { return Ok(()) };
    sqlx::query("DELETE FROM targets WHERE hash = $1 AND key = $2")
        .bind(place(link.owner, content.url.hash()))
        .bind(link.key.get())
        .execute(connection)
        .await
        .map(drop)
}

async fn rewrite_tags(connection: &mut PgConnection, before: &Link, tags: Option<&Tags>) -> Result<(), sqlx::Error> {
    let old = before.content.as_ref().map(|content| &content.tags);
    if old == tags {
        return Ok(());
    }
    let statements = [
        ("DELETE FROM link_tags WHERE owner_id = $1 AND created_at = $2 AND key = $3 AND tag = ANY($4)", old),
        ("INSERT INTO link_tags (owner_id, created_at, key, tag) SELECT $1, $2, $3, unnest($4::text[])", tags),
    ];
    for (statement, tags) in statements {
        let tags: Vec<&str> = tags.into_iter().flat_map(Tags::iter).collect();
        if !tags.is_empty() {
            sqlx::query(statement)
                .bind(owner_id(before.owner))
                .bind(before.created_at.get())
                .bind(before.key.get())
                .bind(tags)
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}
