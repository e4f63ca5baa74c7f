//! What must hold in every run, one file each. They hear of every event as it happens.

mod accounting;
mod floor_monotonic;
mod one_leader_per_term;
pub(crate) mod one_volume_per_number;
pub(crate) mod progress_after_healing;
mod ranges_disjoint;
pub(crate) mod replicas_agree;
mod retries_idempotent;
mod worker_windows_disjoint;

use std::time::Duration;

use crate::history::Event;

/// Something that must hold, whatever happens.
pub(crate) trait Invariant: Send {
    /// The name of its file.
    fn name(&self) -> &'static str;

    /// Judges what happened; the error says what is wrong.
    fn event(&mut self, now: Duration, event: &Event) -> Result<(), String>;

    /// Judges the whole, once nothing more happens.
    fn end(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// Every invariant that is judged by events, fresh.
pub(crate) fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(ranges_disjoint::RangesDisjoint::default()),
        Box::new(retries_idempotent::RetriesIdempotent::default()),
        Box::new(worker_windows_disjoint::WorkerWindowsDisjoint::default()),
        Box::new(floor_monotonic::FloorMonotonic::default()),
        Box::new(accounting::Accounting::default()),
        Box::new(one_leader_per_term::OneLeaderPerTerm::default()),
        Box::new(one_volume_per_number::OneVolumePerNumber::default()),
        Box::new(replicas_agree::ReplicasAgree::default()),
    ]
}
