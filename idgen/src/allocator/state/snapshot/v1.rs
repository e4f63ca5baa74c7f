//! Snapshots of version 1, from before there were worker leases.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::allocator::state::grants::LiveGrant;
use crate::allocator::state::holders::Holders;
use crate::allocator::state::workers::Workers;
use crate::allocator::state::{Namespace, State};
use crate::allocator::{GrantId, NamespaceName};

pub(super) const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
pub(super) struct StateV1 {
    clock_ms: u64,
    timeline: u64,
    last_grant: u64,
    namespaces: BTreeMap<NamespaceName, Namespace>,
    holders: Holders,
    live: BTreeMap<GrantId, LiveGrant>,
}

impl From<StateV1> for State {
    fn from(old: StateV1) -> Self {
        let StateV1 { clock_ms, timeline, last_grant, namespaces, holders, live } = old;
        Self { clock_ms, timeline, last_grant, namespaces, holders, live, workers: Workers::default() }
    }
}
