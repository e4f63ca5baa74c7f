//! Two holders of one worker id never use one millisecond, whatever their clocks say: the windows that were granted don't
//! overlap, and every id that was given out lies within one that its process was granted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use stint_idgen::allocator::LeaseId;
use stint_idgen::snowflake::{self, Snowflake, WorkerId};

use super::Invariant;
use crate::history::Event;

#[derive(Default)]
pub(crate) struct WorkerWindowsDisjoint {
    ids: BTreeSet<u64>,
    /// Who used a worker's millisecond.
    used: BTreeMap<(WorkerId, u64), u64>,
    /// From when until when each lease of a worker was used, or could have been.
    windows: BTreeMap<WorkerId, BTreeMap<LeaseId, (u64, u64)>>,
    /// What each process was granted.
    granted: BTreeMap<(u64, WorkerId), BTreeMap<LeaseId, (u64, u64)>>,
}

impl Invariant for WorkerWindowsDisjoint {
    fn name(&self) -> &'static str {
        "worker_windows_disjoint"
    }

    fn event(&mut self, _now: Duration, event: &Event) -> Result<(), String> {
        match event {
            Event::Made { process, lease, ids } => ids.iter().try_for_each(|id| self.made(*process, *lease, *id)),
            Event::Leased { process, lease } => {
                let window = (lease.not_before_ms, lease.lease_until_ms);
                if let Some(process) = process {
                    let granted = self.granted.entry((*process, lease.worker)).or_default();
                    let until = granted.entry(lease.lease).or_insert(window);
                    until.1 = until.1.max(window.1);
                }
                self.widen(lease.worker, lease.lease, window)
            }
            _ => Ok(()),
        }
    }
}

impl WorkerWindowsDisjoint {
    fn made(&mut self, process: u64, lease: Option<(WorkerId, LeaseId)>, id: u64) -> Result<(), String> {
        if !self.ids.insert(id) {
            return Err(format!("the id {id} was given out twice, the second time by process {process}"));
        }
        let Snowflake { worker, timestamp_ms, .. } =
            snowflake::decode(id).ok_or_else(|| format!("{id} is no Snowflake id"))?;
        let first = *self.used.entry((worker, timestamp_ms)).or_insert(process);
        if first != process {
            return Err(format!("worker {worker} was used at {timestamp_ms} by processes {first} and {process}"));
        }
        let mut granted = self.granted.get(&(process, worker)).into_iter().flat_map(BTreeMap::values);
        if !granted.any(|(from, until)| (*from..*until).contains(&timestamp_ms)) {
            return Err(format!("process {process} used worker {worker} at {timestamp_ms}, which it was not granted"));
        }
        // The ids of one draw may be of two leases, and the holder tells only of the last.
        match lease.filter(|(of, _)| *of == worker) {
            Some((_, lease)) => self.widen(worker, lease, (timestamp_ms, timestamp_ms + 1)),
            None => Ok(()),
        }
    }

    fn widen(&mut self, worker: WorkerId, lease: LeaseId, (from, until): (u64, u64)) -> Result<(), String> {
        let windows = self.windows.entry(worker).or_default();
        let window = windows.entry(lease).or_insert((from, until));
        *window = (window.0.min(from), window.1.max(until));
        let window = *window;
        let other = windows.iter().find(|(number, it)| **number != lease && window.0 < it.1 && it.0 < window.1);
        match other {
            Some((number, it)) => Err(format!(
                "worker {worker} was used in {window:?} under lease {} and in {it:?} under lease {}",
                lease.0, number.0
            )),
            None => Ok(()),
        }
    }
}
