//! The shared cache, and how closely changes are followed.

use metrics::{Counter, Gauge, Unit};

use super::Registry;

/// Metrics of the shared cache and of the tail of changes.
#[derive(Clone, Debug)]
pub struct CacheMetrics {
    /// `…{what="link"}`
    pub links: CacheReads,
    /// `…{what="alias"}`
    pub aliases: CacheReads,
    /// `…{what="target"}`: from a URL to its code.
    pub targets: CacheReads,
    /// `stint_cache_errors_total`
    pub errors: Counter,
    /// `stint_cache_dropped_writes_total{reason="full"}`
    pub dropped_full: Counter,
    /// `stint_cache_dropped_writes_total{reason="stale"}`: too old by the time they could be written.
    pub dropped_stale: Counter,
    /// `stint_cache_dropped_writes_total{reason="untrusted"}`: while Redis was away or changes were replayed.
    pub dropped_untrusted: Counter,
    /// `stint_cache_trusted`
    pub trusted: Gauge,
    /// `stint_changes_lag_seconds`
    pub changes_lag: Gauge,
    /// `stint_changes_missing`
    pub changes_missing: Gauge,
}

/// How often something was found.
#[derive(Clone, Debug)]
pub struct CacheReads {
    /// `stint_cache_hits_total{tier="l2"}`
    pub hits: Counter,
    /// `stint_cache_misses_total{tier="l2"}`
    pub misses: Counter,
}

impl CacheMetrics {
    /// Registers the metrics.
    pub fn new(registry: &Registry) -> Self {
        registry.describe_counter("stint_cache_hits_total", Unit::Count, "Questions that a cache answered.");
        registry.describe_counter("stint_cache_misses_total", Unit::Count, "Questions that a cache did not answer.");
        registry.describe_counter("stint_cache_errors_total", Unit::Count, "Calls of Redis that failed.");
        registry.describe_counter("stint_cache_dropped_writes_total", Unit::Count, "Values that were not cached.");
        registry.describe_gauge("stint_cache_trusted", Unit::Count, "1 while values in Redis are believed.");
        registry.describe_gauge("stint_changes_lag_seconds", Unit::Seconds, "Time since changes were last read.");
        registry.describe_gauge("stint_changes_missing", Unit::Count, "Numbers of changes that may still appear.");
        let dropped = |reason| registry.counter("stint_cache_dropped_writes_total", &[("reason", reason)]);
        let reads = |what| CacheReads {
            hits: registry.counter("stint_cache_hits_total", &[("tier", "l2"), ("what", what)]),
            misses: registry.counter("stint_cache_misses_total", &[("tier", "l2"), ("what", what)]),
        };
        Self {
            links: reads("link"),
            aliases: reads("alias"),
            targets: reads("target"),
            errors: registry.counter("stint_cache_errors_total", &[]),
            dropped_full: dropped("full"),
            dropped_stale: dropped("stale"),
            dropped_untrusted: dropped("untrusted"),
            trusted: registry.gauge("stint_cache_trusted", &[]),
            changes_lag: registry.gauge("stint_changes_lag_seconds", &[]),
            changes_missing: registry.gauge("stint_changes_missing", &[]),
        }
    }
}
