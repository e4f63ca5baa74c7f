//! The one statement that inserts links with all that hangs on them, where nothing is in their way.
//!
//! A row takes its target first, then its alias, and becomes a link only if it got both. A row that got one but whose
//! key is taken would leave a name that leads nowhere: then the statement divides by zero and nothing of it is kept.
//! Each table is written in the order of its unique key, and the tables one after the other, so that two batches never
//! wait for each other.

use std::collections::HashSet;

use sqlx::PgConnection;
use stint_idgen::Key;

use crate::domain::alias::Alias;
use crate::domain::label::Title;
use crate::domain::timestamp::UnixMs;
use crate::ports::link_store::NewLink;
use crate::storage::postgres::connection::code;
use crate::storage::postgres::row::{decode, key, owner_id, place, write_tags};

/// Links with nothing but a target, as most are. `count(*) >= 0` makes the tables wait for each other; a test of `IN`
/// that isn't by itself stays a hash look-up, whatever number of rows the planner expects.
const PLAIN: &str = "
    WITH input AS MATERIALIZED (
        SELECT key, created_at, owner_id, url, hash
        FROM unnest($1::bigint[], $2::bigint[], $3::integer[], $4::text[], $5::bigint[])
             AS input (key, created_at, owner_id, url, hash)
    ), claimed AS (
        INSERT INTO targets (hash, key)
        SELECT hash, key FROM input WHERE hash IS NOT NULL ORDER BY hash
        ON CONFLICT DO NOTHING RETURNING key
    ), made AS (
        INSERT INTO links (key, created_at, owner_id, url)
        SELECT key, created_at, owner_id, url FROM input
        WHERE (SELECT count(*) FROM claimed) >= 0 AND (hash IS NULL OR key IN (SELECT key FROM claimed))
        ORDER BY key
        ON CONFLICT DO NOTHING RETURNING key
    )
    SELECT key FROM made
    WHERE 1 / ((SELECT count(*) FROM claimed WHERE (key IN (SELECT key FROM made)) IS FALSE) = 0)::integer = 1";

/// Links with everything. Requests come last: one that is there already, though nobody saw it, is an error (23505).
const WHOLE: &str = "
    WITH input AS MATERIALIZED (
        SELECT key, created_at, owner_id, url, hash, expires_at, max_visits, nonce, alias,
               title, string_to_array(tags, ',') AS tags, request, request_hash
        FROM unnest($1::bigint[], $2::bigint[], $3::integer[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[],
                    $8::integer[], $9::text[], $10::text[], $11::text[], $12::text[], $13::bytea[])
             AS input (key, created_at, owner_id, url, hash, expires_at, max_visits, nonce, alias, title, tags, request,
                       request_hash)
    ), claimed AS (
        INSERT INTO targets (hash, key)
        SELECT hash, key FROM input WHERE hash IS NOT NULL ORDER BY hash
        ON CONFLICT DO NOTHING RETURNING key
    ), named AS (
        INSERT INTO aliases (key, alias)
        SELECT key, alias FROM input
        WHERE (SELECT count(*) FROM claimed) >= 0 AND alias IS NOT NULL
          AND (hash IS NULL OR key IN (SELECT key FROM claimed))
        ORDER BY alias
        ON CONFLICT DO NOTHING RETURNING key
    ), made AS (
        INSERT INTO links (key, created_at, owner_id, url, expires_at, max_visits, visits, nonce, alias, title, tags)
        SELECT key, created_at, owner_id, url, expires_at, max_visits, CASE WHEN max_visits IS NOT NULL THEN 0 END, nonce,
               alias, title, tags
        FROM input
        WHERE (SELECT count(*) FROM named) >= 0
          AND (hash IS NULL OR key IN (SELECT key FROM claimed))
          AND (alias IS NULL OR key IN (SELECT key FROM named))
        ORDER BY key
        ON CONFLICT DO NOTHING RETURNING key
    ), tagged AS (
        INSERT INTO link_tags (created_at, key, owner_id, tag)
        SELECT created_at, key, owner_id, tag FROM input, unnest(tags) AS tag
        WHERE (key IN (SELECT key FROM made)) IS TRUE
    ), requested AS (
        INSERT INTO idempotency (link_key, created_at, owner_id, created, idempotency_key, request_hash)
        SELECT key, created_at, owner_id, true, request, request_hash FROM input
        WHERE request IS NOT NULL AND (key IN (SELECT key FROM made)) IS TRUE
        ORDER BY owner_id, request
    ), changed AS (
        INSERT INTO changes (key, version)
        SELECT key, 1 FROM input
        WHERE (alias IS NOT NULL OR nonce IS NOT NULL) AND (key IN (SELECT key FROM made)) IS TRUE
        ORDER BY key
    )
    SELECT key FROM made
    WHERE 1 / ((SELECT count(*) FROM claimed WHERE (key IN (SELECT key FROM made)) IS FALSE)
             + (SELECT count(*) FROM named WHERE (key IN (SELECT key FROM made)) IS FALSE) = 0)::integer = 1";

/// A link to be inserted.
pub(super) struct Row<'a> {
    pub(super) new: &'a NewLink,
    /// Whether it becomes the owner's link of its target.
    pub(super) claims_target: bool,
}

impl<'a> Row<'a> {
    /// The row of a link that gets what it wants.
    pub(super) fn of(new: &'a NewLink) -> Self {
        Self { new, claims_target: new.reuse }
    }

    fn is_plain(&self) -> bool {
        let NewLink { alias, nonce, expires_at, max_visits, title, tags, idempotency, .. } = self.new;
        let unnamed = alias.is_none() && nonce.is_none() && idempotency.is_none();
        unnamed && expires_at.is_none() && max_visits.is_none() && title.is_none() && tags.is_empty()
    }
}

/// Inserts what meets no conflict; answers the keys of the links that were made.
pub(super) async fn run(connection: &mut PgConnection, mut rows: Vec<Row<'_>>) -> Result<HashSet<Key>, sqlx::Error> {
    rows.sort_unstable_by_key(|row| row.new.key);
    let plain = rows.iter().all(Row::is_plain);
    let each = || rows.iter().map(|row| row.new);
    let hashes = rows.iter().map(|row| row.claims_target.then(|| place(row.new.owner, row.new.url.hash())));
    let mut query = sqlx::query_scalar(if plain { PLAIN } else { WHOLE })
        .bind(each().map(|new| new.key.get()).collect::<Vec<i64>>())
        .bind(each().map(|new| new.created_at.get()).collect::<Vec<i64>>())
        .bind(each().map(|new| owner_id(new.owner)).collect::<Vec<i32>>())
        .bind(each().map(|new| new.url.as_str()).collect::<Vec<&str>>())
        .bind(hashes.collect::<Vec<Option<i64>>>());
    if !plain {
        let request = |new: &'_ NewLink| new.idempotency.as_ref().map(|request| request.request_hash);
        query = query
            .bind(each().map(|new| new.expires_at.map(UnixMs::get)).collect::<Vec<Option<i64>>>())
            .bind(each().map(|new| new.max_visits).collect::<Vec<Option<i64>>>())
            .bind(each().map(|new| new.nonce).collect::<Vec<Option<i32>>>())
            .bind(each().map(|new| new.alias.as_ref().map(Alias::as_str)).collect::<Vec<Option<&str>>>())
            .bind(each().map(|new| new.title.as_ref().map(Title::as_str)).collect::<Vec<Option<&str>>>())
            .bind(each().map(|new| write_tags(&new.tags)).collect::<Vec<Option<String>>>())
            .bind(each().map(|new| new.idempotency.as_ref().map(|it| it.key.as_str())).collect::<Vec<Option<&str>>>())
            .bind(each().map(request).collect::<Vec<Option<[u8; 32]>>>());
    }
    let made: Vec<i64> = query.fetch_all(connection).await?;
    made.into_iter().map(|made| key(made).map_err(decode)).collect()
}

/// Whether a statement was undone since something was in the way that it can't step aside for.
pub(super) fn is_conflict(error: &sqlx::Error) -> bool {
    // 22012: it divided by zero. 23505: a unique key.
    ["22012", "23505"].map(Some).contains(&code(error))
}
