//! `GET /api/v1/ids/{id}`: what an id is.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use stint_idgen::allocator::{GrantFate, GrantRecord, NamespaceName};
use stint_idgen::base62;
use stint_idgen::snowflake::Snowflake;
use utoipa::{IntoParams, ToSchema};

use super::RangeBody;
use crate::domain::access::Scope;
use crate::domain::timestamp::UnixMs;
use crate::http::error::documented::{AccessProblems, ServerProblems};
use crate::http::error::{Problem, ProblemBody, ProblemKind};
use crate::http::extract::{Authenticated, Query, namespace_name};
use crate::http::state::Api;
use crate::service::decode_ids::{DecodeError, DecodedId, Standing, Trace};

/// How to read the id.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct DecodeParams {
    /// The namespace that the id is of; `links` with the scope `admin`.
    #[param(required = true)]
    namespace: Option<String>,
    /// How the id is written. Decimal digits are a decimal number unless this is `base62`.
    #[serde(rename = "as")]
    #[param(inline)]
    form: Option<IdForm>,
}

/// How one id is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum IdForm {
    /// In decimal.
    Number,
    /// In decimal.
    String,
    /// In Base62, digits `0-9A-Za-z`; of a link, its code.
    Base62,
}

/// What is known of an id.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct DecodedIdResponse {
    /// The id.
    id: IdForms,
    /// The namespace it is of.
    namespace: String,
    /// The code, where the id is the key of a link.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// What became of it; not there for Snowflake ids, of which there is no record.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<IdStatus>,
    /// The grant it belongs to, as long as that is remembered.
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<GrantBody>,
    /// Before when it was granted, RFC 3339, where no more is remembered.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    /// What a Snowflake id says.
    #[serde(skip_serializing_if = "Option::is_none")]
    snowflake: Option<SnowflakeBody>,
}

/// An id in the three forms in which ids are drawn.
#[derive(Debug, Serialize, ToSchema)]
struct IdForms {
    /// A JSON number. Readers that use doubles lose digits above 2^53.
    number: u64,
    /// A decimal string.
    string: String,
    /// A Base62 string.
    base62: String,
}

/// What became of an id.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum IdStatus {
    /// No node has it yet.
    NotIssued,
    /// A node has it, or gave it out.
    Granted,
    /// A node had it, did not give it out, and never will: a gap.
    Unused,
    /// A node that vanished had it: given out, or a gap.
    Lost,
    /// It was granted, or skipped, so long ago that no more is remembered.
    Forgotten,
}

/// A block of ids that a node was granted.
#[derive(Debug, Serialize, ToSchema)]
struct GrantBody {
    /// Its number: later grants have higher ones.
    number: u64,
    #[serde(flatten)]
    range: RangeBody,
    /// The process it was granted to: 32 hex digits, new at each start.
    holder: String,
    /// What people call that process.
    label: String,
    /// When it was granted, RFC 3339.
    granted_at: String,
    /// What became of it.
    fate: Fate,
}

/// What became of a grant.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum Fate {
    /// Its holder gives out ids of it.
    Live,
    /// Its holder reported which ids it gave out; the others are gaps.
    Returned,
    /// Its holder fell silent for a week.
    Lost,
}

/// What a Snowflake id says.
#[derive(Debug, Serialize, ToSchema)]
struct SnowflakeBody {
    /// When it was made, RFC 3339.
    timestamp: String,
    /// The same in Unix milliseconds.
    timestamp_ms: u64,
    /// By which worker, 0 to 1023.
    worker: u16,
    /// Its number within the millisecond.
    sequence: u16,
}

impl DecodedIdResponse {
    fn new(namespace: NamespaceName, decoded: DecodedId) -> Self {
        let number = decoded.id;
        let id = IdForms { number, string: number.to_string(), base62: base62::shortest(number) };
        let (code, namespace) = (decoded.code, namespace.into());
        let body = Self { id, namespace, code, status: None, grant: None, before: None, snowflake: None };
        match decoded.trace {
            Trace::NotIssued => Self { status: Some(IdStatus::NotIssued), ..body },
            Trace::Granted { grant, run, standing } => {
                let status = match standing {
                    Standing::Granted => IdStatus::Granted,
                    Standing::Unused => IdStatus::Unused,
                    Standing::Lost => IdStatus::Lost,
                };
                Self { status: Some(status), grant: Some(GrantBody::new(grant, run.into())), ..body }
            }
            Trace::Forgotten { before_ms } => {
                Self { status: Some(IdStatus::Forgotten), before: Some(moment(before_ms)), ..body }
            }
            Trace::Snowflake(says) => Self { snowflake: Some(says.into()), ..body },
        }
    }
}

impl GrantBody {
    fn new(grant: GrantRecord, range: RangeBody) -> Self {
        Self {
            number: grant.grant.0,
            range,
            holder: format!("{:032x}", grant.holder.0),
            label: grant.label,
            granted_at: moment(grant.granted_at_ms),
            fate: match grant.fate {
                GrantFate::Live => Fate::Live,
                GrantFate::Returned { .. } => Fate::Returned,
                GrantFate::Lost => Fate::Lost,
            },
        }
    }
}

impl From<Snowflake> for SnowflakeBody {
    fn from(says: Snowflake) -> Self {
        let Snowflake { timestamp_ms, worker, sequence } = says;
        Self { timestamp: moment(timestamp_ms), timestamp_ms, worker: worker.get(), sequence }
    }
}

fn moment(unix_ms: u64) -> String {
    UnixMs::from_clock(unix_ms).to_string()
}

/// Decode an id
///
/// Says which grant it belongs to, when that was made, and to whom. Of the grants that are over, the last 10,000 of each
/// namespace are remembered.
#[utoipa::path(
    get,
    path = "/api/v1/ids/{id}",
    tag = "Ids",
    params(("id" = String, Path, description = "The id, in decimal or Base62", example = "1042"), DecodeParams),
    security(("bearer" = []), ("api_key" = [])),
    responses(
        (status = 200, description = "What is known of it", body = DecodedIdResponse),
        (status = 400, description = "`invalid-query`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "`id-not-found`, `namespace-not-found`", body = ProblemBody,
         content_type = "application/problem+json"),
        (status = 422, description = "`invalid-field`", body = ProblemBody, content_type = "application/problem+json"),
        AccessProblems,
        ServerProblems,
    )
)]
pub(in crate::http) async fn decode_id(
    State(api): State<Arc<Api>>,
    authenticated: Authenticated,
    id: Result<Path<String>, PathRejection>,
    Query(params): Query<DecodeParams>,
) -> Result<Json<DecodedIdResponse>, Problem> {
    let caller = authenticated.allowed(Scope::Ids)?;
    let namespace = params.namespace.ok_or_else(|| {
        let detail = "name the namespace that the id is of: ?namespace=orders";
        Problem::field(ProblemKind::InvalidField, "namespace", detail)
    })?;
    let namespace = namespace_name("namespace", namespace)?;
    if namespace.is_links() && !caller.scopes.allow(Scope::Admin) {
        return Err(Problem::new(ProblemKind::Forbidden, "the keys of links are for API keys with the scope `admin`"));
    }
    let Path(id) = id.map_err(|_| DecodeError::Malformed)?;
    let decoded = api.decode.decode(&namespace, &id, params.form == Some(IdForm::Base62)).await?;
    Ok(Json(DecodedIdResponse::new(namespace, decoded)))
}
