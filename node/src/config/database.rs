//! Section `database`: Postgres servers.

use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use url::Url;

use super::error::Invalid;
use super::secret::MASK;
use super::text;
use super::value::BadValue;

/// Section `database`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseConfig {
    /// Servers of which any may be the primary, one URL each.
    #[serde(deserialize_with = "servers", serialize_with = "text::list::serialize")]
    pub primary_urls: Vec<DatabaseUrl>,
    /// Read replicas, one URL each.
    #[serde(deserialize_with = "servers", serialize_with = "text::list::serialize")]
    pub replica_urls: Vec<DatabaseUrl>,
    /// Most connections to each server.
    pub pool_size: u32,
}

/// The URL of one Postgres server. `Debug` and `Display` mask the password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(Url);

impl DatabaseConfig {
    pub(super) fn validate(&self, invalid: &mut Vec<Invalid>) {
        if self.pool_size == 0 {
            invalid.push(Invalid::new("database.pool_size", "must be at least 1"));
        }
    }
}

impl DatabaseUrl {
    /// The URL with its password (percent-encoded), to connect with.
    pub fn expose(&self) -> &str {
        self.0.as_str()
    }

    /// One URL for each host of a libpq URL, which may name several: `postgres://u:p@h1:5432,h2/db`.
    fn parse_hosts(text: &str) -> Result<Vec<Self>, BadValue> {
        let (scheme, rest) = text.split_once("://").ok_or_else(malformed)?;
        if !matches!(scheme, "postgres" | "postgresql") {
            return Err(BadValue::new(format!("scheme {scheme:?} is not postgres:// or postgresql://")));
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(user, hosts)| (user, hosts));
        let at = if user.is_empty() { "" } else { "@" };
        let parse = |host| Url::parse(&format!("{scheme}://{user}{at}{host}{path}")).map(Self).map_err(|_| malformed());
        hosts.split(',').map(parse).collect()
    }
}

fn malformed() -> BadValue {
    not_a_url("postgres://user:password@host:5432/name")
}

/// A message that doesn't repeat the URL, for its password stands in it.
pub(super) fn not_a_url(example: &str) -> BadValue {
    BadValue::new(format!(
        "is not a URL such as {example} (in a password write @ : / ? # % as %40 %3A %2F %3F %23 %25)"
    ))
}

fn servers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<DatabaseUrl>, D::Error> {
    let mut servers = Vec::new();
    for text in text::list::texts(deserializer)? {
        servers.extend(DatabaseUrl::parse_hosts(&text).map_err(D::Error::custom)?);
    }
    Ok(servers)
}

/// The URL with its passwords replaced, in the authority and in the query (`?password=`, `?sslpassword=`).
pub(super) fn masked(url: &Url) -> String {
    let mut url = url.clone();
    if url.password().is_some() {
        // Only a URL without a host refuses a password, and then it has none to mask.
        let _ = url.set_password(Some(MASK));
    }
    if let Some(query) = url.query() {
        let mask = |pair: &str| match pair.split_once('=') {
            Some((name, _)) if name.to_ascii_lowercase().contains("pass") => format!("{name}={MASK}"),
            _ => pair.to_owned(),
        };
        let query = query.split('&').map(mask).collect::<Vec<_>>().join("&");
        url.set_query(Some(&query));
    }
    url.into()
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&masked(&self.0))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
