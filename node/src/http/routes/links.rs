//! `/api/v1/links`: creating, seeing, listing, changing and deleting links.

pub(in crate::http) mod bulk;
pub(in crate::http) mod qr;
pub(in crate::http) mod stats;
mod wire;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use self::wire::{CreateLinkRequest, LinkResponse, ListLinksParams, ListLinksResponse, UpdateLinkRequest};
use crate::domain::access::{Caller, OwnerId, Scope};
use crate::domain::link::Link;
use crate::http::error::documented::{AccessProblems, BodyProblems, LinkProblems, ServerProblems};
use crate::http::error::{Problem, ProblemBody, ProblemKind};
use crate::http::extract::{Authenticated, CreatorOfOne, JsonBody, Name, Query, idempotency_key};
use crate::http::limits::show_standing;
use crate::http::state::Api;
use crate::metrics::LinkMetrics;
use crate::ports::link_store::Idempotency;
use crate::service::create::CreateRequest;
use crate::service::links::{LinkError, ListRequest};

/// Create a link
///
/// Answers after the link is durable. A request with nothing but a `url` gets the owner's existing link of that URL, if
/// there is one (200), unless `reuse` is false. With an `Idempotency-Key`, a repeat within 24 hours gets the same link.
#[utoipa::path(
    post,
    path = "/api/v1/links",
    tag = "Links",
    params(("Idempotency-Key" = Option<String>, Header,
            description = "1 to 255 printable ASCII characters, new for each new request, such as a UUID")),
    request_body = CreateLinkRequest,
    security((), ("bearer" = []), ("api_key" = [])),
    responses(
        (status = 201, description = "The link was created", body = LinkResponse,
         headers(("Location" = String, description = "The short URL"), ("RateLimit" = String, description = "What is \
         left, where there is a limit"), ("RateLimit-Policy" = String, description = "How much one client may do"))),
        (status = 200, description = "An existing link was reused", body = LinkResponse,
         headers(("Location" = String, description = "The short URL"), ("RateLimit" = String, description = "What is \
         left, where there is a limit"), ("RateLimit-Policy" = String, description = "How much one client may do"))),
        (status = 409, description = "`alias-taken`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 410, description = "`link-deleted`: the link that this request made before", body = ProblemBody,
         content_type = "application/problem+json"),
        (status = 422, description = "`invalid-url`, `link-loop`, `invalid-alias`, `alias-reserved`, `invalid-field`, \
         `idempotency-key-reused`", body = ProblemBody, content_type = "application/problem+json"),
        AccessProblems,
        BodyProblems,
        ServerProblems,
    )
)]
pub(in crate::http) async fn create_link(
    State(api): State<Arc<Api>>,
    CreatorOfOne { owner, standing }: CreatorOfOne,
    headers: HeaderMap,
    JsonBody(body): JsonBody<CreateLinkRequest>,
) -> Result<Response, Problem> {
    let created = create(&api, owner, &headers, body).await;
    count(&api.link_metrics, created.as_ref().map(|(_, created)| *created));
    let (link, created) = created?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let link = LinkResponse::new(&api, &link);
    let location = HeaderValue::from_str(&link.short_url).ok();
    let mut response = (status, Json(link)).into_response();
    if let Some(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    if let Some(standing) = &standing {
        show_standing(response.headers_mut(), standing);
    }
    Ok(response)
}

async fn create(
    api: &Api,
    owner: OwnerId,
    headers: &HeaderMap,
    body: CreateLinkRequest,
) -> Result<(Arc<Link>, bool), Problem> {
    let idempotency = idempotency_key(headers)?
        .map(|key| Idempotency { key: key.to_owned(), request_hash: Sha256::digest(body.canonical()).into() });
    created(api, body.validate(owner, idempotency)?).await
}

/// Creates a link; the flag says whether it is new.
async fn created(api: &Api, request: CreateRequest) -> Result<(Arc<Link>, bool), Problem> {
    let created = api.create.create(request).await?;
    if created.link.content.is_none() {
        return Err(Problem::new(ProblemKind::LinkDeleted, "the link that this request made was deleted since"));
    }
    Ok((created.link, created.created))
}

/// Counts what a request to create a link came to: whether the link is new.
fn count(metrics: &LinkMetrics, created: Result<bool, &Problem>) {
    match created {
        Ok(true) => &metrics.created,
        Ok(false) => &metrics.reused,
        Err(problem) if problem.kind().status().is_server_error() => &metrics.create_failed,
        Err(_) => &metrics.refused,
    }
    .increment(1);
}

/// List links
///
/// Live links, newest first. A search (`q`) reads at most 10,000 links for one answer: it may be short, or empty, with
/// a `next_cursor` to go on from.
#[utoipa::path(
    get,
    path = "/api/v1/links",
    tag = "Links",
    params(ListLinksParams),
    security(("bearer" = []), ("api_key" = [])),
    responses(
        (status = 200, description = "A page of links", body = ListLinksResponse),
        (status = 400, description = "`invalid-query`", body = ProblemBody, content_type = "application/problem+json"),
        AccessProblems,
        ServerProblems,
    )
)]
pub(in crate::http) async fn list_links(
    State(api): State<Arc<Api>>,
    authenticated: Authenticated,
    Query(params): Query<ListLinksParams>,
) -> Result<Json<ListLinksResponse>, Problem> {
    let caller = authenticated.allowed(Scope::LinksRead)?;
    let owner = params.owner(caller)?;
    let (after, limit) = (params.after()?, params.limit()?);
    if owner.is_none() && params.tag.is_some() {
        return Err(Problem::new(ProblemKind::InvalidQuery, "a `tag` belongs to one owner: name it instead of `all`"));
    }
    let page = api.links.list(ListRequest { owner, search: params.q, tag: params.tag, after, limit }).await?;
    Ok(Json(ListLinksResponse::new(&api, &page)))
}

/// See a link
#[utoipa::path(
    get,
    path = "/api/v1/links/{code}",
    tag = "Links",
    params(("code" = String, Path, description = "A code or alias")),
    security(("bearer" = []), ("api_key" = [])),
    responses(
        (status = 200, description = "The link", body = LinkResponse),
        AccessProblems,
        LinkProblems,
        ServerProblems,
    )
)]
pub(in crate::http) async fn get_link(
    State(api): State<Arc<Api>>,
    authenticated: Authenticated,
    Name(code): Name,
) -> Result<Json<LinkResponse>, Problem> {
    let caller = authenticated.allowed(Scope::LinksRead)?;
    let link = api.links.get(&code, caller).await.map_err(|error| refused(error, caller))?;
    Ok(Json(LinkResponse::new(&api, &link)))
}

/// Change a link
///
/// Only the fields given are changed; null takes a field away. Every node follows the change within a second.
#[utoipa::path(
    patch,
    path = "/api/v1/links/{code}",
    tag = "Links",
    params(("code" = String, Path, description = "A code or alias")),
    request_body = UpdateLinkRequest,
    security(("bearer" = []), ("api_key" = [])),
    responses(
        (status = 200, description = "The link as it is now", body = LinkResponse),
        (status = 422, description = "`invalid-url`, `link-loop`, `invalid-field`", body = ProblemBody,
         content_type = "application/problem+json"),
        AccessProblems,
        BodyProblems,
        LinkProblems,
        ServerProblems,
    )
)]
pub(in crate::http) async fn update_link(
    State(api): State<Arc<Api>>,
    authenticated: Authenticated,
    Name(code): Name,
    JsonBody(body): JsonBody<UpdateLinkRequest>,
) -> Result<Json<LinkResponse>, Problem> {
    let caller = authenticated.allowed(Scope::LinksWrite)?;
    let updated = api.links.update(&code, body.validate()?, caller).await;
    let link = updated.map_err(|error| refused(error, caller))?;
    Ok(Json(LinkResponse::new(&api, &link)))
}

/// Delete a link
///
/// Its URL, title and tags are erased. Its code answers 410 and is never used again.
#[utoipa::path(
    delete,
    path = "/api/v1/links/{code}",
    tag = "Links",
    params(("code" = String, Path, description = "A code or alias")),
    security(("bearer" = []), ("api_key" = [])),
    responses(
        (status = 204, description = "It is deleted"),
        AccessProblems,
        LinkProblems,
        ServerProblems,
    )
)]
pub(in crate::http) async fn delete_link(
    State(api): State<Arc<Api>>,
    authenticated: Authenticated,
    Name(code): Name,
) -> Result<StatusCode, Problem> {
    let caller = authenticated.allowed(Scope::LinksWrite)?;
    api.links.delete(&code, caller).await.map_err(|error| refused(error, caller))?;
    Ok(StatusCode::NO_CONTENT)
}

/// A link that isn't there, or is somebody else's, may have been guessed.
fn refused(error: LinkError, caller: Caller) -> Problem {
    let is_guess = matches!(error, LinkError::Missing | LinkError::Foreign) && !caller.scopes.allow(Scope::Admin);
    let problem = Problem::from(error);
    if is_guess { problem.guessed() } else { problem }
}
