//! Following links: code → memory → single flight → shared cache → a replica → the primary.
//!
//! **Invariant: an acknowledged link is never answered 404, and no acknowledged change is answered with an older
//! version.** Only the primary says "no"; a read that began before its caller came doesn't, and a version below the
//! memory's floor is read again, from wherever it comes. Guarded by `tests` here and by `node/tests/it/follow.rs`.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use stint_idgen::{AliasPlace, Key, KeyCodec};

use super::batch::{BatchError, Batcher};
use super::single_flight::{Outcome, SingleFlight};
use super::tiers::Tiers;
use crate::domain::alias::{Alias, is_well_formed};
use crate::domain::link::{Link, Standing};
use crate::domain::timestamp::UnixMs;
use crate::ports::change_feed::FeedPosition;
use crate::ports::clock::Clock;
use crate::ports::link_store::{LinkStore, StoreError, VisitOutcome};

/// Reads of one link before giving up on racing changes. One change a read is already far beyond any real rate.
const ATTEMPTS: usize = 8;

/// Where an answer came from: the label `tier` of `stint_redirects_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// This process's memory.
    L1,
    /// The cache that all nodes share.
    L2,
    /// A copy of the database.
    Replica,
    /// The database that is written to.
    Primary,
    /// The database of a node that has it for itself.
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
    tiers: Tiers,
    codec: Arc<KeyCodec>,
    visits: Batcher<Key, VisitOutcome>,
    flights: SingleFlight,
    clock: Arc<dyn Clock>,
}

impl ResolveLinks {
    /// Resolves names over `store`, remembering in `tiers` and counting through `visits`.
    pub fn new(
        store: Arc<dyn LinkStore>,
        tiers: Tiers,
        codec: Arc<KeyCodec>,
        visits: Batcher<Key, VisitOutcome>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { store, tiers, codec, visits, flights: SingleFlight::default(), clock }
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
        if let Some(link) = self.tiers.local().link(key) {
            return Ok(Some((link, Tier::L1)));
        }
        if self.tiers.has_others() && self.tiers.local().is_missing(key) {
            return Ok(None);
        }
        for _ in 0..ATTEMPTS {
            let landed = self.flights.read(key, || self.read(key)).await;
            match landed.outcome? {
                // The link may have been created after the read began and before this caller came.
                None if landed.joined => {}
                None => return Ok(None),
                Some((link, tier)) => {
                    self.tiers.local().remember(&link);
                    if link.version >= self.tiers.local().floor(key) {
                        return Ok(Some((link, tier)));
                    }
                }
            }
        }
        Ok(self.store.find(key).await?.map(|link| (Arc::new(link), self.authority())))
    }

    /// One read of a link through the tiers beyond this process's memory.
    async fn read(&self, key: Key) -> Outcome {
        if let Some(link) = self.tiers.shared_link(key).await {
            return Ok(Some((link, Tier::L2)));
        }
        // Before any read: what is read then holds at least the changes up to here.
        let (as_of, floor) = (self.tiers.position(), self.tiers.local().floor(key));
        // Until the record of changes was read nothing tells how old a copy is.
        if as_of.is_known()
            && let Some(found) = self.read_copy(key, as_of).await
        {
            return Ok(Some(found));
        }
        match self.store.find(key).await {
            Ok(Some(link)) => {
                let link = Arc::new(link);
                self.tiers.remember(&link, as_of);
                Ok(Some((link, self.authority())))
            }
            Ok(None) => {
                if as_of.is_known() {
                    self.tiers.local().remember_missing(key, floor);
                }
                Ok(None)
            }
            // With the primary away a copy is the best there is: nobody changes anything now, but perhaps elsewhere.
            Err(error) if self.tiers.has_others() && !as_of.is_known() => {
                self.read_copy(key, as_of).await.map(Some).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// A link from a replica, if it is there and not older than the newest known.
    async fn read_copy(&self, key: Key, as_of: FeedPosition) -> Option<(Arc<Link>, Tier)> {
        let link = Arc::new(self.store.find_copy(key).await.ok()??);
        // A copy that passed this holds every change up to `as_of`: what is younger than the largest lag is among the floors.
        if link.version < self.tiers.local().floor(key) {
            return None;
        }
        self.tiers.remember(&link, as_of);
        Some((link, Tier::Replica))
    }

    const fn authority(&self) -> Tier {
        if self.tiers.has_others() { Tier::Primary } else { Tier::Store }
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
        if let Some(key) = self.tiers.alias(alias).await {
            return Ok(Some(key));
        }
        let as_of = self.tiers.position();
        let key = self.store.find_alias(alias).await?;
        if let Some(key) = key {
            self.tiers.remember_alias(alias, key, as_of);
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
            self.tiers.local().note_change(&Arc::new(link));
        }
        Ok(())
    }
}
