//! The auditor: it sees each committed entry once, in order, and finds what contradicts what it saw before.

use super::namespaces::SeenNamespaces;
use super::workers::SeenWorkers;
use super::{AuditEvent, AuditRecord};
use crate::allocator::{Command, Reply, Stamped, State};

/// Checks the allocator's decisions against each other, without looking at how they were made.
#[derive(Clone, Debug, Default)]
pub struct Auditor {
    namespaces: SeenNamespaces,
    workers: SeenWorkers,
    /// The highest stamp seen, Unix milliseconds.
    now_ms: u64,
    violations: u64,
}

impl Auditor {
    /// An auditor of a log from its first entry.
    pub const fn new() -> Self {
        Self { namespaces: SeenNamespaces::new(), workers: SeenWorkers::new(), now_ms: 0, violations: 0 }
    }

    /// An auditor that goes on after a snapshot: what the state has spent counts as seen, and as right.
    pub fn resume(state: &State) -> Self {
        let namespaces = SeenNamespaces::resume(state.namespaces(), state.last_grant());
        Self { namespaces, workers: SeenWorkers::resume(state), now_ms: state.clock_ms(), violations: 0 }
    }

    /// How many records had a violation so far.
    pub const fn violations(&self) -> u64 {
        self.violations
    }

    /// The record of an entry and its reply; `None` for retries, refusals, and what changes no ownership.
    ///
    /// `index` is the entry's place in the log. Every entry must be shown, those without a record too: they tell time.
    pub fn observe(&mut self, index: u64, entry: &Stamped, reply: &Reply) -> Option<AuditRecord> {
        self.now_ms = self.now_ms.max(entry.at_ms);
        let mut wrongs = Vec::new();
        let event = self
            .namespace_event(&entry.command, reply, &mut wrongs)
            .or_else(|| self.worker_event(&entry.command, reply, &mut wrongs))?;
        let violation = (!wrongs.is_empty()).then(|| wrongs.join("; "));
        self.violations += u64::from(violation.is_some());
        Some(AuditRecord { index, at_ms: entry.at_ms, event, violation })
    }

    fn namespace_event(&mut self, command: &Command, reply: &Reply, wrongs: &mut Vec<String>) -> Option<AuditEvent> {
        let namespaces = &mut self.namespaces;
        match (command, reply) {
            (Command::CreateNamespace { name, .. }, &Reply::Namespace { spec, created: true }) => {
                namespaces.make(name, spec, wrongs);
                Some(AuditEvent::Namespace { name: name.clone(), spec })
            }
            (Command::UpdateNamespace { name, .. }, &Reply::Namespace { spec, .. }) => {
                if namespaces.spec(name) == Some(&spec) {
                    return None;
                }
                namespaces.change(name, spec, wrongs);
                Some(AuditEvent::Namespace { name: name.clone(), spec })
            }
            (Command::Grant { namespace, want, holder, label, .. }, Reply::Granted(grant)) => {
                if namespaces.knows(grant.id) {
                    return None;
                }
                namespaces.grant((namespace, *want, *holder), grant, wrongs);
                Some(AuditEvent::Granted { grant: grant.clone(), label: label.clone() })
            }
            (&Command::Return { holder, grant, used_to }, Reply::Returned { .. }) => {
                if !namespaces.knows(grant) {
                    wrongs.push(format!("the grant {} was returned, but never made", grant.0));
                }
                Some(AuditEvent::Returned { grant, holder, used_to })
            }
            (Command::RaiseFloor { namespace, floor: wanted }, &Reply::Floor(floor)) => {
                if !namespaces.is_floor_news(namespace, floor) && floor >= *wanted {
                    return None;
                }
                namespaces.raise(namespace, (*wanted, floor), wrongs);
                Some(AuditEvent::FloorRaised { namespace: namespace.clone(), floor })
            }
            _ => None,
        }
    }

    fn worker_event(&mut self, command: &Command, reply: &Reply, wrongs: &mut Vec<String>) -> Option<AuditEvent> {
        let (workers, now_ms) = (&mut self.workers, self.now_ms);
        match (command, reply) {
            (Command::LeaseWorker { holder, .. }, Reply::WorkerLeased(lease)) => {
                if workers.knows(lease.lease) {
                    return None;
                }
                workers.lease(*holder, lease, wrongs);
                Some(AuditEvent::WorkerLeased(*lease))
            }
            (Command::RenewWorker { .. }, Reply::WorkerRenewed(renewed)) => {
                if !workers.is_renewal_news(renewed, now_ms) {
                    return None;
                }
                workers.renew(renewed, now_ms, wrongs);
                Some(AuditEvent::WorkerRenewed(*renewed))
            }
            (&Command::ReleaseWorker { holder, worker, lease }, Reply::WorkerReleased) => {
                let freed = workers.release(worker, lease, now_ms);
                freed.then_some(AuditEvent::WorkerReleased { worker, holder })
            }
            _ => None,
        }
    }
}
