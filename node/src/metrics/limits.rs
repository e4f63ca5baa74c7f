//! Rate limits.

use metrics::{Counter, Unit};

use super::Registry;

/// Metrics of rate limits. All handles are registered at the start.
#[derive(Clone, Debug)]
pub struct LimitMetrics {
    /// `stint_rate_limited_total{policy="create"}`: links with an API key.
    pub create: Counter,
    /// `stint_rate_limited_total{policy="anonymous"}`: links without one.
    pub anonymous: Counter,
    /// `stint_rate_limited_total{policy="guess"}`: requests of an address that asked for too much that isn't there.
    pub guess: Counter,
    /// `stint_rate_limited_total{policy="follow"}`
    pub follow: Counter,
}

impl LimitMetrics {
    /// Registers the metrics.
    pub fn new(registry: &Registry) -> Self {
        let name = "stint_rate_limited_total";
        let help = "Requests, and rows of bulk requests, refused because their client had used up its allowance.";
        registry.describe_counter(name, Unit::Count, help);
        let refused = |policy| registry.counter(name, &[("policy", policy)]);
        Self {
            create: refused("create"),
            anonymous: refused("anonymous"),
            guess: refused("guess"),
            follow: refused("follow"),
        }
    }
}
