//! HTTP: requests by route, method and status, and how long the API takes.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use metrics::{Counter, Histogram, Unit};

use super::Registry;

/// Request methods as label values. Others share one, so that clients can't make up labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Method(pub &'static str);

/// Metrics of the public port.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    registry: Registry,
    routes: Arc<RwLock<HashMap<String, Route>>>,
}

/// The handles of one route.
#[derive(Clone, Debug)]
struct Route {
    requests: HashMap<(Method, u16), Counter>,
    duration: Histogram,
}

impl HttpMetrics {
    /// Registers the metrics.
    pub fn new(registry: &Registry) -> Self {
        registry.describe_counter("stint_http_requests_total", Unit::Count, "Requests answered on the public port.");
        registry.describe_histogram(
            "stint_http_request_duration_seconds",
            Unit::Seconds,
            "Time to answer a request; of redirects one in 64 is timed.",
        );
        Self { registry: registry.clone(), routes: Arc::default() }
    }

    /// `stint_http_requests_total{route, method, status}`
    pub fn count(&self, route: &str, method: Method, status: u16) {
        let known = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = known.get(route).and_then(|route| route.requests.get(&(method, status))) {
            return counter.increment(1);
        }
        drop(known);
        let labels = [("route", route), ("method", method.0), ("status", &status.to_string())];
        let counter = self.registry.counter("stint_http_requests_total", &labels);
        counter.increment(1);
        self.route(route, |handles| drop(handles.requests.insert((method, status), counter)));
    }

    /// `stint_http_request_duration_seconds{route}`
    pub fn time(&self, route: &str, took: Duration) {
        let known = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(handles) = known.get(route) {
            return handles.duration.record(took);
        }
        drop(known);
        self.route(route, |handles| handles.duration.record(took));
    }

    fn route(&self, route: &str, act: impl FnOnce(&mut Route)) {
        let mut known = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        act(known.entry(route.to_owned()).or_insert_with(|| Route {
            requests: HashMap::new(),
            duration: self.registry.histogram("stint_http_request_duration_seconds", &[("route", route)]),
        }));
    }
}
