//! What `stint serve` refuses, and what it warns of; and the same for commands that ask the allocators themselves.

use super::IdSourceKind;
use super::allocator::NO_SECRET;
use super::dev::Lack;
use super::error::ConfigError;
use super::load::Loaded;

const LACKS: [Lack; 4] = [
    (
        "ids.source",
        |config| !matches!(config.ids.source, IdSourceKind::Raft | IdSourceKind::Snowflake),
        "is not available in this version of `stint serve`: use \"raft\" or \"snowflake\"",
    ),
    (
        "ids.fallback",
        |config| !config.ids.fallback.is_empty(),
        "is not available in this version of `stint serve`: leave it empty",
    ),
    (
        "database.primary_urls",
        |config| !config.database.primary_urls.is_empty(),
        "is not available in this version of `stint serve`, which serves ids only: leave it (DATABASE_URL) out",
    ),
    (
        "cache.redis_url",
        |config| config.cache.redis_url.is_some(),
        "is not available in this version of `stint serve`, which serves ids only: leave it (REDIS_URL) out",
    ),
];

impl Loaded {
    /// Checks that nothing is missing for `stint serve`, and that nothing is asked for that it lacks.
    ///
    /// # Errors
    /// Every problem in one line, naming the key and its source.
    pub fn check_serve(&self) -> Result<(), ConfigError> {
        let mut problems = self.lacks(&LACKS);
        let needs_allocators = matches!(self.config.ids.source, IdSourceKind::Raft | IdSourceKind::Snowflake);
        if needs_allocators && self.config.cluster.allocators.is_empty() {
            let message = format!(
                "is missing: ids.source {} needs the allocators; name them with --allocators \
                 allocator-1:7101,allocator-2:7101,allocator-3:7101 or STINT_CLUSTER__ALLOCATORS",
                self.config.ids.source
            );
            problems.push(self.problem("cluster.allocators", message));
        }
        problems.extend(self.client_problems());
        if self.config.auth.admin_key.is_none() {
            problems.push(self.problem(
                "auth.admin_key",
                "is missing: without a database it is the only API key there is; set STINT_ADMIN_KEY",
            ));
        }
        ConfigError::check(problems)
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
