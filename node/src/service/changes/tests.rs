//! Following a record that is told what it holds, with a memory of its own and a shared cache that writes down what it is
//! told. Time is a number that the tests choose.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::*;
use crate::cache::memory::MemoryLinkCache;
use crate::domain::access::OwnerId;
use crate::domain::alias::Alias;
use crate::domain::link::Link;
use crate::domain::target_url::UrlHash;
use crate::domain::timestamp::UnixMs;
use crate::ports::clock::ManualClock;

/// A record in memory.
#[derive(Debug, Default)]
struct Record {
    timeline: AtomicU32,
    changes: Mutex<BTreeMap<i64, Change>>,
    asked: Mutex<Vec<(i64, Vec<i64>)>>,
    is_away: AtomicBool,
}

#[async_trait]
impl ChangeFeed for Record {
    async fn read(&self, after: i64, missing: &[i64], limit: usize) -> Result<ChangePage, StoreError> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable { operation: "test", source: Arc::new(std::io::Error::other("away")) });
        }
        self.asked.lock().unwrap().push((after, missing.to_owned()));
        let changes = self.changes.lock().unwrap();
        let wanted = changes.values().filter(|change| change.seq > after || missing.contains(&change.seq));
        let timeline = self.timeline.load(Ordering::Relaxed);
        Ok(ChangePage { timeline, changes: wanted.take(limit).copied().collect() })
    }

    async fn forget_old_changes(&self) -> Result<u64, StoreError> {
        unreachable!("following forgets nothing")
    }
}

/// What the shared cache was told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Begin,
    Note(u32, Vec<i64>),
    Finish(FeedPosition),
}

#[derive(Debug, Default)]
struct Shared {
    told: Mutex<Vec<Told>>,
    is_away: AtomicBool,
    fails_to_note: AtomicBool,
    is_trusted: AtomicBool,
}

impl Shared {
    fn told(&self) -> MutexGuard<'_, Vec<Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<Told> {
        std::mem::take(&mut *self.told())
    }

    fn go_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::Relaxed);
        self.is_trusted.store(false, Ordering::Relaxed);
    }
}

#[async_trait]
impl SharedCache for Shared {
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

    async fn note_changes(&self, timeline: u32, changes: &[(Key, i64)]) -> bool {
        self.told().push(Told::Note(timeline, changes.iter().map(|(key, _)| key.get()).collect()));
        !self.fails_to_note.load(Ordering::Relaxed)
    }

    fn announce(&self) {}

    fn needs_replay(&self) -> bool {
        !self.is_trusted.load(Ordering::Relaxed)
    }

    async fn begin_replay(&self) -> bool {
        self.is_trusted.store(false, Ordering::Relaxed);
        let is_here = !self.is_away.load(Ordering::Relaxed);
        if is_here {
            self.told().push(Told::Begin);
        }
        is_here
    }

    async fn finish_replay(&self, covered: FeedPosition) -> bool {
        self.told().push(Told::Finish(covered));
        self.is_trusted.store(true, Ordering::Relaxed);
        true
    }
}

struct Case {
    record: Arc<Record>,
    shared: Arc<Shared>,
    local: Arc<MemoryLinkCache>,
    changes: FollowChanges,
}

impl Case {
    /// On timeline 1, with these changes, not looked at yet.
    fn new(seqs: &[i64]) -> Self {
        let (record, shared) = (Arc::<Record>::default(), Arc::<Shared>::default());
        let local = MemoryLinkCache::new(100, Duration::from_secs(30), Arc::<ManualClock>::default());
        let local = Arc::new(local);
        let changes = FollowChanges::new(Arc::clone(&record) as _, Arc::clone(&local) as _, Arc::clone(&shared) as _);
        let case = Self { record, shared, local, changes };
        case.on_timeline(1);
        case.commit(seqs);
        case
    }

    /// Changes become visible: number n makes the link with key n have version n + 1.
    fn commit(&self, seqs: &[i64]) {
        let change = |seq: &i64| (*seq, Change { seq: *seq, key: Key::new(*seq).unwrap(), version: seq + 1 });
        self.record.changes.lock().unwrap().extend(seqs.iter().map(change));
    }

    fn on_timeline(&self, timeline: u32) {
        self.record.timeline.store(timeline, Ordering::Relaxed);
    }

    async fn look(&mut self, secs: u64) -> bool {
        self.changes.look(Duration::from_secs(secs)).await.unwrap()
    }

    fn position(&self) -> (u32, i64) {
        let position = self.changes.followed().position();
        (position.timeline, position.seq)
    }

    fn is_noted(&self, seq: i64) -> bool {
        self.local.floor(Key::new(seq).unwrap()) == seq + 1
    }
}

fn link(key: i64) -> Arc<Link> {
    let (key, created_at) = (Key::new(key).unwrap(), UnixMs::new(0).unwrap());
    Arc::new(Link { key, alias: None, owner: OwnerId(1), version: 1, created_at, content: None })
}

const fn finish(timeline: u32, seq: i64) -> Told {
    Told::Finish(FeedPosition { timeline, seq })
}

#[tokio::test]
async fn the_whole_record_is_noted_before_anybody_may_rely_on_the_position() {
    let mut case = Case::new(&[5, 6, 7]);
    assert!(!case.changes.followed().position().is_known());
    assert!(case.look(0).await);
    assert_eq!(case.position(), (1, 7));
    assert!(case.is_noted(5) && case.is_noted(7));
    assert_eq!(case.shared.take(), [Told::Begin, Told::Note(1, vec![5, 6, 7]), finish(1, 4)]);
    case.commit(&[8]);
    case.local.remember(&link(8));
    assert!(case.look(1).await);
    assert!(case.is_noted(8) && case.local.link(link(8).key).is_none());
    assert_eq!((case.position(), case.shared.take()), ((1, 8), vec![Told::Note(1, vec![8])]));
}

#[tokio::test]
async fn a_record_in_which_nothing_ever_changed_covers_everything() {
    let mut case = Case::new(&[]);
    assert!(case.look(0).await);
    assert_eq!((case.position(), case.shared.take()), ((1, 0), vec![Told::Begin, finish(1, 0)]));
}

#[tokio::test]
async fn a_number_that_appears_late_is_noted_and_holds_the_position_until_then() {
    let mut case = Case::new(&[1]);
    case.look(0).await;
    case.commit(&[2, 4, 6]);
    case.look(1).await;
    assert_eq!((case.position(), case.changes.missing()), ((1, 2), 2));
    case.commit(&[5]);
    case.look(2).await;
    assert!(case.is_noted(5));
    assert_eq!(case.position(), (1, 2), "3 may still come");
    case.commit(&[3]);
    case.look(3).await;
    assert!(case.is_noted(3));
    assert_eq!((case.position(), case.changes.missing()), ((1, 6), 0));
}

#[tokio::test]
async fn a_number_that_doesnt_appear_within_a_minute_is_given_up() {
    let mut case = Case::new(&[1]);
    case.look(0).await;
    case.commit(&[3]);
    case.look(1).await;
    case.look(60).await;
    assert_eq!(case.position(), (1, 1));
    case.look(61).await;
    assert_eq!((case.position(), case.changes.missing()), ((1, 3), 0));
    assert_eq!(case.record.asked.lock().unwrap().last(), Some(&(3, vec![])));
}

#[tokio::test]
async fn numbers_under_way_when_the_node_starts_are_noted_too() {
    let mut case = Case::new(&[100]);
    case.look(0).await;
    assert_eq!(case.position(), (1, 100));
    case.commit(&[99, 68]);
    case.look(1).await;
    assert!(case.is_noted(99) && case.is_noted(68));
    assert_eq!(case.position(), (1, 100));
}

#[tokio::test]
async fn a_jump_of_the_numbers_doesnt_ask_for_all_of_them() {
    let mut case = Case::new(&[1]);
    case.look(0).await;
    case.commit(&[1_000_000_000]);
    case.look(1).await;
    assert_eq!(case.changes.missing(), MOST_MISSING);
}

#[tokio::test]
async fn long_records_are_read_page_by_page_and_to_the_end_at_once() {
    let pages = 2 * i64::try_from(PAGE).unwrap() + 10;
    let mut case = Case::new(&(1..=pages).collect::<Vec<_>>());
    case.look(0).await;
    assert_eq!(case.position(), (1, pages));
    assert_eq!(case.shared.take().len(), 5, "three pages between beginning and end");
    case.commit(&(pages + 1..=2 * pages).collect::<Vec<_>>());
    case.look(1).await;
    assert_eq!((case.position(), case.shared.take().len()), ((1, 2 * pages), 3));
}

#[tokio::test]
async fn a_new_timeline_empties_the_memory_and_begins_again_and_an_old_one_is_not_listened_to() {
    let mut case = Case::new(&[1, 2]);
    case.look(0).await;
    case.local.remember(&link(50));
    case.shared.take();
    case.record.changes.lock().unwrap().clear();
    case.commit(&[1]);
    case.on_timeline(2);
    assert!(case.look(1).await);
    assert!(case.local.link(link(50).key).is_none());
    assert_eq!(case.position(), (2, 1));
    assert_eq!(case.shared.take(), [Told::Begin, Told::Note(2, vec![1]), finish(2, 0)]);
    case.on_timeline(1);
    case.commit(&[2, 3]);
    assert!(!case.look(2).await);
    assert_eq!((case.position(), case.shared.take()), ((2, 1), vec![]));
    assert!(!case.is_noted(3));
}

#[tokio::test]
async fn a_shared_cache_that_was_away_is_replayed_from_the_first_retained_change() {
    let mut case = Case::new(&[3, 4]);
    case.shared.go_away(true);
    assert!(case.look(0).await);
    assert_eq!((case.position(), case.shared.take()), ((1, 4), vec![]), "without it everything goes on");
    case.commit(&[5]);
    assert!(case.look(1).await);
    assert_eq!(case.shared.take(), []);
    case.shared.go_away(false);
    assert!(case.look(2).await);
    assert_eq!(case.shared.take(), [Told::Begin, Told::Note(1, vec![3, 4, 5]), finish(1, 2)]);
    assert!(case.look(3).await);
    assert_eq!(case.shared.take(), []);
}

#[tokio::test]
async fn a_replay_in_which_a_change_could_not_be_noted_is_not_finished() {
    let mut case = Case::new(&[3]);
    case.shared.fails_to_note.store(true, Ordering::Relaxed);
    case.look(0).await;
    let told = case.shared.take();
    assert!(told.contains(&Told::Begin) && !told.iter().any(|told| matches!(told, Told::Finish(_))), "{told:?}");
    case.shared.fails_to_note.store(false, Ordering::Relaxed);
    case.look(1).await;
    assert_eq!(case.shared.take().last(), Some(&finish(1, 2)));
}

#[tokio::test]
async fn a_primary_that_is_away_is_an_error_and_after_a_long_silence_everything_begins_again() {
    let mut case = Case::new(&[1]);
    case.look(0).await;
    case.local.remember(&link(50));
    case.record.is_away.store(true, Ordering::Relaxed);
    assert!(case.changes.look(Duration::from_secs(20)).await.is_err());
    assert_eq!(case.position(), (1, 1));
    assert!(case.local.link(link(50).key).is_some());
    assert!(case.changes.look(TOO_LONG + Duration::from_secs(1)).await.is_err());
    assert!(!case.changes.followed().position().is_known());
    assert!(case.local.link(link(50).key).is_none(), "a change of it may have been forgotten unseen");
    case.record.is_away.store(false, Ordering::Relaxed);
    case.commit(&[2]);
    case.shared.take();
    assert!(case.look(3000).await);
    assert_eq!(case.position(), (1, 2));
    assert_eq!(case.shared.take(), [Told::Begin, Told::Note(1, vec![1, 2]), finish(1, 0)]);
}

#[tokio::test]
async fn after_a_silence_of_seconds_copies_are_doubted_until_the_record_is_read_on() {
    let mut case = Case::new(&[1]);
    case.look(0).await;
    case.record.is_away.store(true, Ordering::Relaxed);
    assert!(case.changes.look(Duration::from_secs(21)).await.is_err());
    assert!(!case.changes.followed().position().is_known());
    case.local.remember(&link(50));
    case.record.is_away.store(false, Ordering::Relaxed);
    case.commit(&[2]);
    case.shared.take();
    assert!(case.look(22).await);
    assert!(case.local.link(link(50).key).is_none(), "it may be a copy of any age");
    assert_eq!((case.position(), case.shared.take()), ((1, 2), vec![Told::Note(1, vec![2])]));
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_hangs_is_an_error_in_time() {
    #[derive(Debug)]
    struct Hanging;

    #[async_trait]
    impl ChangeFeed for Hanging {
        async fn read(&self, _: i64, _: &[i64], _: usize) -> Result<ChangePage, StoreError> {
            std::future::pending().await
        }

        async fn forget_old_changes(&self) -> Result<u64, StoreError> {
            Ok(0)
        }
    }

    let case = Case::new(&[]);
    let mut changes = FollowChanges::new(Arc::new(Hanging), case.local, case.shared);
    assert!(matches!(changes.look(Duration::ZERO).await, Err(StoreError::Unavailable { .. })));
}
