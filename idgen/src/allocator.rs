//! The allocator: a deterministic state machine that grants disjoint id ranges and leases worker ids.
//!
//! `apply(state, command, stamped time) -> reply` is the only way in which a range is ever taken.

mod audit;
mod command;
mod name;
mod namespace;
mod origin;
mod reply;
mod stamp;
mod state;
mod wire;

pub use audit::{AuditEvent, AuditRecord, Auditor};
pub use command::{Command, HolderId, Stamped};
pub use name::{NamespaceName, NamespaceNameError};
pub use namespace::NamespaceSpec;
pub use origin::{GrantFate, GrantRecord, IdOrigin};
pub use reply::{Grant, GrantId, LeaseId, NamespaceTotals, Refusal, Reply, WorkerLease};
pub use stamp::{MAX_DRIFT, Stamper};
pub use state::{
    HOLDER_TTL, MAX_ENDED_GRANTS, MAX_ENDED_PER_NAMESPACE, MAX_HOLDERS, MAX_LIVE_GRANTS, MAX_MEMBERS, MAX_NAMESPACES,
    MAX_WORKER_HOLDERS, MAX_WORKER_LEASE, MAX_WORKER_WAIT, MIN_WORKER_LEASE, NamespaceStatus, State, WorkerStatus,
    WorkerTotals,
};
pub use wire::DecodeError;
