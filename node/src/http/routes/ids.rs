//! `/api/v1/ids`: drawing ids.

pub(in crate::http) mod audit;
pub(in crate::http) mod decode;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use stint_idgen::base62;
use utoipa::ToSchema;

use crate::domain::access::Scope;
use crate::http::error::documented::{AccessProblems, BodyProblems, ServerProblems};
use crate::http::error::{Problem, ProblemBody};
use crate::http::extract::{Authenticated, JsonBody, namespace_name};
use crate::http::state::Api;
use crate::ports::id_source::IdRun;

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
    /// Ranges `{"start","end"}`, the end exclusive, with a `"step"` where it isn't 1.
    Ranges,
}

/// A request for ids.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct IssueIdsRequest {
    /// The namespace to draw from.
    #[schema(example = "orders")]
    namespace: String,
    /// How many ids, 1 to 100,000; as `ranges` up to 10,000,000, but for `snowflake`.
    #[serde(default = "one")]
    #[schema(default = 1, minimum = 1, maximum = 10_000_000)]
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

/// Ids at equal distances: `start`, `start + step`, … below `end`; `(end - start) / step` of them.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct RangeBody {
    /// The first id.
    start: u64,
    /// One step past the last id.
    end: u64,
    /// How far apart neighbours are; 1 unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<u64>,
}

impl From<IdRun> for RangeBody {
    fn from(run: IdRun) -> Self {
        Self { start: run.first(), end: run.end(), step: Some(run.step()).filter(|step| *step != 1) }
    }
}

impl IssueIdsResponse {
    fn new(namespace: String, runs: Vec<IdRun>, format: IdFormat) -> Self {
        let all = || runs.iter().flat_map(|run| run.ids());
        let ids = match format {
            IdFormat::Number => Ids::Numbers(all().collect()),
            IdFormat::String => Ids::Strings(all().map(|id| id.to_string()).collect()),
            IdFormat::Base62 => Ids::Strings(all().map(base62::shortest).collect()),
            IdFormat::Ranges => {
                let ranges = runs.into_iter().map(RangeBody::from).collect();
                return Self { namespace, ids: None, ranges: Some(ranges) };
            }
        };
        Self { namespace, ids: Some(ids), ranges: None }
    }
}

/// Draw ids
///
/// The ids are unique within the namespace, for ever, over all nodes. They rise within one answer, and roughly over
/// answers; ids of nodes that stopped are gaps. Those of `snowflake` tell their time and need `--ids snowflake`.
#[utoipa::path(
    post,
    path = "/api/v1/ids",
    tag = "Ids",
    request_body = IssueIdsRequest,
    security(("bearer" = []), ("api_key" = [])),
    responses(
        (status = 200, description = "The ids", body = IssueIdsResponse),
        (status = 404, description = "`namespace-not-found`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`quota-reached`, `ids-exhausted`", body = ProblemBody, content_type = "application/problem+json"),
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
    let namespace = namespace_name("namespace", request.namespace)?;
    let as_ranges = matches!(request.format, IdFormat::Ranges);
    let runs = api.ids.issue(&namespace, request.count, as_ranges).await?;
    Ok(Json(IssueIdsResponse::new(namespace.into(), runs, request.format)))
}
