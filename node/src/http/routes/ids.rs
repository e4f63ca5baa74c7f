//! `/api/v1/ids` and `/api/v1/namespaces`: the public id service.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use stint_idgen::allocator::{NamespaceName, NamespaceSpec};
use stint_idgen::{IdRange, base62};
use utoipa::ToSchema;

use crate::domain::access::Scope;
use crate::http::error::documented::{AccessProblems, BodyProblems, ServerProblems};
use crate::http::error::{Problem, ProblemBody, ProblemKind};
use crate::http::extract::{Authenticated, JsonBody};
use crate::http::state::Api;
use crate::ports::id_source::MAX_BLOCK;

/// The first id of a namespace that names none.
const DEFAULT_START: u64 = 1;
/// One past the last id of an ordinary namespace: ids fit a signed 64-bit column.
const INT64_LIMIT: u64 = 1 << 63;
/// One past the last id of an `int53` namespace: ids are exact in JavaScript and other doubles.
const INT53_LIMIT: u64 = 1 << 53;

/// How ids are written.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::http) enum IdFormat {
    /// JSON numbers. Readers that use doubles lose digits above 2^53.
    #[default]
    Number,
    /// Decimal strings.
    String,
    /// Base62 strings, digits `0-9A-Za-z`.
    Base62,
    /// Ranges `{"start","end"}`, the end exclusive.
    Ranges,
}

/// A request for ids.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct IssueIdsRequest {
    /// The namespace to draw from.
    #[schema(example = "orders")]
    namespace: String,
    /// How many ids, 1 to 100,000.
    #[serde(default = "one")]
    #[schema(default = 1, minimum = 1, maximum = 100_000)]
    count: u64,
    /// How to write them.
    #[serde(default, rename = "as")]
    format: IdFormat,
}

const fn one() -> u64 {
    1
}

/// Ids that were issued: nobody else will ever get them.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct IssueIdsResponse {
    /// The namespace they belong to.
    namespace: String,
    /// The ids, in the order they were drawn (unless ranges were asked for).
    #[serde(skip_serializing_if = "Option::is_none")]
    ids: Option<Ids>,
    /// The ids as ranges (if asked for).
    #[serde(skip_serializing_if = "Option::is_none")]
    ranges: Option<Vec<RangeBody>>,
}

/// Ids in one of their forms.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(in crate::http) enum Ids {
    /// JSON numbers.
    Numbers(Vec<u64>),
    /// Decimal or Base62 strings.
    Strings(Vec<String>),
}

/// A range of ids.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct RangeBody {
    /// The first id.
    start: u64,
    /// One past the last id.
    end: u64,
}

impl IssueIdsResponse {
    fn new(namespace: String, ranges: &[IdRange], format: IdFormat) -> Self {
        let all = || ranges.iter().flat_map(|range| range.start()..range.end());
        let ids = match format {
            IdFormat::Number => Some(Ids::Numbers(all().collect())),
            IdFormat::String => Some(Ids::Strings(all().map(|id| id.to_string()).collect())),
            IdFormat::Base62 => Some(Ids::Strings(all().map(base62::shortest).collect())),
            IdFormat::Ranges => None,
        };
        let ranges =
            ids.is_none().then(|| ranges.iter().map(|r| RangeBody { start: r.start(), end: r.end() }).collect());
        Self { namespace, ids, ranges }
    }
}

/// Draw ids
///
/// The ids are unique within the namespace, for ever, over all nodes. They rise within one answer, and roughly over
/// answers; ids of nodes that stopped are gaps.
#[utoipa::path(
    post,
    path = "/api/v1/ids",
    tag = "Ids",
    request_body = IssueIdsRequest,
    security(("bearer" = []), ("api_key" = [])),
    responses(
        (status = 200, description = "The ids", body = IssueIdsResponse),
        (status = 404, description = "`namespace-not-found`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`ids-exhausted`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "`invalid-field`", body = ProblemBody, content_type = "application/problem+json"),
        AccessProblems,
        BodyProblems,
        ServerProblems,
    )
)]
pub(in crate::http) async fn issue_ids(
    State(api): State<Arc<Api>>,
    authenticated: Authenticated,
    JsonBody(request): JsonBody<IssueIdsRequest>,
) -> Result<Json<IssueIdsResponse>, Problem> {
    authenticated.allowed(Scope::Ids)?;
    let namespace = parse_name("namespace", request.namespace)?;
    let ranges = api.ids.issue(&namespace, request.count).await?;
    Ok(Json(IssueIdsResponse::new(namespace.as_str().to_owned(), &ranges, request.format)))
}

/// A request for a namespace.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct CreateNamespaceRequest {
    /// Its name: 1 to 64 of `a-z0-9._-`, beginning with a letter.
    #[schema(example = "orders")]
    name: String,
    /// Its first id.
    #[schema(default = 1)]
    start: Option<u64>,
    /// Whether its ids stay below 2^53, exact in JavaScript.
    #[serde(default)]
    int53: bool,
}

/// A namespace.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct CreateNamespaceResponse {
    /// Its name.
    name: String,
    /// Its first id.
    start: u64,
    /// One past its last id.
    limit: u64,
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
        (status = 201, description = "It was made", body = CreateNamespaceResponse),
        (status = 200, description = "It was there already", body = CreateNamespaceResponse),
        (status = 409, description = "`namespace-differs`", body = ProblemBody, content_type = "application/problem+json"),
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
) -> Result<(StatusCode, Json<CreateNamespaceResponse>), Problem> {
    authenticated.allowed(Scope::Admin)?;
    let name = parse_name("name", request.name)?;
    let limit = if request.int53 { INT53_LIMIT } else { INT64_LIMIT };
    let spec = NamespaceSpec::contiguous(request.start.unwrap_or(DEFAULT_START), limit, MAX_BLOCK);
    let (spec, created) = api.ids.create_namespace(name.clone(), spec).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let body = CreateNamespaceResponse { name: name.as_str().to_owned(), start: spec.start, limit: spec.limit };
    Ok((status, Json(body)))
}

fn parse_name(field: &str, text: String) -> Result<NamespaceName, Problem> {
    NamespaceName::try_from(text).map_err(|error| Problem::field(ProblemKind::InvalidField, field, error.to_string()))
}
