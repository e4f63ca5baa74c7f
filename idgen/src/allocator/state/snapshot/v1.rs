//! Snapshots of version 1, from before there were worker leases, strides and quotas.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::IdRange;
use crate::allocator::command::NamespaceSpecV1;
use crate::allocator::state::State;
use crate::allocator::state::holders::Holders;
use crate::allocator::state::members::Members;
use crate::allocator::state::namespaces::Namespace;
use crate::allocator::state::records::{RecordedGrant, Records};
use crate::allocator::state::workers::Workers;
use crate::allocator::{GrantId, HolderId, NamespaceName, NamespaceTotals, Reply};

pub(super) const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
pub(super) struct StateV1 {
    clock_ms: u64,
    timeline: u64,
    last_grant: u64,
    namespaces: BTreeMap<NamespaceName, NamespaceV1>,
    holders: Holders,
    live: BTreeMap<GrantId, LiveGrantV1>,
}

#[derive(Serialize, Deserialize)]
struct LiveGrantV1 {
    namespace: NamespaceName,
    range: IdRange,
    holder: HolderId,
}

#[derive(Serialize, Deserialize)]
struct NamespaceV1 {
    spec: NamespaceSpecV1,
    floor: u64,
    totals: NamespaceTotals,
}

impl From<StateV1> for State {
    fn from(old: StateV1) -> Self {
        let StateV1 { clock_ms, timeline, last_grant, namespaces, holders, live } = old;
        let namespaces = namespaces.into_iter().map(|(name, namespace)| (name, namespace.into())).collect();
        let mut records = Records::default();
        for (id, LiveGrantV1 { namespace, range, holder }) in live {
            // When it was granted stands in the last answer to its holder, or nowhere.
            let granted_at_ms = match holders.find(holder).map(|holder| &holder.reply) {
                Some(Reply::Granted(last)) if last.id == id => last.granted_at_ms,
                _ => 0,
            };
            records.add(&namespace, id, RecordedGrant { range, holder, granted_at_ms });
        }
        let (workers, members) = (Workers::default(), Members::default());
        Self { clock_ms, timeline, last_grant, namespaces, holders, records, workers, members }
    }
}

impl From<NamespaceV1> for Namespace {
    fn from(old: NamespaceV1) -> Self {
        Self { floor: old.floor, totals: old.totals, ..Self::new(old.spec.into()) }
    }
}
