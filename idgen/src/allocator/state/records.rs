//! What is remembered of grants: every live one, and those that ended last.
//!
//! Each is found by its number and, within its namespace, by any of its counters: there grants ascend, in their numbers
//! and their ranges alike, so the one that may hold a counter is the last that starts at or below it.

mod check;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{MAX_ENDED_GRANTS, MAX_ENDED_PER_NAMESPACE};
use crate::IdRange;
use crate::allocator::{GrantFate, GrantId, HolderId, NamespaceName};

/// The records of all namespaces, with what finds them again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Records {
    /// How many grants ever ended; their ends are numbered by it.
    ended: u64,
    books: BTreeMap<NamespaceName, Book>,
    /// Where each live grant is.
    #[serde(skip)]
    live: BTreeMap<GrantId, NamespaceName>,
    /// Where each remembered end is, the oldest first.
    #[serde(skip)]
    order: BTreeMap<u64, NamespaceName>,
}

/// The records of one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Book {
    live: BTreeMap<GrantId, RecordedGrant>,
    /// By the number of the end.
    ended: BTreeMap<u64, EndedGrant>,
    /// Both, by their first counter.
    #[serde(skip)]
    by_start: BTreeMap<u64, Place>,
}

/// What is remembered of a grant. Its number and its namespace are where it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RecordedGrant {
    pub(super) range: IdRange,
    pub(super) holder: HolderId,
    /// 0 if that was not noted, which only grants from snapshots of version 1 have.
    pub(super) granted_at_ms: u64,
}

/// A grant that is returned or lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct EndedGrant {
    id: GrantId,
    grant: RecordedGrant,
    /// `None` if it is lost.
    used_to: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Live(GrantId),
    Ended(u64),
}

impl Records {
    /// How many grants are live.
    pub(super) fn live_len(&self) -> usize {
        self.live.len()
    }

    pub(super) fn ended_len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn oldest_live(&self) -> Option<GrantId> {
        self.live.first_key_value().map(|(&id, _)| id)
    }

    /// The live grants and their holders.
    pub(super) fn held(&self) -> impl Iterator<Item = (HolderId, GrantId)> {
        self.books.values().flat_map(|book| &book.live).map(|(&id, grant)| (grant.holder, id))
    }

    pub(super) fn book(&self, name: &NamespaceName) -> Option<&Book> {
        self.books.get(name)
    }

    /// The live grant of this number.
    pub(super) fn find_live(&self, id: GrantId) -> Option<&RecordedGrant> {
        self.books.get(self.live.get(&id)?)?.live.get(&id)
    }

    /// Records a grant that was just made.
    pub(super) fn add(&mut self, name: &NamespaceName, id: GrantId, grant: RecordedGrant) {
        let book = self.books.entry(name.clone()).or_default();
        book.by_start.insert(grant.range.start(), Place::Live(id));
        book.live.insert(id, grant);
        self.live.insert(id, name.clone());
    }

    /// Ends a live grant, returned to `used_to` or lost. One end comes in, so at most one goes for each bound.
    pub(super) fn end(&mut self, id: GrantId, used_to: Option<u64>) -> Option<(NamespaceName, RecordedGrant)> {
        let name = self.live.remove(&id)?;
        let book = self.books.get_mut(&name)?;
        let grant = book.live.remove(&id)?;
        self.ended += 1;
        book.by_start.insert(grant.range.start(), Place::Ended(self.ended));
        book.ended.insert(self.ended, EndedGrant { id, grant: grant.clone(), used_to });
        self.order.insert(self.ended, name.clone());
        if book.ended.len() > MAX_ENDED_PER_NAMESPACE {
            book.ended.first_key_value().map(|(&number, _)| number).inspect(|&number| self.forget(number));
        }
        if self.order.len() > MAX_ENDED_GRANTS {
            self.order.first_key_value().map(|(&number, _)| number).inspect(|&number| self.forget(number));
        }
        Some((name, grant))
    }

    fn forget(&mut self, number: u64) {
        let book = self.order.remove(&number).and_then(|name| self.books.get_mut(&name));
        if let Some(book) = book
            && let Some(gone) = book.ended.remove(&number)
        {
            book.by_start.remove(&gone.grant.range.start());
        }
    }

    /// Rebuilds what is not written into snapshots from what is. `None` if two records have one number or one start.
    pub(super) fn index(&mut self) -> Option<()> {
        self.live.clear();
        self.order.clear();
        for (name, book) in &mut self.books {
            book.by_start.clear();
            for (&id, grant) in &book.live {
                let is_new = self.live.insert(id, name.clone()).is_none()
                    && book.by_start.insert(grant.range.start(), Place::Live(id)).is_none();
                is_new.then_some(())?;
            }
            for (&number, ended) in &book.ended {
                let is_new = self.order.insert(number, name.clone()).is_none()
                    && book.by_start.insert(ended.grant.range.start(), Place::Ended(number)).is_none();
                is_new.then_some(())?;
            }
        }
        Some(())
    }
}

impl Book {
    /// The remembered grant that holds a counter.
    pub(super) fn find(&self, counter: u64) -> Option<(GrantId, &RecordedGrant, GrantFate)> {
        let (_, &place) = self.by_start.range(..=counter).next_back()?;
        let found = self.at(place)?;
        found.1.range.contains(counter).then_some(found)
    }

    /// When the first remembered grant above a counter was granted: everything below it was granted or skipped by then.
    pub(super) fn granted_above_at_ms(&self, counter: u64) -> Option<u64> {
        let (_, &place) = self.by_start.range(counter..).next()?;
        self.at(place).map(|(_, grant, _)| grant.granted_at_ms).filter(|&at_ms| at_ms > 0)
    }

    fn at(&self, place: Place) -> Option<(GrantId, &RecordedGrant, GrantFate)> {
        match place {
            Place::Live(id) => self.live.get(&id).map(|grant| (id, grant, GrantFate::Live)),
            Place::Ended(number) => self.ended.get(&number).map(|ended| {
                let fate = ended.used_to.map_or(GrantFate::Lost, |used_to| GrantFate::Returned { used_to });
                (ended.id, &ended.grant, fate)
            }),
        }
    }
}

#[cfg(test)]
mod tests;
