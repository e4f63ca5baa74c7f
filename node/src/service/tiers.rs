//! What is remembered of links in front of the store: this process's memory, then the cache that all nodes share.
//!
//! A value of the shared cache counts only if it is at or above the memory's floor, and goes into the memory only then.

use std::sync::Arc;

use stint_idgen::Key;

use super::changes::Followed;
use super::resolve::Tier;
use crate::domain::access::OwnerId;
use crate::domain::alias::Alias;
use crate::domain::link::Link;
use crate::domain::target_url::UrlHash;
use crate::ports::change_feed::FeedPosition;
use crate::ports::link_cache::LinkCache;
use crate::ports::shared_cache::SharedCache;

/// The memories in front of the store. Clones share them.
#[derive(Clone, Debug)]
pub struct Tiers {
    local: Arc<dyn LinkCache>,
    beyond: Option<Beyond>,
}

/// What a node has that isn't the only one of its database.
#[derive(Clone, Debug)]
struct Beyond {
    shared: Arc<dyn SharedCache>,
    followed: Followed,
}

impl Tiers {
    /// The memory of a process that alone changes its store.
    pub fn alone(local: Arc<dyn LinkCache>) -> Self {
        Self { local, beyond: None }
    }

    /// The memories of one of several nodes, which follows the record of changes.
    pub fn among_others(local: Arc<dyn LinkCache>, shared: Arc<dyn SharedCache>, followed: Followed) -> Self {
        Self { local, beyond: Some(Beyond { shared, followed }) }
    }

    /// This process's memory.
    pub(super) fn local(&self) -> &dyn LinkCache {
        &*self.local
    }

    /// Whether other nodes change the store as well.
    pub(super) const fn has_others(&self) -> bool {
        self.beyond.is_some()
    }

    /// How far changes were followed: to be asked before a read of the store begins.
    pub(super) fn position(&self) -> FeedPosition {
        self.beyond.as_ref().map_or_else(FeedPosition::default, |beyond| beyond.followed.position())
    }

    /// A link from either memory.
    pub(super) async fn link(&self, key: Key) -> Option<(Arc<Link>, Tier)> {
        match self.local.link(key) {
            Some(link) => Some((link, Tier::L1)),
            None => self.shared_link(key).await.map(|link| (link, Tier::L2)),
        }
    }

    /// A link from the shared cache, unless it is known to be older than the newest.
    pub(super) async fn shared_link(&self, key: Key) -> Option<Arc<Link>> {
        let link = self.beyond.as_ref()?.shared.link(key).await?;
        self.local.remember(&link);
        (link.version >= self.local.floor(key)).then_some(link)
    }

    /// Remembers a link that was read from the store, or created in it, changes having been followed up to `as_of` before.
    pub(super) fn remember(&self, link: &Arc<Link>, as_of: FeedPosition) {
        self.local.remember(link);
        if let Some(shared) = self.shared_at(as_of) {
            shared.put_link(link, as_of);
        }
    }

    /// Notes changes that were committed, and tells the other nodes. The links' newest versions follow with
    /// [`Tiers::remember`].
    pub(super) async fn note_changes(&self, links: &[Arc<Link>], as_of: FeedPosition) {
        let Some(shared) = self.shared_at(as_of).filter(|_| !links.is_empty()) else { return };
        let changes: Vec<_> = links.iter().map(|link| (link.key, link.version)).collect();
        // Every node does it again as it follows the record, so nothing depends on this one.
        shared.note_changes(as_of.timeline, &changes).await;
        for link in links {
            shared.put_link(link, as_of);
        }
        shared.announce();
    }

    /// Tells the other nodes that the record of changes got longer.
    pub(super) fn announce(&self) {
        if let Some(beyond) = &self.beyond {
            beyond.shared.announce();
        }
    }

    /// The key of an alias.
    pub(super) async fn alias(&self, alias: &Alias) -> Option<Key> {
        if let Some(key) = self.local.alias(alias) {
            return Some(key);
        }
        let key = self.beyond.as_ref()?.shared.alias(alias).await?;
        self.local.remember_alias(alias, key);
        Some(key)
    }

    /// Remembers an alias that was read from the store, or created in it.
    pub(super) fn remember_alias(&self, alias: &Alias, key: Key, as_of: FeedPosition) {
        self.local.remember_alias(alias, key);
        if let Some(shared) = self.shared_at(as_of) {
            shared.put_alias(alias, key, as_of);
        }
    }

    /// The link that an owner's target had, as either memory still knows both. The caller looks where it leads by now.
    pub(super) async fn target(&self, owner: OwnerId, hash: UrlHash) -> Option<Arc<Link>> {
        if let Some((key, version)) = self.local.target(owner, hash)
            && let Some(link) = self.local.link(key).filter(|link| link.version == version)
        {
            return Some(link);
        }
        let key = self.beyond.as_ref()?.shared.target(owner, hash).await?;
        let (link, _) = self.link(key).await?;
        (link.owner == owner).then_some(link)
    }

    /// Remembers which link an owner's target has.
    pub(super) fn remember_target(&self, link: &Link, hash: UrlHash, as_of: FeedPosition) {
        self.local.remember_target(link.owner, hash, link.key, link.version);
        if let Some(shared) = self.shared_at(as_of) {
            shared.put_target(link.owner, hash, link.key, as_of);
        }
    }

    /// The shared cache, for whoever can say how far changes were followed.
    fn shared_at(&self, as_of: FeedPosition) -> Option<&dyn SharedCache> {
        self.beyond.as_ref().filter(|_| as_of.is_known()).map(|beyond| &*beyond.shared)
    }
}
