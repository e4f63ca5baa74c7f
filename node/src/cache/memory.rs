//! The in-process cache: bounded, at most a minute old, and never behind a change that was noted.
//!
//! Version floors make the last promise: noting a change records the new version of the key, and a reader that comes
//! back from the store with an older one can neither store nor answer it. Floors are forgotten once no such reader
//! can be under way any more.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use stint_idgen::Key;

use crate::domain::access::OwnerId;
use crate::domain::alias::Alias;
use crate::domain::link::Link;
use crate::domain::target_url::UrlHash;
use crate::ports::clock::Clock;
use crate::ports::link_cache::LinkCache;

/// How long a floor is kept: far longer than any read of the store is allowed to take.
const FLOOR_KEPT: Duration = Duration::from_mins(1);

/// How long a link that wasn't there is taken to be missing without looking again. It may have been created elsewhere.
const MISSING_FOR: Duration = Duration::from_secs(1);

/// Up to so many bytes of URL, title and tags a link counts as one. Longer ones count as several, so that memory is bounded
/// whatever is shortened.
const ORDINARY: usize = 256;

/// Links, aliases and targets in this process's memory.
#[derive(Debug)]
pub struct MemoryLinkCache {
    links: Cache<Key, Entry, BySize>,
    /// Keys without a link, and since when.
    missing: Cache<Key, Duration>,
    aliases: Cache<Alias, Key>,
    targets: Cache<(OwnerId, UrlHash), (Key, i64)>,
    floors: Mutex<Floors>,
    ttl: Duration,
    clock: Arc<dyn Clock>,
}

#[derive(Clone, Debug)]
struct Entry {
    link: Arc<Link>,
    stored_at: Duration,
}

/// How many links an entry counts as.
#[derive(Clone, Copy, Debug)]
struct BySize;

#[derive(Debug, Default)]
struct Floors {
    versions: HashMap<Key, i64>,
    noted: VecDeque<(Duration, Key, i64)>,
}

impl MemoryLinkCache {
    /// A cache of at most `entries` ordinary links, fewer long ones (and as many aliases and targets), each remembered for at
    /// most `ttl`.
    pub fn new(entries: usize, ttl: Duration, clock: Arc<dyn Clock>) -> Self {
        Self {
            links: Cache::with_weighter(entries, entries as u64, BySize),
            missing: Cache::new(entries),
            aliases: Cache::new(entries),
            targets: Cache::new(entries),
            floors: Mutex::default(),
            ttl,
            clock,
        }
    }

    fn floors(&self) -> std::sync::MutexGuard<'_, Floors> {
        // A poisoned lock holds whole entries still: every change of it is one insert or removal.
        self.floors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, link: &Arc<Link>) {
        self.links.insert(link.key, Entry { link: Arc::clone(link), stored_at: self.clock.monotonic() });
        self.missing.remove(&link.key);
    }
}

impl Weighter<Key, Entry> for BySize {
    fn weight(&self, _: &Key, entry: &Entry) -> u64 {
        let Some(content) = &entry.link.content else { return 1 };
        let title = content.title.as_ref().map_or(0, |title| title.as_str().len());
        let tags: usize = content.tags.iter().map(str::len).sum();
        1 + ((content.url.as_str().len() + title + tags) / ORDINARY) as u64
    }
}

impl Floors {
    fn get(&self, key: Key) -> i64 {
        self.versions.get(&key).copied().unwrap_or(0)
    }

    fn raise(&mut self, key: Key, version: i64, now: Duration) {
        while let Some(&(at, old, raised_to)) = self.noted.front() {
            if now < at + FLOOR_KEPT {
                break;
            }
            self.noted.pop_front();
            if self.get(old) == raised_to {
                self.versions.remove(&old);
            }
        }
        if version > self.get(key) {
            self.versions.insert(key, version);
            self.noted.push_back((now, key, version));
        }
    }
}

impl LinkCache for MemoryLinkCache {
    fn link(&self, key: Key) -> Option<Arc<Link>> {
        let entry = self.links.get(&key)?;
        (self.clock.monotonic() < entry.stored_at + self.ttl).then_some(entry.link)
    }

    fn remember(&self, link: &Arc<Link>) {
        // The floor's lock is held over the insert, so that no change is noted in between.
        let floors = self.floors();
        if link.version >= floors.get(link.key) {
            self.put(link);
        }
    }

    fn note_change(&self, link: &Arc<Link>) {
        let mut floors = self.floors();
        floors.raise(link.key, link.version, self.clock.monotonic());
        if link.version >= floors.get(link.key) {
            self.put(link);
        }
    }

    fn note_version(&self, key: Key, version: i64) {
        let mut floors = self.floors();
        floors.raise(key, version, self.clock.monotonic());
        self.missing.remove(&key);
        if self.links.get(&key).is_some_and(|entry| entry.link.version < version) {
            self.links.remove(&key);
        }
    }

    fn is_missing(&self, key: Key) -> bool {
        self.missing.get(&key).is_some_and(|since| self.clock.monotonic() < since + MISSING_FOR)
    }

    fn remember_missing(&self, key: Key, floor: i64) {
        // The floor's lock is held over the insert, so that the link isn't created in between.
        let floors = self.floors();
        if floors.get(key) == floor && self.links.get(&key).is_none() {
            self.missing.insert(key, self.clock.monotonic());
        }
    }

    fn clear(&self) {
        let _floors = self.floors();
        self.links.clear();
        self.missing.clear();
        self.aliases.clear();
        self.targets.clear();
    }

    fn floor(&self, key: Key) -> i64 {
        self.floors().get(key)
    }

    fn alias(&self, alias: &Alias) -> Option<Key> {
        self.aliases.get(alias)
    }

    fn remember_alias(&self, alias: &Alias, key: Key) {
        self.aliases.insert(alias.clone(), key);
    }

    fn target(&self, owner: OwnerId, hash: UrlHash) -> Option<(Key, i64)> {
        self.targets.get(&(owner, hash))
    }

    fn remember_target(&self, owner: OwnerId, hash: UrlHash, key: Key, version: i64) {
        self.targets.insert((owner, hash), (key, version));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::label::Tags;
    use crate::domain::link::LinkContent;
    use crate::domain::timestamp::UnixMs;
    use crate::ports::clock::ManualClock;

    fn link(version: i64) -> Arc<Link> {
        Arc::new(Link {
            key: Key::new(7).unwrap(),
            alias: None,
            owner: OwnerId(1),
            version,
            created_at: UnixMs::new(0).unwrap(),
            content: None,
        })
    }

    fn cache() -> (MemoryLinkCache, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::default());
        (MemoryLinkCache::new(100, Duration::from_secs(30), Arc::clone(&clock) as Arc<dyn Clock>), clock)
    }

    #[test]
    fn a_link_is_remembered_until_its_time_is_over() {
        let (cache, clock) = cache();
        cache.remember(&link(1));
        clock.advance(Duration::from_secs(29));
        assert!(cache.link(link(1).key).is_some());
        clock.advance(Duration::from_secs(1));
        assert!(cache.link(link(1).key).is_none());
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let (cache, _) = cache();
        for number in 1..=10_000 {
            let key = Key::new(number).unwrap();
            cache.remember(&Arc::new(Link { key, ..Link::clone(&link(1)) }));
        }
        let kept = (1..=10_000).filter(|&number| cache.link(Key::new(number).unwrap()).is_some()).count();
        assert!((50..=100).contains(&kept), "{kept}");
    }

    #[test]
    fn long_links_take_the_room_of_several() {
        let (cache, _) = cache();
        let url = format!("https://example.com/{}", "x".repeat(10 * ORDINARY)).parse().unwrap();
        let content = LinkContent { url, expires_at: None, limit: None, title: None, tags: Tags::default() };
        for number in 1..=1000 {
            let key = Key::new(number).unwrap();
            cache.remember(&Arc::new(Link { key, content: Some(content.clone()), ..Link::clone(&link(1)) }));
        }
        let kept = (1..=1000).filter(|&number| cache.link(Key::new(number).unwrap()).is_some()).count();
        assert!((1..=10).contains(&kept), "{kept}");
    }

    #[test]
    fn a_reader_that_comes_late_does_not_bring_an_old_version_back() {
        let (cache, _) = cache();
        cache.note_change(&link(2));
        cache.remember(&link(1));
        assert_eq!(cache.link(link(1).key).unwrap().version, 2);
        assert_eq!(cache.floor(link(1).key), 2);
    }

    #[test]
    fn of_two_changes_the_later_one_stays_whichever_is_noted_last() {
        let (cache, _) = cache();
        cache.note_change(&link(3));
        cache.note_change(&link(2));
        assert_eq!(cache.link(link(1).key).unwrap().version, 3);
    }

    #[test]
    fn a_link_that_changed_elsewhere_is_forgotten_until_its_new_version_is_read() {
        let (cache, _) = cache();
        cache.remember(&link(1));
        cache.note_version(link(1).key, 2);
        assert!(cache.link(link(1).key).is_none());
        cache.remember(&link(1));
        assert!(cache.link(link(1).key).is_none(), "a copy that lags behind");
        cache.remember(&link(2));
        cache.note_version(link(1).key, 2);
        assert_eq!(cache.link(link(1).key).unwrap().version, 2);
    }

    #[test]
    fn a_missing_link_is_missing_for_a_second_and_until_a_change_of_it_is_noted() {
        let (cache, clock) = cache();
        let key = link(1).key;
        cache.remember_missing(key, 0);
        assert!(cache.is_missing(key));
        clock.advance(MISSING_FOR);
        assert!(!cache.is_missing(key));
        cache.remember_missing(key, 0);
        cache.note_version(key, 1);
        assert!(!cache.is_missing(key));
        cache.remember_missing(key, 0);
        assert!(!cache.is_missing(key), "it was looked for before it was created");
    }

    #[test]
    fn clearing_forgets_links_and_keeps_floors() {
        let (cache, _) = cache();
        let alias: Alias = "our-summer-sale".parse().unwrap();
        cache.note_change(&link(2));
        cache.remember_alias(&alias, link(2).key);
        cache.clear();
        assert!(cache.link(link(1).key).is_none());
        assert!(cache.alias(&alias).is_none());
        assert_eq!(cache.floor(link(1).key), 2);
    }

    #[test]
    fn floors_are_forgotten_after_a_minute() {
        let (cache, clock) = cache();
        cache.note_change(&link(2));
        clock.advance(FLOOR_KEPT);
        let other = Arc::new(Link { key: Key::new(8).unwrap(), ..(*link(2)).clone() });
        cache.note_change(&other);
        assert_eq!(cache.floor(link(1).key), 0);
        assert_eq!(cache.floor(other.key), 2);
    }
}
