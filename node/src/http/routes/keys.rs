//! `/api/v1/keys`: API keys.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::domain::access::{Scope, Scopes};
use crate::domain::label::Title;
use crate::http::error::documented::{AccessProblems, BodyProblems, ServerProblems};
use crate::http::error::{Problem, ProblemBody, ProblemKind};
use crate::http::extract::{Authenticated, JsonBody, Query};
use crate::http::state::Api;
use crate::ports::key_store::KeyRecord;

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;
/// Owners that are there from the start. A key's name doesn't make it theirs by accident.
const BUILT_IN_OWNERS: [&str; 2] = ["anonymous", "admin"];

/// A request for an API key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct CreateKeyRequest {
    /// What the key is for: 1 to 300 characters.
    #[schema(example = "newsletter")]
    name: String,
    /// Whose links it makes and sees; keys of one owner share them. The key's name, unless given.
    #[schema(example = "marketing")]
    owner: Option<String>,
    /// What it may do: `links:read`, `links:write`, `ids`, `admin`.
    #[schema(example = json!(["links:read", "links:write"]))]
    scopes: Vec<String>,
}

/// An API key, without the key itself.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct KeyResponse {
    /// Its number.
    id: i64,
    /// What it is for.
    name: String,
    /// Whose links it makes and sees.
    owner: String,
    /// The owner's number, as links show it.
    owner_id: i64,
    /// What it may do.
    scopes: Vec<&'static str>,
    /// When it was made, RFC 3339.
    created_at: String,
    /// When it was revoked, RFC 3339.
    revoked_at: Option<String>,
}

/// A new API key.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct CreateKeyResponse {
    /// The key. It is shown this once.
    #[schema(example = "stint_0f5c3d9a…")]
    key: String,
    #[serde(flatten)]
    record: KeyResponse,
}

/// A page of API keys.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ListKeysResponse {
    /// The keys, by number.
    keys: Vec<KeyResponse>,
    /// The `after` of the next page; null at the end.
    next_after: Option<i64>,
}

/// Which keys to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct ListKeysParams {
    /// Only keys above this number.
    after: Option<i64>,
    /// At most so many, 1 to 1,000; 100 unless given.
    limit: Option<usize>,
}

impl From<KeyRecord> for KeyResponse {
    fn from(record: KeyRecord) -> Self {
        Self {
            id: record.id,
            name: record.name.to_string(),
            owner: record.owner_name.to_string(),
            owner_id: record.owner.0,
            scopes: record.scopes.iter().map(Scope::as_str).collect(),
            created_at: record.created_at.to_string(),
            revoked_at: record.revoked_at.map(|moment| moment.to_string()),
        }
    }
}

/// Make an API key
#[utoipa::path(
    post,
    path = "/api/v1/keys",
    tag = "Keys",
    request_body = CreateKeyRequest,
    security(("bearer" = []), ("api_key" = [])),
    responses(
        (status = 201, description = "The key, shown this once", body = CreateKeyResponse),
        (status = 422, description = "`invalid-field`", body = ProblemBody, content_type = "application/problem+json"),
        AccessProblems,
        BodyProblems,
        ServerProblems,
    )
)]
pub(in crate::http) async fn create_key(
    State(api): State<Arc<Api>>,
    authenticated: Authenticated,
    JsonBody(request): JsonBody<CreateKeyRequest>,
) -> Result<(StatusCode, Json<CreateKeyResponse>), Problem> {
    authenticated.allowed(Scope::Admin)?;
    let name = parse_title("name", &request.name)?;
    let owner = parse_title("owner", request.owner.as_deref().unwrap_or(&request.name))?;
    if request.owner.is_none() && BUILT_IN_OWNERS.contains(&owner.as_str()) {
        return Err(Problem::field(
            ProblemKind::InvalidField,
            "owner",
            format!("`{owner}` is a built-in owner; name the owner to mean it, or name the key otherwise"),
        ));
    }
    let (key, record) = api.keys.create(name, owner, parse_scopes(&request.scopes)?).await?;
    let body = CreateKeyResponse { key: key.expose().to_owned(), record: record.into() };
    Ok((StatusCode::CREATED, Json(body)))
}

fn parse_title(field: &str, text: &str) -> Result<Title, Problem> {
    text.parse().map_err(|error| Problem::field(ProblemKind::InvalidField, field, format!("{error}")))
}

fn parse_scopes(texts: &[String]) -> Result<Scopes, Problem> {
    let refuse = |detail: String| Problem::field(ProblemKind::InvalidField, "scopes", detail);
    let scopes: Scopes =
        texts.iter().map(|text| text.parse::<Scope>()).collect::<Result<_, _>>().map_err(|e| refuse(e.to_string()))?;
    if scopes.is_empty() { Err(refuse("give the key at least one scope".to_owned())) } else { Ok(scopes) }
}

/// List API keys
#[utoipa::path(
    get,
    path = "/api/v1/keys",
    tag = "Keys",
    params(ListKeysParams),
    security(("bearer" = []), ("api_key" = [])),
    responses(
        (status = 200, description = "The keys, revoked ones too", body = ListKeysResponse),
        (status = 400, description = "`invalid-query`", body = ProblemBody, content_type = "application/problem+json"),
        AccessProblems,
        ServerProblems,
    )
)]
pub(in crate::http) async fn list_keys(
    State(api): State<Arc<Api>>,
    authenticated: Authenticated,
    Query(params): Query<ListKeysParams>,
) -> Result<Json<ListKeysResponse>, Problem> {
    authenticated.allowed(Scope::Admin)?;
    let limit = params.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Problem::new(ProblemKind::InvalidQuery, format!("use a limit of 1 to {MAX_LIMIT}")));
    }
    let records = api.keys.list(params.after.unwrap_or(0), limit).await?;
    let next_after = if records.len() == limit { records.last().map(|record| record.id) } else { None };
    Ok(Json(ListKeysResponse { keys: records.into_iter().map(KeyResponse::from).collect(), next_after }))
}

/// Revoke an API key
///
/// It stops working within a second, on every node, for good. Its owner's links stay.
#[utoipa::path(
    delete,
    path = "/api/v1/keys/{id}",
    tag = "Keys",
    params(("id" = i64, Path, description = "The key's number")),
    security(("bearer" = []), ("api_key" = [])),
    responses(
        (status = 204, description = "It is revoked"),
        (status = 404, description = "`key-not-found`", body = ProblemBody, content_type = "application/problem+json"),
        AccessProblems,
        ServerProblems,
    )
)]
pub(in crate::http) async fn revoke_key(
    State(api): State<Arc<Api>>,
    authenticated: Authenticated,
    id: Result<Path<i64>, PathRejection>,
) -> Result<StatusCode, Problem> {
    authenticated.allowed(Scope::Admin)?;
    let missing = || Problem::new(ProblemKind::KeyNotFound, "no API key has this number; see GET /api/v1/keys");
    let Path(id) = id.map_err(|_| missing())?;
    api.keys.revoke(id).await?.ok_or_else(missing)?;
    Ok(StatusCode::NO_CONTENT)
}
