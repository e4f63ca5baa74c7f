//! What each role refuses and warns of. A setting that is known, but that the role has no use for, is worth a warning.

use super::Role;
use super::error::ConfigError;
use super::load::Loaded;
use super::source::Source;

/// What only members of the allocators' group use.
const OF_MEMBERS: [&str; 2] = ["cluster.listen", "cluster.peers"];
/// What is of use only where there is a Postgres.
const OF_SERVERS: [&str; 2] = ["database.replica_urls", "database.pool_size"];
/// What is used between the nodes of a cluster.
const OF_CLUSTERS: [&str; 6] =
    ["cluster.allocators", "cluster.secret", "cluster.id", "cluster.tls.cert", "cluster.tls.key", "cluster.tls.ca"];
/// What only nodes use that keep something.
const OF_DATA: [&str; 2] = ["cluster.node_id", "cluster.data_dir"];
/// What is of use only on a public port.
const OF_PUBLIC_PORTS: [&str; 27] = [
    "http.listen",
    "http.public_url",
    "http.trusted_proxies",
    "http.redirect_status",
    "http.drain_delay",
    "http.max_body_size",
    "http.request_timeout",
    "http.limits.create",
    "http.limits.anonymous",
    "http.limits.guess",
    "http.limits.follow",
    "auth.anonymous_create",
    "auth.admin_key",
    "ids.source",
    "ids.fallback",
    "ids.headroom",
    "ids.min_block",
    "ids.max_block",
    "cluster.allocators",
    "codes.key",
    "database.primary_urls",
    "cache.redis_url",
    "cache.l1_entries",
    "cache.l1_ttl",
    "clicks.queue_size",
    "trace.endpoint",
    "trace.one_in",
];

impl Role {
    pub(super) fn unused(self) -> Vec<&'static str> {
        let lists: &[&[&str]] = match self {
            Self::Dev => &[&OF_SERVERS, &OF_MEMBERS, &OF_CLUSTERS],
            Self::Serve => &[&OF_MEMBERS, &OF_DATA],
            Self::Allocator => &[&OF_SERVERS, &OF_PUBLIC_PORTS],
        };
        let mut keys = lists.concat();
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

impl Loaded {
    /// Checks that the role can run with this configuration.
    ///
    /// # Errors
    /// Every problem in one line, naming the key and its source.
    pub fn check(&self, role: Role) -> Result<(), ConfigError> {
        match role {
            Role::Dev => self.check_dev(),
            Role::Serve => self.check_serve(),
            Role::Allocator => self.check_allocator(false),
        }
    }

    /// What is worth a warning when the role starts with this configuration, a line each.
    pub fn warnings(&self, role: Role) -> Vec<String> {
        let mut warnings = self.unused(role);
        match role {
            Role::Dev => {}
            Role::Serve => warnings.extend(self.serve_warnings()),
            Role::Allocator => warnings.extend(self.allocator_warnings()),
        }
        warnings
    }

    fn unused(&self, role: Role) -> Vec<String> {
        // A default of the role was not given by anybody.
        let given = |key: &&'static str| self.source(key).is_some_and(|source| *source != Source::Role);
        let unused = role.unused().into_iter().filter(given);
        unused.map(|key| self.problem(key, format_args!("`{}` has no use for this setting", role.command()))).collect()
    }
}
