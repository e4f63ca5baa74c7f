//! The admin port: metrics, liveness, readiness, log level. For operators and their machines, never for the public.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::time::timeout;

use crate::lifecycle::Readiness;
use crate::metrics::{AdminMetrics, Registry};
use crate::service::health::Health;
use crate::telemetry::LogLevel;

/// How long the metrics wait for the node to say whether it is ready; a node that takes longer is not.
const LOOKED_WITHIN: Duration = Duration::from_secs(1);

/// What the admin port shows.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The metrics.
    pub registry: Registry,
    /// What this port says of the node in the metrics.
    pub metrics: AdminMetrics,
    /// Whether the node does its work.
    pub health: Health,
    /// Whether the node is on its way out.
    pub readiness: Readiness,
    /// The log filter.
    pub log_level: LogLevel,
}

/// The routes of the admin port.
pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/log-level", get(log_level).put(set_log_level))
        .with_state(admin)
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    let ready = timeout(LOOKED_WITHIN, admin.look()).await.is_ok_and(|(missing, _)| missing.is_empty());
    admin.metrics.ready.set(if ready { 1.0 } else { 0.0 });
    ([(header::CONTENT_TYPE, text)], admin.registry.render()).into_response()
}

/// The process answers. A restart would help only if it didn't.
async fn livez() -> &'static str {
    "ok\n"
}

/// 200 when requests are welcome, with a line for each thing worth knowing; otherwise 503 and a line for each thing that
/// is missing.
async fn readyz(State(admin): State<Admin>) -> (StatusCode, String) {
    let (missing, notes) = admin.look().await;
    if missing.is_empty() {
        (StatusCode::OK, format!("ok\n{}", notes.concat()))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, missing.concat())
    }
}

impl Admin {
    /// A line for each thing that is missing, and one for each that is worth knowing.
    async fn look(&self) -> (Vec<String>, Vec<String>) {
        let (mut missing, mut notes) = (Vec::new(), Vec::new());
        if self.readiness.is_stopping() {
            missing.push("stopping\n".to_owned());
        }
        for check in self.health.check().await {
            missing.extend(check.problem.map(|problem| format!("{}: {problem}\n", check.name)));
            notes.extend(check.note.map(|note| format!("{}: {note}\n", check.name)));
        }
        (missing, notes)
    }
}

async fn log_level(State(admin): State<Admin>) -> String {
    format!("{}\n", admin.log_level.get())
}

async fn set_log_level(State(admin): State<Admin>, filter: String) -> (StatusCode, String) {
    match admin.log_level.set(filter.trim()) {
        Ok(()) => (StatusCode::OK, format!("{}\n", admin.log_level.get())),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}
