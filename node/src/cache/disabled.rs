//! No shared cache: every question is a miss, and there is nothing to keep in step.

use std::sync::Arc;

use async_trait::async_trait;
use stint_idgen::Key;

use crate::domain::access::OwnerId;
use crate::domain::alias::Alias;
use crate::domain::link::Link;
use crate::domain::target_url::UrlHash;
use crate::ports::change_feed::FeedPosition;
use crate::ports::shared_cache::SharedCache;

/// The shared cache of a node that has none.
#[derive(Clone, Copy, Debug)]
pub struct NoSharedCache;

#[async_trait]
impl SharedCache for NoSharedCache {
    async fn link(&self, _: Key) -> Option<Arc<Link>> {
        None
    }

    async fn alias(&self, _: &Alias) -> Option<Key> {
        None
    }

    async fn target(&self, _: OwnerId, _: UrlHash) -> Option<Key> {
        None
    }

    fn put_link(&self, _: &Arc<Link>, _: FeedPosition) {}

    fn put_alias(&self, _: &Alias, _: Key, _: FeedPosition) {}

    fn put_target(&self, _: OwnerId, _: UrlHash, _: Key, _: FeedPosition) {}

    async fn note_changes(&self, _: u32, _: &[(Key, i64)]) -> bool {
        true
    }

    fn announce(&self) {}

    fn needs_replay(&self) -> bool {
        false
    }

    async fn begin_replay(&self) -> bool {
        false
    }

    async fn finish_replay(&self, _: FeedPosition) -> bool {
        false
    }
}
