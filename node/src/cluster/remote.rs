//! The allocators, as a holder reaches them: any member will do, the leader is found by asking.
//!
//! Guarantees: a command is repeated, on another member if need be, until there is an answer or the deadline; "unknown"
//! is said whenever one of the attempts may have had an effect; a cluster that was met once is never mistaken for another.

use std::fmt::Display;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Serialize;
use stint_idgen::allocator::{Command, IdOrigin, NamespaceName, Reply};
use tokio::time::{Instant, sleep};

use super::codec::{seal, unseal};
use super::group::{CHANGED_WITHIN, MAX_REPLY, MAX_STATUS};
use super::rpc::{
    AuditQuestion, Call, CallError, Caller, Channel, ClusterSecret, OriginQuestion, RefusalKind, SubmitAnswer, frames,
    path,
};
use super::transport::{Connections, Dial};
use crate::ports::coordination::{Allocator, AuditStream, ClusterStatus, CoordinationError, MemberChange, MemberError};
use crate::ports::error_chain::Chain;

/// How long one member is waited for before another is asked.
const ATTEMPTED_FOR: Duration = Duration::from_millis(500);
/// How long the status may take over all members: less than probes wait, so that they hear why there is none.
const TOLD_WITHIN: Duration = Duration::from_millis(1_500);
/// The pause after every member was asked in vain.
const PAUSE: Duration = Duration::from_millis(25);
/// The largest audit record, in bytes.
const MAX_RECORD: usize = 64 << 10;

/// How the allocators are reached.
#[derive(Clone, Debug)]
pub struct RemoteOptions {
    /// Where they listen, `host:port`; one is enough, all are better.
    pub addresses: Vec<String>,
    /// The cluster's secret.
    pub secret: Option<ClusterSecret>,
    /// The cluster that they must be, if that is configured.
    pub cluster_id: Option<String>,
    /// How long a command may take before it fails.
    pub patience: Duration,
}

/// The allocators, reached over the network.
#[derive(Debug)]
pub struct RemoteAllocator {
    channels: Vec<Channel>,
    /// The one that is asked first.
    preferred: AtomicUsize,
    secret: Option<ClusterSecret>,
    cluster_id: OnceLock<Arc<str>>,
    /// Of each question, once the cluster is known.
    headers: OnceLock<Arc<HeaderMap>>,
    patience: Duration,
}

/// Why no allocator answered.
#[derive(Debug, thiserror::Error)]
enum RemoteError {
    /// The last attempt's error.
    #[error("no allocator answered")]
    Call(#[from] CallError),
    /// There is nobody to ask.
    #[error("no allocators are configured (cluster.allocators)")]
    Nobody,
    /// The answer is from another cluster than the one before.
    #[error("the allocators belong to cluster {found}, not to {expected}: look at cluster.allocators and cluster.id")]
    OtherCluster { found: String, expected: String },
    /// The answer is damaged or of a newer version.
    #[error("the answer can't be read: {0}")]
    Answer(String),
    /// The stream of records broke off.
    #[error("the audit broke off")]
    Stream(#[source] io::Error),
}

impl RemoteAllocator {
    /// The allocators at these addresses; nothing is dialled yet.
    pub fn new(options: RemoteOptions, dialer: &Arc<dyn Dial>, connections: &Connections) -> Self {
        let channel = |address: &String| Channel::new(address, Arc::clone(dialer), connections.clone());
        let cluster_id = OnceLock::new();
        if let Some(expected) = options.cluster_id {
            let _ = cluster_id.set(expected.into());
        }
        Self {
            channels: options.addresses.iter().map(channel).collect(),
            preferred: AtomicUsize::new(0),
            secret: options.secret,
            cluster_id,
            headers: OnceLock::new(),
            patience: options.patience,
        }
    }

    /// Asks one member after the other, until one answers or time is up.
    async fn ask(
        &self,
        path: &'static str,
        body: Bytes,
        max_answer: usize,
        patience: Duration,
    ) -> Result<Bytes, CoordinationError> {
        let began = Instant::now();
        let (mut telling, mut may_have_worked) = (None::<CallError>, false);
        loop {
            let mut hopeless = true;
            for (at, channel) in self.in_turn() {
                let deadline = ATTEMPTED_FOR.min(patience.saturating_sub(began.elapsed()));
                match channel.call(self.question(path, body.clone(), deadline, max_answer)).await {
                    Ok(answer) => {
                        self.preferred.store(at, Ordering::Relaxed);
                        return Ok(answer);
                    }
                    Err(error) => {
                        tracing::debug!(error = %Chain(&error), "asking another allocator");
                        may_have_worked |= !error.is_without_effect();
                        hopeless &= is_about_identity(&error);
                        // An attempt at the end of the time may have had none left, and its silence says nothing.
                        if telling.as_ref().is_none_or(|told| says(&error) >= says(told)) {
                            telling = Some(error);
                        }
                    }
                }
            }
            if hopeless || began.elapsed() + PAUSE >= patience {
                let error = Box::new(telling.map_or(RemoteError::Nobody, RemoteError::Call));
                return Err(if may_have_worked {
                    CoordinationError::OutcomeUnknown { source: error }
                } else {
                    CoordinationError::Unavailable { source: error }
                });
            }
            sleep(PAUSE).await;
        }
    }

    /// Everybody once, the one that is preferred first.
    fn in_turn(&self) -> impl Iterator<Item = (usize, &Channel)> {
        let first = self.preferred.load(Ordering::Relaxed);
        let all = self.channels.iter().enumerate();
        all.clone().skip(first).chain(all.take(first))
    }

    fn question(&self, path: &'static str, body: Bytes, deadline: Duration, max_answer: usize) -> Call {
        Call { path, headers: self.headers(), body, deadline, max_answer }
    }

    fn headers(&self) -> Arc<HeaderMap> {
        let cluster_id = self.cluster_id.get();
        let made = || {
            let caller = Caller { secret: self.secret.clone(), cluster_id: cluster_id.cloned(), member: None };
            Arc::new(caller.headers(None))
        };
        cluster_id.map_or_else(made, |_| Arc::clone(self.headers.get_or_init(made)))
    }

    /// From now on this is the cluster, unless another one is already.
    fn meet(&self, found: &str) -> Result<(), CoordinationError> {
        let expected = self.cluster_id.get_or_init(|| found.into());
        if **expected == *found {
            return Ok(());
        }
        let (found, expected) = (found.to_owned(), expected.to_string());
        Err(unavailable(RemoteError::OtherCluster { found, expected }))
    }

    /// The next question goes to the leader, if it is one of those that are known.
    fn prefer(&self, leader: &str) {
        if let Some(at) = self.channels.iter().position(|channel| channel.address() == leader) {
            self.preferred.store(at, Ordering::Relaxed);
        }
    }
}

#[async_trait]
impl Allocator for RemoteAllocator {
    fn cluster_id(&self) -> Option<Arc<str>> {
        self.cluster_id.get().cloned()
    }

    async fn submit(&self, command: Command) -> Result<Reply, CoordinationError> {
        let answer = self.ask(path::SUBMITS, command.encode().into(), MAX_REPLY, self.patience).await?;
        let answer: SubmitAnswer = unseal(&answer).map_err(unreadable)?;
        self.meet(&answer.cluster_id)?;
        if let Some(leader) = &answer.leader {
            self.prefer(leader);
        }
        Reply::decode(&answer.reply).map_err(unreadable)
    }

    async fn status(&self) -> Result<ClusterStatus, CoordinationError> {
        let answer = self.ask(path::STATUS, Bytes::new(), MAX_STATUS, self.patience.min(TOLD_WITHIN)).await?;
        let status: ClusterStatus = serde_json::from_slice(&answer).map_err(unreadable)?;
        self.meet(&status.cluster_id)?;
        Ok(status)
    }

    async fn find_origin(&self, namespace: &NamespaceName, id: u64) -> Result<Option<IdOrigin>, CoordinationError> {
        let question = OriginQuestion { namespace: namespace.clone(), id };
        let answer = self.ask(path::ORIGIN, encoded(&question), MAX_REPLY, self.patience).await?;
        unseal(&answer).map_err(unreadable)
    }

    async fn audit(&self, after: Option<u64>, follow: bool) -> Result<AuditStream, CoordinationError> {
        let body = encoded(&AuditQuestion { after, follow });
        let mut last = RemoteError::Nobody;
        for (_, channel) in self.in_turn() {
            match channel.open_stream(self.question(path::AUDIT, body.clone(), ATTEMPTED_FOR, MAX_RECORD)).await {
                Ok(body) => return Ok(records(body)),
                Err(error) => last = error.into(),
            }
        }
        Err(unavailable(last))
    }

    async fn change_members(&self, change: MemberChange) -> Result<(), MemberError> {
        let body = Bytes::from(serde_json::to_vec(&change).expect("a value in memory always has a JSON form"));
        let mut last = RemoteError::Nobody;
        for (_, channel) in self.in_turn() {
            match channel.call(self.question(path::MEMBERS, body.clone(), CHANGED_WITHIN, MAX_REPLY)).await {
                Ok(_) => return Ok(()),
                Err(CallError::Refused { refusal, .. }) if refusal.kind == RefusalKind::Members => {
                    return Err(MemberError::Refused(refusal.message));
                }
                Err(error) if !error.is_without_effect() => {
                    return Err(CoordinationError::OutcomeUnknown { source: Box::new(error) }.into());
                }
                Err(error) => last = error.into(),
            }
        }
        Err(unavailable(last).into())
    }
}

/// The records of an audit's answer, as they come.
fn records(body: Incoming) -> AuditStream {
    Box::pin(frames(body.into_data_stream(), MAX_RECORD).map(|frame| {
        let frame = frame.map_err(|error| unavailable(RemoteError::Stream(error)))?;
        unseal(&frame).map_err(unreadable)
    }))
}

/// How much an error says to a person: what must be put right, which doesn't change by asking again, says more than what
/// went wrong, and that more than that nothing was heard.
fn says(error: &CallError) -> u8 {
    match error {
        CallError::Silent { .. } => 0,
        _ if is_about_identity(error) => 2,
        _ => 1,
    }
}

fn is_about_identity(error: &CallError) -> bool {
    error.refusal().is_some_and(|refusal| refusal.kind.is_about_identity())
}

fn encoded(question: &impl Serialize) -> Bytes {
    seal(question).into()
}

fn unavailable(error: RemoteError) -> CoordinationError {
    CoordinationError::Unavailable { source: Box::new(error) }
}

/// The question was answered, but nobody knows with what.
fn unreadable(error: impl Display) -> CoordinationError {
    CoordinationError::OutcomeUnknown { source: Box::new(RemoteError::Answer(error.to_string())) }
}
