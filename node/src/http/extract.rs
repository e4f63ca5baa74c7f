//! What handlers take from a request, with every refusal a problem that says what to change.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, MatchedPath, OptionalFromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use std::sync::Arc;
use stint_idgen::allocator::NamespaceName;

use super::error::{Problem, ProblemKind};
use super::limits::Sender;
use super::state::Api;
use crate::domain::access::{ApiKeyHash, Caller, OwnerId, Scope};
use crate::domain::rate::{Client, Policy};
use crate::service::limits::{Excess, Standing};

/// The most characters of a parser's words, which quote the client's, that are sent back.
const LONGEST_DETAIL: usize = 300;

/// A JSON body.
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Problem> {
        check_content_type(request.headers())?;
        let limit = api.settings.max_body_size;
        let _held = api.body_budget.take(announced_length(request.headers(), limit)).ok_or_else(|| {
            Problem::new(ProblemKind::Overloaded, "too many bodies are being read; try again shortly")
        })?;
        // Half of the request's time: the rest is for the answer.
        let reading = tokio::time::timeout(api.settings.request_timeout / 2, read_body(request, limit)).await;
        let bytes = reading.unwrap_or_else(|_| {
            Err(Problem::new(
                ProblemKind::BodyTooSlow,
                "the body did not arrive in time; send it faster, or in smaller pieces",
            ))
        })?;
        object(&bytes).map(Self)
    }
}

/// A JSON object, as bytes, as the value it stands for.
pub(super) fn object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        Problem::new(ProblemKind::MalformedBody, format!("the body is not UTF-8: see byte {at}"))
    })?;
    check_object(text)?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(refuse_json)?;
    reader.end().map_err(|error| Problem::new(ProblemKind::MalformedBody, error.to_string()))?;
    Ok(value)
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    match content_type(headers).as_deref() {
        Some("application/json" | "application/merge-patch+json") => Ok(()),
        other => Err(wrong_content_type(other, "JSON as application/json")),
    }
}

/// The media type of the body, without its parameters.
pub(super) fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or("").trim().to_ascii_lowercase())
}

/// The refusal of a body that is announced as `found`, where `wanted` is taken.
pub(super) fn wrong_content_type(found: Option<&str>, wanted: &str) -> Problem {
    let detail = match found {
        Some(found) => format!("the body is announced as `{}`; send {wanted}", found.escape_default()),
        None => format!("the body's type is missing; send {wanted}, named in Content-Type"),
    };
    Problem::new(ProblemKind::UnsupportedMediaType, detail)
}

/// The length that is announced, if it is believable; the most there can be, if it isn't.
fn announced_length(headers: &HeaderMap, limit: usize) -> usize {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    announced.unwrap_or(limit).min(limit)
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
    let detail: String = said.split(" at line ").next().unwrap_or(&said).chars().take(LONGEST_DETAIL).collect();
    // A missing or repeated field is named in the words only, between back-quotes.
    let named = if path == "." { said.split('`').nth(1).map(str::to_owned) } else { Some(path) };
    match named {
        Some(field) => Problem::field(ProblemKind::InvalidField, field, detail),
        None => Problem::new(ProblemKind::InvalidField, detail),
    }
}

/// The name of a namespace in `field` of a request.
pub(super) fn namespace_name(field: &str, text: String) -> Result<NamespaceName, Problem> {
    NamespaceName::try_from(text).map_err(|error| Problem::field(ProblemKind::InvalidField, field, error.to_string()))
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

/// The name of a link in a path: what stands in its place in the route; for a route that is itself the name of a link
/// (`…/bulk`), its last segment. One that isn't UTF-8 is no name of anything.
pub(super) struct Name(pub(super) String);

impl FromRequestParts<Arc<Api>> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        type Path = axum::extract::Path<String>;
        let has_place = parts.extensions.get::<MatchedPath>().is_some_and(|route| route.as_str().contains('{'));
        let name = if has_place {
            <Path as FromRequestParts<Arc<Api>>>::from_request_parts(parts, api).await.ok().map(|path| path.0)
        } else {
            parts.uri.path().rsplit('/').next().map(str::to_owned)
        };
        name.map(Self).ok_or_else(|| {
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
        let Some(caller) = api.keys.authenticate(key).await? else {
            let detail = "the API key is unknown or revoked; check it, or ask for a new one";
            return Err(Problem::new(ProblemKind::Unauthorized, detail).guessed());
        };
        if let Some(Sender(sender)) = parts.extensions.get::<Sender>()
            && is_about_one_link(parts)
            && !caller.scopes.allow(Scope::Admin)
        {
            api.clients.limits.admit(*sender)?;
        }
        Ok(Some(Self(caller)))
    }
}

/// Whether the answer tells if a link is there.
fn is_about_one_link(parts: &Parts) -> bool {
    parts.extensions.get::<MatchedPath>().is_some_and(|route| route.as_str().starts_with("/api/v1/links/{code}"))
}

/// Who may create links: a caller with the scope, or anybody where that is allowed. It is known before the body is read.
pub(super) struct Creator {
    /// Whose the links will be.
    pub(super) owner: OwnerId,
    /// Whose allowance they are taken from, where one is set.
    limited: Option<(Policy, Client)>,
}

impl Creator {
    /// Whether there is a limit.
    pub(super) const fn is_limited(&self) -> bool {
        self.limited.is_some()
    }

    /// Takes some links of the allowance; nothing if there is no limit.
    pub(super) async fn take(&self, api: &Api, wanted: u32) -> Option<Standing> {
        let (policy, client) = self.limited?;
        api.clients.limits.take(policy, client, wanted).await
    }

    async fn take_one(&self, api: &Api) -> Result<Option<Standing>, Excess> {
        match self.limited {
            Some((policy, client)) => api.clients.limits.take_one(policy, client).await,
            None => Ok(None),
        }
    }
}

impl FromRequestParts<Arc<Api>> for Creator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        match <Authenticated as OptionalFromRequestParts<Arc<Api>>>::from_request_parts(parts, api).await? {
            Some(authenticated) => {
                let caller = authenticated.allowed(Scope::LinksWrite)?;
                let is_limited = api.clients.limits.is_set(Policy::Create) && !caller.scopes.allow(Scope::Admin);
                let key = presented_key(&parts.headers)?.filter(|_| is_limited);
                let limited = key.map(|key| (Policy::Create, Client::of_key(&ApiKeyHash::of(key))));
                Ok(Self { owner: caller.owner, limited })
            }
            None if api.settings.anonymous_create => {
                let is_limited = api.clients.limits.is_set(Policy::Anonymous);
                let sender = parts.extensions.get::<Sender>().filter(|_| is_limited);
                Ok(Self { owner: OwnerId::ANONYMOUS, limited: sender.map(|sender| (Policy::Anonymous, sender.0)) })
            }
            None => Err(Problem::new(
                ProblemKind::Unauthorized,
                "creating links needs an API key here: Authorization: Bearer KEY, or X-Api-Key: KEY",
            )),
        }
    }
}

/// Who may create one link, which is taken from its allowance before the body is read.
pub(super) struct CreatorOfOne {
    /// Whose the link will be.
    pub(super) owner: OwnerId,
    /// What is left of the allowance.
    pub(super) standing: Option<Standing>,
}

impl FromRequestParts<Arc<Api>> for CreatorOfOne {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let creator = Creator::from_request_parts(parts, api).await?;
        let standing = creator.take_one(api).await?;
        Ok(Self { owner: creator.owner, standing })
    }
}

fn presented_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let malformed = || {
        Problem::new(ProblemKind::Unauthorized, "send the API key as `Authorization: Bearer KEY` or `X-Api-Key: KEY`")
    };
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let (scheme, key) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or_else(malformed)?;
        let fits = scheme.eq_ignore_ascii_case("bearer") && !key.trim().is_empty();
        return if fits { Ok(Some(key.trim())) } else { Err(malformed()) };
    }
    match headers.get("x-api-key") {
        Some(value) => {
            let key = value.to_str().map_err(|_| malformed())?.trim();
            if key.is_empty() { Err(malformed()) } else { Ok(Some(key)) }
        }
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

/// Tells `null` (given, and none) from a field that was left out.
#[expect(clippy::option_option, reason = "left out, null and a value are three things to say")]
pub(super) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
