//! `GET /api/v1/cluster`: the allocator, as this node sees it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::access::Scope;
use crate::http::error::Problem;
use crate::http::error::documented::{AccessProblems, ServerProblems};
use crate::http::extract::Authenticated;
use crate::http::state::Api;
use crate::ports::coordination::{ClusterStatus, NamespaceStatus};
use crate::ports::id_source::IdError;

/// The allocator cluster.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ClusterResponse {
    /// Identity of the cluster's data: 32 hex digits.
    cluster_id: String,
    /// The node that answers.
    node_id: u64,
    /// The leader, if one is known.
    leader: Option<u64>,
    /// Raft term.
    term: u64,
    /// Index of the last entry in the log.
    last_log_index: Option<u64>,
    /// Index of the last entry applied.
    last_applied_index: Option<u64>,
    /// Voting members.
    voters: Vec<u64>,
    /// The namespaces, by name.
    namespaces: Vec<NamespaceResponse>,
}

/// One namespace and how its ids were spent: `granted = live + used + returned + lost`.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct NamespaceResponse {
    /// Its name.
    name: String,
    /// Its first id.
    start: u64,
    /// One past its last id.
    limit: u64,
    /// The lowest id that may still be granted.
    floor: u64,
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

impl From<NamespaceStatus> for NamespaceResponse {
    fn from(status: NamespaceStatus) -> Self {
        Self {
            name: status.name.as_str().to_owned(),
            start: status.spec.start,
            limit: status.spec.limit,
            floor: status.floor,
            granted: status.totals.granted,
            live: status.totals.live,
            used: status.totals.used,
            returned: status.totals.returned,
            lost: status.totals.lost,
        }
    }
}

impl From<ClusterStatus> for ClusterResponse {
    fn from(status: ClusterStatus) -> Self {
        Self {
            cluster_id: status.cluster_id,
            node_id: status.node_id,
            leader: status.leader,
            term: status.term,
            last_log_index: status.last_log_index,
            last_applied_index: status.last_applied_index,
            voters: status.voters,
            namespaces: status.namespaces.into_iter().map(NamespaceResponse::from).collect(),
        }
    }
}

/// Show the allocator cluster
#[utoipa::path(
    get,
    path = "/api/v1/cluster",
    tag = "Operation",
    security(("bearer" = []), ("api_key" = [])),
    responses(
        (status = 200, description = "The cluster, as this node sees it", body = ClusterResponse),
        AccessProblems,
        ServerProblems,
    )
)]
pub(in crate::http) async fn show_cluster(
    State(api): State<Arc<Api>>,
    authenticated: Authenticated,
) -> Result<Json<ClusterResponse>, Problem> {
    authenticated.allowed(Scope::Admin)?;
    Ok(Json(api.allocator.status().await.map_err(IdError::from)?.into()))
}
