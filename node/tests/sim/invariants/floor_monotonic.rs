//! The high-water marks, and the allocator's clock, only rise along the log: on every member as applied, over restarts,
//! snapshots and leaders.

use std::collections::BTreeMap;
use std::time::Duration;

use stint_idgen::allocator::NamespaceName;

use super::Invariant;
use crate::history::{Event, Observation};

#[derive(Default)]
pub(crate) struct FloorMonotonic {
    /// By log index.
    floors: BTreeMap<NamespaceName, BTreeMap<u64, u64>>,
    clocks: BTreeMap<u64, u64>,
}

impl Invariant for FloorMonotonic {
    fn name(&self) -> &'static str {
        "floor_monotonic"
    }

    fn event(&mut self, _now: Duration, event: &Event) -> Result<(), String> {
        let Event::Found(Observation { node_id, applied, clock_ms, namespaces, .. }) = event else { return Ok(()) };
        rises(&mut self.clocks, *applied, *clock_ms).map_err(|why| format!("the clock of member {node_id}: {why}"))?;
        namespaces.iter().try_for_each(|(name, floor, _)| {
            let floors = self.floors.entry(name.clone()).or_default();
            rises(floors, *applied, *floor).map_err(|why| format!("the floor of `{name}` on member {node_id}: {why}"))
        })
    }
}

/// Adds a value at an index, where no earlier index has a higher one and no later index a lower one.
fn rises(values: &mut BTreeMap<u64, u64>, index: u64, value: u64) -> Result<(), String> {
    let before = values.range(..=index).next_back().filter(|(_, earlier)| **earlier > value);
    let after = values.range(index..).next().filter(|(_, later)| **later < value);
    if let Some((other, is)) = before.or(after) {
        return Err(format!("{value} at entry {index}, and {is} at entry {other}"));
    }
    values.insert(index, value);
    Ok(())
}
