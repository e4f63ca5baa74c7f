//! What `stint serve` refuses, and what it warns of; and the same for commands that ask the allocators themselves.

use super::IdSourceKind;
use super::allocator::NO_SECRET;
use super::error::ConfigError;
use super::load::Loaded;

impl Loaded {
    /// Checks that nothing is missing for `stint serve`, and that its parts go together.
    ///
    /// # Errors
    /// Every problem in one line, naming the key and its source.
    pub fn check_serve(&self) -> Result<(), ConfigError> {
        let mut problems = self.fallback_problems();
        problems.extend(self.source_problems());
        problems.extend(self.client_problems());
        if self.config.ids.only && self.config.auth.admin_key.is_none() {
            problems.push(self.problem(
                "auth.admin_key",
                "is missing: without a database it is the only API key there is; set STINT_ADMIN_KEY",
            ));
        }
        if !self.config.ids.only && self.config.codes.key.is_none() {
            problems.push(self.problem(
                "codes.key",
                "is missing: every code is computed with it; set the same STINT_CODE_KEY (32 hex digits) on all nodes, for ever",
            ));
        }
        ConfigError::check(problems)
    }

    /// What the sources of links' keys need and lack: a line for each server that is missing.
    fn source_problems(&self) -> Vec<String> {
        use IdSourceKind::{Postgres, Raft, Redis, Snowflake};
        let config = &self.config;
        let (no_allocators, no_database, no_redis) = (
            config.cluster.allocators.is_empty(),
            config.database.primary_urls.is_empty(),
            config.cache.redis_url.is_none(),
        );
        let needs: [(&str, bool, &[IdSourceKind], &str); 3] = [
            (
                "cluster.allocators",
                no_allocators,
                &[Raft, Snowflake],
                "the allocators; name them with --allocators \
                 allocator-1:7101,allocator-2:7101,allocator-3:7101 or STINT_CLUSTER__ALLOCATORS",
            ),
            (
                "database.primary_urls",
                no_database,
                &[Redis, Postgres],
                "Postgres, which decides what of it is issued; name the primary with DATABASE_URL",
            ),
            ("cache.redis_url", no_redis, &[Redis], "Redis, which counts its blocks; name it with REDIS_URL"),
        ];
        let mut problems = Vec::new();
        for (key, _, wanting, what) in needs.into_iter().filter(|(_, is_missing, ..)| *is_missing) {
            let first = wanting.contains(&config.ids.source).then(|| format!("ids.source {}", config.ids.source));
            let other = config.ids.fallback.iter().find(|source| wanting.contains(source));
            if let Some(who) = first.or_else(|| other.map(|source| format!("ids.fallback {source}"))) {
                problems.push(self.problem(key, format!("is missing: {who} needs {what}")));
            }
        }
        problems
    }

    /// Fallbacks that can't help when they are needed.
    fn fallback_problems(&self) -> Vec<String> {
        let ids = &self.config.ids;
        let mut earlier = vec![ids.source];
        let mut problems = Vec::new();
        for &source in &ids.fallback {
            match source {
                IdSourceKind::Snowflake => problems.push(
                    "snowflake is no fallback: it needs the allocators as raft does, and goes on for seconds without \
                     them where raft goes on for `ids.headroom`; use raft, or make snowflake the source",
                ),
                IdSourceKind::Redis if earlier.contains(&IdSourceKind::Postgres) => problems.push(
                    "redis is no fallback for postgres: the same primary decides about its blocks, so both are away \
                     together; put redis first or leave it out",
                ),
                _ => {}
            }
            earlier.push(source);
        }
        problems.into_iter().map(|problem| self.problem("ids.fallback", problem)).collect()
    }

    pub(super) fn serve_warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let http = &self.config.http;
        if http.public_url.is_none() {
            let assumed = http.public_url_at(http.listen.get());
            let message =
                format!("is not set: {assumed} is assumed; behind a proxy set it to what users see (--public-url)");
            warnings.push(self.problem("http.public_url", message));
        }
        let limits = &http.limits;
        let by_address = [limits.anonymous, limits.guess, limits.follow].iter().any(Option::is_some);
        if by_address && http.public_url.is_some() && http.trusted_proxies.is_empty() {
            let message = "is not set: behind a proxy all clients look like one, and share each rate limit by address";
            warnings.push(self.problem("http.trusted_proxies", message));
        }
        if self.config.cluster.secret.is_none() {
            warnings.push(self.problem("cluster.secret", NO_SECRET));
        }
        warnings
    }

    /// Checks that a command can ask the allocators.
    ///
    /// # Errors
    /// Every problem in one line, naming the key and its source.
    pub fn check_allocators_client(&self) -> Result<(), ConfigError> {
        ConfigError::check(self.client_problems().into_iter().collect())
    }

    fn client_problems(&self) -> Option<String> {
        let cluster = &self.config.cluster;
        let is_exposed = cluster.allocators.iter().any(|allocator| !allocator.is_loopback());
        (is_exposed && cluster.secret.is_none()).then(|| {
            let message =
                "is missing: allocators on other machines want theirs; set the same STINT_CLUSTER_SECRET everywhere";
            self.problem("cluster.secret", message)
        })
    }
}
