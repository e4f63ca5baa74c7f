//! What the auditor saw granted of each namespace.

use std::collections::BTreeMap;

use super::intervals::Intervals;
use crate::IdRange;
use crate::allocator::{Grant, GrantId, HolderId, NamespaceName, NamespaceSpec, NamespaceStatus};

/// Every namespace that was seen, and the highest number of a grant.
#[derive(Clone, Debug, Default)]
pub(super) struct SeenNamespaces {
    by_name: BTreeMap<NamespaceName, Seen>,
    last_grant: GrantId,
}

#[derive(Clone, Debug)]
struct Seen {
    spec: NamespaceSpec,
    /// What was granted or skipped.
    spent: Intervals,
    /// The highest floor that was asked for and reached.
    floor: u64,
}

impl SeenNamespaces {
    pub(super) const fn new() -> Self {
        Self { by_name: BTreeMap::new(), last_grant: GrantId(0) }
    }

    pub(super) fn resume<'a>(namespaces: impl Iterator<Item = NamespaceStatus<'a>>, last_grant: GrantId) -> Self {
        let by_name = namespaces.map(|it| (it.name.clone(), Seen::resume(it.spec, it.floor))).collect();
        Self { by_name, last_grant }
    }

    /// Whether a grant of this number was seen.
    pub(super) fn knows(&self, grant: GrantId) -> bool {
        grant <= self.last_grant
    }

    pub(super) fn spec(&self, name: &NamespaceName) -> Option<&NamespaceSpec> {
        self.by_name.get(name).map(|seen| &seen.spec)
    }

    /// Notes a namespace that was made.
    pub(super) fn make(&mut self, name: &NamespaceName, spec: NamespaceSpec, wrongs: &mut Vec<String>) {
        if self.by_name.contains_key(name) {
            wrongs.push(format!("the namespace `{name}` was made twice"));
            return;
        }
        self.by_name.insert(name.clone(), Seen::resume(spec, spec.start));
    }

    /// Notes a namespace's new spec. Ids that were granted must stay what they are.
    pub(super) fn change(&mut self, name: &NamespaceName, spec: NamespaceSpec, wrongs: &mut Vec<String>) {
        let Some(seen) = self.find(name, wrongs) else { return };
        let fixed = |it: &NamespaceSpec| (it.start, it.limit, it.stride, it.offset);
        if fixed(&seen.spec) != fixed(&spec) {
            wrongs.push(format!("the span, stride or offset of the namespace `{name}` was changed"));
        }
        seen.spec = spec;
    }

    /// Notes a new grant. That it holds an id at all is the type's promise.
    pub(super) fn grant(
        &mut self,
        (namespace, want, holder): (&NamespaceName, u64, HolderId),
        grant: &Grant,
        wrongs: &mut Vec<String>,
    ) {
        self.last_grant = grant.id;
        if (namespace, holder) != (&grant.namespace, grant.holder) {
            wrongs.push("the grant is of another namespace or holder than asked for".to_owned());
        }
        if grant.range.len() > want {
            wrongs.push(format!("the grant has {} counters, though {want} were asked for", grant.range.len()));
        }
        if let Some(seen) = self.find(&grant.namespace, wrongs) {
            seen.grant(grant.range, wrongs);
        }
    }

    /// Whether a floor of the namespace is news.
    pub(super) fn is_floor_news(&self, name: &NamespaceName, floor: u64) -> bool {
        self.by_name.get(name).is_none_or(|seen| seen.next() != floor)
    }

    /// Notes where a floor stands after it was asked to be at least `wanted`.
    pub(super) fn raise(&mut self, name: &NamespaceName, (wanted, floor): (u64, u64), wrongs: &mut Vec<String>) {
        let Some(seen) = self.find(name, wrongs) else { return };
        let next = seen.next();
        if floor < next || floor < wanted {
            wrongs.push(format!("the floor stands at {floor}, below {}", next.max(wanted)));
        }
        if floor > seen.spec.counter_limit() {
            wrongs.push(format!("the floor {floor} lies past the namespace's last counter"));
        }
        seen.floor = seen.floor.max(floor);
        seen.skip(floor);
    }

    fn find(&mut self, name: &NamespaceName, wrongs: &mut Vec<String>) -> Option<&mut Seen> {
        let seen = self.by_name.get_mut(name);
        if seen.is_none() {
            wrongs.push(format!("the namespace `{name}` was never made"));
        }
        seen
    }
}

impl Seen {
    /// A namespace of which everything below `floor` is spent.
    fn resume(spec: NamespaceSpec, floor: u64) -> Self {
        let mut seen = Self { spec, spent: Intervals::default(), floor };
        seen.skip(floor);
        seen
    }

    /// The lowest counter that may be granted.
    fn next(&self) -> u64 {
        self.spent.end().unwrap_or(self.spec.start).max(self.floor)
    }

    fn skip(&mut self, floor: u64) {
        if let Ok(skipped) = IdRange::new(self.spec.start, floor) {
            self.spent.add(skipped);
        }
    }

    fn grant(&mut self, range: IdRange, wrongs: &mut Vec<String>) {
        let (start, end) = (range.start(), range.end());
        let (first, limit) = (self.spec.start, self.spec.counter_limit());
        if start < first || end > limit {
            wrongs.push(format!("[{start}, {end}) lies outside the namespace's counters, [{first}, {limit})"));
        }
        if let Some((from, to)) = self.spent.overlapped_by(range) {
            wrongs.push(format!("[{start}, {end}) overlaps [{from}, {to}), which was granted or skipped before"));
        }
        if let Some(highest) = self.spent.end().filter(|&highest| start < highest) {
            wrongs.push(format!("[{start}, {end}) starts below {highest}, where a former grant or skip ended"));
        }
        if start < self.floor {
            wrongs.push(format!("[{start}, {end}) starts below the floor {}", self.floor));
        }
        self.spent.add(range);
    }
}
