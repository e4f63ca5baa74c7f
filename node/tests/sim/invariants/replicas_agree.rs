//! Members that have applied the same entries have the same state, byte for byte; and in the end all have.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Invariant;
use crate::history::{Event, Observation};

pub(crate) const NAME: &str = "replicas_agree";

#[derive(Default)]
pub(crate) struct ReplicasAgree {
    /// By the last entry applied: the state's hash, and whose it was.
    states: BTreeMap<u64, (u64, u64)>,
}

impl Invariant for ReplicasAgree {
    fn name(&self) -> &'static str {
        NAME
    }

    fn event(&mut self, _now: Duration, event: &Event) -> Result<(), String> {
        let Event::Found(Observation { node_id, applied, state: Some(state), .. }) = event else { return Ok(()) };
        let (first, whose) = *self.states.entry(*applied).or_insert((*state, *node_id));
        if first == *state {
            return Ok(());
        }
        Err(format!("members {whose} and {node_id} have applied entry {applied} and differ"))
    }
}
