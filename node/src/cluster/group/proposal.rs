//! From a command to its reply: stamped, proposed, and, while nothing was appended, proposed again.
//!
//! The rule that everything here serves: "unavailable" is said only where the command can't have been appended.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, ForwardToLeader};
use openraft::impls::ProgressResponder;
use stint_idgen::allocator::{Command, Reply, Stamped, Stamper};
use tokio::time::Instant;

use super::super::codec::unseal;
use super::super::rpc::{SubmitAnswer, path};
use super::super::types::{Applied, CommittedLeaderId, NodeId, Proposal, TypeConfig};
use super::Group;
use crate::ports::coordination::CoordinationError;

/// How soon a refused proposal is tried again: elections and leases take tens of milliseconds.
const RETRY_AFTER: Duration = Duration::from_millis(5);

/// The largest reply to a command, in bytes.
pub(in super::super) const MAX_REPLY: usize = 64 << 10;

/// How long a single write may keep the disk before new commands are refused without being proposed.
const STALLED_AFTER: Duration = Duration::from_secs(1);

/// The stamps of one term.
#[derive(Debug)]
pub(super) struct Leadership {
    term: u64,
    stamper: Stamper,
}

/// Why a proposal has no reply.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProposalError {
    #[error("no reply within {} ms", .0.as_millis())]
    Deadline(Duration),
    #[error("this member doesn't lead; the leader is {leader:?}")]
    NotLeading { leader: Option<NodeId> },
    #[error("writing the log failed: {0}")]
    Disk(String),
    #[error("the disk has not answered for {} ms", .0.as_millis())]
    Stalled(Duration),
    #[error("this member has stopped")]
    Stopped,
    #[error("the entry was discarded when the leader changed")]
    Discarded,
    #[error("the entry was answered without a reply")]
    NoReply,
    #[error("the consensus core refused the entry")]
    Refused(#[source] ClientWriteError<TypeConfig>),
}

/// Whether the command may have been appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    NotProposed,
    Proposed,
}

/// How one attempt ended, other than with a reply.
enum Attempt {
    /// Not appended: try again.
    Again(ProposalError),
    /// Not appended, and trying again is of no use.
    Refused(CoordinationError),
    /// Appended or not: unknown.
    Unknown(ProposalError),
}

impl Group {
    /// Commits `command`, here or through the leader; with where the leader is, if it was another member.
    ///
    /// Every command may be sent again under its request number, so whoever hears "unknown" from here just asks again;
    /// and so does this member, when another leads before the leader that it asked has answered.
    pub(in super::super) async fn submit_or_forward(
        &self,
        command: Command,
    ) -> (Result<Reply, CoordinationError>, Option<String>) {
        let began = Instant::now();
        let mut may_have_worked = false;
        loop {
            let Some((leader, member)) = self.other_leader() else {
                let reply = self.submit_here(command).await;
                return (reply.map_err(|error| after(may_have_worked, error)), None);
            };
            let left = self.submit_timeout.saturating_sub(began.elapsed());
            let peer = self.peers.peer(leader, &member);
            let call = tokio::select! {
                answer = peer.call(path::SUBMIT, command.encode(), left, MAX_REPLY) => answer,
                () = self.replaced(leader) => {
                    // A leader that hangs or is cut off would be waited for much longer than its election took.
                    tracing::debug!(leader, "another member leads: forwarding again");
                    may_have_worked = true;
                    continue;
                }
            };
            let error = match call.map(|answer| unseal::<SubmitAnswer>(&answer)) {
                Ok(answer) => {
                    let reply =
                        answer.map_err(unknown).and_then(|answer| Reply::decode(&answer.reply).map_err(unknown));
                    return (reply, Some(member.address));
                }
                Err(error) if !error.is_without_effect() => return (Err(unknown(error)), None),
                Err(error) => error,
            };
            // It was not done: the leader has gone, or has not begun to lead.
            if began.elapsed() + RETRY_AFTER >= self.submit_timeout {
                return (Err(after(may_have_worked, unavailable(error))), None);
            }
            tracing::debug!(%error, "forwarding again");
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    /// Resolves when a member other than `leader` leads.
    async fn replaced(&self, leader: NodeId) {
        let mut metrics = self.raft.metrics();
        while metrics.borrow_watched().current_leader.is_none_or(|current| current == leader) {
            if metrics.changed().await.is_err() {
                // The core has ended; the call has a deadline of its own.
                return std::future::pending().await;
            }
        }
    }

    /// Proposes `command` on this member until it is committed, refused or out of time.
    pub(in super::super) async fn submit_here(&self, command: Command) -> Result<Reply, CoordinationError> {
        self.check_disk()?;
        let mut phase = Phase::NotProposed;
        let proposed = tokio::time::timeout(self.submit_timeout, self.propose(command, &mut phase)).await;
        proposed.unwrap_or_else(|_| {
            let error = ProposalError::Deadline(self.submit_timeout);
            tracing::warn!(%error, proposed = phase == Phase::Proposed, "a command was not committed in time");
            // Logs the reason, where it is the disk.
            let _ = self.check_disk();
            Err(match phase {
                Phase::NotProposed => unavailable(error),
                Phase::Proposed => unknown(error),
            })
        })
    }

    /// The term that this member leads, once everything from before the term is applied here.
    pub fn leading(&self) -> Option<u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let leads = metrics.state == ServerState::Leader && metrics.running_state.is_ok();
        let term = metrics.current_term;
        // A leader's term begins with an entry of its own. Until that is applied, the state's clock may lie behind
        // stamps of an earlier leader.
        let applied = || self.state.read(|replica| replica.last_applied.as_ref().map(|id| id.leader_id.term));
        (leads && applied() == Some(term)).then_some(term)
    }

    async fn propose(&self, command: Command, phase: &mut Phase) -> Result<Reply, CoordinationError> {
        loop {
            let attempt = self.attempt(&command, phase).await;
            match attempt {
                Ok(reply) => return Ok(reply),
                // Whoever asked finds the leader sooner than this member becomes it.
                Err(Attempt::Again(error)) if self.other_leader().is_some() => return Err(unavailable(error)),
                Err(Attempt::Again(error)) => tracing::debug!(%error, "proposing again"),
                Err(Attempt::Refused(error)) => return Err(error),
                Err(Attempt::Unknown(error)) => return Err(unknown(error)),
            }
            *phase = Phase::NotProposed;
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    async fn attempt(&self, command: &Command, phase: &mut Phase) -> Result<Reply, Attempt> {
        let (term, stamped) = self.stamp(command)?;
        let began = self.clock.monotonic();
        let (responder, reply) = ProgressResponder::complete_only();
        *phase = Phase::Proposed;
        // Appended in this term or not at all: a stamp is good only for the term it was made in.
        let write = self.raft.write(Proposal(stamped)).with_leader(CommittedLeaderId::new(term)).responder(responder);
        if write.await.is_err() {
            // The core had ended before it could take the message.
            return Err(Attempt::Refused(unavailable(self.stopped())));
        }
        match reply.await {
            Ok(Ok(response)) => {
                if let Some(metrics) = &self.metrics {
                    metrics.commit_duration.record(self.clock.monotonic().saturating_sub(began));
                }
                reply_of(response.data)
            }
            Ok(Err(ClientWriteError::ForwardToLeader(ForwardToLeader { leader_id, .. }))) => {
                Err(Attempt::Again(ProposalError::NotLeading { leader: leader_id }))
            }
            Ok(Err(ClientWriteError::LogEntryDiscarded(_))) => Err(Attempt::Unknown(ProposalError::Discarded)),
            Ok(Err(error)) => Err(Attempt::Refused(unavailable(ProposalError::Refused(error)))),
            // The core ended with the proposal in it.
            Err(_) => Err(Attempt::Unknown(self.stopped())),
        }
    }

    /// Stamps a command for the term that this member leads.
    fn stamp(&self, command: &Command) -> Result<(u64, Stamped), Attempt> {
        let Some(term) = self.leading() else {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            return Err(match &metrics.running_state {
                Ok(()) => Attempt::Again(ProposalError::NotLeading { leader: metrics.current_leader }),
                Err(_) => Attempt::Refused(unavailable(self.stopped())),
            });
        };
        let mut leadership = self.leadership.lock().unwrap_or_else(PoisonError::into_inner);
        let current = match leadership.take() {
            Some(current) if current.term >= term => current,
            former => {
                let refused = former.map_or(0, |former| former.stamper.refused());
                self.stamps_refused.fetch_add(refused, Ordering::Relaxed);
                Leadership { term, stamper: Stamper::new(self.state.read(|replica| replica.state.clock_ms())) }
            }
        };
        let Leadership { term, stamper } = leadership.insert(current);
        let refused = stamper.refused();
        let at_ms = stamper.stamp(self.clock.unix_ms(), self.clock.monotonic());
        if refused == 0 && stamper.refused() > 0 {
            tracing::error!(
                at_ms,
                "the wall clock jumped ahead: stamps follow the monotonic clock until it is right again"
            );
        }
        Ok((*term, Stamped { at_ms, command: command.clone() }))
    }

    /// How many stamps were kept back because the wall clock had jumped ahead.
    pub(super) fn stamps_refused(&self) -> u64 {
        let leadership = self.leadership.lock().unwrap_or_else(PoisonError::into_inner);
        let current = leadership.as_ref().map_or(0, |current| current.stamper.refused());
        self.stamps_refused.load(Ordering::Relaxed) + current
    }

    /// Refuses at once what could only wait for a disk that doesn't answer.
    fn check_disk(&self) -> Result<(), CoordinationError> {
        if let Some(failure) = self.disk.failure() {
            return Err(unavailable(ProposalError::Disk(failure)));
        }
        let waiting = self.disk.waiting();
        if waiting > STALLED_AFTER {
            self.disk.report_stall(waiting);
            return Err(unavailable(ProposalError::Stalled(waiting)));
        }
        Ok(())
    }

    fn stopped(&self) -> ProposalError {
        self.disk.failure().map_or(ProposalError::Stopped, ProposalError::Disk)
    }
}

fn reply_of(applied: Applied) -> Result<Reply, Attempt> {
    applied.ok_or(Attempt::Unknown(ProposalError::NoReply))
}

/// "Unavailable" is no answer where an earlier attempt may have had an effect.
fn after(may_have_worked: bool, error: CoordinationError) -> CoordinationError {
    match error {
        CoordinationError::Unavailable { source } if may_have_worked => CoordinationError::OutcomeUnknown { source },
        error => error,
    }
}

pub(super) fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> CoordinationError {
    CoordinationError::Unavailable { source: Box::new(error) }
}

fn unknown(error: impl std::error::Error + Send + Sync + 'static) -> CoordinationError {
    CoordinationError::OutcomeUnknown { source: Box::new(error) }
}
