//! Worker leases: which holder may make Snowflake ids of which worker, and for which timestamps.
//!
//! **Invariant: the windows `[not_before, lease_until)` of one worker id never overlap between leases.** It rests on two
//! things: a lease begins at or after the end of the worker's last one, released early or not, and only the worker's
//! latest lease can be prolonged. All the rest here is idempotence and fairness.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::holders::{bounded_label, label_is_bounded};
use super::{HOLDER_TTL, State};
use crate::allocator::{HolderId, LeaseId, Refusal, Reply, WorkerLease};
use crate::snowflake::{WORKERS, WorkerId};

/// The shortest lease. A renewal must have time for an election and some retries, or a lost leader stops every worker.
pub const MIN_WORKER_LEASE: Duration = Duration::from_secs(10);

/// The longest lease. A worker id whose holder was killed is of no use until its lease is over.
pub const MAX_WORKER_LEASE: Duration = Duration::from_hours(1);

/// How far in the future a lease may begin. For longer a holder would wait with a worker id blocked, and leases taken
/// and released in a loop could push every window out of reach.
pub const MAX_WORKER_WAIT: Duration = Duration::from_mins(1);

/// How many holders' last requests are remembered; past that the longest silent goes first. More than there are
/// workers, so that those who were refused have room.
pub const MAX_WORKER_HOLDERS: usize = 4 * WORKERS as usize;

const MIN_LEASE_MS: u64 = MIN_WORKER_LEASE.as_secs() * 1_000;
const MAX_LEASE_MS: u64 = MAX_WORKER_LEASE.as_secs() * 1_000;
const MAX_WAIT_MS: u64 = MAX_WORKER_WAIT.as_secs() * 1_000;
const HOLDER_TTL_MS: u64 = HOLDER_TTL.as_secs() * 1_000;

/// How worker ids were spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerTotals {
    /// Leases granted.
    pub granted: u64,
    /// Renewals of leases.
    pub renewed: u64,
    /// Leases released by their holders, or given up by asking for another.
    pub released: u64,
    /// Leases that are neither released nor over.
    pub live: u64,
    /// Worker ids that were leased at least once.
    pub used_workers: u64,
}

/// A worker id's last lease, for people to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerStatus<'a> {
    /// Which worker id.
    pub worker: WorkerId,
    /// Which lease.
    pub lease: LeaseId,
    /// Who holds it.
    pub holder: HolderId,
    /// What people call the holder.
    pub label: &'a str,
    /// The first Unix millisecond of the window.
    pub not_before_ms: u64,
    /// One past the window's last Unix millisecond.
    pub lease_until_ms: u64,
}

/// Every worker's last lease, and the last answer to each holder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Workers {
    last_lease: u64,
    renewed: u64,
    released: u64,
    /// By worker id: ids are taken into use in their order, so those used are the first ones.
    slots: Vec<Slot>,
    askers: BTreeMap<HolderId, Asker>,
}

/// The last lease of a worker id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Slot {
    lease: LeaseId,
    holder: HolderId,
    label: String,
    not_before_ms: u64,
    /// Only rises, over all leases of the worker.
    lease_until_ms: u64,
    released: bool,
}

/// A holder's last request for a lease, and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Asker {
    seen_ms: u64,
    request: u64,
    duration_ms: u64,
    reply: Reply,
}

impl State {
    /// What was done with worker ids so far.
    pub fn worker_totals(&self) -> WorkerTotals {
        let Workers { last_lease, renewed, released, slots, .. } = &self.workers;
        WorkerTotals {
            granted: *last_lease,
            renewed: *renewed,
            released: *released,
            live: self.worker_leases().count() as u64,
            used_workers: slots.len() as u64,
        }
    }

    /// The live leases, by worker id.
    pub fn worker_leases(&self) -> impl Iterator<Item = WorkerStatus<'_>> {
        let now_ms = self.clock_ms;
        self.workers.statuses().filter(move |(slot, _)| slot.is_live(now_ms)).map(|(_, status)| status)
    }

    /// The last lease of every worker id that was ever leased, live or not, by worker id. No window of a worker ends
    /// later than its last lease's.
    pub fn last_worker_leases(&self) -> impl Iterator<Item = WorkerStatus<'_>> {
        self.workers.statuses().map(|(_, status)| status)
    }

    /// Answers a request for a worker id: a new number is decided, the last number is answered as before, lower ones
    /// are stale. As with grants, a refusal is an answer too.
    pub(super) fn lease_worker(
        &mut self,
        holder: HolderId,
        label: &str,
        request: u64,
        duration_ms: u64,
    ) -> Result<Reply, Refusal> {
        let now_ms = self.clock_ms;
        let workers = &mut self.workers;
        workers.forget_silent(now_ms);
        let known = workers.see(holder, now_ms);
        let last = known.map_or(0, |known| known.request);
        if request < last || request == 0 {
            return Err(Refusal::StaleRequest { last });
        }
        if let Some(known) = known.filter(|known| known.request == request) {
            let same = known.duration_ms == duration_ms;
            return if same { Ok(known.reply.clone()) } else { Err(Refusal::RequestReused(request)) };
        }
        let reply = workers.lease(holder, label, now_ms, duration_ms).map_or_else(Reply::Refused, Reply::WorkerLeased);
        workers.answer(holder, Asker { seen_ms: now_ms, request, duration_ms, reply: reply.clone() });
        Ok(reply)
    }

    /// Moves the end of a live lease; it never moves back, so a late retry does no harm.
    pub(super) fn renew_worker(
        &mut self,
        holder: HolderId,
        (worker, lease): (WorkerId, LeaseId),
        duration_ms: u64,
    ) -> Result<Reply, Refusal> {
        check_duration(duration_ms)?;
        let now_ms = self.clock_ms;
        self.workers.see(holder, now_ms);
        let slot = self.workers.slot(holder, worker, lease)?;
        if !slot.is_live(now_ms) {
            return Err(Refusal::LeaseNotLive(lease));
        }
        let from_ms = slot.not_before_ms.max(now_ms);
        slot.lease_until_ms = slot.lease_until_ms.max(from_ms.saturating_add(duration_ms));
        let renewed = slot.granted(worker, now_ms);
        self.workers.renewed = self.workers.renewed.saturating_add(1);
        Ok(Reply::WorkerRenewed(renewed))
    }

    /// Frees a worker id before its lease is over; the window stays spent. Doing so again is answered as done.
    pub(super) fn release_worker(
        &mut self,
        holder: HolderId,
        worker: WorkerId,
        lease: LeaseId,
    ) -> Result<Reply, Refusal> {
        let now_ms = self.clock_ms;
        self.workers.see(holder, now_ms);
        let slot = self.workers.slot(holder, worker, lease)?;
        if slot.is_live(now_ms) {
            slot.released = true;
            self.workers.released += 1;
        }
        Ok(Reply::WorkerReleased)
    }
}

impl Workers {
    fn statuses(&self) -> impl Iterator<Item = (&Slot, WorkerStatus<'_>)> {
        (0..).zip(&self.slots).filter_map(|(number, slot)| {
            let Slot { lease, holder, ref label, not_before_ms, lease_until_ms, .. } = *slot;
            let worker = WorkerId::new(number).ok()?;
            Some((slot, WorkerStatus { worker, lease, holder, label, not_before_ms, lease_until_ms }))
        })
    }

    /// Leases the worker id that was free longest. A holder has one lease: its former one is released.
    fn lease(&mut self, holder: HolderId, label: &str, now_ms: u64, duration_ms: u64) -> Result<WorkerLease, Refusal> {
        check_duration(duration_ms)?;
        let (number, not_before_ms) = self.longest_free(now_ms)?;
        let lease_until_ms =
            not_before_ms.checked_add(duration_ms).ok_or(Refusal::NoWorkerFree { free_at_ms: u64::MAX })?;
        let worker = WorkerId::new(number).expect("there are no more slots than worker ids");
        self.give_up(holder, now_ms);
        self.last_lease += 1;
        let lease = LeaseId(self.last_lease);
        let label = bounded_label(label);
        let slot = Slot { lease, holder, label, not_before_ms, lease_until_ms, released: false };
        let granted = slot.granted(worker, now_ms);
        match self.slots.get_mut(usize::from(number)) {
            Some(former) => *former = slot,
            None => self.slots.push(slot),
        }
        Ok(granted)
    }

    /// The worker id to lease next, and the first millisecond it may be used for: one never used before, else that
    /// whose last window ended first.
    fn longest_free(&self, now_ms: u64) -> Result<(u16, u64), Refusal> {
        let unused = u16::try_from(self.slots.len()).ok().filter(|&number| number < WORKERS);
        if let Some(number) = unused {
            return Ok((number, now_ms));
        }
        let by_end = |(number, slot): (u16, &Slot)| (slot.lease_until_ms, number);
        let free = (0..).zip(&self.slots).filter(|(_, slot)| !slot.is_live(now_ms)).map(by_end).min();
        match free {
            Some((end_ms, number)) if end_ms.saturating_sub(now_ms) <= MAX_WAIT_MS => Ok((number, end_ms.max(now_ms))),
            _ => {
                let first_end_ms = self.slots.iter().map(|slot| slot.lease_until_ms).min();
                Err(Refusal::NoWorkerFree { free_at_ms: first_end_ms.unwrap_or(now_ms) })
            }
        }
    }

    fn give_up(&mut self, holder: HolderId, now_ms: u64) {
        for slot in self.slots.iter_mut().filter(|slot| slot.holder == holder && slot.is_live(now_ms)) {
            slot.released = true;
            self.released += 1;
        }
    }

    /// The worker's slot, if `lease` is its last lease and belongs to `holder`.
    fn slot(&mut self, holder: HolderId, worker: WorkerId, lease: LeaseId) -> Result<&mut Slot, Refusal> {
        let slot = self.slots.get_mut(usize::from(worker.get()));
        slot.filter(|slot| slot.lease == lease && slot.holder == holder).ok_or(Refusal::LeaseNotLive(lease))
    }

    fn see(&mut self, holder: HolderId, now_ms: u64) -> Option<&Asker> {
        let known = self.askers.get_mut(&holder)?;
        known.seen_ms = now_ms;
        Some(known)
    }

    fn answer(&mut self, holder: HolderId, asker: Asker) {
        self.askers.insert(holder, asker);
        if self.askers.len() > MAX_WORKER_HOLDERS {
            let longest_silent = self.askers.iter().map(|(&holder, asker)| (asker.seen_ms, holder)).min();
            longest_silent.and_then(|(_, holder)| self.askers.remove(&holder));
        }
    }

    /// Requests are few (one per start of a process) and the askers bounded, so looking at all of them is cheap.
    fn forget_silent(&mut self, now_ms: u64) {
        self.askers.retain(|_, asker| now_ms.saturating_sub(asker.seen_ms) < HOLDER_TTL_MS);
    }

    /// Checks the rules that the commands keep; the error says which is broken.
    pub(super) fn check(&self, now_ms: u64) -> Result<(), &'static str> {
        if self.slots.len() > usize::from(WORKERS) || self.askers.len() > MAX_WORKER_HOLDERS {
            return Err("there are too many workers or holders of workers");
        }
        let mut leases = std::collections::BTreeSet::new();
        let latest_end_ms = now_ms.saturating_add(MAX_WAIT_MS + MAX_LEASE_MS);
        for slot in &self.slots {
            if slot.lease.0 == 0 || slot.lease.0 > self.last_lease || !leases.insert(slot.lease) {
                return Err("a lease has a number that was not given yet, or that of another");
            }
            let is_window = slot.not_before_ms < slot.lease_until_ms && slot.lease_until_ms <= latest_end_ms;
            if !is_window || !label_is_bounded(&slot.label) {
                return Err("a lease's window or label is out of bounds");
            }
        }
        if self.released > self.last_lease || self.last_lease < self.slots.len() as u64 {
            return Err("the totals of leases do not add up");
        }
        self.askers.iter().try_for_each(|(&holder, asker)| self.check_asker(holder, asker, now_ms))
    }

    fn check_asker(&self, holder: HolderId, asker: &Asker, now_ms: u64) -> Result<(), &'static str> {
        let is_answer = match &asker.reply {
            Reply::WorkerLeased(it) => it.holder == holder && it.lease.0 <= self.last_lease,
            Reply::Refused(_) => true,
            _ => false,
        };
        if asker.request == 0 || asker.seen_ms > now_ms || !is_answer {
            return Err("a holder's last request for a worker, or its answer, is out of bounds");
        }
        Ok(())
    }
}

impl Slot {
    const fn is_live(&self, now_ms: u64) -> bool {
        !self.released && now_ms < self.lease_until_ms
    }

    const fn granted(&self, worker: WorkerId, now_ms: u64) -> WorkerLease {
        let Self { lease, holder, not_before_ms, lease_until_ms, .. } = *self;
        WorkerLease { worker, lease, holder, stamped_at_ms: now_ms, not_before_ms, lease_until_ms }
    }
}

fn check_duration(duration_ms: u64) -> Result<(), Refusal> {
    if (MIN_LEASE_MS..=MAX_LEASE_MS).contains(&duration_ms) {
        return Ok(());
    }
    Err(Refusal::BadLeaseDuration { shortest_ms: MIN_LEASE_MS, longest_ms: MAX_LEASE_MS })
}

#[cfg(test)]
mod tests;
