//! `/`: the front page and its script.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::http::pages;
use crate::http::state::Api;

/// The front page.
pub(in crate::http) async fn home(State(api): State<Arc<Api>>) -> Response {
    let body = pages::home(&api.settings.public_url, api.settings.anonymous_create);
    let mut response = ([(header::CONTENT_TYPE, pages::HTML)], body).into_response();
    pages::protect(response.headers_mut());
    response
}

/// Its script.
pub(in crate::http) async fn script() -> Response {
    let javascript = HeaderValue::from_static("text/javascript; charset=utf-8");
    ([(header::CONTENT_TYPE, javascript)], pages::HOME_SCRIPT).into_response()
}
