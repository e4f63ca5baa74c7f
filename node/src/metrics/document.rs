//! `docs/metrics.md`, from what the code declares: every metric with its type, unit, labels and meaning.

use std::fmt::Write as _;
use std::time::Duration;

use metrics::Unit;
use stint_idgen::Lane;
use stint_idgen::allocator::NamespaceName;

use super::{
    AdminMetrics, CacheMetrics, ClickMetrics, DatabaseMetrics, FallbackMetrics, HttpMetrics, IdMetrics, LimitMetrics,
    LinkMetrics, Method, RaftMetrics, Registry, RegistryError, SnowflakeMetrics,
};

const HEAD: &str = "# Metrics

Each node shows its own on the admin port, under `/metrics`, in the Prometheus text format. Durations are in seconds.
Counters begin at 0 with the process. No label carries a code, an URL or an address. A node has the metrics of its role.
What to watch of them: the [dashboards](../dashboards/README.md) and the [runbook](runbook.md).

This page is made from the code: `make metrics`.

| metric | type | unit | labels | meaning |
|---|---|---|---|---|
";

/// The page.
///
/// # Errors
/// [`RegistryError`] if there can be no registry.
pub fn document() -> Result<String, RegistryError> {
    let registry = Registry::new()?;
    register_all(&registry);
    let declared = registry.declared.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    let mut page = HEAD.to_owned();
    for (name, metric) in declared {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let (kind, unit, labels, help) = (metric.kind, unit(metric.unit), labels.join(", "), metric.help);
        let _ = writeln!(page, "| `{name}` | {kind} | {unit} | {labels} | {help} |");
    }
    Ok(page)
}

const fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Seconds => "seconds",
        Unit::Bytes => "bytes",
        _ => "",
    }
}

/// Registers what nodes of all roles have, with one of each of those whose labels are only known at run time.
fn register_all(registry: &Registry) {
    let links = NamespaceName::links();
    let http = HttpMetrics::new(registry);
    http.count("/{code}", Method("GET"), 302);
    http.time("/{code}", Duration::ZERO);
    let _ = AdminMetrics::new(registry);
    let _ = (LinkMetrics::new(registry), LimitMetrics::new(registry), ClickMetrics::new(registry));
    let _ = (CacheMetrics::new(registry), SnowflakeMetrics::new(registry));
    let ids = IdMetrics::new(registry, "raft");
    ids.set_headroom(&links, Duration::ZERO);
    ids.set_lane_used(Lane::Raft, 0);
    FallbackMetrics::new(registry).count_switch("raft", "redis");
    let raft = RaftMetrics::new(registry);
    let _ = (raft.lag(1), raft.silence(1));
    let database = DatabaseMetrics::new(registry);
    database.set_replica("1", None, false);
    database.set_connections("primary", 0, 0);
}
