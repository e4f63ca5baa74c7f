//! The allocators' RPC over HTTP/2: what members say to each other, and what holders and operators ask.
//!
//! Every call is checked before it is read, in a stream again before it is worked on: the secret, the cluster, that it is
//! meant for this data directory, and that its sender is who the membership says it is. A refusal is one sentence.

mod caller;
mod channel;
mod frames;
mod refusal;
mod server;
mod stream;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::HeaderMap;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use futures_util::StreamExt;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest};
use serde::{Deserialize, Serialize};
use stint_idgen::allocator::{Command, NamespaceName};

use super::codec::{CodecError, seal, unseal};
use super::group::Group;
use super::member::AllocatorMember;
use super::message::{Message, SnapshotRequest};
use super::types::TypeConfig;
use crate::ports::coordination::{Allocator, CoordinationError, MemberChange, MemberError};
use crate::ports::error_chain::Chain;
use crate::ports::trace::TraceContext;

pub(super) use caller::{CLUSTER, FORWARDED, SECRET, SENDER, TARGET};
pub use caller::{Caller, ClusterSecret, Incarnation};
pub(super) use channel::{Call, put};
pub use channel::{CallError, Channel};
pub(super) use frames::{frame, frames};
pub use refusal::{Refusal, RefusalKind};
pub use server::RpcServer;
pub(super) use stream::{AnswerFrame, CallFrame};

/// The calls there are.
pub(super) mod path {
    pub(crate) const APPEND: &str = "/raft/append";
    pub(crate) const APPENDS: &str = "/raft/appends";
    pub(crate) const VOTE: &str = "/raft/vote";
    pub(crate) const PRE_VOTE: &str = "/raft/pre-vote";
    pub(crate) const SNAPSHOT: &str = "/raft/snapshot";
    pub(crate) const TRANSFER: &str = "/raft/transfer";
    pub(crate) const HELLO: &str = "/member/hello";
    pub(crate) const JOIN: &str = "/member/join";
    pub(crate) const SUBMITS: &str = "/allocator/submits";
    pub(crate) const STATUS: &str = "/allocator/status";
    pub(crate) const ORIGIN: &str = "/allocator/origin";
    pub(crate) const AUDIT: &str = "/allocator/audit";
    pub(crate) const MEMBERS: &str = "/allocator/members";

    /// Those whose calls come many to a stream.
    pub(super) const STREAMED: [&str; 2] = [APPENDS, SUBMITS];
}

/// The largest message but a snapshot, in bytes: 300 entries, each with a command of the largest size.
const MAX_MESSAGE: usize = 8 << 20;
/// The largest append that goes with others in a stream, where it may hold up a heartbeat: some entries of many commands.
pub(super) const MAX_SMALL_APPEND: usize = 64 << 10;
/// The largest snapshot, in bytes: several times a state at all its bounds.
const MAX_SNAPSHOT: usize = 256 << 20;
/// The largest command or question, in bytes.
pub(super) const MAX_QUESTION: usize = 16 << 10;

/// The answer to a command.
#[derive(Serialize, Deserialize)]
pub(super) struct SubmitAnswer {
    /// The cluster that answers.
    pub(super) cluster_id: String,
    /// Where the leader is, if it was somebody else than who was asked.
    pub(super) leader: Option<String>,
    /// The reply's own encoding.
    #[serde(with = "serde_bytes")]
    pub(super) reply: Vec<u8>,
}

/// Which audit records are wanted.
#[derive(Serialize, Deserialize)]
pub(super) struct AuditQuestion {
    pub(super) after: Option<u64>,
    pub(super) follow: bool,
}

/// Which id is asked about.
#[derive(Serialize, Deserialize)]
pub(super) struct OriginQuestion {
    pub(super) namespace: NamespaceName,
    pub(super) id: u64,
}

/// An empty node is taken into a cluster.
#[derive(Serialize, Deserialize)]
pub(super) struct JoinRequest {
    pub(super) cluster_id: String,
}

type Member = State<Arc<AllocatorMember>>;
type Answer = Result<Bytes, Refusal>;

/// Who is asked in a stream of calls, and what is said for all of them.
struct Asked {
    member: Arc<AllocatorMember>,
    headers: HeaderMap,
}

/// The routes of a member.
pub(super) fn router(member: Arc<AllocatorMember>) -> Router {
    let questions = Router::new()
        .route(path::HELLO, post(hello))
        .route(path::JOIN, post(join))
        .route(path::SUBMITS, post(submits))
        .route(path::STATUS, post(status))
        .route(path::ORIGIN, post(origin))
        .route(path::AUDIT, post(audit))
        .route(path::MEMBERS, post(members))
        .layer(DefaultBodyLimit::max(MAX_QUESTION));
    let raft = Router::new()
        .route(path::APPEND, post(append))
        .route(path::APPENDS, post(appends))
        .route(path::VOTE, post(vote))
        .route(path::PRE_VOTE, post(pre_vote))
        .route(path::TRANSFER, post(transfer))
        .layer(DefaultBodyLimit::max(MAX_MESSAGE));
    let snapshot = Router::new().route(path::SNAPSHOT, post(snapshot)).layer(DefaultBodyLimit::max(MAX_SNAPSHOT));
    let raft = raft.merge(snapshot).layer(from_fn(admit_member));
    questions.merge(raft).layer(from_fn_with_state(Arc::clone(&member), admit)).with_state(member)
}

async fn admit(State(member): Member, request: Request, next: Next) -> Response {
    match member.admit(request.headers()) {
        // A follower passes the trace on to the leader.
        Ok(()) => match TraceContext::of_headers(request.headers()) {
            Some(trace) => trace.scope(next.run(request)).await,
            None => next.run(request).await,
        },
        Err(refusal) => {
            tracing::warn!(%refusal, path = request.uri().path(), "a call was refused");
            refusal.into_response()
        }
    }
}

/// Raft's own calls come from a member, to a member.
async fn admit_member(request: Request, next: Next) -> Response {
    let headers = request.headers();
    match [CLUSTER, SENDER, TARGET].iter().find(|name| !headers.contains_key(**name)) {
        None => next.run(request).await,
        Some(missing) => {
            Refusal::new(RefusalKind::Message, format!("a member's call names its {missing}")).into_response()
        }
    }
}

async fn append(State(member): Member, body: Bytes) -> Answer {
    take_in(member.group_or_refusal()?, body).await
}

async fn appends(State(member): Member, headers: HeaderMap, body: Body) -> Response {
    streamed(member, headers, body, MAX_SMALL_APPEND, append_small)
}

async fn append_small(asked: Arc<Asked>, body: Bytes) -> Answer {
    take_in(asked.group()?, body).await
}

async fn take_in(group: &Group, body: Bytes) -> Answer {
    let request = read::<AppendEntriesRequest<TypeConfig>>(&body)?;
    // It may have megabytes, and the disk takes its time.
    drop(body);
    let appended = group.raft().append_entries(request).await;
    if appended.as_ref().is_ok_and(|appended| !matches!(appended, AppendEntriesResponse::HigherVote(_))) {
        group.hear_leader();
    }
    answer(appended)
}

async fn vote(State(member): Member, body: Bytes) -> Answer {
    let group = member.group_or_refusal()?;
    let request = read::<VoteRequest<TypeConfig>>(&body)?;
    answer(group.raft().vote(request).await)
}

async fn pre_vote(State(member): Member, body: Bytes) -> Answer {
    let group = member.group_or_refusal()?;
    let request = read::<VoteRequest<TypeConfig>>(&body)?;
    answer(group.raft().pre_vote(request).await)
}

async fn transfer(State(member): Member, body: Bytes) -> Answer {
    let group = member.group_or_refusal()?;
    let request = read::<TransferLeaderRequest<TypeConfig>>(&body)?;
    answer(group.raft().handle_transfer_leader(request).await)
}

async fn snapshot(State(member): Member, body: Bytes) -> Answer {
    let group = member.group_or_refusal()?;
    let SnapshotRequest { vote, snapshot } = read(&body)?;
    Group::check_snapshot(&snapshot).map_err(|error| Refusal::new(RefusalKind::Message, Chain(&error).to_string()))?;
    answer(group.raft().install_full_snapshot(vote, snapshot).await)
}

async fn hello(State(member): Member) -> Answer {
    Ok(json(&member.hello()))
}

async fn join(State(member): Member, body: Bytes) -> Answer {
    let JoinRequest { cluster_id } = serde_json::from_slice(&body).map_err(|error| unreadable(&error))?;
    member.join(&cluster_id).await?;
    Ok(Bytes::new())
}

async fn submits(State(member): Member, headers: HeaderMap, body: Body) -> Response {
    streamed(member, headers, body, MAX_QUESTION, submit)
}

async fn submit(asked: Arc<Asked>, command: Bytes) -> Answer {
    let group = asked.group()?;
    let command = Command::decode(&command).map_err(|error| unreadable(&error))?;
    let (reply, leader) = if asked.headers.contains_key(FORWARDED) {
        (group.submit_here(command).await, None)
    } else {
        group.submit_or_forward(command).await
    };
    let reply = reply.map_err(|error| coordination(&error))?.encode();
    let cluster_id = group.cluster().id.to_string();
    Ok(seal(&SubmitAnswer { cluster_id, leader, reply }).into())
}

async fn status(State(member): Member, headers: HeaderMap) -> Answer {
    let group = member.group_or_refusal()?;
    if !headers.contains_key(FORWARDED)
        && let Some(answer) = group.status_of_leader().await
    {
        return Ok(answer);
    }
    Ok(json(&group.status().await.map_err(|error| coordination(&error))?))
}

async fn origin(State(member): Member, body: Bytes) -> Answer {
    let OriginQuestion { namespace, id } = unseal(&body).map_err(|error| unreadable(&error))?;
    let found = member.group_or_refusal()?.find_origin(&namespace, id).await.map_err(|error| coordination(&error))?;
    Ok(seal(&found).into())
}

/// A stream of records that has no end if it is followed.
async fn audit(State(member): Member, body: Bytes) -> Result<Response, Refusal> {
    let AuditQuestion { after, follow } = unseal(&body).map_err(|error| unreadable(&error))?;
    let records = member.group_or_refusal()?.audit(after, follow).await.map_err(|error| coordination(&error))?;
    let frames = records.map(|record| record.map(|record| frame(&seal(&record))));
    Ok(Response::new(Body::from_stream(frames)))
}

async fn members(State(member): Member, headers: HeaderMap, body: Bytes) -> Answer {
    let change: MemberChange = serde_json::from_slice(&body).map_err(|error| unreadable(&error))?;
    let group = member.group_or_refusal()?;
    let changed = if headers.contains_key(FORWARDED) {
        group.change_here(change).await
    } else {
        group.change_or_forward(change).await
    };
    changed.map(|()| Bytes::new()).map_err(|error| match error {
        MemberError::Refused(message) => Refusal::new(RefusalKind::Members, message),
        MemberError::Coordination(error) => coordination(&error),
    })
}

/// The answers to a stream of calls, each as `one` gives it.
fn streamed<F>(
    member: Arc<AllocatorMember>,
    headers: HeaderMap,
    body: Body,
    max_call: usize,
    one: fn(Arc<Asked>, Bytes) -> F,
) -> Response
where
    F: Future<Output = Answer> + Send + 'static,
{
    let asked = Arc::new(Asked { member, headers });
    Response::new(stream::answers(body, max_call, move |call| one(Arc::clone(&asked), call)))
}

impl Asked {
    /// The group, once this node is in one. What was checked when the stream began may not hold any more: it is checked
    /// for each call.
    fn group(&self) -> Result<&Arc<Group>, Refusal> {
        self.member.admit(&self.headers).inspect_err(|refusal| tracing::warn!(%refusal, "a call was refused"))?;
        self.member.group_or_refusal()
    }
}

impl AllocatorMember {
    /// The group, once this node is in one.
    fn group_or_refusal(&self) -> Result<&Arc<Group>, Refusal> {
        self.group().ok_or_else(|| {
            Refusal::new(RefusalKind::Empty, format!("node {} belongs to no cluster yet", self.identity().node_id))
        })
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.kind.status(), [(refusal::REFUSED, self.kind.word())], self.message + "\n").into_response()
    }
}

fn read<M: Message>(body: &[u8]) -> Result<M, Refusal> {
    M::decode(body).map_err(|error: CodecError| unreadable(&error))
}

fn unreadable(error: &(dyn std::error::Error + 'static)) -> Refusal {
    Refusal::new(RefusalKind::Message, format!("the message can't be read: {}", Chain(error)))
}

/// What the consensus core made of a call. It errs only when it has stopped.
fn answer<M: Message, E: std::error::Error + 'static>(made: Result<M, E>) -> Answer {
    made.map(|message| message.encode().into())
        .map_err(|error| Refusal::new(RefusalKind::Unavailable, format!("this member has stopped: {}", Chain(&error))))
}

fn coordination(error: &CoordinationError) -> Refusal {
    let kind = match error {
        CoordinationError::Unavailable { .. } => RefusalKind::Unavailable,
        CoordinationError::OutcomeUnknown { .. } => RefusalKind::Unknown,
    };
    Refusal::new(kind, Chain(error).to_string())
}

fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("a value in memory always has a JSON form").into()
}
