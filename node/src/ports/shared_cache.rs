//! What all nodes remember of links together, between a node's own memory and the store.

use std::sync::Arc;

use async_trait::async_trait;
use stint_idgen::Key;

use super::change_feed::FeedPosition;
use crate::domain::access::OwnerId;
use crate::domain::alias::Alias;
use crate::domain::link::Link;
use crate::domain::target_url::UrlHash;

/// A cache that several nodes share, such as Redis. It is never waited for longer than a store would be: away, slow and
/// damaged are all misses, and writing is only queued.
///
/// **A stale answer is never given**: a value older than a change that was noted is a miss and can't be stored, and
/// after the cache was away or lost its data nothing in it is believed before the retained changes were replayed over it
/// ([`SharedCache::begin_replay`], [`SharedCache::note_changes`], [`SharedCache::finish_replay`]). Values of an older
/// timeline are misses.
#[async_trait]
pub trait SharedCache: Send + Sync + std::fmt::Debug + 'static {
    /// A link, tombstones included.
    async fn link(&self, key: Key) -> Option<Arc<Link>>;

    /// The key of an alias. A name never changes its key.
    async fn alias(&self, alias: &Alias) -> Option<Key>;

    /// Which link an owner's target was last seen to have: a hint, good only while that link is live with that URL.
    async fn target(&self, owner: OwnerId, hash: UrlHash) -> Option<Key>;

    /// Queues a link that was read from the store, or just written, once changes were followed up to `as_of`.
    fn put_link(&self, link: &Arc<Link>, as_of: FeedPosition);

    /// Queues an alias, read or written like that.
    fn put_alias(&self, alias: &Alias, key: Key, as_of: FeedPosition);

    /// Queues an owner's link of a target, read or written like that.
    fn put_target(&self, owner: OwnerId, hash: UrlHash, key: Key, as_of: FeedPosition);

    /// Marks older values of these links as stale for all nodes; false when it is not certain that it was done, in the
    /// same memory as everything since the replay began.
    async fn note_changes(&self, timeline: u32, changes: &[(Key, i64)]) -> bool;

    /// Tells the other nodes to look at the record of changes now. Nothing depends on it but speed.
    fn announce(&self);

    /// Whether the retained changes must be replayed before anything is believed.
    fn needs_replay(&self) -> bool;

    /// Believes nothing from now on, until a replay is finished; false when the cache is away.
    async fn begin_replay(&self) -> bool;

    /// Every change after `covered` was noted since the replay began: values read at this position or later, on the same
    /// timeline, are believed from now on. False if the cache was away in between.
    async fn finish_replay(&self, covered: FeedPosition) -> bool;
}
