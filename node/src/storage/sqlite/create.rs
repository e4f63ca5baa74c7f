//! Creating links, many in one transaction.
//!
//! The transaction holds SQLite's write lock, so what it reads first stays true until it commits: every conflict is
//! resolved in memory, in the order of the batch, and nothing is inserted that could fail. Whatever its size, a batch
//! costs at most four reads and four inserts; sets of rows travel as one JSON parameter each.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use sqlx::{Sqlite, SqliteConnection, Transaction};
use stint_idgen::Key;

use super::row::{LinkRow, write_tags};
use super::{SqliteStore, begin, failed};
use crate::domain::access::OwnerId;
use crate::domain::alias::Alias;
use crate::domain::label::Title;
use crate::domain::link::{Link, LinkContent, VisitLimit};
use crate::domain::target_url::UrlHash;
use crate::domain::timestamp::UnixMs;
use crate::ports::link_store::{CreateOutcome, NewLink, StoreError};

type Transact<'a> = Transaction<'a, Sqlite>;

/// What the database holds that the batch could meet; grows as the batch is resolved.
#[derive(Default)]
struct Known {
    links: HashMap<Key, Link>,
    keys: HashSet<Key>,
    aliases: HashSet<String>,
    targets: HashMap<(OwnerId, UrlHash), Key>,
    requests: HashMap<(OwnerId, String), Request>,
}

/// A request that was answered before.
struct Request {
    hash: Vec<u8>,
    key: Key,
    created: bool,
}

/// The rows to be inserted.
#[derive(Default)]
struct Inserts {
    links: Vec<Value>,
    targets: Vec<Value>,
    aliases: Vec<Value>,
    tags: Vec<Value>,
    requests: Vec<Value>,
}

impl SqliteStore {
    pub(super) async fn create_batch(&self, links: Vec<NewLink>) -> Result<Vec<CreateOutcome>, StoreError> {
        let mut writer = self.writer().await?;
        let mut transaction = begin!(writer, "begin creating links");
        let mut known = Known::read(&mut transaction, &links).await?;
        let mut inserts = Inserts::default();
        let outcomes = links.into_iter().map(|link| known.resolve(link, &mut inserts)).collect();
        inserts.run(&mut transaction).await?;
        transaction.commit().await.map_err(failed("commit new links"))?;
        writer.done();
        Ok(outcomes)
    }
}

impl Known {
    async fn read(transaction: &mut Transact<'_>, batch: &[NewLink]) -> Result<Self, StoreError> {
        let mut known = Self::default();
        known.read_requests(transaction, batch).await?;
        known.read_targets(transaction, batch).await?;
        known.read_names(transaction, batch).await?;
        let wanted: Value = (known.requests.values().map(|request| request.key))
            .chain(known.targets.values().copied())
            .map(Key::get)
            .collect();
        if wanted != json!([]) {
            for row in rows::<LinkRow>(
                transaction,
                "SELECT * FROM links WHERE key IN (SELECT value FROM json_each(?))",
                wanted,
                "read links to reuse",
            )
            .await?
            {
                let link = Link::try_from(row)?;
                known.links.insert(link.key, link);
            }
        }
        Ok(known)
    }

    async fn read_requests(&mut self, transaction: &mut Transact<'_>, batch: &[NewLink]) -> Result<(), StoreError> {
        let wanted: Value = batch
            .iter()
            .filter_map(|link| link.idempotency.as_ref().map(|request| json!([link.owner.0, request.key])))
            .collect();
        let found = rows::<(i64, String, Vec<u8>, i64, bool)>(
            transaction,
            "SELECT owner_id, idempotency_key, request_hash, link_key, created FROM idempotency
             WHERE (owner_id, idempotency_key) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))",
            wanted,
            "read idempotency keys",
        )
        .await?;
        for (owner, key, hash, link_key, created) in found {
            self.requests.insert((OwnerId(owner), key), Request { hash, key: super::row::key(link_key)?, created });
        }
        Ok(())
    }

    async fn read_targets(&mut self, transaction: &mut Transact<'_>, batch: &[NewLink]) -> Result<(), StoreError> {
        let wanted: Value =
            batch.iter().filter(|link| link.reuse).map(|link| json!([link.owner.0, hex(&link.url.hash().0)])).collect();
        let found = rows::<(i64, Vec<u8>, i64)>(
            transaction,
            "SELECT owner_id, url_hash, key FROM targets
             WHERE (owner_id, url_hash) IN (SELECT value ->> 0, unhex(value ->> 1) FROM json_each(?))",
            wanted,
            "read targets",
        )
        .await?;
        for (owner, hash, key) in found {
            let hash = hash.try_into().map_err(|_| StoreError::Corrupt { what: "targets.url_hash" })?;
            self.targets.insert((OwnerId(owner), UrlHash(hash)), super::row::key(key)?);
        }
        Ok(())
    }

    async fn read_names(&mut self, transaction: &mut Transact<'_>, batch: &[NewLink]) -> Result<(), StoreError> {
        let keys: Value = batch.iter().map(|link| link.key.get()).collect();
        let taken = rows::<(i64,)>(
            transaction,
            "SELECT key FROM links WHERE key IN (SELECT value FROM json_each(?))",
            keys,
            "look for taken keys",
        )
        .await?;
        for (key,) in taken {
            self.keys.insert(super::row::key(key)?);
        }
        let aliases: Value = batch.iter().filter_map(|link| link.alias.as_ref()).map(Alias::as_str).collect();
        let taken = rows::<(String,)>(
            transaction,
            "SELECT alias FROM aliases WHERE alias IN (SELECT value FROM json_each(?))",
            aliases,
            "look for taken aliases",
        )
        .await?;
        self.aliases.extend(taken.into_iter().map(|(alias,)| alias));
        Ok(())
    }

    /// What becomes of one link, given everything before it; what must be written for it goes into `inserts`.
    fn resolve(&mut self, new: NewLink, inserts: &mut Inserts) -> CreateOutcome {
        if let Some(outcome) = self.replay(&new) {
            return outcome;
        }
        let place = (new.owner, new.url.hash());
        if new.reuse
            && let Some(link) = self.targets.get(&place).and_then(|key| self.links.get(key))
            && link.content.as_ref().is_some_and(|content| content.url == new.url)
        {
            let link = link.clone();
            self.note_request(&new, link.key, false, inserts);
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
        // Another URL with the same 128 bits of hash keeps its place: such a link is simply never reused.
        if new.reuse && !self.targets.contains_key(&place) {
            self.targets.insert(place, new.key);
            inserts.targets.push(json!([place.0.0, hex(&place.1.0), new.key.get()]));
        }
        inserts.link(&new);
        self.note_request(&new, new.key, true, inserts);
        let link = created(new);
        self.links.insert(link.key, link.clone());
        CreateOutcome::Created(link)
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

    fn note_request(&mut self, new: &NewLink, key: Key, created: bool, inserts: &mut Inserts) {
        let Some(request) = &new.idempotency else { return };
        inserts.requests.push(json!([
            new.owner.0,
            request.key,
            hex(&request.request_hash),
            key.get(),
            i64::from(created),
            new.created_at.get()
        ]));
        let hash = request.request_hash.to_vec();
        self.requests.insert((new.owner, request.key.clone()), Request { hash, key, created });
    }
}

impl Inserts {
    fn link(&mut self, new: &NewLink) {
        self.links.push(json!([
            new.key.get(),
            new.owner.0,
            new.created_at.get(),
            new.url.as_str(),
            new.expires_at.map(UnixMs::get),
            new.max_visits,
            new.max_visits.map(|_| 0),
            new.alias.as_ref().map(Alias::as_str),
            new.title.as_ref().map(Title::as_str),
            write_tags(&new.tags),
        ]));
        if let Some(alias) = &new.alias {
            self.aliases.push(json!([alias.as_str(), new.key.get()]));
        }
        for tag in new.tags.iter() {
            self.tags.push(json!([new.owner.0, tag, new.created_at.get(), new.key.get()]));
        }
    }

    async fn run(self, transaction: &mut Transact<'_>) -> Result<(), StoreError> {
        let statements = [
            (
                "INSERT INTO targets (owner_id, url_hash, key)
                 SELECT value ->> 0, unhex(value ->> 1), value ->> 2 FROM json_each(?)",
                self.targets,
            ),
            (
                "INSERT INTO links (key, owner_id, version, created_at, url, expires_at, max_visits, visits, alias, title, tags)
                 SELECT value ->> 0, value ->> 1, 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
                        value ->> 7, value ->> 8, value ->> 9 FROM json_each(?)",
                self.links,
            ),
            ("INSERT INTO aliases (alias, key) SELECT value ->> 0, value ->> 1 FROM json_each(?)", self.aliases),
            (
                "INSERT INTO link_tags (owner_id, tag, created_at, key)
                 SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?)",
                self.tags,
            ),
            (
                "INSERT INTO idempotency (owner_id, idempotency_key, request_hash, link_key, created, created_at)
                 SELECT value ->> 0, value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4, value ->> 5 FROM json_each(?)",
                self.requests,
            ),
        ];
        for (statement, rows) in statements {
            if !rows.is_empty() {
                sqlx::query(statement)
                    .bind(Value::from(rows).to_string())
                    .execute(&mut **transaction)
                    .await
                    .map_err(failed("insert new links"))?;
            }
        }
        Ok(())
    }
}

fn created(new: NewLink) -> Link {
    Link {
        key: new.key,
        alias: new.alias,
        owner: new.owner,
        version: 1,
        created_at: new.created_at,
        content: Some(LinkContent {
            url: new.url,
            expires_at: new.expires_at,
            limit: new.max_visits.map(|max| VisitLimit { max, visits: 0 }),
            title: new.title,
            tags: new.tags,
        }),
    }
}

/// The rows of a query whose one parameter is a JSON array; none for an empty array, without asking.
async fn rows<R>(
    connection: &mut SqliteConnection,
    query: &'static str,
    wanted: Value,
    operation: &'static str,
) -> Result<Vec<R>, StoreError>
where
    R: for<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow> + Send + Unpin,
{
    if wanted == json!([]) {
        return Ok(Vec::new());
    }
    sqlx::query_as(query).bind(wanted.to_string()).fetch_all(connection).await.map_err(failed(operation))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string can't fail");
        text
    })
}
