//! `/docs/problems/{slug}`: the page behind a problem's `type`.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::http::error::{Problem, ProblemKind};
use crate::http::pages;

/// What a problem means.
pub(in crate::http) async fn problem(slug: Result<Path<String>, PathRejection>) -> Result<Response, Problem> {
    let slug = slug.map_or_else(|_| String::new(), |path| path.0);
    let kind = ProblemKind::ALL.iter().find(|kind| kind.slug() == slug).ok_or_else(|| {
        Problem::new(ProblemKind::NotFound, "no problem has this name; see `type` in the answer you got")
    })?;
    let mut response = ([(header::CONTENT_TYPE, pages::HTML)], pages::explanation(*kind)).into_response();
    pages::protect(response.headers_mut());
    Ok(response)
}
