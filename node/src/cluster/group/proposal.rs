//! From a command to its reply: proposed, and, while nothing was appended, proposed again or forwarded.
//!
//! The rule that everything here serves: "unavailable" is said only where the command can't have been appended.

use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use stint_idgen::allocator::{Command, Reply};
use tokio::time::Instant;

use super::super::codec::unseal;
use super::super::rpc::{SubmitAnswer, path};
use super::super::types::NodeId;
use super::Group;
use super::proposer::{Attempt, ProposalError};
use crate::ports::coordination::CoordinationError;

/// How soon a refused proposal is tried again: elections and leases take tens of milliseconds.
const RETRY_AFTER: Duration = Duration::from_millis(5);

/// The largest reply to a command, in bytes.
pub(in super::super) const MAX_REPLY: usize = 64 << 10;

/// How long a single write may keep the disk before new commands are refused without being proposed.
const STALLED_AFTER: Duration = Duration::from_secs(1);

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
                answer = peer.call(path::SUBMITS, command.encode(), left, MAX_REPLY) => answer,
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
        let deadline = Instant::now() + self.submit_timeout;
        loop {
            match self.attempt(command.clone(), deadline).await {
                Ok(reply) => return Ok(reply),
                Err(Attempt::Again(error)) if self.other_leader().is_some() || Instant::now() >= deadline => {
                    // Whoever asked finds the leader sooner than this member becomes it.
                    return Err(unavailable(error));
                }
                Err(Attempt::Again(error)) => tracing::debug!(%error, "proposing again"),
                Err(Attempt::Refused(error)) => return Err(unavailable(error)),
                Err(Attempt::Unknown(error)) => return Err(unknown(error)),
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    /// Puts `command` into the queue once, and waits for how that ends until `deadline`.
    pub(super) async fn attempt(&self, command: Command, deadline: Instant) -> Result<Reply, Attempt> {
        let mut ticket = self.proposer.enqueue(command)?;
        if let Ok(answer) = tokio::time::timeout_at(deadline, &mut ticket.answer).await {
            // Every flight answers those it took, unless it ended with the runtime.
            return answer.unwrap_or(Err(Attempt::Unknown(ProposalError::Stopped)));
        }
        let waits = self.proposer.withdraw(&ticket);
        let error = ProposalError::Deadline(self.submit_timeout);
        tracing::warn!(%error, proposed = !waits, "a command was not committed in time");
        // Logs the reason, where it is the disk.
        let _ = self.check_disk();
        Err(if waits { Attempt::Refused(error) } else { Attempt::Unknown(error) })
    }

    /// The term that this member leads, once everything from before the term is applied here.
    pub fn leading(&self) -> Option<u64> {
        self.proposer.leading()
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
