//! Following links against a store whose reads can be held at a gate: races are played move by move, without threads.

mod tiers;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use futures_util::poll;
use stint_idgen::CodeKey;
use tokio::sync::Semaphore;

use super::*;
use crate::cache::memory::MemoryLinkCache;
use crate::domain::access::OwnerId;
use crate::domain::label::Tags;
use crate::domain::link::{LinkContent, VisitLimit};
use crate::domain::target_url::{TargetUrl, UrlHash};
use crate::lifecycle::Tasks;
use crate::ports::clock::ManualClock;
use crate::ports::link_cache::LinkCache;
use crate::ports::link_store::{CreateOutcome, Idempotency, LinkChange, ListQuery, NewLink, Replay};
use crate::ports::spawn::Spawn as _;

/// A name of few characters is a key by itself.
const NAME: &str = "abc";

/// Links in memory. A read takes its answer at once, and gives it when the gate lets it through.
#[derive(Debug)]
struct GatedStore {
    links: Mutex<HashMap<Key, Link>>,
    /// What a replica has of them.
    copies: Mutex<HashMap<Key, Link>>,
    copy_reads: AtomicUsize,
    aliases: Mutex<HashMap<Alias, Key>>,
    gate: Semaphore,
    reads: AtomicUsize,
    counted: AtomicUsize,
    is_away: AtomicBool,
}

impl Default for GatedStore {
    fn default() -> Self {
        Self {
            links: Mutex::default(),
            copies: Mutex::default(),
            copy_reads: AtomicUsize::new(0),
            aliases: Mutex::default(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            reads: AtomicUsize::new(0),
            counted: AtomicUsize::new(0),
            is_away: AtomicBool::new(false),
        }
    }
}

impl GatedStore {
    fn links(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, link: &Arc<Link>) {
        self.links().insert(link.key, (**link).clone());
    }

    fn close_gate(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    fn open_gate(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS - self.gate.available_permits());
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }

    fn here(&self) -> Result<(), StoreError> {
        let source = Arc::new(std::io::Error::other("away"));
        if self.is_away.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable { operation: "test", source });
        }
        Ok(())
    }
}

#[async_trait]
impl LinkStore for GatedStore {
    async fn create(&self, _: Vec<NewLink>) -> Result<Vec<CreateOutcome>, StoreError> {
        unreachable!("following creates nothing")
    }

    async fn find(&self, key: Key) -> Result<Option<Link>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let answer = self.here().map(|()| self.links().get(&key).cloned());
        drop(self.gate.acquire().await.expect("the gate is never taken away"));
        answer
    }

    async fn find_copy(&self, key: Key) -> Result<Option<Link>, StoreError> {
        self.copy_reads.fetch_add(1, Ordering::Relaxed);
        Ok(self.copies.lock().unwrap().get(&key).cloned())
    }

    async fn find_replay(&self, _: OwnerId, _: &Idempotency) -> Result<Option<Replay>, StoreError> {
        Ok(None)
    }

    async fn find_alias(&self, alias: &Alias) -> Result<Option<Key>, StoreError> {
        self.here()?;
        self.reads.fetch_add(1, Ordering::Relaxed);
        Ok(self.aliases.lock().unwrap().get(alias).copied())
    }

    async fn find_reusable(&self, _: OwnerId, _: UrlHash, _: &TargetUrl) -> Result<Option<Link>, StoreError> {
        unreachable!("following reuses nothing")
    }

    async fn list(&self, _: ListQuery) -> Result<Vec<Link>, StoreError> {
        unreachable!("following lists nothing")
    }

    async fn update(&self, _: Key, _: LinkChange) -> Result<Option<Link>, StoreError> {
        unreachable!("following changes nothing")
    }

    async fn delete(&self, key: Key) -> Result<Option<Link>, StoreError> {
        let mut links = self.links();
        let Some(link) = links.get_mut(&key) else { return Ok(None) };
        (link.version, link.content) = (link.version + 1, None);
        Ok(Some(link.clone()))
    }

    async fn count_visits(&self, keys: Vec<Key>) -> Result<Vec<VisitOutcome>, StoreError> {
        self.here()?;
        self.counted.fetch_add(keys.len(), Ordering::Relaxed);
        let mut links = self.links();
        let outcomes = keys.into_iter().map(|key| {
            let content = links.get_mut(&key).and_then(|link| link.content.as_mut());
            match content.and_then(|content| content.limit.as_mut()) {
                None => VisitOutcome::NotLimited,
                Some(limit) if limit.visits >= limit.max => VisitOutcome::UsedUp,
                Some(limit) => {
                    limit.visits += 1;
                    VisitOutcome::Counted
                }
            }
        });
        Ok(outcomes.collect())
    }

    async fn forget_idempotency_before(&self, _: UnixMs) -> Result<u64, StoreError> {
        unreachable!("following forgets nothing")
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.here()
    }
}

/// The use case over the gated store and a real cache.
struct Case {
    store: Arc<GatedStore>,
    cache: Arc<MemoryLinkCache>,
    clock: Arc<ManualClock>,
    resolve: ResolveLinks,
    _visits: Tasks,
}

impl Case {
    fn new() -> Self {
        Self::with(Tiers::alone)
    }

    fn with(tiers: impl FnOnce(Arc<dyn LinkCache>) -> Tiers) -> Self {
        let (store, clock) = (Arc::<GatedStore>::default(), Arc::<ManualClock>::default());
        let cache = Arc::new(MemoryLinkCache::new(100, Duration::from_secs(30), Arc::clone(&clock) as _));
        let codec = Arc::new(KeyCodec::new(&CodeKey::from_bytes([0; 16])));
        let tasks = Tasks::default();
        let counting = Arc::clone(&store);
        let (visits, worker) = Batcher::new(tasks.stopping(), 1, move |keys| {
            let store = Arc::clone(&counting);
            async move { store.count_visits(keys).await }
        });
        tasks.start("visit counter", worker);
        let links: Arc<dyn LinkStore> = Arc::clone(&store) as _;
        let tiers = tiers(Arc::clone(&cache) as _);
        let resolve = ResolveLinks::new(links, tiers, codec, visits, Arc::clone(&clock) as _);
        Self { store, cache, clock, resolve, _visits: tasks }
    }

    /// The version of the link that a reader gets.
    async fn version(&self) -> Option<i64> {
        self.resolve.find(NAME).await.unwrap().map(|(link, _)| link.version)
    }

    async fn follow(&self, count: bool) -> Follow {
        self.resolve.follow(NAME, count).await.unwrap()
    }

    /// The map of flights is nobody's business, but it must not grow for ever.
    #[track_caller]
    fn assert_nothing_flies(&self) {
        let flights = format!("{:?}", self.resolve.flights);
        assert!(flights.contains("data: {}"), "{flights}");
    }
}

fn link(version: i64) -> Arc<Link> {
    let AliasPlace::Key(key) = KeyCodec::new(&CodeKey::from_bytes([0; 16])).place_alias(NAME) else {
        panic!("a short name is a key")
    };
    let content = LinkContent {
        url: format!("https://example.com/{version}").parse().unwrap(),
        expires_at: None,
        limit: None,
        title: None,
        tags: Tags::default(),
    };
    let created_at = UnixMs::new(0).unwrap();
    Arc::new(Link { key, alias: None, owner: OwnerId(1), version, created_at, content: Some(content) })
}

fn edited(version: i64, edit: impl FnOnce(&mut LinkContent)) -> Arc<Link> {
    let mut link = (*link(version)).clone();
    edit(link.content.as_mut().unwrap());
    Arc::new(link)
}

fn limited(version: i64, max: i64, visits: i64) -> Arc<Link> {
    edited(version, |content| content.limit = Some(VisitLimit { max, visits }))
}

fn tombstone(version: i64) -> Arc<Link> {
    Arc::new(Link { content: None, ..(*link(version)).clone() })
}

#[tokio::test]
async fn a_request_never_takes_a_no_from_a_read_that_began_before_it_came() {
    let case = Case::new();
    case.store.close_gate();
    let mut early = pin!(case.version());
    assert!(poll!(&mut early).is_pending());
    case.store.put(&link(1)); // Acknowledged, perhaps by another node: the cache here knows nothing of it.
    let mut late = pin!(case.version());
    assert!(poll!(&mut late).is_pending());
    assert_eq!(case.store.reads(), 1, "the late one waits for the early one's read");
    case.store.open_gate();
    assert_eq!(early.await, None);
    assert_eq!(late.await, Some(1));
    case.assert_nothing_flies();
}

#[tokio::test]
async fn a_request_that_meets_one_no_after_another_asks_by_itself() {
    let case = Case::new();
    case.store.close_gate();
    let mut late = pin!(case.version());
    for _ in 0..ATTEMPTS {
        let mut early = Box::pin(case.version());
        assert!(poll!(&mut early).is_pending() && poll!(&mut late).is_pending());
        case.store.open_gate();
        assert_eq!(early.await, None);
        case.store.close_gate();
    }
    case.store.put(&link(1));
    case.store.open_gate();
    assert_eq!(late.await, Some(1));
    assert_eq!(case.store.reads(), ATTEMPTS + 1);
}

#[tokio::test]
async fn a_no_is_not_remembered() {
    let case = Case::new();
    assert_eq!(case.follow(true).await, Follow::Missing);
    case.store.put(&link(1));
    assert!(matches!(case.follow(true).await, Follow::To { tier: Tier::Store, .. }));
    assert!(matches!(case.follow(true).await, Follow::To { tier: Tier::L1, .. }));
    assert_eq!(case.store.reads(), 2);
}

#[tokio::test]
async fn a_reader_that_comes_back_with_an_older_version_answers_the_newer_one() {
    for newest in [link(2), tombstone(2)] {
        let case = Case::new();
        case.store.put(&link(1));
        case.store.close_gate();
        let (mut first, mut second) = (pin!(case.version()), pin!(case.version()));
        assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
        case.store.put(&newest);
        case.cache.note_change(&newest);
        case.store.open_gate();
        assert_eq!((first.await, second.await), (Some(2), Some(2)));
        assert_eq!(case.cache.link(newest.key), Some(newest));
    }
}

#[tokio::test]
async fn many_requests_at_once_read_the_store_once() {
    let case = Case::new();
    case.store.put(&link(1));
    case.store.close_gate();
    let mut all = join_all((0..100).map(|_| case.version()));
    assert!(poll!(&mut all).is_pending());
    case.store.open_gate();
    assert_eq!(all.await, vec![Some(1); 100]);
    assert_eq!(case.store.reads(), 1);
    case.assert_nothing_flies();
}

#[tokio::test]
async fn a_read_whose_first_request_goes_away_is_finished_by_the_others() {
    let case = Case::new();
    case.store.put(&link(1));
    case.store.close_gate();
    let mut first = Box::pin(case.version());
    assert!(poll!(&mut first).is_pending());
    let mut others = join_all((0..3).map(|_| case.version()));
    assert!(poll!(&mut others).is_pending());
    drop(first);
    assert!(poll!(&mut others).is_pending());
    assert_eq!(case.store.reads(), 2, "one of the others reads now, for all of them");
    case.store.open_gate();
    assert_eq!(others.await, vec![Some(1); 3]);
    assert_eq!(case.store.reads(), 2);
    case.assert_nothing_flies();
}

#[tokio::test]
async fn no_read_is_left_behind_when_every_request_goes_away() {
    let case = Case::new();
    case.store.close_gate();
    let mut all: Vec<_> = (0..3).map(|_| Box::pin(case.version())).collect();
    for request in &mut all {
        assert!(poll!(request).is_pending());
    }
    drop(all);
    case.assert_nothing_flies();
    case.store.put(&link(1));
    case.store.open_gate();
    assert_eq!(case.version().await, Some(1));
}

#[tokio::test]
async fn a_store_that_is_away_is_an_error_for_all_who_wait_and_is_asked_again() {
    let case = Case::new();
    case.store.put(&link(1));
    case.store.is_away.store(true, Ordering::Relaxed);
    case.store.close_gate();
    let mut all = join_all((0..3).map(|_| case.resolve.find(NAME)));
    assert!(poll!(&mut all).is_pending());
    case.store.is_away.store(false, Ordering::Relaxed);
    case.store.open_gate();
    assert!(all.await.iter().all(|answer| matches!(answer, Err(StoreError::Unavailable { .. }))));
    assert_eq!(case.version().await, Some(1));
    case.store.is_away.store(true, Ordering::Relaxed);
    assert_eq!(case.version().await, Some(1), "what is cached is served without the store");
    assert!(case.resolve.find("xyz").await.is_err() && case.resolve.find("a-long-alias").await.is_err());
}

#[tokio::test]
async fn names_that_nothing_can_have_are_missing_without_asking() {
    let case = Case::new();
    for name in ["", "a b", "a/b", "é", "a\0", &"x".repeat(65)] {
        assert_eq!(case.resolve.follow(name, true).await.unwrap(), Follow::Missing, "{name:?}");
    }
    assert_eq!(case.store.reads(), 0);
}

#[tokio::test]
async fn an_alias_is_looked_up_once_and_a_missing_one_each_time() {
    let case = Case::new();
    assert!(case.resolve.find("our-summer-sale").await.unwrap().is_none());
    case.store.put(&link(1));
    let alias: Alias = "our-summer-sale".parse().unwrap();
    case.store.aliases.lock().unwrap().insert(alias, link(1).key);
    for _ in 0..3 {
        assert_eq!(case.resolve.key("our-summer-sale").await.unwrap(), Some(link(1).key));
    }
    assert_eq!(case.store.reads(), 2);
    assert!(case.resolve.find("our-summer-sale").await.unwrap().is_some());
    assert!(case.resolve.find("Our-Summer-Sale").await.unwrap().is_none());
}

#[tokio::test]
async fn expiry_is_checked_on_every_hit() {
    let case = Case::new();
    let expiry = UnixMs::from_clock(case.clock.unix_ms() + 10);
    case.store.put(&edited(1, |content| content.expires_at = Some(expiry)));
    assert!(matches!(case.follow(true).await, Follow::To { limited: false, .. }));
    case.clock.advance(Duration::from_millis(9));
    assert!(matches!(case.follow(true).await, Follow::To { tier: Tier::L1, .. }));
    case.clock.advance(Duration::from_millis(1));
    assert_eq!(case.follow(true).await, Follow::Expired);
    assert_eq!(case.store.reads(), 1);
}

#[tokio::test]
async fn visits_of_a_limited_link_are_counted_until_none_is_left() {
    let case = Case::new();
    case.store.put(&limited(1, 2, 0));
    for _ in 0..2 {
        assert!(matches!(case.follow(true).await, Follow::To { limited: true, .. }));
    }
    assert_eq!(case.follow(true).await, Follow::UsedUp);
    assert_eq!(case.follow(false).await, Follow::UsedUp);
    case.store.is_away.store(true, Ordering::Relaxed);
    assert!(case.resolve.follow(NAME, true).await.is_err(), "a visit that can't be counted isn't admitted");
    assert!(case.resolve.follow(NAME, false).await.is_err());
}

#[tokio::test]
async fn looking_without_counting_counts_nothing() {
    let case = Case::new();
    case.store.put(&limited(1, 1, 0));
    for _ in 0..3 {
        assert!(matches!(case.follow(false).await, Follow::To { limited: true, .. }));
    }
    assert_eq!(case.store.counted.load(Ordering::Relaxed), 0);
    assert!(matches!(case.follow(true).await, Follow::To { limited: true, .. }));
}

#[tokio::test]
async fn a_limit_that_is_gone_makes_the_cache_look_again() {
    for count in [true, false] {
        for (now, expected) in [(link(2), None), (tombstone(2), Some(Follow::Deleted))] {
            let case = Case::new();
            case.store.put(&limited(1, 1, 0));
            assert!(matches!(case.follow(false).await, Follow::To { limited: true, .. }));
            case.store.put(&now); // Another node changed it; this one's cache still says "limited".
            let expected = expected.unwrap_or(Follow::To { link: Arc::clone(&now), limited: false, tier: Tier::L1 });
            assert_eq!(case.follow(count).await, expected);
            assert_eq!(case.cache.link(now.key), Some(now));
        }
    }
}
