//! Creating links that conflict, or may have been created already: everything that they could meet is read, and what
//! becomes of each is decided in memory, in order.
//!
//! What was read stays true: the transaction sees one snapshot (REPEATABLE READ), and an insert that meets what came after
//! it fails with 40001 or 23505, upon which everything is read again.

use std::collections::{HashMap, HashSet};

use sqlx::PgConnection;
use sqlx::postgres::PgPool;
use stint_idgen::Key;

use super::created;
use super::insert::{self, Row};
use crate::domain::access::OwnerId;
use crate::domain::alias::Alias;
use crate::domain::link::Link;
use crate::ports::link_store::{CreateOutcome, Idempotency, NewLink, StoreError};
use crate::storage::postgres::row::{self, LinkRow, decode, find, owner_id, place};

/// What the database holds that the entries could meet; grows as they are resolved.
#[derive(Default)]
struct Known<'a> {
    links: HashMap<Key, Link>,
    nonces: HashMap<Key, Option<i32>>,
    /// Links that may be an entry's own, from an attempt whose outcome isn't known.
    doubtful: HashSet<Key>,
    keys: HashSet<Key>,
    aliases: HashSet<String>,
    targets: HashMap<i64, Key>,
    requests: HashMap<(OwnerId, String), Request>,
    inserts: Inserts<'a>,
}

/// A request that was answered before.
struct Request {
    hash: Vec<u8>,
    key: Key,
    created: bool,
}

/// What is to be written.
#[derive(Default)]
struct Inserts<'a> {
    links: Vec<Row<'a>>,
    /// Requests that reuse a link; those that create one go with it.
    reuses: Vec<(&'a NewLink, &'a Idempotency, Key)>,
}

/// Answers one outcome for each entry. If they are `in_doubt`, an entry's own link is known by what nobody else has: its
/// key (a generated one is issued once), or the nonce of a link whose name was asked for.
pub(super) async fn create(
    pool: &PgPool,
    entries: &[&NewLink],
    in_doubt: bool,
) -> Result<Vec<CreateOutcome>, sqlx::Error> {
    let mut transaction = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
    let mut known = Known::read(&mut transaction, entries).await?;
    if in_doubt {
        known.doubtful = known.links.keys().copied().collect();
    }
    let outcomes = entries.iter().map(|new| known.resolve(new)).collect();
    known.inserts.run(&mut transaction).await?;
    transaction.commit().await?;
    Ok(outcomes)
}

impl<'a> Known<'a> {
    async fn read(connection: &mut PgConnection, entries: &[&NewLink]) -> Result<Self, sqlx::Error> {
        let mut known = Self::default();
        known.read_requests(connection, entries).await?;
        known.read_targets(connection, entries).await?;
        known.read_aliases(connection, entries).await?;
        let drawn: HashSet<Key> = entries.iter().map(|new| new.key).collect();
        let met = known.requests.values().map(|request| request.key).chain(known.targets.values().copied());
        let wanted: Vec<i64> = drawn.iter().copied().chain(met).map(Key::get).collect();
        let rows: Vec<LinkRow> =
            sqlx::query_as(find!("FROM links WHERE key = ANY($1)")).bind(wanted).fetch_all(connection).await?;
        for row in rows {
            let nonce = row.nonce;
            let link = row::link(row)?;
            known.nonces.insert(link.key, nonce);
            known.keys.extend(drawn.get(&link.key));
            known.links.insert(link.key, link);
        }
        Ok(known)
    }

    async fn read_requests(&mut self, connection: &mut PgConnection, entries: &[&NewLink]) -> Result<(), sqlx::Error> {
        let wanted =
            entries.iter().filter_map(|new| Some((owner_id(new.owner), new.idempotency.as_ref()?.key.as_str())));
        let (owners, keys): (Vec<i32>, Vec<&str>) = wanted.unzip();
        if owners.is_empty() {
            return Ok(());
        }
        let query = sqlx::query_as(
            "SELECT owner_id, idempotency_key, request_hash, link_key, created
             FROM unnest($1::integer[], $2::text[]) AS wanted (owner_id, idempotency_key)
             JOIN idempotency USING (owner_id, idempotency_key)",
        );
        let found: Vec<(i32, String, Vec<u8>, i64, bool)> = query.bind(owners).bind(keys).fetch_all(connection).await?;
        for (owner, key, hash, link_key, created) in found {
            let request = Request { hash, key: row::key(link_key).map_err(decode)?, created };
            self.requests.insert((row::owner(owner), key), request);
        }
        Ok(())
    }

    async fn read_targets(&mut self, connection: &mut PgConnection, entries: &[&NewLink]) -> Result<(), sqlx::Error> {
        let wanted: Vec<i64> =
            entries.iter().filter(|new| new.reuse).map(|new| place(new.owner, new.url.hash())).collect();
        if !wanted.is_empty() {
            let query = sqlx::query_as("SELECT hash, key FROM targets WHERE hash = ANY($1)");
            let found: Vec<(i64, i64)> = query.bind(wanted).fetch_all(connection).await?;
            for (hash, key) in found {
                self.targets.insert(hash, row::key(key).map_err(decode)?);
            }
        }
        Ok(())
    }

    async fn read_aliases(&mut self, connection: &mut PgConnection, entries: &[&NewLink]) -> Result<(), sqlx::Error> {
        let wanted: Vec<&str> = entries.iter().filter_map(|new| new.alias.as_ref()).map(Alias::as_str).collect();
        if !wanted.is_empty() {
            let query = sqlx::query_scalar("SELECT alias FROM aliases WHERE alias = ANY($1)");
            let found: Vec<String> = query.bind(wanted).fetch_all(connection).await?;
            self.aliases.extend(found);
        }
        Ok(())
    }

    /// What becomes of one entry, given everything before it.
    fn resolve(&mut self, new: &'a NewLink) -> CreateOutcome {
        if let Some(link) = self.own(new) {
            return CreateOutcome::Created(link);
        }
        if let Some(outcome) = self.replay(new) {
            return outcome;
        }
        let place = place(new.owner, new.url.hash());
        if new.reuse
            && let Some(link) = self.targets.get(&place).and_then(|key| self.links.get(key))
            && link.owner == new.owner
            && link.content.as_ref().is_some_and(|content| content.url == new.url)
        {
            let link = link.clone();
            self.note_request(new, link.key, false);
            return CreateOutcome::Reused(link);
        }
        if new.alias.as_ref().is_some_and(|alias| !self.aliases.insert(alias.as_str().to_owned())) {
            return CreateOutcome::AliasTaken;
        }
        if !self.keys.insert(new.key) {
            if let Some(alias) = &new.alias {
                self.aliases.remove(alias.as_str());
            }
            return CreateOutcome::KeyTaken;
        }
        // What else has the same hash keeps its place: such a link is simply never reused.
        let claims_target = new.reuse && !self.targets.contains_key(&place);
        if claims_target {
            self.targets.insert(place, new.key);
        }
        self.inserts.links.push(Row { new, claims_target });
        self.note_request(new, new.key, true);
        let link = created(new);
        self.links.insert(link.key, link.clone());
        CreateOutcome::Created(link)
    }

    /// The entry's own link, if an earlier attempt made it; once, since two entries may want one key.
    fn own(&mut self, new: &NewLink) -> Option<Link> {
        let link = self.links.get(&new.key)?;
        let is_own = self.doubtful.contains(&new.key)
            && link.owner == new.owner
            && link.created_at == new.created_at
            && self.nonces.get(&new.key) == Some(&new.nonce);
        (is_own && self.doubtful.remove(&new.key)).then(|| link.clone())
    }

    fn replay(&self, new: &NewLink) -> Option<CreateOutcome> {
        let idempotency = new.idempotency.as_ref()?;
        let request = self.requests.get(&(new.owner, idempotency.key.clone()))?;
        if request.hash != idempotency.request_hash {
            return Some(CreateOutcome::IdempotencyMismatch);
        }
        let link = self.links.get(&request.key)?.clone();
        Some(CreateOutcome::Replayed { link, created: request.created })
    }

    fn note_request(&mut self, new: &'a NewLink, key: Key, created: bool) {
        let Some(request) = &new.idempotency else { return };
        if !created {
            self.inserts.reuses.push((new, request, key));
        }
        let noted = Request { hash: request.request_hash.to_vec(), key, created };
        self.requests.insert((new.owner, request.key.clone()), noted);
    }
}

impl Inserts<'_> {
    async fn run(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let wanted = self.links.len();
        if wanted > 0 && insert::run(&mut *connection, self.links).await?.len() != wanted {
            // Not in this snapshot's world: what is in the way would have been seen, or be an error.
            return Err(decode(StoreError::Corrupt { what: "a free key that is taken" }));
        }
        if self.reuses.is_empty() {
            return Ok(());
        }
        let each = || self.reuses.iter();
        sqlx::query(
            "INSERT INTO idempotency (link_key, created_at, owner_id, created, idempotency_key, request_hash)
             SELECT link_key, created_at, owner_id, false, idempotency_key, request_hash
             FROM unnest($1::bigint[], $2::bigint[], $3::integer[], $4::text[], $5::bytea[])
                  AS input (link_key, created_at, owner_id, idempotency_key, request_hash)
             ORDER BY owner_id, idempotency_key",
        )
        .bind(each().map(|(_, _, key)| key.get()).collect::<Vec<i64>>())
        .bind(each().map(|(new, ..)| new.created_at.get()).collect::<Vec<i64>>())
        .bind(each().map(|(new, ..)| owner_id(new.owner)).collect::<Vec<i32>>())
        .bind(each().map(|(_, request, _)| request.key.as_str()).collect::<Vec<&str>>())
        .bind(each().map(|(_, request, _)| request.request_hash).collect::<Vec<[u8; 32]>>())
        .execute(connection)
        .await?;
        Ok(())
    }
}
