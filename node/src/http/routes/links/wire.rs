//! Links on the wire, and their way into validated values.

use serde::{Deserialize, Serialize};
use stint_idgen::Key;
use utoipa::{IntoParams, ToSchema};

use crate::domain::access::{Caller, OwnerId, Scope};
use crate::domain::label::{Tags, Title};
use crate::domain::link::Link;
use crate::domain::target_url::TargetUrl;
use crate::domain::timestamp::UnixMs;
use crate::http::error::{Problem, ProblemKind};
use crate::http::extract::given;
use crate::http::state::Api;
use crate::ports::link_store::{Idempotency, LinkChange, ListPosition};
use crate::service::create::CreateRequest;
use crate::service::links::ListPage;

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;
/// 2^53 - 1: the largest whole number that every JSON reader keeps exact.
const MAX_VISITS: u64 = (1 << 53) - 1;

/// A request for a link.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct CreateLinkRequest {
    /// Where the link should lead: http, https or ftp, at most 8,192 bytes. Kept as given.
    #[schema(example = "https://example.com/a/long/address?with=parameters")]
    url: String,
    /// How the link should be called: 1 to 64 of `A-Za-z0-9_-`. Drawn unless given.
    #[schema(example = "summer1")]
    alias: Option<String>,
    /// When the link should end, RFC 3339 with a time zone.
    #[schema(format = DateTime, example = "2030-01-31T12:00:00Z")]
    expires_at: Option<String>,
    /// How often the link may be followed, from 1.
    #[schema(minimum = 1)]
    max_visits: Option<u64>,
    /// A title, at most 300 characters.
    title: Option<String>,
    /// Tags, at most 20 of at most 64 characters each.
    tags: Option<Vec<String>>,
    /// Whether an existing link of the same URL will do. True unless given, for requests with nothing but a URL.
    reuse: Option<bool>,
}

/// A change to a link. Fields left out stay as they are.
#[expect(clippy::option_option, reason = "left out, null and a value are three things to say")]
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct UpdateLinkRequest {
    /// A new target.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, nullable = false)]
    url: Option<Option<String>>,
    /// A new end; null for none.
    #[serde(default, deserialize_with = "given")]
    #[schema(format = DateTime)]
    expires_at: Option<Option<String>>,
    /// A new limit of visits; null for none. Visits so far stay counted while there is a limit.
    #[serde(default, deserialize_with = "given")]
    #[schema(minimum = 1)]
    max_visits: Option<Option<u64>>,
    /// A new title; null for none.
    #[serde(default, deserialize_with = "given")]
    title: Option<Option<String>>,
    /// New tags, instead of all old ones; null for none.
    #[serde(default, deserialize_with = "given")]
    tags: Option<Option<Vec<String>>>,
}

/// A link.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct LinkResponse {
    /// Its code, or the alias it was given.
    #[schema(example = "4nBv2Kq")]
    pub(in crate::http) code: String,
    /// What to share.
    #[schema(example = "http://127.0.0.1:8080/4nBv2Kq")]
    pub(in crate::http) short_url: String,
    /// Where it leads, byte for byte as given.
    url: String,
    /// When it was created, RFC 3339.
    #[schema(format = DateTime)]
    created_at: String,
    /// When it ends, RFC 3339.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// How often it may be followed.
    max_visits: Option<i64>,
    /// How often it was followed, for links with a limit.
    visits: Option<i64>,
    /// Its title.
    title: Option<String>,
    /// Its tags, sorted.
    tags: Vec<String>,
    /// The number of its owner; 0 is everybody without a key.
    owner_id: i64,
    /// 1, and one more with each change.
    version: i64,
}

/// A page of links.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ListLinksResponse {
    /// The links, newest first.
    links: Vec<LinkResponse>,
    /// The `cursor` of the next page; null at the end.
    next_cursor: Option<String>,
}

/// Which links to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct ListLinksParams {
    /// Only links whose URL, title or code holds this text, whatever its case.
    pub(super) q: Option<String>,
    /// Only links with this tag.
    pub(super) tag: Option<String>,
    /// Whose links: an owner's number, or `all`. For keys with the scope `admin`; one's own unless given.
    owner: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// At most so many links, 1 to 1,000; 100 unless given.
    limit: Option<usize>,
}

impl CreateLinkRequest {
    /// The request's meaning as bytes: equal for requests that ask for the same.
    pub(super) fn canonical(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings, numbers and lists are always valid JSON")
    }

    pub(super) fn validate(self, owner: OwnerId, idempotency: Option<Idempotency>) -> Result<CreateRequest, Problem> {
        Ok(CreateRequest {
            owner,
            url: self.url.parse()?,
            alias: self.alias.map(|alias| alias.parse()).transpose()?,
            expires_at: self.expires_at.as_deref().map(expiry).transpose()?,
            max_visits: self.max_visits.map(visits).transpose()?,
            title: self.title.as_deref().map(title).transpose()?,
            tags: tags(self.tags)?,
            reuse: self.reuse,
            idempotency,
        })
    }
}

impl UpdateLinkRequest {
    pub(super) fn validate(self) -> Result<LinkChange, Problem> {
        Ok(LinkChange {
            url: self.url.map(target).transpose()?,
            expires_at: self.expires_at.map(|given| given.as_deref().map(expiry).transpose()).transpose()?,
            max_visits: self.max_visits.map(|given| given.map(visits).transpose()).transpose()?,
            title: self.title.map(|given| given.as_deref().map(title).transpose()).transpose()?,
            tags: self.tags.map(tags).transpose()?,
        })
    }
}

fn target(given: Option<String>) -> Result<TargetUrl, Problem> {
    let missing =
        || Problem::field(ProblemKind::InvalidField, "url", "a link always has a URL; give a new one, or leave it out");
    Ok(given.ok_or_else(missing)?.parse()?)
}

fn expiry(text: &str) -> Result<UnixMs, Problem> {
    text.parse().map_err(|error| Problem::field(ProblemKind::InvalidField, "expires_at", format!("{error}")))
}

fn visits(number: u64) -> Result<i64, Problem> {
    let fit = (1..=MAX_VISITS).contains(&number).then_some(number);
    fit.and_then(|number| i64::try_from(number).ok()).ok_or_else(|| {
        Problem::field(ProblemKind::InvalidField, "max_visits", format!("use a number from 1 to {MAX_VISITS}"))
    })
}

fn title(text: &str) -> Result<Title, Problem> {
    text.parse().map_err(|error| Problem::field(ProblemKind::InvalidField, "title", format!("{error}")))
}

fn tags(texts: Option<Vec<String>>) -> Result<Tags, Problem> {
    Tags::parse(&texts.unwrap_or_default())
        .map_err(|error| Problem::field(ProblemKind::InvalidField, "tags", error.to_string()))
}

impl LinkResponse {
    /// The link as it is shown; a deleted one has nothing left to show but its code.
    pub(super) fn new(api: &Api, link: &Link) -> Self {
        let code = api.code(link);
        let content = link.content.as_ref();
        let limit = content.and_then(|content| content.limit);
        Self {
            short_url: api.short_url(&code),
            code,
            url: content.map_or_else(String::new, |content| content.url.as_str().to_owned()),
            created_at: link.created_at.to_string(),
            expires_at: content.and_then(|content| content.expires_at).map(|moment| moment.to_string()),
            max_visits: limit.map(|limit| limit.max),
            visits: limit.map(|limit| limit.visits),
            title: content.and_then(|content| content.title.as_ref()).map(ToString::to_string),
            tags: content.map_or_else(Vec::new, |content| content.tags.iter().map(str::to_owned).collect()),
            owner_id: link.owner.0,
            version: link.version,
        }
    }
}

impl ListLinksResponse {
    pub(super) fn new(api: &Api, page: &ListPage) -> Self {
        Self {
            links: page.links.iter().map(|link| LinkResponse::new(api, link)).collect(),
            next_cursor: page.next.map(write_cursor),
        }
    }
}

impl ListLinksParams {
    /// Whose links to list, as far as the caller may see them.
    pub(super) fn owner(&self, caller: Caller) -> Result<Option<OwnerId>, Problem> {
        let Some(wanted) = &self.owner else { return Ok(Some(caller.owner)) };
        if !caller.scopes.allow(Scope::Admin) {
            return Err(Problem::new(ProblemKind::Forbidden, "only a key with the scope `admin` may name an owner"));
        }
        if wanted == "all" {
            return Ok(None);
        }
        let number = wanted
            .parse()
            .map_err(|_| Problem::new(ProblemKind::InvalidQuery, "`owner` must be an owner's number, or `all`"))?;
        Ok(Some(OwnerId(number)))
    }

    pub(super) fn after(&self) -> Result<Option<ListPosition>, Problem> {
        self.cursor
            .as_deref()
            .map(|cursor| {
                read_cursor(cursor).ok_or_else(|| {
                    Problem::new(ProblemKind::InvalidQuery, "`cursor` must be the `next_cursor` of an earlier answer")
                })
            })
            .transpose()
    }

    pub(super) fn limit(&self) -> Result<usize, Problem> {
        match self.limit {
            None => Ok(DEFAULT_LIMIT),
            Some(limit) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
            Some(_) => Err(Problem::new(ProblemKind::InvalidQuery, format!("use a `limit` of 1 to {MAX_LIMIT}"))),
        }
    }
}

/// A position as 32 hex digits: the moment and the key.
fn write_cursor(position: ListPosition) -> String {
    format!("{:016x}{:016x}", position.created_at.get(), position.key.get())
}

fn read_cursor(cursor: &str) -> Option<ListPosition> {
    let (moment, key) = cursor.split_at_checked(16).filter(|_| cursor.len() == 32)?;
    let bits = |hex: &str| u64::from_str_radix(hex, 16).ok().map(u64::cast_signed);
    Some(ListPosition { created_at: UnixMs::new(bits(moment)?).ok()?, key: Key::new(bits(key)?)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_and_anything_else_is_refused() {
        let position = ListPosition { created_at: UnixMs::MAX, key: Key::new(-5).unwrap() };
        assert_eq!(read_cursor(&write_cursor(position)), Some(position));
        for cursor in ["", "x", &"0".repeat(31), &"g".repeat(32), &"0".repeat(33), &"é".repeat(16), &"0".repeat(32)] {
            assert_eq!(read_cursor(cursor), None, "{cursor}");
        }
    }

    #[test]
    fn null_and_left_out_are_told_apart_in_a_change() {
        let change: UpdateLinkRequest = serde_json::from_str(r#"{"title":null,"max_visits":3}"#).unwrap();
        let change = change.validate().unwrap();
        assert_eq!((change.title, change.max_visits, change.expires_at), (Some(None), Some(Some(3)), None));
    }
}
