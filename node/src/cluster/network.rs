//! The way to the other members: Raft's calls, and commands for the leader. A group of one has no peers.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use openraft::alias::VoteOf;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkFactory, RaftNetworkV2};

use super::message::{Message, SnapshotRequest};
use super::rpc::{Call, CallError, Caller, Channel, FORWARDED, Incarnation, MAX_SMALL_APPEND, path, put};
use super::transport::{Connections, Dial};
use super::types::{Member, NodeId, Snapshot, TypeConfig};

/// How long entries may take to be on a follower's disk: below the shortest election timeout.
const APPENDED_WITHIN: Duration = Duration::from_millis(140);

/// The largest answer to one of Raft's calls, in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// The other members, as they are called. Clones share the connections.
#[derive(Clone, Debug)]
pub struct Peers(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    dialer: Arc<dyn Dial>,
    connections: Connections,
    caller: Caller,
    /// In order, so that they are also closed in the same order each time, which simulation relies on.
    channels: Mutex<BTreeMap<String, Channel>>,
    /// What each member refused last, so that it is logged once.
    refusals: Mutex<BTreeMap<NodeId, String>>,
}

/// The way to one member.
#[derive(Clone, Debug)]
pub struct Peer {
    peers: Peers,
    node_id: NodeId,
    address: String,
    /// Of each call: the member answers only if it is the data directory that the membership names.
    headers: Arc<HeaderMap>,
}

impl Peers {
    /// A group of one.
    pub const fn none() -> Self {
        Self(None)
    }

    /// Members that are dialled with `dialer` and called as `caller`.
    pub fn new(dialer: Arc<dyn Dial>, connections: Connections, caller: Caller) -> Self {
        let (channels, refusals) = (Mutex::default(), Mutex::default());
        Self(Some(Arc::new(Shared { dialer, connections, caller, channels, refusals })))
    }

    /// The way to a member.
    pub(super) fn peer(&self, node_id: NodeId, member: &Member) -> Peer {
        let target = Incarnation { node_id, incarnation: member.incarnation.clone() };
        let mut headers = self.caller().headers(Some(&target));
        put(&mut headers, FORWARDED, "1");
        Peer { peers: self.clone(), node_id, address: member.address.clone(), headers: Arc::new(headers) }
    }

    /// Calls whoever is at `address`, member or not.
    pub(super) async fn call_address(&self, address: &str, call: Call) -> Result<Bytes, CallError> {
        match &self.0 {
            Some(shared) => shared.channel(address).call(call).await,
            None => Err(no_peers(address)),
        }
    }

    /// What this node says of itself.
    pub(super) fn caller(&self) -> Caller {
        self.0.as_ref().map(|shared| shared.caller.clone()).unwrap_or_default()
    }
}

impl Shared {
    fn channel(&self, address: &str) -> Channel {
        let mut channels = lock(&self.channels);
        if let Some(channel) = channels.get(address) {
            return channel.clone();
        }
        let channel = Channel::new(address, Arc::clone(&self.dialer), self.connections.clone());
        channels.insert(address.to_owned(), channel.clone());
        channel
    }

    /// Logs what a member refuses, once; a member that answers again is forgiven.
    fn note<T>(&self, target: NodeId, answer: &Result<T, CallError>) {
        match answer {
            Err(CallError::Refused { refusal, .. }) if refusal.kind.is_about_identity() => {
                let former = lock(&self.refusals).insert(target, refusal.message.clone());
                if former.as_ref() != Some(&refusal.message) {
                    tracing::error!(member = target, %refusal, "a member refuses our calls");
                }
            }
            Ok(_) => drop(lock(&self.refusals).remove(&target)),
            Err(_) => {}
        }
    }
}

impl Peer {
    /// Calls the member.
    pub(super) async fn call(
        &self,
        path: &'static str,
        body: Vec<u8>,
        deadline: Duration,
        max_answer: usize,
    ) -> Result<Bytes, CallError> {
        let Some(shared) = &self.peers.0 else { return Err(no_peers(&self.node_id.to_string())) };
        let call = Call { path, headers: Arc::clone(&self.headers), body: body.into(), deadline, max_answer };
        let answer = shared.channel(&self.address).call(call).await;
        shared.note(self.node_id, &answer);
        answer
    }

    async fn raft<Q: Message, A: Message>(
        &self,
        path: &'static str,
        request: &Q,
        deadline: Duration,
    ) -> Result<A, RPCError<TypeConfig>> {
        let request = request.encode();
        // A large one may be given up half sent, and holds up nothing.
        let small = path == path::APPEND && request.len() <= MAX_SMALL_APPEND;
        let path = if small { path::APPENDS } else { path };
        let answer = self.call(path, request, deadline, MAX_ANSWER).await.map_err(|error| rpc_error(&error))?;
        A::decode(&answer).map_err(|error| NetworkError::new(&error).into())
    }
}

impl RaftNetworkFactory<TypeConfig> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, target: NodeId, member: &Member) -> Peer {
        self.peer(target, member)
    }
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = Vec<u8>;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        // A heartbeat waits for no disk.
        let deadline = if request.entries.is_empty() { option.hard_ttl() } else { APPENDED_WITHIN };
        self.raft(path::APPEND, &request, deadline).await
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.raft(path::VOTE, &request, option.soft_ttl()).await
    }

    // openraft's default grants every pre-vote, which would let a cut-off node raise the term.
    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.raft(path::PRE_VOTE, &request, option.soft_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<TypeConfig>,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let request = SnapshotRequest { vote, snapshot };
        tokio::select! {
            closed = cancel => Err(closed.into()),
            answer = self.raft(path::SNAPSHOT, &request, option.soft_ttl()) => Ok(answer?),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.raft(path::TRANSFER, &request, option.soft_ttl()).await
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that holds these locks can panic half way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn no_peers(address: &str) -> CallError {
    let source = std::io::Error::new(std::io::ErrorKind::NotConnected, "this node runs a group of one");
    CallError::Dial { address: address.to_owned(), source: Arc::new(source) }
}

/// Whoever can't be reached, or refuses, is left alone for a while; what was lost on the way is repeated at once.
fn rpc_error(error: &CallError) -> RPCError<TypeConfig> {
    match error {
        CallError::Dial { .. } | CallError::Refused { .. } => Unreachable::new(error).into(),
        CallError::Broken { .. } | CallError::Silent { .. } | CallError::Answer { .. } => {
            NetworkError::new(error).into()
        }
    }
}
