//! What is remembered of links in front of the store.

use std::sync::Arc;

use stint_idgen::Key;

use crate::domain::access::OwnerId;
use crate::domain::alias::Alias;
use crate::domain::link::Link;
use crate::domain::target_url::UrlHash;

/// A bounded memory of links, aliases and targets. A miss is always allowed; a stale answer never is:
/// once a change was noted, no older version of that link is answered or stored again.
pub trait LinkCache: Send + Sync + std::fmt::Debug + 'static {
    /// A link, tombstones included.
    fn link(&self, key: Key) -> Option<Arc<Link>>;

    /// Remembers a link that was read, unless a newer version was noted meanwhile.
    fn remember(&self, link: &Arc<Link>);

    /// Notes a committed change: `link` is the newest version.
    fn note_change(&self, link: &Arc<Link>);

    /// Notes that a link has this version by now, without knowing it: older ones are forgotten.
    fn note_version(&self, key: Key, version: i64);

    /// Whether the store was found to hold no such link, a moment ago and before any change of it was noted.
    fn is_missing(&self, key: Key) -> bool;

    /// Remembers for a moment that the store held no such link when a read of it began, `floor` being what
    /// [`LinkCache::floor`] said before.
    fn remember_missing(&self, key: Key, floor: i64);

    /// Forgets everything but the floors: what is remembered may have been undone.
    fn clear(&self);

    /// The lowest version that may still be answered for a key.
    fn floor(&self, key: Key) -> i64;

    /// The key of an alias. A name never changes its key.
    fn alias(&self, alias: &Alias) -> Option<Key>;

    /// Remembers an alias.
    fn remember_alias(&self, alias: &Alias, key: Key);

    /// Which link an owner's target was last seen to have, and that link's version then: a hint that is good only while
    /// the link still has that version.
    fn target(&self, owner: OwnerId, hash: UrlHash) -> Option<(Key, i64)>;

    /// Remembers an owner's link of a target.
    fn remember_target(&self, owner: OwnerId, hash: UrlHash, key: Key, version: i64);
}
