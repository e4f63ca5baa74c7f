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

/// A `redis://` or `rediss://` URL. `Debug` and `Display` mask the password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl(Url);

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
        self.0.as_str()
    }
}

impl FromStr for RedisUrl {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let malformed = || not_a_url("redis://user:password@host:6379/0");
        let (scheme, _) = text.split_once("://").ok_or_else(malformed)?;
        if !matches!(scheme, "redis" | "rediss") {
            return Err(BadValue::new(format!("scheme {scheme:?} is not redis:// or rediss://")));
        }
        Url::parse(text).ok().filter(Url::has_host).map(Self).ok_or_else(malformed)
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&masked(&self.0))
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
