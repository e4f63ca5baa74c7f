//! Every id granted is live, used, returned or lost, and what clients were told is in the books.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use stint_idgen::allocator::{GrantId, NamespaceName, NamespaceTotals, Reply};

use super::Invariant;
use crate::history::{Event, Observation};

#[derive(Default)]
pub(crate) struct Accounting {
    /// What raw clients know to have been granted.
    granted: BTreeMap<GrantId, (NamespaceName, u64)>,
    /// The grants whose return was taken, and what was unused of them.
    returned: BTreeMap<GrantId, u64>,
    /// The books of the members that were found last, by the furthest of them.
    books: BTreeMap<NamespaceName, (u64, NamespaceTotals)>,
}

impl Invariant for Accounting {
    fn name(&self) -> &'static str {
        "accounting"
    }

    fn event(&mut self, _now: Duration, event: &Event) -> Result<(), String> {
        match event {
            Event::Answered { reply: Reply::Granted(grant), .. } => {
                self.granted.insert(grant.id, (grant.namespace.clone(), grant.range.len()));
                Ok(())
            }
            Event::Returned { grant, unused } => match self.returned.insert(*grant, *unused) {
                Some(_) => Err(format!("the return of grant {} was booked twice", grant.0)),
                None => Ok(()),
            },
            Event::Found(found) => self.found(found),
            _ => Ok(()),
        }
    }

    fn end(&mut self) -> Result<(), String> {
        let namespaces: BTreeSet<_> = self.granted.values().map(|(name, _)| name.clone()).collect();
        for name in namespaces {
            let (_, books) = self.books.get(&name).ok_or_else(|| format!("no member knows `{name}`"))?;
            let of_it = || self.granted.iter().filter(|(_, (namespace, _))| *namespace == name);
            let granted: u64 = of_it().map(|(_, (_, ids))| ids).sum();
            let returned: u64 = of_it().filter_map(|(grant, _)| self.returned.get(grant)).sum();
            if books.granted < granted || books.returned < returned {
                return Err(format!(
                    "clients were granted {granted} ids of `{name}` and returned {returned}; the books say {books:?}"
                ));
            }
        }
        Ok(())
    }
}

impl Accounting {
    fn found(&mut self, found: &Observation) -> Result<(), String> {
        for (name, _, totals) in &found.namespaces {
            let NamespaceTotals { granted, live, used, returned, lost } = *totals;
            if granted != live + used + returned + lost {
                return Err(format!("the books of `{name}` on member {} don't add up: {totals:?}", found.node_id));
            }
            let known = self.books.entry(name.clone()).or_default();
            if known.0 <= found.applied {
                *known = (found.applied, *totals);
            }
        }
        if found.audit_violations > 0 {
            return Err(format!(
                "the audit of member {} found {} contradictions",
                found.node_id, found.audit_violations
            ));
        }
        Ok(())
    }
}
