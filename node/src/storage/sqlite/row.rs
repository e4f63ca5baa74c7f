//! Rows, as SQLite gives them, and the links they stand for.

use sqlx::FromRow;
use stint_idgen::Key;

use crate::domain::access::OwnerId;
use crate::domain::alias::Alias;
use crate::domain::label::{Tags, Title};
use crate::domain::link::{Link, LinkContent, VisitLimit};
use crate::domain::target_url::TargetUrl;
use crate::domain::timestamp::UnixMs;
use crate::ports::link_store::StoreError;

/// One row of `links`.
#[derive(Debug, FromRow)]
pub(super) struct LinkRow {
    pub(super) key: i64,
    owner_id: i64,
    version: i64,
    created_at: i64,
    url: Option<String>,
    expires_at: Option<i64>,
    max_visits: Option<i64>,
    visits: Option<i64>,
    alias: Option<String>,
    title: Option<String>,
    tags: Option<String>,
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
                tags: row.tags.as_deref().map_or(Ok(Tags::default()), read_tags)?,
            }),
        };
        Ok(Self {
            key: key(row.key)?,
            alias: row.alias.map(Alias::from_stored),
            owner: OwnerId(row.owner_id),
            version: row.version,
            created_at: moment(row.created_at)?,
            content,
        })
    }
}

/// A stored key.
pub(super) fn key(key: i64) -> Result<Key, StoreError> {
    Key::new(key).ok_or(StoreError::Corrupt { what: "links.key" })
}

/// A stored moment.
pub(super) fn moment(ms: i64) -> Result<UnixMs, StoreError> {
    UnixMs::new(ms).map_err(|_| StoreError::Corrupt { what: "a moment in Unix milliseconds" })
}

fn read_tags(json: &str) -> Result<Tags, StoreError> {
    let texts: Vec<String> = serde_json::from_str(json).map_err(|_| StoreError::Corrupt { what: "links.tags" })?;
    Ok(Tags::from_stored(texts))
}

/// Tags as they are stored: NULL for none.
pub(super) fn write_tags(tags: &Tags) -> Option<String> {
    (!tags.is_empty()).then(|| tags.iter().collect::<serde_json::Value>().to_string())
}
