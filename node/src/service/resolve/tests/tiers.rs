//! The same among other nodes: a shared cache, replicas that lag, a primary that goes away.

use super::*;
use crate::ports::shared_cache::SharedCache;
use crate::service::changes::Followed;
use crate::service::links::{Edit, make_edits};

const AT: FeedPosition = FeedPosition { timeline: 1, seq: 9 };

/// A shared cache in memory.
#[derive(Debug, Default)]
struct SharedMap {
    links: Mutex<HashMap<Key, Arc<Link>>>,
    aliases: Mutex<HashMap<Alias, Key>>,
    targets: Mutex<HashMap<(OwnerId, UrlHash), Key>>,
    put: Mutex<Vec<(i64, FeedPosition)>>,
    noted: Mutex<Vec<(Key, i64)>>,
    announced: AtomicUsize,
}

#[async_trait]
impl SharedCache for SharedMap {
    async fn link(&self, key: Key) -> Option<Arc<Link>> {
        self.links.lock().unwrap().get(&key).cloned()
    }

    async fn alias(&self, alias: &Alias) -> Option<Key> {
        self.aliases.lock().unwrap().get(alias).copied()
    }

    async fn target(&self, owner: OwnerId, hash: UrlHash) -> Option<Key> {
        self.targets.lock().unwrap().get(&(owner, hash)).copied()
    }

    fn put_link(&self, link: &Arc<Link>, as_of: FeedPosition) {
        self.put.lock().unwrap().push((link.version, as_of));
    }

    fn put_alias(&self, alias: &Alias, key: Key, _: FeedPosition) {
        self.aliases.lock().unwrap().insert(alias.clone(), key);
    }

    fn put_target(&self, owner: OwnerId, hash: UrlHash, key: Key, _: FeedPosition) {
        self.targets.lock().unwrap().insert((owner, hash), key);
    }

    async fn note_changes(&self, _: u32, changes: &[(Key, i64)]) -> bool {
        self.noted.lock().unwrap().extend(changes);
        true
    }

    fn announce(&self) {
        self.announced.fetch_add(1, Ordering::Relaxed);
    }

    fn needs_replay(&self) -> bool {
        false
    }

    async fn begin_replay(&self) -> bool {
        true
    }

    async fn finish_replay(&self, _: FeedPosition) -> bool {
        true
    }
}

/// A node among others.
struct Among {
    case: Case,
    shared: Arc<SharedMap>,
    followed: Followed,
}

impl Among {
    /// One that follows the record of changes.
    fn following() -> Self {
        let among = Self::starting();
        among.followed.set(AT);
        among
    }

    /// One that hasn't read the record yet.
    fn starting() -> Self {
        let (shared, followed) = (Arc::<SharedMap>::default(), Followed::default());
        let (beyond, position) = (Arc::clone(&shared), followed.clone());
        let case = Case::with(move |cache| Tiers::among_others(cache, beyond, position));
        Self { case, shared, followed }
    }

    fn tiers(&self) -> Tiers {
        Tiers::among_others(Arc::clone(&self.case.cache) as _, Arc::clone(&self.shared) as _, self.followed.clone())
    }

    fn share(&self, link: &Arc<Link>) {
        self.shared.links.lock().unwrap().insert(link.key, Arc::clone(link));
    }

    fn copy(&self, link: &Arc<Link>) {
        self.case.store.copies.lock().unwrap().insert(link.key, (**link).clone());
    }

    fn primary_is_away(&self, is_away: bool) {
        self.case.store.is_away.store(is_away, Ordering::Relaxed);
    }

    async fn find(&self) -> Option<(i64, Tier)> {
        self.case.resolve.find(NAME).await.unwrap().map(|(link, tier)| (link.version, tier))
    }
}

#[tokio::test]
async fn each_tier_is_asked_when_the_one_before_has_nothing() {
    let node = Among::following();
    node.case.store.put(&link(1));
    assert_eq!(node.find().await, Some((1, Tier::Primary)));
    assert_eq!(node.find().await, Some((1, Tier::L1)));
    node.case.cache.clear();
    node.copy(&link(1));
    assert_eq!(node.find().await, Some((1, Tier::Replica)));
    node.case.cache.clear();
    node.share(&link(1));
    assert_eq!(node.find().await, Some((1, Tier::L2)));
    assert_eq!(node.find().await, Some((1, Tier::L1)));
    assert_eq!((node.case.store.reads(), node.case.store.copy_reads.load(Ordering::Relaxed)), (1, 2));
    assert_eq!(*node.shared.put.lock().unwrap(), [(1, AT), (1, AT)], "what was read from the store is shared");
}

#[tokio::test]
async fn older_values_of_the_shared_cache_and_of_a_replica_are_ignored() {
    let node = Among::following();
    node.share(&link(1));
    node.copy(&link(1));
    node.case.store.put(&link(2));
    node.case.cache.note_version(link(1).key, 2);
    assert_eq!(node.find().await, Some((2, Tier::Primary)));
    assert_eq!(*node.shared.put.lock().unwrap(), [(2, AT)]);
    assert_eq!(node.case.cache.link(link(1).key).unwrap().version, 2);
}

#[tokio::test]
async fn a_link_that_a_replica_doesnt_have_yet_is_found_on_the_primary() {
    let node = Among::following();
    node.case.store.put(&link(1));
    assert_eq!(node.find().await, Some((1, Tier::Primary)));
    assert_eq!(node.case.store.copy_reads.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn with_the_primary_away_a_replica_answers_yes_and_nobody_says_no() {
    for node in [Among::following(), Among::starting()] {
        node.primary_is_away(true);
        assert!(matches!(node.case.resolve.find(NAME).await, Err(StoreError::Unavailable { .. })));
        node.copy(&link(1));
        assert_eq!(node.find().await, Some((1, Tier::Replica)));
    }
}

#[tokio::test]
async fn with_the_primary_away_a_copy_that_is_known_to_be_old_is_no_answer() {
    for node in [Among::following(), Among::starting()] {
        node.primary_is_away(true);
        node.copy(&link(1));
        node.case.cache.note_version(link(1).key, 2);
        assert!(node.case.resolve.find(NAME).await.is_err());
    }
}

#[tokio::test]
async fn until_the_record_was_read_the_primary_is_asked_first_and_nothing_is_shared() {
    let node = Among::starting();
    node.copy(&link(1));
    node.case.store.put(&link(2));
    assert_eq!(node.find().await, Some((2, Tier::Primary)));
    assert!(node.shared.put.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_no_of_the_primary_is_remembered_for_a_second_and_until_the_link_is_noted() {
    let node = Among::following();
    assert_eq!(node.find().await, None);
    assert_eq!(node.find().await, None);
    assert_eq!(node.case.store.reads(), 1);
    node.case.store.put(&link(1));
    node.case.cache.note_version(link(1).key, 1);
    assert_eq!(node.find().await, Some((1, Tier::Primary)));

    let node = Among::following();
    assert_eq!(node.find().await, None);
    node.case.store.put(&link(1));
    node.case.clock.advance(Duration::from_secs(1));
    assert_eq!(node.find().await, Some((1, Tier::Primary)));
}

#[tokio::test]
async fn a_request_never_joins_a_no_that_was_asked_before_it_came() {
    let node = Among::following();
    node.case.store.close_gate();
    let mut early = pin!(node.find());
    assert!(poll!(&mut early).is_pending());
    node.case.store.put(&link(1));
    node.case.cache.note_version(link(1).key, 1); // The other node's alias came with the record of changes.
    let mut late = pin!(node.find());
    assert!(poll!(&mut late).is_pending());
    node.case.store.open_gate();
    assert_eq!(early.await, None);
    assert_eq!(node.find().await, Some((1, Tier::Primary)), "the early no was not remembered");
    assert_eq!(late.await, Some((1, Tier::Primary)));
}

#[tokio::test]
async fn an_alias_of_the_shared_cache_needs_no_store() {
    let node = Among::following();
    let alias: Alias = "our-summer-sale".parse().unwrap();
    node.case.store.aliases.lock().unwrap().insert(alias.clone(), link(1).key);
    assert_eq!(node.case.resolve.key(alias.as_str()).await.unwrap(), Some(link(1).key));
    assert_eq!(node.shared.aliases.lock().unwrap().get(&alias), Some(&link(1).key), "it is shared");
    node.case.cache.clear();
    node.primary_is_away(true);
    for _ in 0..2 {
        assert_eq!(node.case.resolve.key(alias.as_str()).await.unwrap(), Some(link(1).key));
    }
    assert!(node.case.resolve.key("another-long-alias").await.is_err());
}

#[tokio::test]
async fn an_edit_is_noted_and_shared_and_announced() {
    let node = Among::following();
    let tiers = node.tiers();
    node.case.store.put(&link(1));
    let edits = vec![(link(1).key, Edit::Delete), (Key::new(-9).unwrap(), Edit::Delete)];
    let outcomes = make_edits(&*node.case.store, &tiers, edits).await.unwrap();
    assert!(outcomes[0].as_ref().unwrap().is_some() && outcomes[1].as_ref().unwrap().is_none());
    assert_eq!(*node.shared.noted.lock().unwrap(), [(link(1).key, 2)]);
    assert_eq!(*node.shared.put.lock().unwrap(), [(2, AT)]);
    assert_eq!(node.shared.announced.load(Ordering::Relaxed), 1);
    assert_eq!(node.find().await, Some((2, Tier::L1)));
}

#[tokio::test]
async fn the_link_of_a_repeated_url_is_known_without_the_store_while_a_cached_link_has_it() {
    let node = Among::following();
    let (tiers, hash) = (node.tiers(), UrlHash([1; 16]));
    tiers.remember_target(&link(1), hash, AT);
    node.case.cache.clear();
    assert_eq!(tiers.target(OwnerId(1), hash).await, None, "nobody knows where the link leads");
    node.share(&link(1));
    assert_eq!(tiers.target(OwnerId(1), hash).await, Some(link(1)));
    node.case.cache.note_version(link(1).key, 2);
    assert_eq!(tiers.target(OwnerId(1), hash).await, None, "it was changed");
    node.share(&Arc::new(Link { owner: OwnerId(2), ..(*link(2)).clone() }));
    assert_eq!(tiers.target(OwnerId(1), hash).await, None, "it is another owner's");
    assert_eq!((node.case.store.reads(), node.case.store.copy_reads.load(Ordering::Relaxed)), (0, 0));
}
