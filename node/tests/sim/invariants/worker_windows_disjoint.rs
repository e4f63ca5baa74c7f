//! Two holders of one worker id never use one millisecond, whatever their clocks say; judged by the ids given out, and
//! by the windows that raw clients were granted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use stint_idgen::allocator::{LeaseId, WorkerLease};
use stint_idgen::snowflake::{self, WorkerId};

use super::Invariant;
use crate::history::Event;

#[derive(Default)]
pub(crate) struct WorkerWindowsDisjoint {
    ids: BTreeSet<u64>,
    /// Who used a worker's millisecond.
    used: BTreeMap<(WorkerId, u64), u64>,
    /// The windows of each worker, as far as their holders know.
    windows: BTreeMap<WorkerId, BTreeMap<LeaseId, (u64, u64)>>,
}

impl Invariant for WorkerWindowsDisjoint {
    fn name(&self) -> &'static str {
        "worker_windows_disjoint"
    }

    fn event(&mut self, _now: Duration, event: &Event) -> Result<(), String> {
        match event {
            Event::Made { process, ids } => ids.iter().try_for_each(|id| self.made(*process, *id)),
            Event::Leased(lease) => self.leased(lease),
            _ => Ok(()),
        }
    }
}

impl WorkerWindowsDisjoint {
    fn made(&mut self, process: u64, id: u64) -> Result<(), String> {
        if !self.ids.insert(id) {
            return Err(format!("the id {id} was given out twice, the second time by process {process}"));
        }
        let parts = snowflake::decode(id).ok_or_else(|| format!("{id} is no Snowflake id"))?;
        let at = (parts.worker, parts.timestamp_ms);
        let first = *self.used.entry(at).or_insert(process);
        if first != process {
            return Err(format!("worker {} was used at {} by processes {first} and {process}", at.0, at.1));
        }
        Ok(())
    }

    fn leased(&mut self, lease: &WorkerLease) -> Result<(), String> {
        let (from, until) = (lease.not_before_ms, lease.lease_until_ms);
        let windows = self.windows.entry(lease.worker).or_default();
        let other =
            windows.iter().find(|(number, window)| **number != lease.lease && from < window.1 && window.0 < until);
        if let Some((number, window)) = other {
            return Err(format!("{lease:?} overlaps lease {} of the same worker, {window:?}", number.0));
        }
        let window = windows.entry(lease.lease).or_insert((from, until));
        *window = (window.0.min(from), window.1.max(until));
        Ok(())
    }
}
