//! The record of changes of existing links, which every node follows so that no cache serves what was replaced.

use async_trait::async_trait;
use stint_idgen::Key;

use super::link_store::StoreError;

/// One committed change of a link, or the creation of a link whose name was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its number, from 1. Numbers rise, but a lower one may become visible after a higher one, and some never do.
    pub seq: i64,
    /// The link.
    pub key: Key,
    /// The link's version from this change on.
    pub version: i64,
}

/// How much of the record was followed: a value read from the store afterwards holds every change up to here.
///
/// Positions on a newer timeline come after all positions on older ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeedPosition {
    /// The primary's timeline, raised by each promotion.
    pub timeline: u32,
    /// Every change up to this number was seen, or is never to come.
    pub seq: i64,
}

impl FeedPosition {
    /// Whether the record is followed at all.
    pub const fn is_known(self) -> bool {
        self.timeline > 0
    }
}

/// Some of the record, as the primary holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangePage {
    /// The timeline of the primary that answered.
    pub timeline: u32,
    /// The changes, by number.
    pub changes: Vec<Change>,
}

/// Reads the record of changes, from the primary only.
#[async_trait]
pub trait ChangeFeed: Send + Sync + std::fmt::Debug + 'static {
    /// Changes above the number `after`, and those with the numbers `missing`, by number, at most `limit`.
    async fn read(&self, after: i64, missing: &[i64], limit: usize) -> Result<ChangePage, StoreError>;

    /// Forgets changes that are older than an hour, the lowest numbers first, some at a time; answers how many. 0 means
    /// that none are left. The newest change is never forgotten: its number says how far the record ever got, so an empty
    /// record means that nothing ever changed.
    async fn forget_old_changes(&self) -> Result<u64, StoreError>;
}
