//! Following links: code → cache → single flight → store.
//!
//! **Invariant: an acknowledged link is never answered 404, and no acknowledged change is answered with an older
//! version.** A read that began before its caller came doesn't decide a "no", and a version below the cache's floor is
//! read again. Guarded by `tests` here and by `node/tests/it/follow.rs`.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use stint_idgen::{AliasPlace, Key, KeyCodec};

use super::batch::{BatchError, Batcher};
use super::single_flight::SingleFlight;
use crate::domain::alias::{Alias, is_well_formed};
use crate::domain::link::{Link, Standing};
use crate::domain::timestamp::UnixMs;
use crate::ports::clock::Clock;
use crate::ports::link_cache::LinkCache;
use crate::ports::link_store::{LinkStore, StoreError, VisitOutcome};

/// Reads of one link before giving up on racing changes. One change a read is already far beyond any real rate.
const ATTEMPTS: usize = 8;

/// Where an answer came from: the label `tier` of `stint_redirects_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// This process's memory.
    L1,
    /// The database.
    Store,
}

/// What following a link comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Go there. Whether visits are limited decides how the answer may be cached.
    To {
        /// The link, live.
        link: Arc<Link>,
        /// Whether its visits are counted.
        limited: bool,
        /// Where it was found.
        tier: Tier,
    },
    /// No link has the name.
    Missing,
    /// The link's expiry has passed.
    Expired,
    /// The link was deleted.
    Deleted,
    /// The link's last visit was used.
    UsedUp,
}

/// Finds links by name, for visitors and for the API.
#[derive(Debug)]
pub struct ResolveLinks {
    store: Arc<dyn LinkStore>,
    cache: Arc<dyn LinkCache>,
    codec: Arc<KeyCodec>,
    visits: Batcher<Key, VisitOutcome>,
    flights: SingleFlight,
    clock: Arc<dyn Clock>,
}

impl ResolveLinks {
    /// Resolves names over `store`, remembering in `cache` and counting through `visits`.
    pub fn new(
        store: Arc<dyn LinkStore>,
        cache: Arc<dyn LinkCache>,
        codec: Arc<KeyCodec>,
        visits: Batcher<Key, VisitOutcome>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { store, cache, codec, visits, flights: SingleFlight::default(), clock }
    }

    /// What a visitor who asks for `name` meets. With `count` the visit is counted, if the link limits its visits.
    ///
    /// # Errors
    /// [`BatchError`] when the answer is in the store and it gives none.
    pub async fn follow(&self, name: &str, count: bool) -> Result<Follow, BatchError> {
        for _ in 0..ATTEMPTS {
            let Some((link, tier)) = self.find(name).await? else { return Ok(Follow::Missing) };
            let limited = match link.standing(UnixMs::from_clock(self.clock.unix_ms())) {
                Standing::Deleted => return Ok(Follow::Deleted),
                Standing::Expired => return Ok(Follow::Expired),
                Standing::Live(_) => false,
                Standing::Limited(_) => true,
            };
            if !limited {
                return Ok(Follow::To { link, limited, tier });
            }
            match self.admit(link.key, count).await? {
                VisitOutcome::Counted => return Ok(Follow::To { link, limited, tier }),
                VisitOutcome::UsedUp => return Ok(Follow::UsedUp),
                VisitOutcome::NotLimited => self.refresh(link.key).await?,
            }
        }
        Err(StoreError::Corrupt { what: "a link that changes with every read" }.into())
    }

    /// The link that `name` (a code or an alias) stands for, as fresh as the last acknowledged change.
    ///
    /// # Errors
    /// [`StoreError`] when the answer is in the store and it gives none.
    pub async fn find(&self, name: &str) -> Result<Option<(Arc<Link>, Tier)>, StoreError> {
        let Some(key) = self.key(name).await? else { return Ok(None) };
        if let Some(link) = self.cache.link(key) {
            return Ok(Some((link, Tier::L1)));
        }
        for _ in 0..ATTEMPTS {
            let landed = self.flights.read(key, &*self.store).await;
            match landed.outcome? {
                // The link may have been created after the read began and before this caller came.
                None if landed.joined => {}
                None => return Ok(None),
                Some(link) => {
                    self.cache.remember(&link);
                    if link.version >= self.cache.floor(key) {
                        return Ok(Some((link, Tier::Store)));
                    }
                }
            }
        }
        Ok(self.store.find(key).await?.map(|link| (Arc::new(link), Tier::Store)))
    }

    /// The key that `name` stands for; `None` if nothing could have that name.
    ///
    /// # Errors
    /// [`StoreError`] when the name must be looked up and the store gives no answer.
    pub async fn key(&self, name: &str) -> Result<Option<Key>, StoreError> {
        if !is_well_formed(name) {
            return Ok(None);
        }
        match self.codec.place_alias(name) {
            AliasPlace::Key(key) => Ok(Some(key)),
            AliasPlace::Table => self.look_up(&Alias::from_stored(name.to_owned())).await,
        }
    }

    async fn look_up(&self, alias: &Alias) -> Result<Option<Key>, StoreError> {
        if let Some(key) = self.cache.alias(alias) {
            return Ok(Some(key));
        }
        let key = self.store.find_alias(alias).await?;
        if let Some(key) = key {
            self.cache.remember_alias(alias, key);
        }
        Ok(key)
    }

    async fn admit(&self, key: Key, count: bool) -> Result<VisitOutcome, BatchError> {
        if count {
            return self.visits.submit(key).await;
        }
        let limit = self.store.find(key).await?.and_then(|link| link.content).and_then(|content| content.limit);
        Ok(match limit {
            Some(limit) if limit.visits < limit.max => VisitOutcome::Counted,
            Some(_) => VisitOutcome::UsedUp,
            None => VisitOutcome::NotLimited,
        })
    }

    async fn refresh(&self, key: Key) -> Result<(), StoreError> {
        if let Some(link) = self.store.find(key).await? {
            self.cache.note_change(&Arc::new(link));
        }
        Ok(())
    }
}
