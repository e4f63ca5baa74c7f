//! What `stint dev` refuses, although other roles have a use for it.

use super::error::ConfigError;
use super::load::Loaded;
use super::{Config, IdSourceKind};

/// A key, what tells that it asks for something that `dev` lacks, and what to do.
type Lack = (&'static str, fn(&Config) -> bool, &'static str);

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
        let asked = LACKS.iter().filter(|(_, asks, _)| asks(&self.config)).map(|(key, _, advice)| {
            let source = self.source(key).map(|source| format!(" ({source})")).unwrap_or_default();
            format!("`{key}`{source}: {advice}")
        });
        ConfigError::check(asked.collect())
    }
}
