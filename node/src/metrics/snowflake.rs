//! Snowflake ids: the worker lease, and what was made in vain.

use std::time::Duration;

use metrics::{Counter, Gauge, Unit};

use super::{IdMetrics, Registry};

/// Why an id that was made is not given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discard {
    /// Its timestamp lies outside the lease's window.
    Window,
    /// It is another worker's.
    Worker,
    /// It is not above the last one.
    Order,
    /// Its millisecond has enough ids.
    Rate,
    /// It says nothing: more than 63 bits, or 0.
    Layout,
}

/// Metrics of the Snowflake source.
#[derive(Clone, Debug)]
pub struct SnowflakeMetrics {
    /// What it has in common with other sources; `source="snowflake"`.
    pub ids: IdMetrics,
    lease_remaining: Gauge,
    discarded: [(Discard, Counter); 5],
}

impl Discard {
    const ALL: [Self; 5] = [Self::Window, Self::Worker, Self::Order, Self::Rate, Self::Layout];

    /// What is wrong with the id, in a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Window => "window",
            Self::Worker => "worker",
            Self::Order => "order",
            Self::Rate => "rate",
            Self::Layout => "layout",
        }
    }
}

impl SnowflakeMetrics {
    /// Registers them.
    pub fn new(registry: &Registry) -> Self {
        registry.describe_gauge(
            "stint_snowflake_lease_remaining_seconds",
            Unit::Seconds,
            "How long ids may still be made under the worker lease at hand; 0 without one.",
        );
        registry.describe_counter(
            "stint_snowflake_discarded_total",
            Unit::Count,
            "Ids made and not given out, by what was wrong with them.",
        );
        let counter =
            |what: Discard| (what, registry.counter("stint_snowflake_discarded_total", &[("reason", what.name())]));
        Self {
            ids: IdMetrics::new(registry, "snowflake"),
            lease_remaining: registry.gauge("stint_snowflake_lease_remaining_seconds", &[]),
            discarded: Discard::ALL.map(counter),
        }
    }

    /// `stint_snowflake_lease_remaining_seconds`
    pub fn set_lease_remaining(&self, remaining: Duration) {
        self.lease_remaining.set(remaining.as_secs_f64());
    }

    /// `stint_snowflake_discarded_total{reason}`
    pub fn count_discarded(&self, what: Discard) {
        for (_, counter) in self.discarded.iter().filter(|(known, _)| *known == what) {
            counter.increment(1);
        }
    }
}
