//! Where an id comes from, as far as the allocator remembers.

use serde::{Deserialize, Serialize};

use super::{GrantId, HolderId};
use crate::IdRange;

/// Where an id of a namespace comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdOrigin {
    /// The namespace has no such id: it lies outside its span, or in the sequence of another offset.
    Foreign,
    /// Nobody has it yet.
    NotGranted,
    /// It belongs to a grant that is remembered.
    Granted(GrantRecord),
    /// It was granted, or skipped by a raised floor, at this moment or before; more is not remembered.
    Forgotten {
        /// Unix milliseconds.
        before_ms: u64,
    },
}

/// A grant that is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRecord {
    /// Its number.
    pub grant: GrantId,
    /// The counters that were granted.
    pub range: IdRange,
    /// Who got it.
    pub holder: HolderId,
    /// What people call the holder, by its last request; empty if the holder is forgotten.
    pub label: String,
    /// When it was granted: the stamped time, Unix milliseconds; 0 if version 1 granted it and noted no time.
    pub granted_at_ms: u64,
    /// What became of it.
    pub fate: GrantFate,
}

/// What became of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GrantFate {
    /// Its holder has not accounted for it.
    Live,
    /// Its holder reported it: counters below `used_to` were given out, the others never will be.
    Returned {
        /// One past the last counter used.
        used_to: u64,
    },
    /// Its holder fell silent.
    Lost,
}
