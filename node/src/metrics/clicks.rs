//! Clicks: taken in, carried, counted.

use metrics::{Counter, Gauge, Unit};

use super::Registry;

/// Metrics of counting clicks. All handles are registered at the start.
#[derive(Clone, Debug)]
pub struct ClickMetrics {
    /// `stint_clicks_total{outcome="collected"}`: taken out of memory, to be counted.
    pub collected: Counter,
    /// `stint_clicks_total{outcome="shed"}`: dropped, because too much was waiting or the node had to stop.
    pub shed: Counter,
    /// `stint_clicks_total{outcome="counted"}`: added to the database by this node, whoever collected them.
    pub counted: Counter,
    /// `stint_click_chunks_total{outcome="streamed"}`: handed to Redis.
    pub streamed: Counter,
    /// `stint_click_chunks_total{outcome="direct"}`: written to the database without Redis.
    pub direct: Counter,
    /// `stint_click_chunks_total{outcome="consumed"}`: read from Redis and written to the database.
    pub consumed: Counter,
    /// `stint_click_chunks_total{outcome="damaged"}`: found in Redis unreadable and moved aside.
    pub damaged: Counter,
    /// `stint_click_chunks_total{outcome="stale"}`: found in Redis too old to be told from a repeat, and moved aside.
    pub stale: Counter,
    /// `stint_click_stream_entries`
    pub stream_entries: Gauge,
}

impl ClickMetrics {
    /// Registers the metrics.
    pub fn new(registry: &Registry) -> Self {
        registry.describe_counter("stint_clicks_total", Unit::Count, "Followed links on their way to being counted.");
        registry.describe_counter("stint_click_chunks_total", Unit::Count, "Chunks of clicks, by where they went.");
        registry.describe_gauge("stint_click_stream_entries", Unit::Count, "Chunks that wait in Redis, at last look.");
        let clicks = |outcome| registry.counter("stint_clicks_total", &[("outcome", outcome)]);
        let chunks = |outcome| registry.counter("stint_click_chunks_total", &[("outcome", outcome)]);
        Self {
            collected: clicks("collected"),
            shed: clicks("shed"),
            counted: clicks("counted"),
            streamed: chunks("streamed"),
            direct: chunks("direct"),
            consumed: chunks("consumed"),
            damaged: chunks("damaged"),
            stale: chunks("stale"),
            stream_entries: registry.gauge("stint_click_stream_entries", &[]),
        }
    }
}
