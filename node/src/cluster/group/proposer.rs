//! Commands that come while others are being committed wait, and then go into the log together, in one entry.
//!
//! There is no timer: a command that finds nothing under way goes at once. One entry is under way at a time: a second
//! would be written while the first is replicated, but each would take half as many along, and an entry costs far more
//! than a command.
//!
//! Guarantees: a command is in the queue, in one entry, or answered; who gives up while it is still in the queue knows
//! that it was never proposed.

use std::collections::VecDeque;
use std::mem;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, ForwardToLeader};
use openraft::impls::ProgressResponder;
use stint_idgen::allocator::{Command, Reply, Stamped, Stamper};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::super::disk::MemberDisk;
use super::super::rpc::MAX_QUESTION;
use super::super::state_machine::StateMachine;
use super::super::types::{CommittedLeaderId, NodeId, Proposal, Raft, TypeConfig};
use super::GroupOptions;
use crate::metrics::RaftMetrics;
use crate::ports::clock::Clock;

/// The most commands in an entry.
pub(in super::super) const MAX_COMMANDS: usize = 1_024;

/// The most bytes of commands in an entry: one of the largest size, so that the bounds of messages hold for entries of
/// many as well.
const MAX_BYTES: usize = MAX_QUESTION;

/// The stamps of one term.
#[derive(Debug)]
struct Leadership {
    term: u64,
    stamper: Stamper,
}

/// Why a proposal has no reply.
#[derive(Clone, Debug, thiserror::Error)]
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

/// How an attempt ended, other than with a reply.
#[derive(Clone, Debug)]
pub(super) enum Attempt {
    /// Not appended: try again.
    Again(ProposalError),
    /// Not appended, and trying again is of no use.
    Refused(ProposalError),
    /// Appended or not: unknown.
    Unknown(ProposalError),
}

/// What puts commands into the log.
#[derive(Debug)]
pub(super) struct Proposer {
    raft: Raft,
    state: StateMachine,
    disk: Arc<dyn MemberDisk>,
    clock: Arc<dyn Clock>,
    metrics: Option<RaftMetrics>,
    /// How long an entry may take; then its commands are answered, and the next are not held up by it.
    submit_timeout: Duration,
    leadership: Mutex<Option<Leadership>>,
    /// Stamps kept back in terms before the current one.
    stamps_refused: AtomicU64,
    queue: Mutex<Queue>,
    flights: TaskTracker,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Whether an entry is under way, and those that wait go with the next.
    flying: bool,
    /// The ticket given last.
    ticket: u64,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    command: Command,
    bytes: usize,
    answer: oneshot::Sender<Result<Reply, Attempt>>,
}

/// A command's place in the queue, and then in an entry.
#[derive(Debug)]
pub(super) struct Ticket {
    number: u64,
    pub(super) answer: oneshot::Receiver<Result<Reply, Attempt>>,
}

impl Queue {
    /// The next entry's commands; the flight that finds none has ended.
    fn take(&mut self) -> Option<Vec<Waiting>> {
        self.flying = !self.waiting.is_empty();
        if !self.flying {
            return None;
        }
        let mut bytes = 0;
        let fits = |waiting: &&Waiting| {
            bytes += waiting.bytes;
            bytes <= MAX_BYTES
        };
        // Each command alone fits: a larger one is refused where it comes in.
        let count = self.waiting.iter().take(MAX_COMMANDS).take_while(fits).count().max(1);
        Some(self.waiting.drain(..count).collect())
    }
}

impl Proposer {
    pub(super) fn new(raft: Raft, state: StateMachine, disk: Arc<dyn MemberDisk>, options: &GroupOptions) -> Self {
        Self {
            raft,
            state,
            disk,
            clock: Arc::clone(&options.clock),
            metrics: options.metrics.clone(),
            submit_timeout: options.submit_timeout,
            leadership: Mutex::new(None),
            stamps_refused: AtomicU64::new(0),
            queue: Mutex::default(),
            flights: TaskTracker::new(),
        }
    }

    /// Puts a command into the queue; what is under way takes it along, or it begins at once.
    #[expect(clippy::disallowed_methods, reason = "a flight ends with the queue or its deadline, and is tracked here")]
    pub(super) fn enqueue(self: &Arc<Self>, command: Command) -> Result<Ticket, Attempt> {
        // Who doesn't lead has nothing to wait for.
        self.check_leading()?;
        let bytes = command.encode().len();
        let (answer, receiver) = oneshot::channel();
        let mut queue = self.queue();
        queue.ticket += 1;
        let number = queue.ticket;
        queue.waiting.push_back(Waiting { ticket: number, command, bytes, answer });
        if !mem::replace(&mut queue.flying, true) {
            drop(queue);
            tokio::spawn(self.flights.track_future(Arc::clone(self).fly()));
        }
        Ok(Ticket { number, answer: receiver })
    }

    /// Takes a command out of the queue: `false` if it was proposed already.
    pub(super) fn withdraw(&self, ticket: &Ticket) -> bool {
        let mut queue = self.queue();
        let place = queue.waiting.iter().position(|waiting| waiting.ticket == ticket.number);
        place.is_some_and(|place| queue.waiting.remove(place).is_some())
    }

    /// Proposes what waits, entry by entry, until nothing does.
    async fn fly(self: Arc<Self>) {
        while let Some(taken) = self.take() {
            let (commands, answers): (Vec<_>, Vec<_>) =
                taken.into_iter().map(|waiting| (waiting.command, waiting.answer)).unzip();
            // Those who come later must not wait for a flight that has crashed.
            let committing = AssertUnwindSafe(self.commit(commands)).catch_unwind();
            let committed = tokio::time::timeout(self.submit_timeout, committing).await;
            let replies = match committed {
                Ok(replies) => replies.unwrap_or(Err(Attempt::Unknown(ProposalError::NoReply))),
                Err(_) => Err(Attempt::Unknown(ProposalError::Deadline(self.submit_timeout))),
            };
            // Who has gone away needs no answer.
            match replies {
                Ok(replies) if replies.len() == answers.len() => {
                    answers.into_iter().zip(replies).for_each(|(answer, reply)| drop(answer.send(Ok(reply))));
                }
                Ok(_) => settle(answers, &Attempt::Unknown(ProposalError::NoReply)),
                Err(attempt) => settle(answers, &attempt),
            }
        }
    }

    fn take(&self) -> Option<Vec<Waiting>> {
        self.queue().take()
    }

    /// Commits one entry; with the replies to its commands in their order.
    async fn commit(&self, commands: Vec<Command>) -> Result<Vec<Reply>, Attempt> {
        let (term, at_ms) = self.stamp()?;
        let stamped = commands.into_iter().map(|command| Stamped { at_ms, command }).collect();
        let began = self.clock.monotonic();
        let (responder, reply) = ProgressResponder::complete_only();
        // Appended in this term or not at all: a stamp is good only for the term it was made in.
        let write =
            self.raft.write(Proposal(Arc::new(stamped))).with_leader(CommittedLeaderId::new(term)).responder(responder);
        if write.await.is_err() {
            // The core had ended before it could take the message.
            return Err(Attempt::Refused(self.stopped()));
        }
        match reply.await {
            Ok(Ok(response)) => {
                if let Some(metrics) = &self.metrics {
                    metrics.commit_duration.record(self.clock.monotonic().saturating_sub(began));
                    metrics.commands.increment(response.data.len() as u64);
                }
                Ok(response.data)
            }
            Ok(Err(ClientWriteError::ForwardToLeader(ForwardToLeader { leader_id, .. }))) => {
                Err(Attempt::Again(ProposalError::NotLeading { leader: leader_id }))
            }
            Ok(Err(ClientWriteError::LogEntryDiscarded(_))) => Err(Attempt::Unknown(ProposalError::Discarded)),
            Ok(Err(error)) => Err(Attempt::Refused(ProposalError::Refused(error))),
            // The core ended with the proposal in it.
            Err(_) => Err(Attempt::Unknown(self.stopped())),
        }
    }

    /// The term that this member leads, once everything from before the term is applied here.
    pub(super) fn leading(&self) -> Option<u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let leads = metrics.state == ServerState::Leader && metrics.running_state.is_ok();
        let term = metrics.current_term;
        // A leader's term begins with an entry of its own. Until that is applied, the state's clock may lie behind
        // stamps of an earlier leader.
        let applied = || self.state.read(|replica| replica.last_applied.as_ref().map(|id| id.leader_id.term));
        (leads && applied() == Some(term)).then_some(term)
    }

    fn check_leading(&self) -> Result<u64, Attempt> {
        self.leading().ok_or_else(|| {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            match &metrics.running_state {
                Ok(()) => Attempt::Again(ProposalError::NotLeading { leader: metrics.current_leader }),
                Err(_) => Attempt::Refused(self.stopped()),
            }
        })
    }

    /// A stamp, and the term that this member leads, in which it is good.
    fn stamp(&self) -> Result<(u64, u64), Attempt> {
        let term = self.check_leading()?;
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
        Ok((*term, at_ms))
    }

    /// How many stamps were kept back because the wall clock had jumped ahead.
    pub(super) fn stamps_refused(&self) -> u64 {
        let leadership = self.leadership.lock().unwrap_or_else(PoisonError::into_inner);
        let current = leadership.as_ref().map_or(0, |current| current.stamper.refused());
        self.stamps_refused.load(Ordering::Relaxed) + current
    }

    /// Answers all that wait, and waits for the entries under way; for when the core has ended.
    pub(super) async fn close(&self) {
        let waiting = mem::take(&mut self.queue().waiting);
        settle(waiting.into_iter().map(|waiting| waiting.answer), &Attempt::Refused(self.stopped()));
        self.flights.close();
        self.flights.wait().await;
    }

    fn stopped(&self) -> ProposalError {
        self.disk.failure().map_or(ProposalError::Stopped, ProposalError::Disk)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells everyone of an entry how it ended.
fn settle(answers: impl IntoIterator<Item = oneshot::Sender<Result<Reply, Attempt>>>, attempt: &Attempt) {
    for answer in answers {
        drop(answer.send(Err(attempt.clone())));
    }
}

#[cfg(test)]
mod tests;
