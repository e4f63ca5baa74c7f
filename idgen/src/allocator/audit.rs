//! The audit: every change of ownership as a record, and an independent check that none contradicts another.
//!
//! The auditor shares no code with what decides grants: it remembers what it saw granted as intervals, and the end of
//! each worker's last window, and reports whatever overlaps. It sees each committed entry once, in order.

mod auditor;
mod intervals;
mod namespaces;
mod workers;

use serde::{Deserialize, Serialize};

pub use auditor::Auditor;

use super::{Grant, GrantId, HolderId, NamespaceName, NamespaceSpec, WorkerLease};

/// One change of ownership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// The place of the command that changed it in the log: rises from record to record, the same on every member.
    pub index: u64,
    /// The entry's stamp, Unix milliseconds.
    pub at_ms: u64,
    /// What changed.
    pub event: AuditEvent,
    /// What it contradicts; nothing, if the allocator does its work.
    pub violation: Option<String>,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuditEvent {
    /// A namespace was made, or what of it may change was changed.
    Namespace {
        /// Its name.
        name: NamespaceName,
        /// Its spec from now on.
        spec: NamespaceSpec,
    },
    /// A range was granted. Retries of the request are no new records.
    Granted {
        /// The grant.
        grant: Grant,
        /// What people call its holder.
        label: String,
    },
    /// A grant was accounted for.
    Returned {
        /// Which.
        grant: GrantId,
        /// Whose.
        holder: HolderId,
        /// Counters below were given out.
        used_to: u64,
    },
    /// A namespace's floor was raised.
    FloorRaised {
        /// Which namespace.
        namespace: NamespaceName,
        /// Its floor from now on.
        floor: u64,
    },
    /// A worker id was leased. Retries of the request are no new records.
    WorkerLeased(WorkerLease),
    /// A worker lease was prolonged.
    WorkerRenewed(WorkerLease),
    /// A worker id was freed.
    WorkerReleased {
        /// Which worker id.
        worker: crate::snowflake::WorkerId,
        /// Whose.
        holder: HolderId,
    },
}

#[cfg(test)]
mod tests;
