//! Values with a unit or a shape, parsed from text: durations, sizes, addresses, networks, URLs.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use jiff::SignedDuration;
use url::Url;

const UNITS: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// So that one of an allowance takes a microsecond at least to come back.
const MOST_ALLOWED: u32 = 1_000_000;
const SHORTEST_PERIOD: Duration = Duration::from_secs(1);
const LONGEST_PERIOD: Duration = Duration::from_hours(24);

/// Why a text is not a value of its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadValue(String);

/// A length of time, such as `250ms` or `10m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

/// A number of bytes, such as `256KiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

/// How much may be done in which time, such as `60/1m`. The time is 1 s to 1 day, the number 1 to 1,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    count: NonZeroU32,
    period: Span,
}

/// An IP address and port to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenAddress(SocketAddr);

/// A network such as `10.0.0.0/8`; a single address is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

/// An http or https URL without credentials, query and fragment, kept without a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebUrl(String);

impl BadValue {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    pub(super) fn shape(text: &str, shape: &str) -> Self {
        Self(format!("{text:?} is not {shape}"))
    }
}

impl Span {
    /// The length of time.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl ByteSize {
    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The number of bytes as a length in memory.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl RateLimit {
    /// How much.
    pub const fn count(self) -> NonZeroU32 {
        self.count
    }

    /// In which time.
    pub const fn period(self) -> Duration {
        self.period.get()
    }
}

impl ListenAddress {
    /// The socket address.
    pub const fn get(self) -> SocketAddr {
        self.0
    }

    /// Whether only this machine can connect.
    pub const fn is_loopback(self) -> bool {
        self.0.ip().is_loopback()
    }
}

impl Network {
    /// The network.
    pub const fn get(self) -> IpNet {
        self.0
    }

    /// Whether the address is in the network.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl WebUrl {
    /// The URL of a listener. An unspecified address becomes loopback, as nobody can follow a link to `0.0.0.0`.
    pub fn of_listener(address: SocketAddr) -> Self {
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        Self(format!("http://{}", SocketAddr::new(ip, address.port())))
    }

    /// The URL, without a trailing slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Span {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        text.parse::<SignedDuration>()
            .ok()
            .and_then(|span| Duration::try_from(span).ok())
            .map(Self)
            .ok_or_else(|| BadValue::shape(text, "a duration such as 250ms, 10s or 5m"))
    }
}

impl FromStr for ByteSize {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        UNITS
            .iter()
            .find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, bytes)))
            .and_then(|(number, bytes)| number.trim_end().parse::<u64>().ok()?.checked_mul(*bytes))
            .map(Self)
            .ok_or_else(|| BadValue::shape(text, "a size such as 512B, 256KiB or 1MiB"))
    }
}

impl FromStr for RateLimit {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let shape = || BadValue::shape(text, "a rate such as 60/1m");
        let (count, period) = text.split_once('/').ok_or_else(shape)?;
        let count: NonZeroU32 = count.trim().parse().map_err(|_| shape())?;
        let period: Span = period.trim().parse().map_err(|_| shape())?;
        if count.get() > MOST_ALLOWED {
            return Err(BadValue::new(format!("{text:?} allows more than {MOST_ALLOWED}")));
        }
        if !(SHORTEST_PERIOD..=LONGEST_PERIOD).contains(&period.get()) {
            return Err(BadValue::new(format!("the time in {text:?} is not between 1s and 24h")));
        }
        Ok(Self { count, period })
    }
}

impl FromStr for ListenAddress {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        text.parse().map(Self).map_err(|_| BadValue::shape(text, "an address such as 127.0.0.1:8080"))
    }
}

impl FromStr for Network {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        text.parse::<IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .map(Self)
            .map_err(|_| BadValue::shape(text, "a network such as 10.0.0.0/8"))
    }
}

impl FromStr for WebUrl {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let shape = "a URL such as https://sho.rt";
        // The message must not repeat a password, hence no text in it when there may be one.
        let Ok(url) = Url::parse(text) else {
            return Err(if text.contains('@') {
                BadValue::new(format!("is not {shape}"))
            } else {
                BadValue::shape(text, shape)
            });
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BadValue::new("must not hold a user or a password"));
        }
        if !matches!(url.scheme(), "http" | "https") {
            return Err(BadValue::shape(text, shape));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(BadValue::new(format!("{text:?} must not have a query or a fragment")));
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SignedDuration::try_from(self.0) {
            Ok(span) => write!(f, "{span:#}"),
            Err(_) => write!(f, "{}s", self.0.as_secs()),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |bytes: u64| self.0 >= bytes && self.0.is_multiple_of(bytes);
        match [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)].into_iter().find(|(_, bytes)| whole(*bytes)) {
            Some((unit, bytes)) => write!(f, "{}{unit}", self.0 / bytes),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.period)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
