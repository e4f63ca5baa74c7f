//! The database's servers: who leads, how far copies lag, connections in use. Servers are numbered, never named.

use std::time::Duration;

use metrics::{Counter, Gauge, Unit};

use super::{Family, Registry};

/// Metrics of the database's servers. Replicas are labelled with their number, from `"1"`.
#[derive(Debug)]
pub struct DatabaseMetrics {
    registry: Registry,
    timeline: Gauge,
    changes: Counter,
    replicas: Family<String, Replica>,
    pools: Family<String, Pool>,
}

#[derive(Clone, Debug)]
struct Replica {
    lag: Gauge,
    in_rotation: Gauge,
}

#[derive(Clone, Debug)]
struct Pool {
    idle: Gauge,
    used: Gauge,
}

impl DatabaseMetrics {
    /// Registers them.
    pub fn new(registry: &Registry) -> Self {
        registry.describe_gauge(
            "stint_db_primary_timeline",
            Unit::Count,
            "Timeline of the primary in use, raised by each promotion; 0 while there is none.",
        );
        registry.describe_counter(
            "stint_db_primary_changes_total",
            Unit::Count,
            "How often another server, or another timeline, became the primary after the first.",
        );
        registry.describe_gauge(
            "stint_db_replica_lag_seconds",
            Unit::Seconds,
            "How far a replica is behind the primary, as this node measures it; of one that is away, as last known; NaN for the \
             primary.",
        );
        registry.describe_gauge(
            "stint_db_replica_in_rotation",
            Unit::Count,
            "1 while a replica is read, 0 while it is not: it is away, too far behind, or not of this database; NaN for the \
             primary.",
        );
        registry.describe_gauge(
            "stint_db_pool_connections",
            Unit::Count,
            "Open connections by pool (`primary`, or a replica's number) and state (`idle`, `used`).",
        );
        Self {
            timeline: registry.gauge("stint_db_primary_timeline", &[]),
            changes: registry.counter("stint_db_primary_changes_total", &[]),
            replicas: Family::default(),
            pools: Family::default(),
            registry: registry.clone(),
        }
    }

    /// `stint_db_primary_timeline`
    pub fn set_timeline(&self, timeline: Option<u32>) {
        self.timeline.set(timeline.map_or(0.0, f64::from));
    }

    /// `stint_db_primary_changes_total`
    pub fn count_change(&self) {
        self.changes.increment(1);
    }

    /// `stint_db_replica_lag_seconds{replica}`, if it is known, and `stint_db_replica_in_rotation{replica}`
    pub fn set_replica(&self, replica: &str, lag: Option<Duration>, in_rotation: bool) {
        let handles = self.replicas.get(replica.to_owned(), |replica| Replica {
            lag: self.registry.gauge("stint_db_replica_lag_seconds", &[("replica", replica)]),
            in_rotation: self.registry.gauge("stint_db_replica_in_rotation", &[("replica", replica)]),
        });
        if let Some(lag) = lag {
            handles.lag.set(lag.as_secs_f64());
        }
        handles.in_rotation.set(f64::from(u8::from(in_rotation)));
    }

    /// The server leads, or has never followed: it has no lag.
    pub fn forget_replica(&self, replica: &str) {
        if let Some(handles) = self.replicas.find(&replica.to_owned()) {
            handles.lag.set(f64::NAN);
            handles.in_rotation.set(f64::NAN);
        }
    }

    /// `stint_db_pool_connections{pool,state}`
    pub fn set_connections(&self, pool: &str, open: u32, idle: usize) {
        let handles = self.pools.get(pool.to_owned(), |pool| {
            let gauge = |state| self.registry.gauge("stint_db_pool_connections", &[("pool", pool), ("state", state)]);
            Pool { idle: gauge("idle"), used: gauge("used") }
        });
        let idle = u32::try_from(idle).unwrap_or(u32::MAX).min(open);
        handles.idle.set(f64::from(idle));
        handles.used.set(f64::from(open - idle));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_numbered_and_an_unknown_lag_leaves_the_last_one() {
        let registry = Registry::new().unwrap();
        let metrics = DatabaseMetrics::new(&registry);
        metrics.set_replica("1", Some(Duration::from_millis(1_500)), true);
        metrics.set_replica("1", None, false);
        metrics.set_replica("2", Some(Duration::ZERO), true);
        metrics.forget_replica("2");
        metrics.forget_replica("3");
        metrics.set_connections("primary", 5, 2);
        metrics.set_timeline(Some(3));
        let text = registry.render();
        for line in [
            "stint_db_replica_lag_seconds{replica=\"1\"} 1.5",
            "stint_db_replica_in_rotation{replica=\"1\"} 0",
            "stint_db_replica_lag_seconds{replica=\"2\"} NaN",
            "stint_db_replica_in_rotation{replica=\"2\"} NaN",
            "stint_db_pool_connections{pool=\"primary\",state=\"used\"} 3",
            "stint_db_primary_timeline 3",
            "stint_db_primary_changes_total 0",
        ] {
            assert!(text.contains(line), "{line} is missing from {text}");
        }
        assert!(!text.contains("replica=\"3\""), "{text}");
    }
}
