//! What handlers take from a request, with every refusal a problem that says what to change.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use std::sync::Arc;

use super::error::{Problem, ProblemKind};
use super::state::Api;
use crate::domain::access::{Caller, Scope};

/// A JSON body.
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Problem> {
        check_content_type(request.headers())?;
        let bytes = read_body(request, api.settings.max_body_size).await?;
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let at = error.valid_up_to();
            Problem::new(ProblemKind::MalformedBody, format!("the body is not UTF-8: see byte {at}"))
        })?;
        check_object(text)?;
        let mut reader = serde_json::Deserializer::from_str(text);
        let value = serde_path_to_error::deserialize(&mut reader).map_err(refuse_json)?;
        reader.end().map_err(|error| Problem::new(ProblemKind::MalformedBody, error.to_string()))?;
        Ok(Self(value))
    }
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let media_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(|value| value.split(';').next().unwrap_or("").trim().to_ascii_lowercase());
    match media_type.as_deref() {
        Some("application/json" | "application/merge-patch+json") => Ok(()),
        Some(other) => Err(Problem::new(
            ProblemKind::UnsupportedMediaType,
            format!("the body is announced as `{}`; send JSON as application/json", other.escape_default()),
        )),
        None => Err(Problem::new(
            ProblemKind::UnsupportedMediaType,
            "the body's type is missing; send JSON with Content-Type: application/json",
        )),
    }
}

async fn read_body(request: Request, limit: usize) -> Result<Bytes, Problem> {
    let body = Limited::new(request.into_body(), limit).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            Problem::new(ProblemKind::BodyTooLarge, format!("send at most {limit} bytes"))
        } else {
            Problem::new(ProblemKind::MalformedBody, "the body ended before it was complete")
        }
    })?;
    Ok(body.to_bytes())
}

/// Refuses anything but an object. (A derived reader would take a list for an object with its names left out.)
fn check_object(text: &str) -> Result<(), Problem> {
    if text.trim_start().starts_with('{') {
        return Ok(());
    }
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => Err(Problem::new(ProblemKind::InvalidField, "the body must be a JSON object: {\"name\": value, …}")),
        Err(error) => Err(Problem::new(ProblemKind::MalformedBody, error.to_string())),
    }
}

fn refuse_json(error: serde_path_to_error::Error<serde_json::Error>) -> Problem {
    let path = error.path().to_string();
    let inner = error.into_inner();
    let said = inner.to_string();
    if !inner.is_data() {
        return Problem::new(ProblemKind::MalformedBody, said);
    }
    // Where it stands is of no use once the field is named.
    let detail = said.split(" at line ").next().unwrap_or(&said).to_owned();
    // A missing or repeated field is named in the words only, between back-quotes.
    let named = if path == "." { said.split('`').nth(1).map(str::to_owned) } else { Some(path) };
    match named {
        Some(field) => Problem::field(ProblemKind::InvalidField, field, detail),
        None => Problem::new(ProblemKind::InvalidField, detail),
    }
}

/// Query parameters.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Api>> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Result<Self, Problem> {
        let query = axum::extract::Query::<T>::try_from_uri(&parts.uri).map_err(|rejection| {
            let detail = rejection.body_text();
            let detail = detail.strip_prefix("Failed to deserialize query string: ").unwrap_or(&detail);
            Problem::new(ProblemKind::InvalidQuery, detail)
        })?;
        Ok(Self(query.0))
    }
}

/// The last segment of a path. One that isn't UTF-8 is no name of anything.
pub(super) struct Name(pub(super) String);

impl FromRequestParts<Arc<Api>> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        type Path = axum::extract::Path<String>;
        let path = <Path as FromRequestParts<Arc<Api>>>::from_request_parts(parts, api).await;
        path.map(|path| Self(path.0)).map_err(|_| {
            Problem::new(
                ProblemKind::LinkNotFound,
                "no link has this code; a code is made of A-Z, a-z, 0-9, `_` and `-`",
            )
        })
    }
}

/// A caller with a good API key.
pub(super) struct Authenticated(pub(super) Caller);

impl Authenticated {
    /// The caller, if its key has the scope.
    pub(super) fn allowed(self, scope: Scope) -> Result<Caller, Problem> {
        if self.0.scopes.allow(scope) {
            return Ok(self.0);
        }
        Err(Problem::new(ProblemKind::Forbidden, format!("the API key lacks the scope `{}`", scope.as_str())))
    }
}

impl FromRequestParts<Arc<Api>> for Authenticated {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        <Self as OptionalFromRequestParts<Arc<Api>>>::from_request_parts(parts, api).await?.ok_or_else(|| {
            Problem::new(ProblemKind::Unauthorized, "send an API key: Authorization: Bearer KEY, or X-Api-Key: KEY")
        })
    }
}

/// No key at all is `None`; a key that isn't good is refused all the same.
impl OptionalFromRequestParts<Arc<Api>> for Authenticated {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Option<Self>, Problem> {
        let Some(key) = presented_key(&parts.headers)? else { return Ok(None) };
        match api.keys.authenticate(key).await? {
            Some(caller) => Ok(Some(Self(caller))),
            None => Err(Problem::new(
                ProblemKind::Unauthorized,
                "the API key is unknown or revoked; check it, or ask for a new one",
            )),
        }
    }
}

fn presented_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let malformed =
        || Problem::new(ProblemKind::Unauthorized, "the Authorization header must be of the form `Bearer KEY`");
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let (scheme, key) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or_else(malformed)?;
        return if scheme.eq_ignore_ascii_case("bearer") { Ok(Some(key.trim())) } else { Err(malformed()) };
    }
    match headers.get("x-api-key") {
        Some(value) => Ok(Some(value.to_str().map_err(|_| malformed())?.trim())),
        None => Ok(None),
    }
}

/// The `Idempotency-Key` header, if there is one.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=255).contains(&key.len()) && values.next().is_none());
    key.map(Some).ok_or_else(|| {
        Problem::new(
            ProblemKind::InvalidIdempotencyKey,
            "send one Idempotency-Key of 1 to 255 printable ASCII characters, such as a UUID",
        )
    })
}
