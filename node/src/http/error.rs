//! Errors as RFC 9457 problems: the one place where an error becomes a status and a body.
//!
//! A body is made of fixed titles and of details that were written for users. What drivers and the consensus layer
//! say travels as `source`, which is logged with the request id and has no way into a body.

mod catalogue;
pub(super) mod documented;
mod mapping;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::limits::show_excess;
use crate::service::limits::Excess;

pub use catalogue::ProblemKind;

/// The media type of problems.
pub const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Something that went wrong with a request, as its sender is told.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: ProblemKind,
    detail: String,
    field: Option<String>,
    retry_after: Option<u64>,
    excess: Option<Box<Excess>>,
    is_guess: bool,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// A problem on the wire.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemBody {
    /// Which problem it is: stable, and the address of a page about it.
    #[serde(rename = "type")]
    #[schema(example = "/docs/problems/alias-taken")]
    pub kind: String,
    /// What the problem is, in general.
    #[schema(example = "The alias is taken")]
    pub title: &'static str,
    /// The HTTP status.
    #[schema(example = 409)]
    pub status: u16,
    /// What went wrong this time, and what to change.
    #[schema(example = "`summer1` names another link, or named one that was deleted; choose another alias")]
    pub detail: String,
    /// The field of the request that is wrong, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What to quote when asking for help; it stands in the logs.
    #[schema(example = "9f0c21aa-1d")]
    pub request_id: String,
}

impl Problem {
    /// A problem with a detail for its user.
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        let retry_after = (kind.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(1);
        Self { kind, detail: detail.into(), field: None, retry_after, excess: None, is_guess: false, source: None }
    }

    /// A field with a value that can't be used.
    pub fn field(kind: ProblemKind, field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { field: Some(field.into()), ..Self::new(kind, detail) }
    }

    /// The problem with what caused it, for the log alone.
    #[must_use]
    pub fn caused_by(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// The rate limit that was reached.
    pub fn excess(&self) -> Option<&Excess> {
        self.excess.as_deref()
    }

    /// The problem of whoever asked for what isn't there, which may have been a guess.
    #[must_use]
    pub const fn guessed(mut self) -> Self {
        self.is_guess = true;
        self
    }

    /// Whether it may have been a guess.
    pub const fn is_guess(&self) -> bool {
        self.is_guess
    }

    /// Which problem it is.
    pub const fn kind(&self) -> ProblemKind {
        self.kind
    }

    /// What to tell the user.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// What caused it.
    pub fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }

    /// The problem as it is sent.
    pub fn body(&self, request_id: &str) -> ProblemBody {
        ProblemBody {
            kind: format!("/docs/problems/{}", self.kind.slug()),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: self.detail.clone(),
            field: self.field.clone(),
            request_id: request_id.to_owned(),
        }
    }
}

/// Status and headers; the body is written by the outermost layer, which knows the request's id.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(excess) = &self.excess {
            show_excess(headers, excess);
        }
        if self.kind == ProblemKind::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"stint\""));
        }
        response.extensions_mut().insert(self);
        response
    }
}
