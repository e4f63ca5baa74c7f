//! A small HTTP client: it follows no redirects and shows every header.

use std::fmt::Debug;
use std::str::FromStr;

use axum::body::{Body, Bytes};
use axum::http::{self, HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// A client of one server.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: Legacy<HttpConnector, Body>,
    base: String,
    key: Option<String>,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Client {
    /// A client of the server at `base` (such as `http://127.0.0.1:8080`), with an API key or without.
    pub(crate) fn new(base: impl Into<String>, key: Option<&str>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http = Legacy::builder(TokioExecutor::new()).build(connector);
        Self { http, base: base.into(), key: key.map(str::to_owned) }
    }

    /// The same server, with another key or none.
    pub(crate) fn with_key(&self, key: Option<&str>) -> Self {
        Self { key: key.map(str::to_owned), ..self.clone() }
    }

    /// Sends a request as it is.
    pub(crate) async fn send(&self, request: Request<Body>) -> Response {
        self.try_send(request).await.expect("the server answers")
    }

    /// Sends a request; `None` if the connection breaks.
    pub(crate) async fn try_send(&self, request: Request<Body>) -> Option<Response> {
        let (parts, body) = self.http.request(request).await.ok()?.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        Some(Response { status: parts.status, headers: parts.headers, body })
    }

    /// Whether the server answers, and with 200.
    pub(crate) async fn try_get(&self, path: &str) -> bool {
        let answer = self.try_send(self.request(Method::GET, path, &[], Body::empty())).await;
        answer.is_some_and(|answer| answer.status == 200)
    }

    /// The value of a metric, by its name with its labels; of the admin port.
    pub(crate) async fn sample<T: FromStr<Err: Debug>>(&self, name: &str) -> Option<T> {
        let metrics = self.get("/metrics").await;
        let value = metrics.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map(|value| value.parse().expect("a sample is a number"))
    }

    /// The beginning of an answer, whose body is read by the caller.
    pub(crate) async fn open(&self, path: &str) -> http::Response<Incoming> {
        self.http.request(self.request(Method::GET, path, &[], Body::empty())).await.expect("the server answers")
    }

    /// A request to this server, with the key if there is one.
    pub(crate) fn request(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(body).expect("the test's request is well-formed")
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.get_with(path, &[]).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.send(self.request(Method::GET, path, headers, Body::empty())).await
    }

    pub(crate) async fn head(&self, path: &str) -> Response {
        self.send(self.request(Method::HEAD, path, &[], Body::empty())).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Response {
        self.send(self.request(Method::DELETE, path, &[], Body::empty())).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Response {
        self.post_with(path, &[], body).await
    }

    pub(crate) async fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Response {
        let headers: Vec<_> = headers.iter().copied().chain([("content-type", "application/json")]).collect();
        self.send(self.request(Method::POST, path, &headers, Body::from(body.to_string()))).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Response {
        let headers = [("content-type", "application/json")];
        self.send(self.request(Method::PATCH, path, &headers, Body::from(body.to_string()))).await
    }

    /// Creates a link and answers its JSON.
    pub(crate) async fn create(&self, body: &Value) -> Value {
        let response = self.post("/api/v1/links", body).await;
        assert!(response.status.is_success(), "{body} was answered with {response:?}");
        response.json()
    }

    /// The `Location` that a code redirects to.
    pub(crate) async fn location(&self, code: &str) -> String {
        let response = self.get(&format!("/{code}")).await;
        assert_eq!(response.status, StatusCode::FOUND, "{code}: {response:?}");
        response.header("location").to_owned()
    }
}

impl Response {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("the header is text"))
    }

    /// Checks that the answer is a whole problem of this kind, and answers its detail.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, slug: &str) -> String {
        assert_eq!(self.status.as_u16(), status, "{slug} was expected: {self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let body = self.json();
        assert_eq!(body["type"], format!("/docs/problems/{slug}"), "{body}");
        assert_eq!(body["status"], status, "{body}");
        assert_eq!(body["request_id"], self.header("x-request-id"), "{body}");
        let detail = body["detail"].as_str().unwrap_or_default();
        assert!(detail.len() > 10, "the detail says too little: {body}");
        detail.to_owned()
    }
}
