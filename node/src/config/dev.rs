//! What `stint dev` refuses, although other roles have a use for it.

use std::fmt::Display;

use super::error::ConfigError;
use super::load::Loaded;
use super::{Config, IdSourceKind};

/// A key, what tells that it asks for something that a role lacks, and what to do.
pub(super) type Lack = (&'static str, fn(&Config) -> bool, &'static str);

const LACKS: [Lack; 4] = [
    (
        "ids.source",
        |config| config.ids.source != IdSourceKind::Raft,
        "`stint dev` draws its ids from its own allocator: leave it at \"raft\"",
    ),
    (
        "ids.fallback",
        |config| !config.ids.fallback.is_empty(),
        "`stint dev` draws its ids from its own allocator only: leave it empty",
    ),
    (
        "database.primary_urls",
        |config| !config.database.primary_urls.is_empty(),
        "`stint dev` keeps its links in its data directory: leave it (DATABASE_URL) out",
    ),
    (
        "cache.redis_url",
        |config| config.cache.redis_url.is_some(),
        "`stint dev` caches in its own memory: leave it (REDIS_URL) out",
    ),
];

impl Loaded {
    /// Checks that nothing is asked for that `stint dev` lacks.
    ///
    /// # Errors
    /// Every such key, each in one line naming its source.
    pub fn check_dev(&self) -> Result<(), ConfigError> {
        ConfigError::check(self.lacks(&LACKS))
    }

    /// A line for each key that asks for something that isn't there.
    pub(super) fn lacks(&self, lacks: &[Lack]) -> Vec<String> {
        let asked = lacks.iter().filter(|(_, asks, _)| asks(&self.config));
        asked.map(|(key, _, advice)| self.problem(key, advice)).collect()
    }

    /// One line about a key, naming where its value came from.
    pub(super) fn problem(&self, key: &str, message: impl Display) -> String {
        let source = self.source(key).map(|source| format!(" ({source})")).unwrap_or_default();
        format!("`{key}`{source}: {message}")
    }
}
