//! At most one member leads in a term, and no member votes for two candidates in one.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Invariant;
use crate::history::{Event, Observation};

#[derive(Default)]
pub(crate) struct OneLeaderPerTerm {
    leaders: BTreeMap<u64, u64>,
    votes: BTreeMap<(u64, u64), u64>,
}

impl Invariant for OneLeaderPerTerm {
    fn name(&self) -> &'static str {
        "one_leader_per_term"
    }

    fn event(&mut self, _now: Duration, event: &Event) -> Result<(), String> {
        match event {
            Event::Voted { term, candidate, committed: true, .. } => self.leads(*term, *candidate),
            Event::Voted { node_id, term, candidate, .. } => {
                let first = *self.votes.entry((*node_id, *term)).or_insert(*candidate);
                if first == *candidate {
                    return Ok(());
                }
                Err(format!("member {node_id} voted for {first} and for {candidate} in term {term}"))
            }
            Event::Found(Observation { node_id, term, leads: true, .. }) => self.leads(*term, *node_id),
            _ => Ok(()),
        }
    }
}

impl OneLeaderPerTerm {
    fn leads(&mut self, term: u64, node_id: u64) -> Result<(), String> {
        let first = *self.leaders.entry(term).or_insert(node_id);
        if first == node_id {
            return Ok(());
        }
        Err(format!("members {first} and {node_id} both lead in term {term}"))
    }
}
