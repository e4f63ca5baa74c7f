//! Configuration: defaults < file < environment < flags, merged key by key.
//!
//! Every value knows where it came from, so a problem is one line that names the key and its source, and all problems
//! are reported together. The environment and the files come in as parameters.

mod allocator;
mod auth;
mod cache;
mod cluster;
mod database;
mod dev;
mod environment;
mod error;
mod http;
mod ids;
mod layers;
mod load;
mod log;
mod secret;
mod serve;
mod show;
mod source;
mod text;
mod value;
mod warnings;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use auth::{AnonymousCreate, AuthConfig};
pub use cache::{CacheConfig, RedisUrl};
pub use cluster::{ClusterConfig, HostPort, Peer, TlsConfig};
pub use database::{DatabaseConfig, DatabaseUrl};
pub use environment::{ClientEnvironment, client_environment, unicode_variables};
pub use error::{ConfigError, Invalid};
pub use http::{HttpConfig, LimitsConfig, RedirectStatus};
pub use ids::{IdSourceKind, IdsConfig};
pub use load::{Inputs, Loaded, load};
pub use log::{LogConfig, LogFilter, LogFormat, TraceConfig};
pub use secret::Secret;
pub use source::{Disk, Flag, ReadFile, Source};
pub use value::{ByteSize, ListenAddress, Network, RateLimit, Span, WebUrl};

/// Exit code of every configuration and usage error (`EX_USAGE` of sysexits).
pub const EXIT_USAGE: u8 = 64;

/// What the process does; a few defaults depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything in one process on embedded storage.
    Dev,
    /// A stateless shortener.
    Serve,
    /// A member of the allocators' group.
    Allocator,
}

impl Role {
    /// The keys whose defaults are not those of `config.default.toml`.
    fn defaults(self) -> &'static [(&'static str, &'static str)] {
        match self {
            // No proxy stands before either: there is nobody to give time to.
            Self::Dev | Self::Allocator => &[("http.drain_delay", "0s")],
            Self::Serve => &[("http.listen", "0.0.0.0:8080")],
        }
    }

    /// The command, as users write it.
    pub const fn command(self) -> &'static str {
        match self {
            Self::Dev => "stint dev",
            Self::Serve => "stint serve",
            Self::Allocator => "stint allocator",
        }
    }
}

/// The whole configuration. `config.default.toml` documents every key.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The public listener.
    pub http: HttpConfig,
    /// The private listener.
    pub admin: AdminConfig,
    /// Who may do what.
    pub auth: AuthConfig,
    /// Where keys come from.
    pub ids: IdsConfig,
    /// The allocators.
    pub cluster: ClusterConfig,
    /// How keys become codes.
    pub codes: CodesConfig,
    /// Postgres.
    pub database: DatabaseConfig,
    /// Caches of redirects.
    pub cache: CacheConfig,
    /// Counting visits.
    pub clicks: ClicksConfig,
    /// The log.
    pub log: LogConfig,
    /// Traces.
    pub trace: TraceConfig,
}

/// Section `admin`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AdminConfig {
    /// Where metrics, probes and the log level are served.
    #[serde(with = "text::one")]
    pub listen: ListenAddress,
}

/// Section `codes`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CodesConfig {
    /// The code key, 32 hexadecimal digits.
    #[serde(with = "text::optional")]
    pub key: Option<Secret>,
}

/// Section `clicks`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClicksConfig {
    /// Links whose visits may wait in memory to be counted.
    pub queue_size: usize,
}

impl Config {
    /// Every rule that a value breaks although it is well-formed, all at once.
    pub fn validate(&self) -> Vec<Invalid> {
        let mut invalid = Vec::new();
        self.http.validate(&mut invalid);
        self.auth.validate(&mut invalid);
        self.ids.validate(&mut invalid);
        self.cluster.validate(&mut invalid);
        self.codes.validate(&mut invalid);
        self.database.validate(&mut invalid);
        self.cache.validate(&mut invalid);
        if self.clicks.queue_size == 0 {
            invalid.push(Invalid::new("clicks.queue_size", "must be at least 1"));
        }
        invalid
    }

    /// Whether links may be created without an API key.
    pub fn anonymous_create(&self, role: Role) -> bool {
        match self.auth.anonymous_create {
            AnonymousCreate::Always => true,
            AnonymousCreate::Never => false,
            AnonymousCreate::Auto => role == Role::Dev && self.http.listen.is_loopback(),
        }
    }
}

impl CodesConfig {
    fn validate(&self, invalid: &mut Vec<Invalid>) {
        let Some(key) = &self.key else { return };
        let digits = key.expose();
        if digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            // The length says enough to find the mistake; the value is secret.
            let found = format!("must be 32 hexadecimal digits (it has {} characters)", digits.chars().count());
            invalid.push(Invalid::new("codes.key", found));
        }
    }
}
