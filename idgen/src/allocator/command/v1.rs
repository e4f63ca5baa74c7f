//! Log entries of version 1, from before namespaces had strides and quotas.

use serde::{Deserialize, Serialize};

use super::{Command, HolderId, NamespaceSpec, Stamped};
use crate::allocator::{GrantId, NamespaceName};

pub(super) const VERSION: u8 = 1;

#[derive(Deserialize)]
pub(super) struct StampedV1 {
    at_ms: u64,
    command: CommandV1,
}

/// A namespace's spec; snapshots of version 1 have it too.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(in crate::allocator) struct NamespaceSpecV1 {
    start: u64,
    limit: u64,
    max_block: u64,
}

#[derive(Deserialize)]
enum CommandV1 {
    CreateNamespace { name: NamespaceName, spec: NamespaceSpecV1 },
    Grant { namespace: NamespaceName, want: u64, holder: HolderId, label: String, request: u64 },
    Return { holder: HolderId, grant: GrantId, used_to: u64 },
    RaiseFloor { namespace: NamespaceName, floor: u64 },
    RaiseTimeline { timeline: u64 },
}

impl From<StampedV1> for Stamped {
    fn from(old: StampedV1) -> Self {
        let command = match old.command {
            CommandV1::CreateNamespace { name, spec } => Command::CreateNamespace { name, spec: spec.into() },
            CommandV1::Grant { namespace, want, holder, label, request } => {
                Command::Grant { namespace, want, holder, label, request }
            }
            CommandV1::Return { holder, grant, used_to } => Command::Return { holder, grant, used_to },
            CommandV1::RaiseFloor { namespace, floor } => Command::RaiseFloor { namespace, floor },
            CommandV1::RaiseTimeline { timeline } => Command::RaiseTimeline { timeline },
        };
        Self { at_ms: old.at_ms, command }
    }
}

impl From<NamespaceSpecV1> for NamespaceSpec {
    fn from(old: NamespaceSpecV1) -> Self {
        Self::contiguous(old.start, old.limit, old.max_block)
    }
}
