//! The allocator's state, and what each command does to it.
//!
//! Pure and deterministic: ordered maps, whole numbers, and the time of the entries. Replicas that apply the same log
//! are equal, whatever their clocks and versions of libraries.
//!
//! **Invariant: within a namespace granted ranges are disjoint, and each starts at or above every range granted
//! before.** It rests on one thing: `floor` only rises, and a grant is cut off at `floor` in the same step that raises
//! it. All the rest here is idempotence and accounting. Worker leases have a like rule of their own, in `workers`.

mod grants;
mod holders;
mod members;
mod namespaces;
mod origins;
mod records;
mod snapshot;
mod workers;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Command, GrantId, NamespaceName, NamespaceSpec, NamespaceTotals, Reply, Stamped};
use holders::Holders;
use members::Members;
use namespaces::Namespace;
use records::Records;
use workers::Workers;

pub use members::MAX_MEMBERS;
pub use workers::{
    MAX_WORKER_HOLDERS, MAX_WORKER_LEASE, MAX_WORKER_WAIT, MIN_WORKER_LEASE, WorkerStatus, WorkerTotals,
};

/// How many namespaces there may be.
pub const MAX_NAMESPACES: u32 = 10_000;

/// How long a holder may be silent before it counts as gone and its live grants as lost.
pub const HOLDER_TTL: Duration = Duration::from_hours(7 * 24);

/// How many holders are remembered; past that the longest silent goes first, as if its time were up.
pub const MAX_HOLDERS: usize = 100_000;

/// How many live grants are remembered; past that the oldest count as lost.
pub const MAX_LIVE_GRANTS: usize = 100_000;

/// How many grants that ended are remembered of one namespace; past that the one that ended first goes.
pub const MAX_ENDED_PER_NAMESPACE: usize = 10_000;

/// How many grants that ended are remembered of all namespaces; past that the one that ended first goes.
pub const MAX_ENDED_GRANTS: usize = 100_000;

/// The allocator's state. It changes by [`State::apply`] only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The highest stamp applied: time as this state knows it.
    clock_ms: u64,
    timeline: u64,
    last_grant: u64,
    namespaces: BTreeMap<NamespaceName, Namespace>,
    holders: Holders,
    records: Records,
    workers: Workers,
    members: Members,
}

/// A namespace as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamespaceStatus<'a> {
    /// Its name.
    pub name: &'a NamespaceName,
    /// What it was made with, and what was changed since.
    pub spec: NamespaceSpec,
    /// The next counter that may be granted.
    pub floor: u64,
    /// How its ids were spent.
    pub totals: NamespaceTotals,
}

impl State {
    /// Applies one log entry.
    ///
    /// A stamp below the clock counts as the clock: time never goes back. Besides what the command asks, a bounded
    /// number of holders whose time is up are forgotten.
    pub fn apply(&mut self, entry: &Stamped) -> Reply {
        self.clock_ms = self.clock_ms.max(entry.at_ms);
        self.forget();
        let outcome = match &entry.command {
            Command::CreateNamespace { name, spec } => self.create_namespace(name, *spec),
            Command::Grant { namespace, want, holder, label, request } => {
                self.grant((namespace, *want), *holder, label, *request)
            }
            Command::Return { holder, grant, used_to } => self.take_back(*holder, *grant, *used_to),
            Command::RaiseFloor { namespace, floor } => self.raise_floor(namespace, *floor),
            Command::RaiseTimeline { timeline } => {
                self.timeline = self.timeline.max(*timeline);
                Ok(Reply::Timeline(self.timeline))
            }
            Command::LeaseWorker { holder, label, request, duration_ms } => {
                self.lease_worker(*holder, label, *request, *duration_ms)
            }
            Command::RenewWorker { holder, worker, lease, duration_ms } => {
                self.renew_worker(*holder, (*worker, *lease), *duration_ms)
            }
            Command::UpdateNamespace { name, quota, max_block } => self.update_namespace(name, *quota, *max_block),
            Command::ReleaseWorker { holder, worker, lease } => self.release_worker(*holder, *worker, *lease),
            Command::AdmitMember { node_id, incarnation } => self.admit_member(*node_id, *incarnation),
        };
        outcome.unwrap_or_else(Reply::Refused)
    }

    /// The highest stamp applied, Unix milliseconds; 0 before the first.
    pub const fn clock_ms(&self) -> u64 {
        self.clock_ms
    }

    /// The highest Postgres timeline seen; 0 before the first.
    pub const fn timeline(&self) -> u64 {
        self.timeline
    }

    /// Every namespace, by name.
    pub fn namespaces(&self) -> impl Iterator<Item = NamespaceStatus<'_>> {
        self.namespaces.iter().map(|(name, namespace)| namespace.status(name))
    }

    /// The namespace of this name.
    pub fn namespace(&self, name: &NamespaceName) -> Option<NamespaceStatus<'_>> {
        self.namespaces.get_key_value(name).map(|(name, namespace)| namespace.status(name))
    }

    /// The next counter that the namespace may grant.
    pub fn floor(&self, name: &NamespaceName) -> Option<u64> {
        self.namespaces.get(name).map(|namespace| namespace.floor)
    }

    /// How many grants are neither returned nor lost.
    pub fn live_grants(&self) -> usize {
        self.records.live_len()
    }

    /// How many grants that ended are remembered.
    pub fn ended_grants(&self) -> usize {
        self.records.ended_len()
    }

    /// The number of the last grant; 0 before the first.
    pub const fn last_grant(&self) -> GrantId {
        GrantId(self.last_grant)
    }

    /// How many holders are remembered.
    pub fn holders(&self) -> usize {
        self.holders.len()
    }
}

#[cfg(test)]
mod tests;
