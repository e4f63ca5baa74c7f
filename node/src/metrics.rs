//! Every metric, once: its name, help text, unit and labels. Components get handles, not names.
//!
//! Each node has a registry of its own (no global recorder), so that several can live in one test process. Handles are
//! registered once and kept: a look-up per request would cost more than counting.

mod admin;
mod cache;
mod clicks;
mod database;
mod document;
mod http;
mod ids;
mod limits;
mod links;
mod process;
mod raft;
mod snowflake;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

pub use admin::AdminMetrics;
pub use cache::{CacheMetrics, CacheReads};
pub use clicks::ClickMetrics;
pub use database::DatabaseMetrics;
pub use document::document;
pub use http::{HttpMetrics, Method};
pub use ids::{FallbackMetrics, IdMetrics};
pub use limits::LimitMetrics;
pub use links::LinkMetrics;
use process::ProcessMetrics;
pub use raft::RaftMetrics;
pub use snowflake::{Discard, SnowflakeMetrics};

/// Bounds of all durations, in seconds: from a cache hit to a time-out.
const DURATION_BOUNDS: [f64; 14] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Bounds of batch sizes, in links.
const BATCH_BOUNDS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// The registry of one node.
#[derive(Clone)]
pub struct Registry {
    recorder: Arc<PrometheusRecorder>,
    declared: Arc<Mutex<BTreeMap<&'static str, Declared>>>,
    process: Option<ProcessMetrics>,
}

/// A metric as it was declared.
#[derive(Clone, Debug)]
struct Declared {
    kind: &'static str,
    unit: Unit,
    help: &'static str,
    labels: BTreeSet<&'static str>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Registry")
    }
}

/// Why there is no registry: a mistake in the bounds above.
#[derive(Debug, thiserror::Error)]
#[error("the metrics registry can't be built")]
pub struct RegistryError(#[from] metrics_exporter_prometheus::BuildError);

impl Registry {
    /// An empty registry that knows the build.
    ///
    /// # Errors
    /// [`RegistryError`] if the histogram bounds are refused.
    pub fn new() -> Result<Self, RegistryError> {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &DURATION_BOUNDS)?
            .set_buckets_for_metric(Matcher::Suffix("_links".to_owned()), &BATCH_BOUNDS)?
            .build_recorder();
        let mut registry = Self { recorder: Arc::new(recorder), declared: Arc::default(), process: None };
        registry.describe_gauge("stint_build_info", Unit::Count, "1, labelled with the version of this node.");
        registry.gauge("stint_build_info", &[("version", env!("CARGO_PKG_VERSION"))]).set(1.0);
        registry.process = Some(ProcessMetrics::new(&registry));
        Ok(registry)
    }

    /// Everything, in the Prometheus text format.
    pub fn render(&self) -> String {
        if let Some(process) = &self.process {
            process.update();
        }
        ProcessMetrics::correct_types(&self.handle().render())
    }

    /// Folds raw histogram samples into buckets. They pile up in memory until this is called.
    pub fn run_upkeep(&self) {
        self.handle().run_upkeep();
    }

    fn handle(&self) -> PrometheusHandle {
        self.recorder.handle()
    }

    fn describe_counter(&self, name: &'static str, unit: Unit, help: &'static str) {
        self.declare(name, "counter", unit, help);
        self.recorder.describe_counter(name.into(), Some(unit), help.into());
    }

    fn describe_gauge(&self, name: &'static str, unit: Unit, help: &'static str) {
        self.declare(name, "gauge", unit, help);
        self.recorder.describe_gauge(name.into(), Some(unit), help.into());
    }

    fn describe_histogram(&self, name: &'static str, unit: Unit, help: &'static str) {
        self.declare(name, "histogram", unit, help);
        self.recorder.describe_histogram(name.into(), Some(unit), help.into());
    }

    /// Describes a gauge that has no labels, and registers it.
    fn plain_gauge(&self, name: &'static str, unit: Unit, help: &'static str) -> Gauge {
        self.describe_gauge(name, unit, help);
        self.gauge(name, &[])
    }

    fn counter(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        self.recorder.register_counter(&self.key(name, labels), &METADATA)
    }

    fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
        self.recorder.register_gauge(&self.key(name, labels), &METADATA)
    }

    fn histogram(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Histogram {
        self.recorder.register_histogram(&self.key(name, labels), &METADATA)
    }

    fn declare(&self, name: &'static str, kind: &'static str, unit: Unit, help: &'static str) {
        let mut declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        let known = declared.entry(name).or_insert_with(|| Declared { kind, unit, help, labels: BTreeSet::new() });
        let is_same = known.kind == kind && known.unit == unit && known.help == help;
        drop(declared);
        assert!(is_same, "{name} is declared twice, and not alike");
    }

    fn key(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Key {
        let mut declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        let known = declared.get_mut(name).expect("every metric is described before it is registered");
        known.labels.extend(labels.iter().map(|(label, _)| *label));
        drop(declared);
        let labels: Vec<Label> = labels.iter().map(|(label, value)| Label::new(*label, (*value).to_owned())).collect();
        Key::from_parts(name, labels)
    }
}

/// The exporter ignores it, the trait asks for it.
static METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// Handles of one metric whose label values are only known at run time: registered when first used.
#[derive(Debug)]
struct Family<K, H> {
    handles: RwLock<HashMap<K, H>>,
}

impl<K, H> Default for Family<K, H> {
    fn default() -> Self {
        Self { handles: RwLock::default() }
    }
}

impl<K: Hash + Eq, H: Clone> Family<K, H> {
    fn for_each(&self, act: impl Fn(&H)) {
        self.handles.read().unwrap_or_else(PoisonError::into_inner).values().for_each(act);
    }

    fn find(&self, key: &K) -> Option<H> {
        self.handles.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn get(&self, key: K, register: impl FnOnce(&K) -> H) -> H {
        if let Some(handle) = self.find(&key) {
            return handle;
        }
        let mut handles = self.handles.write().unwrap_or_else(PoisonError::into_inner);
        let handle = register(&key);
        handles.entry(key).or_insert(handle).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_registries_count_apart_and_render_help_and_type() {
        let (one, two) = (Registry::new().unwrap(), Registry::new().unwrap());
        let ids = IdMetrics::new(&one, "raft");
        let _ = IdMetrics::new(&two, "raft");
        ids.stalls.increment(3);
        assert!(one.render().contains("\nstint_id_stalls_total 3\n"), "{}", one.render());
        assert!(two.render().contains("\nstint_id_stalls_total 0\n"), "{}", two.render());
        assert!(one.render().contains("# TYPE stint_id_stalls_total counter"), "{}", one.render());
        assert!(one.render().contains("# HELP stint_id_stalls_total "), "{}", one.render());
    }
}
