//! `/api/v1/namespaces`: where ids come from.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use stint_idgen::allocator::{NamespaceName, NamespaceSpec};
use utoipa::{IntoParams, ToSchema};

use crate::domain::access::Scope;
use crate::http::error::documented::{AccessProblems, BodyProblems, ServerProblems};
use crate::http::error::{Problem, ProblemBody, ProblemKind};
use crate::http::extract::{Authenticated, JsonBody, Query, given, namespace_name};
use crate::http::state::Api;
use crate::ports::coordination::NamespaceStatus;
use crate::service::namespaces::{INT53_LIMIT, NamespaceSettings};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

/// A request for a namespace.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct CreateNamespaceRequest {
    /// Its name: 1 to 64 of `a-z0-9._-`, beginning with a letter.
    #[schema(example = "orders")]
    name: String,
    /// Its first id, before the offset.
    #[schema(default = 1)]
    start: Option<u64>,
    /// How far apart neighbouring ids are: one stride for all regions that share a span.
    #[schema(default = 1, minimum = 1)]
    stride: Option<u64>,
    /// Which of the interleaved sequences this is, from 0 to below the stride: one for each region.
    #[schema(default = 0)]
    offset: Option<u64>,
    /// How many ids may be handed out in total; null for as many as there are.
    #[schema(minimum = 1)]
    quota: Option<u64>,
    /// Whether its ids stay below 2^53, exact in JavaScript.
    #[serde(default)]
    int53: bool,
}

/// A change to a namespace. Fields left out stay as they are.
#[expect(clippy::option_option, reason = "left out, null and a value are three things to say")]
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct UpdateNamespaceRequest {
    /// A new quota, what is handed out already included; null for none.
    #[serde(default, deserialize_with = "given")]
    #[schema(minimum = 1)]
    quota: Option<Option<u64>>,
}

/// What a namespace is made with.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct NamespaceSettingsBody {
    /// Its name.
    name: String,
    /// Its first id, before the offset.
    start: u64,
    /// Ids stay below.
    limit: u64,
    /// How far apart neighbouring ids are.
    stride: u64,
    /// Which of the interleaved sequences this is.
    offset: u64,
    /// How many ids may be handed out in total; null for as many as there are.
    quota: Option<u64>,
    /// Whether its ids stay below 2^53, exact in JavaScript.
    int53: bool,
}

/// A namespace and how its ids were spent: `granted = live + used + returned + lost`.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct NamespaceResponse {
    #[serde(flatten)]
    settings: NamespaceSettingsBody,
    /// The lowest id that may still be granted; the limit, if none may.
    floor: u64,
    /// How many ids may still be granted, the quota considered.
    left: u64,
    /// Ids granted.
    granted: u64,
    /// Ids held by nodes.
    live: u64,
    /// Ids reported as used.
    used: u64,
    /// Ids reported as not used: gaps.
    returned: u64,
    /// Ids of holders that vanished: gaps, or used.
    lost: u64,
}

/// A page of namespaces.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ListNamespacesResponse {
    /// The namespaces, by name.
    namespaces: Vec<NamespaceResponse>,
    /// The `after` of the next page; null at the end.
    next_after: Option<String>,
}

/// Which namespaces to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct ListNamespacesParams {
    /// Only names behind this one.
    after: Option<String>,
    /// At most so many, 1 to 1,000; 100 unless given.
    limit: Option<usize>,
}

impl NamespaceSettingsBody {
    fn new(name: NamespaceName, spec: &NamespaceSpec) -> Self {
        let &NamespaceSpec { start, limit, stride, offset, quota, .. } = spec;
        Self { name: name.into(), start, limit, stride, offset, quota, int53: limit <= INT53_LIMIT }
    }
}

impl From<NamespaceStatus> for NamespaceResponse {
    fn from(NamespaceStatus { name, spec, floor, totals }: NamespaceStatus) -> Self {
        let in_quota = spec.quota.map_or(u64::MAX, |quota| quota.saturating_sub(totals.granted));
        Self {
            settings: NamespaceSettingsBody::new(name, &spec),
            floor: spec.id(floor).unwrap_or(spec.limit),
            left: spec.counter_limit().saturating_sub(floor).min(in_quota),
            granted: totals.granted,
            live: totals.live,
            used: totals.used,
            returned: totals.returned,
            lost: totals.lost,
        }
    }
}

/// Make a namespace
///
/// Namespaces are for ever. Asking again with the same settings changes nothing.
#[utoipa::path(
    post,
    path = "/api/v1/namespaces",
    tag = "Ids",
    request_body = CreateNamespaceRequest,
    security(("bearer" = []), ("api_key" = [])),
    responses(
        (status = 201, description = "It was made", body = NamespaceSettingsBody),
        (status = 200, description = "It was there already", body = NamespaceSettingsBody),
        (status = 409, description = "`namespace-differs`, `too-many-namespaces`", body = ProblemBody,
         content_type = "application/problem+json"),
        (status = 422, description = "`invalid-field`", body = ProblemBody, content_type = "application/problem+json"),
        AccessProblems,
        BodyProblems,
        ServerProblems,
    )
)]
pub(in crate::http) async fn create_namespace(
    State(api): State<Arc<Api>>,
    authenticated: Authenticated,
    JsonBody(request): JsonBody<CreateNamespaceRequest>,
) -> Result<(StatusCode, Json<NamespaceSettingsBody>), Problem> {
    authenticated.allowed(Scope::Admin)?;
    let CreateNamespaceRequest { name, start, stride, offset, quota, int53 } = request;
    let name = namespace_name("name", name)?;
    let settings = NamespaceSettings { start, stride, offset, quota, int53 };
    let (spec, created) = api.namespaces.create(name.clone(), settings).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(NamespaceSettingsBody::new(name, &spec))))
}

/// List namespaces
///
/// By name, with those of Stint's own.
#[utoipa::path(
    get,
    path = "/api/v1/namespaces",
    tag = "Ids",
    params(ListNamespacesParams),
    security(("bearer" = []), ("api_key" = [])),
    responses(
        (status = 200, description = "A page of namespaces", body = ListNamespacesResponse),
        (status = 400, description = "`invalid-query`", body = ProblemBody, content_type = "application/problem+json"),
        AccessProblems,
        ServerProblems,
    )
)]
pub(in crate::http) async fn list_namespaces(
    State(api): State<Arc<Api>>,
    authenticated: Authenticated,
    Query(params): Query<ListNamespacesParams>,
) -> Result<Json<ListNamespacesResponse>, Problem> {
    authenticated.allowed(Scope::Ids)?;
    let limit = params.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Problem::new(ProblemKind::InvalidQuery, format!("use a `limit` of 1 to {MAX_LIMIT}")));
    }
    let page = api.namespaces.list(params.after.as_deref().unwrap_or_default(), limit).await?;
    let last = page.namespaces.last().filter(|_| page.more);
    let next_after = last.map(|namespace| namespace.name.as_str().to_owned());
    let namespaces = page.namespaces.into_iter().map(NamespaceResponse::from).collect();
    Ok(Json(ListNamespacesResponse { namespaces, next_after }))
}

/// See a namespace
#[utoipa::path(
    get,
    path = "/api/v1/namespaces/{name}",
    tag = "Ids",
    params(("name" = String, Path, description = "Its name", example = "orders")),
    security(("bearer" = []), ("api_key" = [])),
    responses(
        (status = 200, description = "The namespace", body = NamespaceResponse),
        (status = 404, description = "`namespace-not-found`", body = ProblemBody, content_type = "application/problem+json"),
        AccessProblems,
        ServerProblems,
    )
)]
pub(in crate::http) async fn get_namespace(
    State(api): State<Arc<Api>>,
    authenticated: Authenticated,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<NamespaceResponse>, Problem> {
    authenticated.allowed(Scope::Ids)?;
    Ok(Json(api.namespaces.get(&named(name)?).await?.into()))
}

/// Change a namespace's quota
///
/// Ids that are handed out already stay so, even if they are more than a new quota.
#[utoipa::path(
    patch,
    path = "/api/v1/namespaces/{name}",
    tag = "Ids",
    params(("name" = String, Path, description = "Its name", example = "orders")),
    request_body = UpdateNamespaceRequest,
    security(("bearer" = []), ("api_key" = [])),
    responses(
        (status = 200, description = "Its settings as they are now", body = NamespaceSettingsBody),
        (status = 404, description = "`namespace-not-found`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "`invalid-field`", body = ProblemBody, content_type = "application/problem+json"),
        AccessProblems,
        BodyProblems,
        ServerProblems,
    )
)]
pub(in crate::http) async fn update_namespace(
    State(api): State<Arc<Api>>,
    authenticated: Authenticated,
    name: Result<Path<String>, PathRejection>,
    JsonBody(request): JsonBody<UpdateNamespaceRequest>,
) -> Result<Json<NamespaceSettingsBody>, Problem> {
    authenticated.allowed(Scope::Admin)?;
    let name = named(name)?;
    let spec = match request.quota {
        Some(quota) => api.namespaces.set_quota(&name, quota).await?,
        None => api.namespaces.get(&name).await?.spec,
    };
    Ok(Json(NamespaceSettingsBody::new(name, &spec)))
}

/// The namespace in a path; a text that can't be a name is the name of none.
fn named(name: Result<Path<String>, PathRejection>) -> Result<NamespaceName, Problem> {
    name.ok().and_then(|Path(name)| name.parse().ok()).ok_or_else(|| {
        let detail =
            "no namespace has this name: names are 1 to 64 of a-z, 0-9, `.`, `_` and `-`, beginning with a letter";
        Problem::field(ProblemKind::NamespaceNotFound, "name", detail)
    })
}
