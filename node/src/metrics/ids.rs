//! Ids: issued, at hand, waited for.

use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Unit};
use stint_idgen::Lane;
use stint_idgen::allocator::NamespaceName;

use super::{Family, Registry};

/// Metrics of one id source.
#[derive(Clone, Debug)]
pub struct IdMetrics {
    /// `stint_ids_issued_total{namespace="links"}`: kept apart, since every created link counts here.
    pub issued_to_links: Counter,
    /// `stint_id_stalls_total`
    pub stalls: Counter,
    /// `stint_id_refill_duration_seconds`
    pub refill_duration: Histogram,
    /// `stint_id_source_repairs_total{source}`
    pub repairs: Counter,
    registry: Registry,
    source: &'static str,
    issued: Arc<Family<NamespaceName, Counter>>,
    headroom: Arc<Family<NamespaceName, Gauge>>,
    lanes: Arc<Family<&'static str, Gauge>>,
}

impl IdMetrics {
    /// Registers the metrics of a source.
    pub fn new(registry: &Registry, source: &'static str) -> Self {
        registry.describe_counter("stint_ids_issued_total", Unit::Count, "Ids issued, links' keys included.");
        registry.describe_counter("stint_id_stalls_total", Unit::Count, "Draws that had to wait for a block.");
        registry.describe_histogram(
            "stint_id_refill_duration_seconds",
            Unit::Seconds,
            "Time from asking for a block to having it.",
        );
        registry.describe_counter(
            "stint_id_source_repairs_total",
            Unit::Count,
            "Times the source had lost its count of ids and was set right; none was repeated.",
        );
        registry.describe_gauge(
            "stint_id_headroom_seconds",
            Unit::Seconds,
            "How long the ids at hand last at the measured rate (a day at most).",
        );
        registry.describe_gauge(
            "stint_id_lane_used_ratio",
            Unit::Count,
            "Part of the lane's 7-character codes that is used; above 1 codes have 8 characters.",
        );
        Self {
            issued_to_links: registry.counter("stint_ids_issued_total", &[("namespace", "links"), ("source", source)]),
            stalls: registry.counter("stint_id_stalls_total", &[]),
            refill_duration: registry.histogram("stint_id_refill_duration_seconds", &[]),
            repairs: registry.counter("stint_id_source_repairs_total", &[("source", source)]),
            registry: registry.clone(),
            source,
            issued: Arc::default(),
            headroom: Arc::default(),
            lanes: Arc::default(),
        }
    }

    /// `stint_ids_issued_total{namespace, source}`
    pub fn issued(&self, namespace: &NamespaceName) -> Counter {
        self.issued.get(namespace.clone(), |name| {
            self.registry.counter("stint_ids_issued_total", &[("namespace", name.as_str()), ("source", self.source)])
        })
    }

    /// `stint_id_headroom_seconds{namespace, source}`: a fallback holds ids of the same namespace.
    pub fn set_headroom(&self, namespace: &NamespaceName, headroom: Duration) {
        const DAY: Duration = Duration::from_hours(24);
        self.headroom
            .get(namespace.clone(), |name| {
                let labels = [("namespace", name.as_str()), ("source", self.source)];
                self.registry.gauge("stint_id_headroom_seconds", &labels)
            })
            .set(headroom.min(DAY).as_secs_f64());
    }

    /// `stint_id_lane_used_ratio{lane}`, and a warning once codes are about to grow.
    pub fn set_lane_used(&self, lane: Lane, counter: u64) {
        const WARNED_FROM: f64 = 0.8;
        let name = match lane {
            Lane::Raft => "raft",
            Lane::Redis => "redis",
            Lane::Postgres => "postgres",
            Lane::Reserved => "reserved",
        };
        let used = Lane::used_ratio(counter);
        self.lanes.get(name, |name| self.registry.gauge("stint_id_lane_used_ratio", &[("lane", name)])).set(used);
        if (WARNED_FROM..1.0).contains(&used) {
            tracing::warn!(
                lane = name,
                used,
                "the lane's 7-character codes are nearly used up: codes are about to grow"
            );
        }
    }
}

/// Metrics of a list of sources of which one is in use.
#[derive(Clone, Debug)]
pub struct FallbackMetrics {
    registry: Registry,
    switches: Arc<Family<(&'static str, &'static str), Counter>>,
}

impl FallbackMetrics {
    /// Registers them.
    pub fn new(registry: &Registry) -> Self {
        registry.describe_counter(
            "stint_id_source_switches_total",
            Unit::Count,
            "Times links began to get their keys from another source.",
        );
        Self { registry: registry.clone(), switches: Arc::default() }
    }

    /// `stint_id_source_switches_total{from, to}`
    pub fn count_switch(&self, from: &'static str, to: &'static str) {
        let register = |(from, to): &(&'static str, &'static str)| {
            self.registry.counter("stint_id_source_switches_total", &[("from", from), ("to", to)])
        };
        self.switches.get((from, to), register).increment(1);
    }
}
