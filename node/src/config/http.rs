//! Section `http`: the public listener.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::Invalid;
use super::text;
use super::value::{BadValue, ByteSize, ListenAddress, Network, RateLimit, Span, WebUrl};

/// hyper refuses a smaller buffer.
const MIN_HEADER_SIZE: u64 = 8 << 10;

/// Caches remember for a minute what was changed, so that a slow reader can't bring an older version back.
const MAX_REQUEST_TIMEOUT: Duration = Duration::from_secs(50);

/// Section `http`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// Where to listen.
    #[serde(with = "text::one")]
    pub listen: ListenAddress,
    /// What short links begin with, if set; see [`HttpConfig::public_url_at`].
    #[serde(with = "text::optional")]
    pub public_url: Option<WebUrl>,
    /// Networks whose forwarding headers are believed.
    #[serde(with = "text::list")]
    pub trusted_proxies: Vec<Network>,
    /// Status of a redirect.
    pub redirect_status: RedirectStatus,
    /// Between "not ready" and closing the listener.
    #[serde(with = "text::one")]
    pub drain_delay: Span,
    /// The largest request body.
    #[serde(with = "text::one")]
    pub max_body_size: ByteSize,
    /// The largest request line and headers together.
    #[serde(with = "text::one")]
    pub max_header_size: ByteSize,
    /// Open connections.
    pub max_connections: usize,
    /// Longest time to answer one request.
    #[serde(with = "text::one")]
    pub request_timeout: Span,
    /// Longest time a client may take to send its headers.
    #[serde(with = "text::one")]
    pub header_timeout: Span,
    /// From the signal to giving up on what still runs.
    #[serde(with = "text::one")]
    pub shutdown_deadline: Span,
    /// How much one client may do.
    pub limits: LimitsConfig,
}

/// Section `http.limits`: what one client may do, each if it is limited.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    /// Links created with one API key.
    #[serde(with = "text::optional")]
    pub create: Option<RateLimit>,
    /// Links created without a key from one address.
    #[serde(with = "text::optional")]
    pub anonymous: Option<RateLimit>,
    /// Unknown codes and unknown API keys from one address.
    #[serde(with = "text::optional")]
    pub guess: Option<RateLimit>,
    /// Links followed from one address.
    #[serde(with = "text::optional")]
    pub follow: Option<RateLimit>,
}

/// 301, 302, 307 or 308.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct RedirectStatus(u16);

impl HttpConfig {
    /// What short links begin with, without a trailing slash, given where the listener really is (port 0 is resolved).
    pub fn public_url_at(&self, bound: SocketAddr) -> WebUrl {
        self.public_url.clone().unwrap_or_else(|| WebUrl::of_listener(bound))
    }

    pub(super) fn validate(&self, invalid: &mut Vec<Invalid>) {
        let positive = [
            ("http.request_timeout", self.request_timeout.get().is_zero()),
            ("http.header_timeout", self.header_timeout.get().is_zero()),
            ("http.max_body_size", self.max_body_size.bytes() == 0),
            ("http.max_connections", self.max_connections == 0),
        ];
        invalid.extend(positive.iter().filter(|(_, zero)| *zero).map(|(key, _)| Invalid::new(key, "must not be zero")));
        if self.max_header_size.bytes() < MIN_HEADER_SIZE {
            invalid.push(Invalid::new("http.max_header_size", "must be at least 8KiB"));
        }
        if self.request_timeout.get() > MAX_REQUEST_TIMEOUT {
            invalid.push(Invalid::new("http.request_timeout", "must be at most 50s"));
        }
        if self.shutdown_deadline <= self.drain_delay {
            let message = format!("must be longer than `http.drain_delay` ({})", self.drain_delay);
            invalid.push(Invalid::new("http.shutdown_deadline", message));
        }
    }
}

impl RedirectStatus {
    /// The status code.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<i64> for RedirectStatus {
    type Error = BadValue;

    fn try_from(status: i64) -> Result<Self, BadValue> {
        match status {
            301 => Ok(Self(301)),
            302 => Ok(Self(302)),
            307 => Ok(Self(307)),
            308 => Ok(Self(308)),
            other => Err(BadValue::new(format!("{other} is not one of 301, 302, 307 and 308"))),
        }
    }
}

impl From<RedirectStatus> for i64 {
    fn from(status: RedirectStatus) -> Self {
        Self::from(status.0)
    }
}
