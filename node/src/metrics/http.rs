//! HTTP: requests by route, method and status, and how long the API takes.

use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Histogram, Unit};

use super::{Family, Registry};

/// Request methods as label values. Others share one, so that clients can't make up labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Method(pub &'static str);

/// Metrics of the public port.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    registry: Registry,
    requests: Arc<Family<(Arc<str>, Method, u16), Counter>>,
    durations: Arc<Family<Arc<str>, Histogram>>,
}

impl HttpMetrics {
    /// Registers the metrics.
    pub fn new(registry: &Registry) -> Self {
        registry.describe_counter("stint_http_requests_total", Unit::Count, "Requests answered on the public port.");
        registry.describe_histogram(
            "stint_http_request_duration_seconds",
            Unit::Seconds,
            "Time to answer a request of the API. Redirects are left out: each sample costs memory until it is folded.",
        );
        Self { registry: registry.clone(), requests: Arc::default(), durations: Arc::default() }
    }

    /// `stint_http_requests_total{route, method, status}`
    pub fn count(&self, route: &Arc<str>, method: Method, status: u16) {
        self.requests
            .get((Arc::clone(route), method, status), |(route, method, status)| {
                let labels = [("route", &**route), ("method", method.0), ("status", &status.to_string())];
                self.registry.counter("stint_http_requests_total", &labels)
            })
            .increment(1);
    }

    /// `stint_http_request_duration_seconds{route}`
    pub fn time(&self, route: &Arc<str>, took: Duration) {
        self.durations
            .get(Arc::clone(route), |route| {
                self.registry.histogram("stint_http_request_duration_seconds", &[("route", &**route)])
            })
            .record(took);
    }
}
