//! Where an id comes from, answered from the records of grants.

use super::State;
use crate::allocator::{GrantRecord, IdOrigin, NamespaceName};

impl State {
    /// Where an id of a namespace comes from; `None` if there is no such namespace.
    ///
    /// Every live grant is known, and of those that ended the last [`super::MAX_ENDED_PER_NAMESPACE`] of the namespace
    /// and [`super::MAX_ENDED_GRANTS`] of all.
    pub fn find_origin(&self, name: &NamespaceName, id: u64) -> Option<IdOrigin> {
        let namespace = self.namespaces.get(name)?;
        let Some(counter) = namespace.spec.counter(id) else { return Some(IdOrigin::Foreign) };
        if counter >= namespace.floor {
            return Some(IdOrigin::NotGranted);
        }
        let book = self.records.book(name);
        let Some((grant, recorded, fate)) = book.and_then(|book| book.find(counter)) else {
            let before_ms = book.and_then(|book| book.granted_above_at_ms(counter)).unwrap_or(self.clock_ms);
            return Some(IdOrigin::Forgotten { before_ms });
        };
        let label = self.holders.find(recorded.holder).map_or_else(String::new, |holder| holder.label.clone());
        let (range, holder, granted_at_ms) = (recorded.range, recorded.holder, recorded.granted_at_ms);
        Some(IdOrigin::Granted(GrantRecord { grant, range, holder, label, granted_at_ms, fate }))
    }
}
