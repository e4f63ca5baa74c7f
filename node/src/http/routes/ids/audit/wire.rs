//! Audit records on the wire.

use serde::Serialize;
use stint_idgen::IdRange;
use stint_idgen::allocator::{AuditEvent, AuditRecord, Grant, HolderId, NamespaceName, NamespaceSpec, WorkerLease};
use utoipa::ToSchema;

use super::super::RangeBody;
use crate::domain::timestamp::UnixMs;
use crate::ports::id_source::IdRun;

/// One change of ownership.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct AuditLine {
    /// Its index in the log, rising from line to line, the same on every node.
    index: u64,
    /// When it was decided, RFC 3339.
    at: String,
    #[serde(flatten)]
    event: AuditEventBody,
    /// What it contradicts; there only if it does, which is a defect.
    #[serde(skip_serializing_if = "Option::is_none")]
    violation: Option<String>,
}

/// What changed. Counters are what the allocator grants: counter `c` is the id `start + offset + (c - start) * stride`
/// of its namespace, and with a stride of 1 and no offset that id itself.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum AuditEventBody {
    /// A namespace was made or changed.
    Namespace {
        /// Its name.
        namespace: String,
        /// Its first id, before the offset; also its first counter.
        start: u64,
        /// Ids stay below.
        limit: u64,
        /// How far apart neighbouring ids are.
        stride: u64,
        /// Which of the interleaved sequences it is.
        offset: u64,
        /// How many ids may be granted in total.
        quota: Option<u64>,
        /// The largest grant.
        max_block: u64,
    },
    /// A process was granted a range.
    Granted {
        /// Of which namespace.
        namespace: String,
        /// The grant's number.
        grant: u64,
        /// The counters.
        counters: CounterRange,
        /// The ids; not there for `links`, whose ids are keys.
        #[serde(skip_serializing_if = "Option::is_none")]
        ids: Option<RangeBody>,
        /// The process: 32 hex digits.
        holder: String,
        /// What people call the process.
        label: String,
    },
    /// A process accounted for a grant: counters from `used_to` on are gaps.
    Returned {
        /// The grant's number.
        grant: u64,
        /// One past the last counter that was given out.
        used_to: u64,
        /// The process: 32 hex digits.
        holder: String,
    },
    /// Counters below the floor are granted no more.
    FloorRaised {
        /// Of which namespace.
        namespace: String,
        /// The floor, a counter.
        floor: u64,
    },
    /// A process was leased a Snowflake worker id.
    WorkerLeased(LeaseBody),
    /// A worker lease was prolonged.
    WorkerRenewed(LeaseBody),
    /// A worker lease was ended early.
    WorkerReleased {
        /// The worker id.
        worker: u16,
        /// The process: 32 hex digits.
        holder: String,
    },
}

/// A half-open range of counters.
#[derive(Debug, Serialize, ToSchema)]
struct CounterRange {
    /// The first.
    start: u64,
    /// One past the last.
    end: u64,
}

/// A worker lease: ids with timestamps in its window are its holder's alone.
#[derive(Debug, Serialize, ToSchema)]
struct LeaseBody {
    /// The worker id, 0 to 1023.
    worker: u16,
    /// The lease's number.
    lease: u64,
    /// The process: 32 hex digits.
    holder: String,
    /// When the window begins, RFC 3339.
    not_before: String,
    /// One millisecond past the window, RFC 3339.
    lease_until: String,
}

impl AuditLine {
    /// The record, with ids where `spec` knows the namespace.
    pub(super) fn new<'a>(record: AuditRecord, spec: impl Fn(&NamespaceName) -> Option<&'a NamespaceSpec>) -> Self {
        let event = match record.event {
            AuditEvent::Namespace { name, spec } => namespace(name, &spec),
            AuditEvent::Granted { grant, label } => {
                let spec = spec(&grant.namespace).filter(|_| !grant.namespace.is_links());
                granted(&grant, label, spec)
            }
            AuditEvent::Returned { grant, holder: by, used_to } => {
                AuditEventBody::Returned { grant: grant.0, used_to, holder: holder(by) }
            }
            AuditEvent::FloorRaised { namespace, floor } => {
                AuditEventBody::FloorRaised { namespace: namespace.into(), floor }
            }
            AuditEvent::WorkerLeased(lease) => AuditEventBody::WorkerLeased(lease.into()),
            AuditEvent::WorkerRenewed(lease) => AuditEventBody::WorkerRenewed(lease.into()),
            AuditEvent::WorkerReleased { worker, holder: by } => {
                AuditEventBody::WorkerReleased { worker: worker.get(), holder: holder(by) }
            }
        };
        Self { index: record.index, at: moment(record.at_ms), event, violation: record.violation }
    }

    /// One line of JSON, with its line break.
    pub(super) fn to_line(&self) -> String {
        let mut line = serde_json::to_string(self).expect("strings and numbers are always valid JSON");
        line.push('\n');
        line
    }
}

impl From<WorkerLease> for LeaseBody {
    fn from(lease: WorkerLease) -> Self {
        Self {
            worker: lease.worker.get(),
            lease: lease.lease.0,
            holder: holder(lease.holder),
            not_before: moment(lease.not_before_ms),
            lease_until: moment(lease.lease_until_ms),
        }
    }
}

impl From<IdRange> for CounterRange {
    fn from(range: IdRange) -> Self {
        Self { start: range.start(), end: range.end() }
    }
}

fn namespace(name: NamespaceName, spec: &NamespaceSpec) -> AuditEventBody {
    let &NamespaceSpec { start, limit, max_block, stride, offset, quota } = spec;
    AuditEventBody::Namespace { namespace: name.into(), start, limit, stride, offset, quota, max_block }
}

fn granted(grant: &Grant, label: String, spec: Option<&NamespaceSpec>) -> AuditEventBody {
    AuditEventBody::Granted {
        namespace: grant.namespace.as_str().to_owned(),
        grant: grant.id.0,
        counters: grant.range.into(),
        ids: spec.and_then(|spec| IdRun::of_counters(spec, grant.range)).map(RangeBody::from),
        holder: holder(grant.holder),
        label,
    }
}

fn holder(holder: HolderId) -> String {
    format!("{:032x}", holder.0)
}

fn moment(unix_ms: u64) -> String {
    UnixMs::from_clock(unix_ms).to_string()
}
