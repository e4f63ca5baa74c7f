//! `/health`: whether the service works, for those who use it (operators have the admin port).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::state::Api;

/// Health in the format of the IETF's health+json draft.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct HealthBody {
    /// `pass` or `fail`.
    #[schema(example = "pass")]
    status: &'static str,
    /// The version of Stint.
    version: &'static str,
    /// What was checked.
    checks: Vec<HealthCheck>,
}

/// One thing that was checked.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct HealthCheck {
    /// What it is.
    #[schema(example = "database")]
    name: &'static str,
    /// `pass` or `fail`.
    #[schema(example = "pass")]
    status: &'static str,
}

/// Is the service well?
///
/// What is wrong in detail stands on the admin port's `/readyz`, which isn't public.
#[utoipa::path(
    get,
    path = "/health",
    tag = "Operation",
    responses(
        (status = 200, description = "It is", body = HealthBody, content_type = "application/health+json"),
        (status = 503, description = "It isn't", body = HealthBody, content_type = "application/health+json"),
    )
)]
pub(in crate::http) async fn health(State(api): State<Arc<Api>>) -> Response {
    let word = |well: bool| if well { "pass" } else { "fail" };
    let checks = api.health.check().await;
    let well = checks.iter().all(|check| check.problem.is_none());
    let body = HealthBody {
        status: word(well),
        version: env!("CARGO_PKG_VERSION"),
        checks: checks
            .iter()
            .map(|check| HealthCheck { name: check.name, status: word(check.problem.is_none()) })
            .collect(),
    };
    let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/health+json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, Json(body).into_response().into_body()).into_response()
}
