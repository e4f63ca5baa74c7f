//! A member's number belongs to one data directory for ever: an empty one that takes its place has forgotten what it
//! promised.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Invariant;
use crate::history::Event;

pub(crate) const NAME: &str = "one_volume_per_number";

#[derive(Default)]
pub(crate) struct OneVolumePerNumber {
    incarnations: BTreeMap<u64, String>,
}

impl Invariant for OneVolumePerNumber {
    fn name(&self) -> &'static str {
        NAME
    }

    fn event(&mut self, _now: Duration, event: &Event) -> Result<(), String> {
        let Event::TakesPart { node_id, incarnation } = event else { return Ok(()) };
        let first = self.incarnations.entry(*node_id).or_insert_with(|| incarnation.clone());
        if first == incarnation {
            return Ok(());
        }
        Err(format!("member {node_id} had the data directory {first}, and takes part with {incarnation}"))
    }
}
