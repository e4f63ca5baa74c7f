//! Namespaces: making them, changing what may change, and raising their floors.

use serde::{Deserialize, Serialize};

use super::{MAX_NAMESPACES, NamespaceStatus, State};
use crate::IdRange;
use crate::allocator::{NamespaceName, NamespaceSpec, NamespaceTotals, Refusal, Reply};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Namespace {
    pub(super) spec: NamespaceSpec,
    /// What of the spec may change, as the namespace was made: a late retry of making it is known by that.
    pub(super) made_with: Settings,
    /// Every counter below is granted or skipped, for ever.
    pub(super) floor: u64,
    pub(super) totals: NamespaceTotals,
}

/// What of a spec may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings {
    quota: Option<u64>,
    max_block: u64,
}

impl State {
    pub(super) fn create_namespace(&mut self, name: &NamespaceName, spec: NamespaceSpec) -> Result<Reply, Refusal> {
        if let Some(namespace) = self.namespaces.get(name) {
            let now = namespace.spec;
            if spec == now || spec == namespace.made_with.apply(now) {
                return Ok(Reply::Namespace { spec: now, created: false });
            }
            return Err(Refusal::NamespaceDiffers { name: name.clone(), spec: now });
        }
        if !spec.is_servable() {
            return Err(Refusal::BadSpec);
        }
        if self.namespaces.len() >= MAX_NAMESPACES as usize {
            return Err(Refusal::TooManyNamespaces(MAX_NAMESPACES));
        }
        self.namespaces.insert(name.clone(), Namespace::new(spec));
        Ok(Reply::Namespace { spec, created: true })
    }

    /// What is granted already stays, even if it is more than the new quota or in larger blocks.
    pub(super) fn update_namespace(
        &mut self,
        name: &NamespaceName,
        quota: Option<u64>,
        max_block: u64,
    ) -> Result<Reply, Refusal> {
        let namespace = self.namespaces.get_mut(name).ok_or_else(|| Refusal::UnknownNamespace(name.clone()))?;
        let spec = Settings { quota, max_block }.apply(namespace.spec);
        if !spec.is_servable() {
            return Err(Refusal::BadSpec);
        }
        namespace.spec = spec;
        Ok(Reply::Namespace { spec, created: false })
    }

    /// The ids that are skipped were never granted, so the totals stay as they are.
    pub(super) fn raise_floor(&mut self, name: &NamespaceName, floor: u64) -> Result<Reply, Refusal> {
        let namespace = self.namespaces.get_mut(name).ok_or_else(|| Refusal::UnknownNamespace(name.clone()))?;
        if floor > namespace.spec.counter_limit() {
            return Err(Refusal::FloorPastLimit { floor });
        }
        namespace.floor = namespace.floor.max(floor);
        Ok(Reply::Floor(namespace.floor))
    }
}

impl Namespace {
    pub(super) fn new(spec: NamespaceSpec) -> Self {
        let made_with = Settings { quota: spec.quota, max_block: spec.max_block };
        Self { spec, made_with, floor: spec.start, totals: NamespaceTotals::default() }
    }

    pub(super) const fn status<'a>(&self, name: &'a NamespaceName) -> NamespaceStatus<'a> {
        NamespaceStatus { name, spec: self.spec, floor: self.floor, totals: self.totals }
    }

    /// Moves the floor up and gives what lay between: at most `want` and one block.
    pub(super) fn cut(&mut self, name: &NamespaceName, want: u64) -> Result<IdRange, Refusal> {
        let left = self.spec.counter_limit().saturating_sub(self.floor);
        if left == 0 {
            return Err(Refusal::Exhausted(name.clone()));
        }
        let quota = self.spec.quota.unwrap_or(u64::MAX);
        let size = want.min(self.spec.max_block).min(left).min(quota.saturating_sub(self.totals.granted));
        let range = IdRange::new(self.floor, self.floor + size)
            .map_err(|_| Refusal::QuotaReached { namespace: name.clone(), quota })?;
        self.floor = range.end();
        self.totals.granted += size;
        self.totals.live += size;
        Ok(range)
    }
}

impl Settings {
    const fn apply(self, spec: NamespaceSpec) -> NamespaceSpec {
        NamespaceSpec { quota: self.quota, max_block: self.max_block, ..spec }
    }

    pub(super) const fn is_servable(self, spec: NamespaceSpec) -> bool {
        self.apply(spec).is_servable()
    }
}
