//! `/api/v1/cluster`: the allocators, as this node sees them, and who is one.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::namespaces::NamespaceResponse;
use crate::domain::access::Scope;
use crate::http::error::documented::{AccessProblems, BodyProblems, ServerProblems};
use crate::http::error::{Problem, ProblemBody, ProblemKind};
use crate::http::extract::{Authenticated, JsonBody};
use crate::http::state::Api;
use crate::ports::coordination::{ClusterStatus, MemberChange, MemberStatus};

/// The longest `host:port`: a DNS name has at most 253 characters.
const LONGEST_ADDRESS: usize = 260;

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
    /// Every member, by number.
    members: Vec<MemberResponse>,
    /// Snowflake worker ids that are leased.
    worker_leases: u64,
    /// Contradictions that the audit has found. Anything but 0 is a defect.
    audit_violations: u64,
    /// The namespaces, by name.
    namespaces: Vec<NamespaceResponse>,
}

/// One member of the cluster.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct MemberResponse {
    /// Its number.
    node_id: u64,
    /// Where the other members reach it, `host:port`; empty in a cluster of one.
    address: String,
    /// The identity of its data directory: 32 hex digits.
    incarnation: String,
    /// Whether it votes, or only follows.
    role: Role,
    /// The last log index known to be on its disk; only the leader knows it of others, as long as it hears of them.
    matched_index: Option<u64>,
    /// How many entries that is behind the log of the node that answers.
    lag: Option<u64>,
}

/// What a member does.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Role {
    /// It votes: the log is safe with a majority of these.
    Voter,
    /// It follows, and does not vote yet.
    Learner,
}

/// A node to take in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct AddMemberRequest {
    /// Its number: higher than that of any member before.
    #[schema(example = 4, minimum = 1)]
    node_id: u64,
    /// Where the members reach it, `host:port`.
    #[schema(example = "allocator-4:7101")]
    address: String,
}

/// Who is to lead.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct TransferLeaderRequest {
    /// The voter to lead; the one that is furthest unless given.
    node_id: Option<u64>,
}

impl MemberResponse {
    fn new(member: MemberStatus, last_log_index: Option<u64>) -> Self {
        let MemberStatus { node_id, address, incarnation, is_voter, matched_index } = member;
        let lag = last_log_index.zip(matched_index).map(|(last, matched)| last.saturating_sub(matched));
        let role = if is_voter { Role::Voter } else { Role::Learner };
        Self { node_id, address, incarnation, role, matched_index, lag }
    }
}

impl From<ClusterStatus> for ClusterResponse {
    fn from(status: ClusterStatus) -> Self {
        let members = status.members.into_iter();
        Self {
            cluster_id: status.cluster_id,
            node_id: status.node_id,
            leader: status.leader,
            term: status.term,
            last_log_index: status.last_log_index,
            last_applied_index: status.last_applied_index,
            voters: status.voters,
            members: members.map(|member| MemberResponse::new(member, status.last_log_index)).collect(),
            worker_leases: status.worker_leases,
            audit_violations: status.audit_violations,
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
    Ok(Json(api.allocator.status().await?.into()))
}

/// Take a node into the cluster
///
/// It must run, with an empty data directory. It catches up first, then votes; answers when it does.
#[utoipa::path(
    post,
    path = "/api/v1/cluster/members",
    tag = "Operation",
    request_body = AddMemberRequest,
    security(("bearer" = []), ("api_key" = [])),
    responses(
        (status = 204, description = "It is a voter"),
        (status = 409, description = "`member-change-refused`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "`invalid-field`", body = ProblemBody, content_type = "application/problem+json"),
        AccessProblems,
        BodyProblems,
        ServerProblems,
    )
)]
pub(in crate::http) async fn add_member(
    State(api): State<Arc<Api>>,
    authenticated: Authenticated,
    JsonBody(AddMemberRequest { node_id, address }): JsonBody<AddMemberRequest>,
) -> Result<StatusCode, Problem> {
    authenticated.allowed(Scope::Admin)?;
    if node_id == 0 {
        return Err(Problem::field(ProblemKind::InvalidField, "node_id", "use a number from 1"));
    }
    if !is_address(&address) {
        let detail = "use host:port of the node's RPC listener, such as allocator-4:7101";
        return Err(Problem::field(ProblemKind::InvalidField, "address", detail));
    }
    change(&api, MemberChange::Add { node_id, address }).await
}

/// Remove a node from the cluster
///
/// For good: its number is never used again.
#[utoipa::path(
    delete,
    path = "/api/v1/cluster/members/{node_id}",
    tag = "Operation",
    params(("node_id" = u64, Path, description = "The node's number")),
    security(("bearer" = []), ("api_key" = [])),
    responses(
        (status = 204, description = "It is no member any more"),
        (status = 404, description = "`not-found`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`member-change-refused`", body = ProblemBody, content_type = "application/problem+json"),
        AccessProblems,
        ServerProblems,
    )
)]
pub(in crate::http) async fn remove_member(
    State(api): State<Arc<Api>>,
    authenticated: Authenticated,
    node_id: Result<Path<u64>, PathRejection>,
) -> Result<StatusCode, Problem> {
    authenticated.allowed(Scope::Admin)?;
    let Path(node_id) =
        node_id.map_err(|_| Problem::new(ProblemKind::NotFound, "members have numbers; see GET /api/v1/cluster"))?;
    change(&api, MemberChange::Remove { node_id }).await
}

/// Hand leadership over
///
/// Answers when another node leads. Nothing that was asked of the cluster is lost.
#[utoipa::path(
    post,
    path = "/api/v1/cluster/leader",
    tag = "Operation",
    request_body = TransferLeaderRequest,
    security(("bearer" = []), ("api_key" = [])),
    responses(
        (status = 204, description = "It leads"),
        (status = 409, description = "`member-change-refused`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "`invalid-field`", body = ProblemBody, content_type = "application/problem+json"),
        AccessProblems,
        BodyProblems,
        ServerProblems,
    )
)]
pub(in crate::http) async fn transfer_leader(
    State(api): State<Arc<Api>>,
    authenticated: Authenticated,
    JsonBody(TransferLeaderRequest { node_id: to }): JsonBody<TransferLeaderRequest>,
) -> Result<StatusCode, Problem> {
    authenticated.allowed(Scope::Admin)?;
    change(&api, MemberChange::Transfer { to }).await
}

async fn change(api: &Api, change: MemberChange) -> Result<StatusCode, Problem> {
    api.allocator.change_members(change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whether the text is `host:port`; whether anybody answers there is for the allocator to find out.
fn is_address(text: &str) -> bool {
    let is_host = |host: &str| {
        let is_bare = !host.is_empty() && !host.contains([':', '/', '@', '[', ']']);
        is_bare || host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).is_some_and(|ip| ip.contains(':'))
    };
    let fits = text.len() <= LONGEST_ADDRESS && text.bytes().all(|byte| byte.is_ascii_graphic());
    let parts = text.rsplit_once(':').filter(|_| fits);
    parts.is_some_and(|(host, port)| is_host(host) && port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for address in ["allocator-4:7101", "10.0.0.4:1", "[::1]:65535"] {
            assert!(is_address(address), "{address}");
        }
        let long = format!("{}:1", "x".repeat(LONGEST_ADDRESS));
        for address in
            ["", "host", ":7101", "host:", "host:0", "host:65536", "::1:80", "http://h:1", "h h:1", "é:1", &long]
        {
            assert!(!is_address(address), "{address}");
        }
    }

    #[test]
    fn a_members_lag_is_told_where_its_index_is_known() {
        let member = |matched_index| MemberStatus {
            node_id: 2,
            address: "b:1".to_owned(),
            incarnation: "ab".to_owned(),
            is_voter: false,
            matched_index,
        };
        let shown = serde_json::to_value(MemberResponse::new(member(Some(7)), Some(10))).unwrap();
        assert_eq!((&shown["role"], &shown["lag"]), (&"learner".into(), &3.into()));
        assert!(serde_json::to_value(MemberResponse::new(member(None), Some(10))).unwrap()["lag"].is_null());
    }
}
