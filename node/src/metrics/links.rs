//! Links: created and followed.

use metrics::{Counter, Histogram, Unit};

use super::Registry;

/// Metrics of creating and following links. All handles are registered at the start: following is the hot path.
#[derive(Clone, Debug)]
pub struct LinkMetrics {
    /// `stint_redirects_total{tier="l1", outcome="found"}`
    pub found_in_l1: Counter,
    /// `stint_redirects_total{tier="l2", outcome="found"}`
    pub found_in_l2: Counter,
    /// `stint_redirects_total{tier="replica", outcome="found"}`
    pub found_on_replica: Counter,
    /// `stint_redirects_total{tier="primary", outcome="found"}`
    pub found_on_primary: Counter,
    /// `stint_redirects_total{tier="store", outcome="found"}`: in the embedded database.
    pub found_in_store: Counter,
    /// `stint_redirects_total{tier="", outcome="missing"}`
    pub missing: Counter,
    /// `stint_redirects_total{tier="", outcome="gone"}`: deleted, expired or used up.
    pub gone: Counter,
    /// `stint_redirects_total{tier="", outcome="failed"}`
    pub failed: Counter,
    /// `stint_links_created_total{outcome="created"}`
    pub created: Counter,
    /// `stint_links_created_total{outcome="reused"}`
    pub reused: Counter,
    /// `stint_links_created_total{outcome="refused"}`
    pub refused: Counter,
    /// `stint_links_created_total{outcome="failed"}`
    pub create_failed: Counter,
    /// `stint_write_batch_links`
    pub batch_size: Histogram,
}

impl LinkMetrics {
    /// Registers the metrics.
    pub fn new(registry: &Registry) -> Self {
        registry.describe_counter("stint_redirects_total", Unit::Count, "Requests that followed a code.");
        registry.describe_counter("stint_links_created_total", Unit::Count, "Requests to create a link.");
        registry.describe_histogram("stint_write_batch_links", Unit::Count, "Links written in one transaction.");
        let redirects =
            |tier, outcome| registry.counter("stint_redirects_total", &[("tier", tier), ("outcome", outcome)]);
        let created = |outcome| registry.counter("stint_links_created_total", &[("outcome", outcome)]);
        Self {
            found_in_l1: redirects("l1", "found"),
            found_in_l2: redirects("l2", "found"),
            found_on_replica: redirects("replica", "found"),
            found_on_primary: redirects("primary", "found"),
            found_in_store: redirects("store", "found"),
            missing: redirects("", "missing"),
            gone: redirects("", "gone"),
            failed: redirects("", "failed"),
            created: created("created"),
            reused: created("reused"),
            refused: created("refused"),
            create_failed: created("failed"),
            batch_size: registry.histogram("stint_write_batch_links", &[]),
        }
    }
}
