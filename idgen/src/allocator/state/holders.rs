//! Who holds ranges: the last answer of each holder, what it holds, and who was silent longest.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::allocator::{GrantId, HolderId, NamespaceName, Reply};

/// A label is for people; more than this many bytes of it are not kept.
const MAX_LABEL_BYTES: usize = 128;

/// The holders, with an index by time. A holder stays as long as one of its grants is live.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Holders {
    by_id: BTreeMap<HolderId, Holder>,
    /// (last seen, holder): the same holders, longest silent first.
    #[serde(skip)]
    by_time: BTreeSet<(u64, HolderId)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Holder {
    pub(super) label: String,
    pub(super) seen_ms: u64,
    /// The last request for a grant, what it was for, and its answer.
    pub(super) request: u64,
    pub(super) asked: Asked,
    pub(super) reply: Reply,
    /// Its live grants.
    #[serde(skip)]
    pub(super) held: BTreeSet<GrantId>,
}

/// What a request for a grant was for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) namespace: NamespaceName,
    pub(super) want: u64,
}

impl Holders {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&HolderId, &Holder)> {
        self.by_id.iter()
    }

    pub(super) fn find(&self, id: HolderId) -> Option<&Holder> {
        self.by_id.get(&id)
    }

    /// Notes that a holder gave a sign of life, if it is known.
    pub(super) fn see(&mut self, id: HolderId, now_ms: u64) -> Option<&Holder> {
        let holder = self.by_id.get_mut(&id)?;
        self.by_time.remove(&(holder.seen_ms, id));
        holder.seen_ms = now_ms;
        self.by_time.insert((now_ms, id));
        Some(holder)
    }

    /// Keeps a holder's latest answer. What it holds stays.
    pub(super) fn answer(&mut self, id: HolderId, now_ms: u64, mut latest: Holder) {
        latest.seen_ms = now_ms;
        if let Some(former) = self.by_id.remove(&id) {
            self.by_time.remove(&(former.seen_ms, id));
            latest.held = former.held;
        }
        self.by_id.insert(id, latest);
        self.by_time.insert((now_ms, id));
    }

    pub(super) fn hold(&mut self, id: HolderId, grant: GrantId) {
        self.by_id.get_mut(&id).expect("a holder is answered before it holds").held.insert(grant);
    }

    pub(super) fn release(&mut self, id: HolderId, grant: GrantId) {
        self.by_id.get_mut(&id).expect("a holder outlives its grants").held.remove(&grant);
    }

    pub(super) fn first_held(&self, id: HolderId) -> Option<GrantId> {
        self.by_id.get(&id)?.held.first().copied()
    }

    /// When the holder that was silent longest was last seen.
    pub(super) fn longest_silent(&self) -> Option<(u64, HolderId)> {
        self.by_time.first().copied()
    }

    /// Forgets a holder that holds nothing.
    pub(super) fn forget(&mut self, id: HolderId) {
        if let Some(holder) = self.by_id.remove(&id) {
            debug_assert!(holder.held.is_empty(), "a holder outlives its grants");
            self.by_time.remove(&(holder.seen_ms, id));
        }
    }

    /// Rebuilds what is not written into snapshots from what is. `None` if a grant's holder is missing.
    pub(super) fn index(&mut self, grants: impl Iterator<Item = (HolderId, GrantId)>) -> Option<()> {
        self.by_time = self.by_id.iter().map(|(&id, holder)| (holder.seen_ms, id)).collect();
        for (id, grant) in grants {
            self.by_id.get_mut(&id)?.held.insert(grant);
        }
        Some(())
    }
}

impl Holder {
    /// A holder's answer; when it was seen and what it holds is up to [`Holders::answer`].
    pub(super) fn new(label: &str, request: u64, asked: Asked, reply: Reply) -> Self {
        Self { label: bounded_label(label), seen_ms: 0, request, asked, reply, held: BTreeSet::new() }
    }
}

/// As much of a label as is kept.
pub(super) fn bounded_label(label: &str) -> String {
    label[..label.floor_char_boundary(MAX_LABEL_BYTES)].to_owned()
}

pub(super) const fn label_is_bounded(label: &str) -> bool {
    label.len() <= MAX_LABEL_BYTES
}
