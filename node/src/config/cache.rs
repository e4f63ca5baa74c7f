//! Section `cache`: what a redirect is served from.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::database::{masked, not_a_url};
use super::error::Invalid;
use super::text;
use super::value::{BadValue, Span};

/// A longer life in the process would outlast the record of changes that keeps it honest.
const MAX_L1_TTL: Duration = Duration::from_mins(1);

/// Section `cache`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CacheConfig {
    /// The shared cache.
    #[serde(with = "text::optional")]
    pub redis_url: Option<RedisUrl>,
    /// Links kept in this process.
    pub l1_entries: usize,
    /// Longest life of such an entry.
    #[serde(with = "text::one")]
    pub l1_ttl: Span,
}

/// A `redis://` or `rediss://` URL, or one of Sentinels: `redis+sentinel://h1:26379,h2:26379/service`. `Debug` and
/// `Display` mask the passwords.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    text: String,
    shown: String,
}

impl CacheConfig {
    pub(super) fn validate(&self, invalid: &mut Vec<Invalid>) {
        if self.l1_entries == 0 {
            invalid.push(Invalid::new("cache.l1_entries", "must be at least 1"));
        }
        if self.l1_ttl.get() > MAX_L1_TTL || self.l1_ttl.get().is_zero() {
            invalid.push(Invalid::new("cache.l1_ttl", format!("{} is not between 1ms and 60s", self.l1_ttl)));
        }
    }
}

impl RedisUrl {
    /// The URL with its password (percent-encoded), to connect with.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl FromStr for RedisUrl {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let malformed = || not_a_url("redis://user:password@host:6379/0");
        let (scheme, rest) = text.split_once("://").ok_or_else(malformed)?;
        let hosts = match scheme {
            "redis" | "rediss" => None,
            "redis+sentinel" | "rediss+sentinel" => {
                let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
                Some(authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts))
            }
            _ => {
                let schemes = "redis://, rediss://, redis+sentinel:// or rediss+sentinel://";
                return Err(BadValue::new(format!("scheme {scheme:?} is not {schemes}")));
            }
        };
        // A URL has one host: it is read with the first, and shown with all.
        let first = hosts.and_then(|hosts| hosts.split(',').next());
        let single = match (hosts, first) {
            (Some(hosts), Some(first)) => text.replacen(hosts, first, 1),
            _ => text.to_owned(),
        };
        let url = Url::parse(&single).ok().filter(Url::has_host).ok_or_else(malformed)?;
        let shown = masked(&url);
        let shown = match (hosts, first) {
            (Some(hosts), Some(first)) => shown.replacen(first, hosts, 1),
            _ => shown,
        };
        let text = if hosts.is_some() { text.to_owned() } else { url.into() };
        Ok(Self { text, shown })
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
