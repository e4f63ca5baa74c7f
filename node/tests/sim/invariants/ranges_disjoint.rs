//! No id of a namespace is given out twice, and a grant starts at or above every grant that was complete before its
//! request began.

use std::collections::BTreeMap;
use std::time::Duration;

use stint_idgen::IdRange;
use stint_idgen::allocator::{HolderId, NamespaceName, Reply};

use super::Invariant;
use crate::history::Event;

#[derive(Default)]
pub(crate) struct RangesDisjoint {
    namespaces: BTreeMap<NamespaceName, Given>,
    /// Requests that were begun, and what was complete by then.
    asked: BTreeMap<(HolderId, u64), u64>,
}

/// What was given out of one namespace.
#[derive(Default)]
struct Given {
    /// Start → (end, to whom), without overlaps.
    ranges: BTreeMap<u64, (u64, String)>,
    highest: u64,
}

impl Given {
    fn give(&mut self, range: IdRange, to: String) -> Result<(), String> {
        let before = self.ranges.range(..range.end()).next_back();
        if let Some((start, (end, whom))) = before.filter(|(_, (end, _))| *end > range.start()) {
            return Err(format!("{range:?} goes to {to}, and {start}..{end} went to {whom}"));
        }
        self.highest = self.highest.max(range.end());
        self.ranges.insert(range.start(), (range.end(), to));
        Ok(())
    }
}

impl Invariant for RangesDisjoint {
    fn name(&self) -> &'static str {
        "ranges_disjoint"
    }

    fn event(&mut self, _now: Duration, event: &Event) -> Result<(), String> {
        match event {
            Event::Asked { holder, request, namespace } => {
                let complete = self.namespaces.get(namespace).map_or(0, |given| given.highest);
                self.asked.insert((*holder, *request), complete);
                Ok(())
            }
            Event::Answered { holder, request, reply: Reply::Granted(grant) } => {
                // Answers that come again are judged by `retries_idempotent`.
                let Some(complete) = self.asked.remove(&(*holder, *request)) else { return Ok(()) };
                let given = self.namespaces.entry(grant.namespace.clone()).or_default();
                given.give(grant.range, format!("request {request} of {holder:?}"))?;
                if grant.range.start() < complete {
                    return Err(format!("{:?} was granted after everything below {complete} had been", grant.range));
                }
                Ok(())
            }
            Event::Drew { process, namespace, range } => {
                self.namespaces.entry(namespace.clone()).or_default().give(*range, format!("process {process}"))
            }
            _ => Ok(()),
        }
    }
}
