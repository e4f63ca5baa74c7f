//! What the auditor saw leased of each worker id.

use std::collections::BTreeMap;

use crate::allocator::{HolderId, LeaseId, State, WorkerLease, WorkerStatus};
use crate::snowflake::WorkerId;

/// The last lease of every worker id that was seen, and the highest number of a lease.
#[derive(Clone, Debug, Default)]
pub(super) struct SeenWorkers {
    by_id: BTreeMap<WorkerId, LastLease>,
    last_lease: LeaseId,
}

#[derive(Clone, Copy, Debug)]
struct LastLease {
    lease: LeaseId,
    holder: HolderId,
    not_before_ms: u64,
    /// The end of the worker's last window: it only rises, over all of its leases.
    end_ms: u64,
    /// Whether the holder freed it, or took another one.
    given_up: bool,
}

impl SeenWorkers {
    pub(super) const fn new() -> Self {
        Self { by_id: BTreeMap::new(), last_lease: LeaseId(0) }
    }

    pub(super) fn resume(state: &State) -> Self {
        let by_id: BTreeMap<_, _> = state.last_worker_leases().map(|it| (it.worker, LastLease::resume(&it))).collect();
        let mut seen = Self { by_id, last_lease: LeaseId(state.worker_totals().granted) };
        // Which of the others were given up and which ran out makes no difference any more.
        for live in state.worker_leases() {
            seen.by_id.entry(live.worker).and_modify(|last| last.given_up = false);
        }
        seen
    }

    /// Whether a lease of this number was seen.
    pub(super) fn knows(&self, lease: LeaseId) -> bool {
        lease <= self.last_lease
    }

    /// Notes a new lease; the holder's former one is given up by it.
    pub(super) fn lease(&mut self, asked_by: HolderId, new: &WorkerLease, wrongs: &mut Vec<String>) {
        self.last_lease = new.lease;
        let former_end_ms = self.by_id.get(&new.worker).map_or(0, |last| last.end_ms);
        if new.not_before_ms < former_end_ms {
            let (worker, from) = (new.worker, new.not_before_ms);
            wrongs.push(format!("worker {worker}'s window begins at {from}, before its last ended at {former_end_ms}"));
        }
        if new.not_before_ms >= new.lease_until_ms {
            wrongs.push(format!("worker {}'s window ends before it begins", new.worker));
        }
        if new.holder != asked_by {
            wrongs.push("the lease is another holder's than asked for it".to_owned());
        }
        for last in self.by_id.values_mut().filter(|last| last.holder == new.holder) {
            last.given_up = true;
        }
        self.by_id.insert(new.worker, LastLease::new(new, former_end_ms));
    }

    /// Whether a renewal moved the lease's end, or is wrong.
    pub(super) fn is_renewal_news(&self, renewed: &WorkerLease, now_ms: u64) -> bool {
        let last = self.by_id.get(&renewed.worker);
        last.is_none_or(|last| last.end_ms != renewed.lease_until_ms || !last.wrongs(renewed, now_ms).is_empty())
    }

    /// Notes a renewal: only a worker's last lease may be prolonged, and only while it is live.
    pub(super) fn renew(&mut self, renewed: &WorkerLease, now_ms: u64, wrongs: &mut Vec<String>) {
        let Some(last) = self.by_id.get_mut(&renewed.worker) else {
            wrongs.push(format!("worker {} was renewed, but never leased", renewed.worker));
            return;
        };
        wrongs.extend(last.wrongs(renewed, now_ms));
        last.end_ms = last.end_ms.max(renewed.lease_until_ms);
    }

    /// Notes a release; whether it ended a live lease.
    pub(super) fn release(&mut self, worker: WorkerId, lease: LeaseId, now_ms: u64) -> bool {
        let last = self.by_id.get_mut(&worker).filter(|last| last.lease == lease && last.is_live(now_ms));
        last.is_some_and(|last| !std::mem::replace(&mut last.given_up, true))
    }
}

impl LastLease {
    const fn new(new: &WorkerLease, former_end_ms: u64) -> Self {
        let WorkerLease { lease, holder, not_before_ms, lease_until_ms, .. } = *new;
        let end_ms = if lease_until_ms > former_end_ms { lease_until_ms } else { former_end_ms };
        Self { lease, holder, not_before_ms, end_ms, given_up: false }
    }

    const fn resume(status: &WorkerStatus<'_>) -> Self {
        let WorkerStatus { lease, holder, not_before_ms, lease_until_ms, .. } = *status;
        Self { lease, holder, not_before_ms, end_ms: lease_until_ms, given_up: true }
    }

    const fn is_live(&self, now_ms: u64) -> bool {
        !self.given_up && now_ms < self.end_ms
    }

    fn wrongs(&self, renewed: &WorkerLease, now_ms: u64) -> Vec<String> {
        let worker = renewed.worker;
        if (renewed.lease, renewed.holder) != (self.lease, self.holder) {
            let (found, last) = (renewed.lease.0, self.lease.0);
            return vec![format!(
                "worker {worker}'s lease {found} was renewed, but its last is {last} of another request"
            )];
        }
        let mut wrongs = Vec::new();
        if !self.is_live(now_ms) {
            wrongs.push(format!("worker {worker}'s lease {} was renewed after it was over", self.lease.0));
        }
        if renewed.not_before_ms != self.not_before_ms || renewed.lease_until_ms < self.end_ms {
            wrongs.push(format!("worker {worker}'s window was moved, not prolonged"));
        }
        wrongs
    }
}
