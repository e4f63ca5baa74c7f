//! What stands in Redis, as bytes: a stamp, a body and a checksum. Whatever doesn't read back whole is a miss.
//!
//! `format(1) kind(1) timeline(4) version(8) seq(8) body checksum(4)`, big-endian; the body is postcard. The scripts of
//! `scripts` read timeline, version and seq at these places. The checksum covers the name too, so that a value found under
//! another name is no value.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use stint_idgen::Key;

use crate::domain::access::OwnerId;
use crate::domain::alias::Alias;
use crate::domain::label::{Tags, Title};
use crate::domain::link::{Link, LinkContent, VisitLimit};
use crate::domain::target_url::TargetUrl;
use crate::domain::timestamp::UnixMs;
use crate::ports::change_feed::FeedPosition;

/// The first byte. A newer format gets another one: values of both may stand in one Redis while nodes are replaced.
pub(super) const FORMAT: u8 = 1;
const FLOOR: u8 = 0;
const LINK: u8 = 1;
const KEY: u8 = 2;
const HEADER: usize = 22;
const CHECKSUM: usize = 4;

/// What is known of a value without reading its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The version of the link; 0 where there is none.
    pub(super) version: i64,
    /// How far changes were followed before it was read from the store.
    pub(super) as_of: FeedPosition,
}

/// What a value says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Only that older versions are stale.
    Floor,
    /// A link.
    Link(Box<Link>),
    /// What an alias, or an owner's target, leads to.
    Key(Key),
}

#[derive(Serialize, Deserialize)]
struct LinkBody<'a> {
    #[serde(borrow)]
    alias: Option<&'a str>,
    owner: i64,
    created_at: i64,
    #[serde(borrow)]
    content: Option<ContentBody<'a>>,
}

#[derive(Serialize, Deserialize)]
struct ContentBody<'a> {
    url: &'a str,
    expires_at: Option<i64>,
    limit: Option<(i64, i64)>,
    title: Option<&'a str>,
    #[serde(borrow)]
    tags: Vec<&'a str>,
}

/// A link, to be kept under `name`.
pub(super) fn of_link(name: &[u8], link: &Link, as_of: FeedPosition) -> Vec<u8> {
    let content = link.content.as_ref().map(|content| ContentBody {
        url: content.url.as_str(),
        expires_at: content.expires_at.map(UnixMs::get),
        limit: content.limit.map(|limit| (limit.max, limit.visits)),
        title: content.title.as_ref().map(Title::as_str),
        tags: content.tags.iter().collect(),
    });
    let alias = link.alias.as_ref().map(Alias::as_str);
    let body = LinkBody { alias, owner: link.owner.0, created_at: link.created_at.get(), content };
    let start = header(LINK, Stamp { version: link.version, as_of });
    sealed(name, postcard::to_extend(&body, start).expect("a link in memory always has a postcard form"))
}

/// A key, to be kept under `name`.
pub(super) fn of_key(name: &[u8], key: Key, as_of: FeedPosition) -> Vec<u8> {
    let mut bytes = header(KEY, Stamp { version: 0, as_of });
    bytes.extend(key.get().to_be_bytes());
    sealed(name, bytes)
}

/// That versions below `version` are stale, to be kept under `name`.
pub(super) fn of_floor(name: &[u8], timeline: u32, version: i64) -> Vec<u8> {
    sealed(name, header(FLOOR, Stamp { version, as_of: FeedPosition { timeline, seq: 0 } }))
}

/// What was kept under `name`; `key` is the link's, where it is one. `None` if it can't be read.
pub(super) fn read(name: &[u8], key: Option<Key>, bytes: &[u8]) -> Option<(Stamp, Value)> {
    let (content, checksum) = bytes.split_last_chunk::<CHECKSUM>()?;
    let (start, body) = content.split_at_checked(HEADER)?;
    if start[0] != FORMAT || *checksum != checksum_of(name, content) {
        return None;
    }
    let timeline = u32::from_be_bytes(start[2..6].try_into().ok()?);
    let version = i64::from_be_bytes(start[6..14].try_into().ok()?);
    let seq = i64::from_be_bytes(start[14..22].try_into().ok()?);
    let stamp = Stamp { version, as_of: FeedPosition { timeline, seq } };
    let value = match start[1] {
        FLOOR => Value::Floor,
        LINK => Value::Link(Box::new(read_link(key?, version, body)?)),
        KEY => Value::Key(Key::new(i64::from_be_bytes(body.try_into().ok()?))?),
        _ => return None,
    };
    Some((stamp, value))
}

fn read_link(key: Key, version: i64, body: &[u8]) -> Option<Link> {
    let body: LinkBody<'_> = postcard::from_bytes(body).ok()?;
    let content = match body.content {
        None => None,
        Some(content) => Some(LinkContent {
            url: TargetUrl::from_stored(content.url.to_owned()),
            expires_at: content.expires_at.map(UnixMs::new).transpose().ok()?,
            limit: content.limit.map(|(max, visits)| VisitLimit { max, visits }),
            title: content.title.map(|title| Title::from_stored(title.to_owned())),
            tags: Tags::from_stored(content.tags.into_iter().map(str::to_owned).collect()),
        }),
    };
    Some(Link {
        key,
        alias: body.alias.map(|alias| Alias::from_stored(alias.to_owned())),
        owner: OwnerId(body.owner),
        version,
        created_at: UnixMs::new(body.created_at).ok()?,
        content,
    })
}

fn header(kind: u8, stamp: Stamp) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(160);
    bytes.extend([FORMAT, kind]);
    bytes.extend(stamp.as_of.timeline.to_be_bytes());
    bytes.extend(stamp.version.to_be_bytes());
    bytes.extend(stamp.as_of.seq.to_be_bytes());
    bytes
}

fn sealed(name: &[u8], mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = checksum_of(name, &bytes);
    bytes.extend(checksum);
    bytes
}

fn checksum_of(name: &[u8], content: &[u8]) -> [u8; CHECKSUM] {
    let digest = Sha256::new().chain_update(name).chain_update(content).finalize();
    let mut short = [0; CHECKSUM];
    short.copy_from_slice(&digest[..CHECKSUM]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: FeedPosition = FeedPosition { timeline: 3, seq: 77 };

    fn full() -> Link {
        Link {
            key: Key::new(-5).unwrap(),
            alias: Some("our-summer-sale".parse().unwrap()),
            owner: OwnerId(9),
            version: 4,
            created_at: UnixMs::new(12).unwrap(),
            content: Some(LinkContent {
                url: "https://example.com/été?a=1#b".parse().unwrap(),
                expires_at: Some(UnixMs::MAX),
                limit: Some(VisitLimit { max: 5, visits: 2 }),
                title: Some("Summer 🏖️".parse().unwrap()),
                tags: Tags::parse(&["b", "a"]).unwrap(),
            }),
        }
    }

    #[test]
    fn what_was_written_reads_back_the_same() {
        for link in [full(), Link { content: None, alias: None, ..full() }] {
            let bytes = of_link(b"n", &link, AT);
            let stamp = Stamp { version: 4, as_of: AT };
            assert_eq!(read(b"n", Some(link.key), &bytes), Some((stamp, Value::Link(Box::new(link)))));
        }
        let key = Key::new(8).unwrap();
        assert_eq!(read(b"n", None, &of_key(b"n", key, AT)).unwrap().1, Value::Key(key));
        let (stamp, floor) = read(b"n", None, &of_floor(b"n", 3, 9)).unwrap();
        assert_eq!((stamp.version, stamp.as_of.timeline, floor), (9, 3, Value::Floor));
    }

    #[test]
    fn a_value_that_was_cut_changed_or_moved_is_none() {
        let link = full();
        let bytes = of_link(b"n", &link, AT);
        for end in 0..bytes.len() {
            assert_eq!(read(b"n", Some(link.key), &bytes[..end]), None, "cut at {end}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(read(b"n", Some(link.key), &changed), None, "changed at {at}");
        }
        assert_eq!(read(b"m", Some(link.key), &bytes), None);
        let mut newer = bytes;
        newer.truncate(newer.len() - CHECKSUM);
        newer[0] = FORMAT + 1;
        assert_eq!(read(b"n", Some(link.key), &sealed(b"n", newer)), None, "of another format");
    }
}
