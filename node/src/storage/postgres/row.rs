//! Rows, as Postgres gives them, and the links they stand for.

use sqlx::FromRow;
use stint_idgen::Key;

use crate::domain::access::OwnerId;
use crate::domain::alias::Alias;
use crate::domain::label::{Tags, Title};
use crate::domain::link::{Link, LinkContent, VisitLimit};
use crate::domain::target_url::{TargetUrl, UrlHash};
use crate::domain::timestamp::UnixMs;
use crate::ports::link_store::StoreError;

/// A query for rows of `links`: `find!("FROM links WHERE …")`. The columns are named, since a statement that asked for
/// `*` would fail once a newer migration has added one.
macro_rules! find {
    ($rest:literal) => {
        concat!(
            "SELECT links.key, links.created_at, links.owner_id, links.url, links.version, links.expires_at, \
             links.max_visits, links.visits, links.nonce, links.alias, links.title, links.tags ",
            $rest
        )
    };
}
pub(super) use find;

/// One row of `links`.
#[derive(Debug, FromRow)]
pub(super) struct LinkRow {
    key: i64,
    created_at: i64,
    owner_id: i32,
    url: Option<String>,
    version: Option<i32>,
    expires_at: Option<i64>,
    max_visits: Option<i64>,
    visits: Option<i64>,
    pub(super) nonce: Option<i32>,
    alias: Option<String>,
    title: Option<String>,
    tags: Option<Vec<String>>,
}

impl TryFrom<LinkRow> for Link {
    type Error = StoreError;

    fn try_from(row: LinkRow) -> Result<Self, StoreError> {
        let content = match row.url {
            None => None,
            Some(url) => Some(LinkContent {
                url: TargetUrl::from_stored(url),
                expires_at: row.expires_at.map(moment).transpose()?,
                limit: row.max_visits.map(|max| VisitLimit { max, visits: row.visits.unwrap_or(0) }),
                title: row.title.map(Title::from_stored),
                tags: row.tags.map_or_else(Tags::default, Tags::from_stored),
            }),
        };
        Ok(Self {
            key: key(row.key)?,
            alias: row.alias.map(Alias::from_stored),
            owner: owner(row.owner_id),
            version: row.version.map_or(1, i64::from),
            created_at: moment(row.created_at)?,
            content,
        })
    }
}

/// A row as a link, in the midst of talking to the driver.
pub(super) fn link(row: LinkRow) -> Result<Link, sqlx::Error> {
    Link::try_from(row).map_err(decode)
}

/// The store's own finding as an error of the driver; `failed` turns it back.
pub(super) fn decode(error: StoreError) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

/// A stored key.
pub(super) fn key(key: i64) -> Result<Key, StoreError> {
    Key::new(key).ok_or(StoreError::Corrupt { what: "links.key" })
}

/// A stored moment.
pub(super) fn moment(ms: i64) -> Result<UnixMs, StoreError> {
    UnixMs::new(ms).map_err(|_| StoreError::Corrupt { what: "a moment in Unix milliseconds" })
}

/// A stored owner.
pub(super) fn owner(id: i32) -> OwnerId {
    OwnerId(i64::from(id))
}

/// An owner as it is stored. The database numbers owners, and none above 2^31; what is larger is nobody.
pub(super) fn owner_id(owner: OwnerId) -> i32 {
    i32::try_from(owner.0).unwrap_or(-1)
}

/// Where `targets` keeps an owner's link of a URL: 64 bits of the URL's hash, turned for each owner. No two owners meet at
/// one URL. What else meets is told apart by comparing owner and URL, and the later one isn't reused.
pub(super) fn place(owner: OwnerId, hash: UrlHash) -> i64 {
    let UrlHash([half @ .., _, _, _, _, _, _, _, _]) = hash;
    i64::from_be_bytes(half) ^ owner.0.wrapping_mul(ODD)
}

/// Multiplying by an odd number loses nothing; this one, 2^64 by the golden ratio, spreads small numbers over all bits.
const ODD: i64 = 0x9E37_79B9_7F4A_7C15_u64.cast_signed();

/// Tags as one parameter: NULL for none. No tag holds a comma.
pub(super) fn write_tags(tags: &Tags) -> Option<String> {
    (!tags.is_empty()).then(|| tags.iter().collect::<Vec<_>>().join(","))
}
