//! Fences: the database's own memory of its code key, and of each lane's source and mark.

use stint_idgen::Lane;

use super::Store;
use crate::ports::link_store::LaneMark;

async fn claimed(store: &dyn Store, lane: Lane, source: &str) -> (String, u64) {
    let LaneMark { source, mark } = store.claim_lane(lane, source).await.unwrap();
    (source, mark)
}

pub(in crate::storage) async fn the_first_code_key_wins(store: &dyn Store) {
    for fingerprint in ["aa11", "aa11", "bb22", "aa11"] {
        assert_eq!(store.claim_code_key(fingerprint).await.unwrap(), "aa11");
    }
}

pub(in crate::storage) async fn a_lane_is_found_once_it_was_claimed(store: &dyn Store) {
    assert_eq!(store.find_lane(Lane::Raft).await.unwrap(), None);
    assert_eq!(store.find_lane(Lane::Raft).await.unwrap(), None, "looking claims nothing");
    claimed(store, Lane::Raft, "one").await;
    assert!(store.raise_mark(Lane::Raft, "one", 10).await.unwrap());
    let mark = LaneMark { source: "one".to_owned(), mark: 10 };
    assert_eq!(store.find_lane(Lane::Raft).await.unwrap(), Some(mark));
    assert_eq!(store.find_lane(Lane::Redis).await.unwrap(), None);
}

pub(in crate::storage) async fn the_first_source_of_a_lane_wins(store: &dyn Store) {
    assert_eq!(claimed(store, Lane::Raft, "one").await, ("one".to_owned(), 0));
    assert_eq!(claimed(store, Lane::Raft, "two").await, ("one".to_owned(), 0));
    assert_eq!(claimed(store, Lane::Redis, "two").await, ("two".to_owned(), 0));
}

pub(in crate::storage) async fn a_mark_only_rises(store: &dyn Store) {
    claimed(store, Lane::Raft, "one").await;
    claimed(store, Lane::Postgres, "one").await;
    for (raised_to, mark) in [(10, 10), (5, 10), (10, 10), (11, 11), (0, 11), (Lane::CAPACITY, Lane::CAPACITY)] {
        assert!(store.raise_mark(Lane::Raft, "one", raised_to).await.unwrap());
        assert_eq!(claimed(store, Lane::Raft, "one").await.1, mark);
    }
    assert_eq!(claimed(store, Lane::Postgres, "one").await.1, 0, "lanes have marks of their own");
}

pub(in crate::storage) async fn only_its_source_raises_a_mark(store: &dyn Store) {
    assert!(!store.raise_mark(Lane::Raft, "one", 10).await.unwrap(), "nobody has claimed the lane");
    assert_eq!(claimed(store, Lane::Raft, "one").await.1, 0);
    assert!(store.raise_mark(Lane::Raft, "one", 10).await.unwrap());
    assert!(!store.raise_mark(Lane::Raft, "two", 20).await.unwrap());
    assert!(!store.raise_mark(Lane::Redis, "one", 20).await.unwrap());
    assert_eq!(claimed(store, Lane::Raft, "two").await, ("one".to_owned(), 10));
}

pub(in crate::storage) async fn another_source_takes_a_lane_over_with_its_mark(store: &dyn Store) {
    claimed(store, Lane::Raft, "one").await;
    claimed(store, Lane::Redis, "one").await;
    assert!(store.raise_mark(Lane::Raft, "one", 10).await.unwrap());
    store.replace_lane_source(Lane::Raft, "two").await.unwrap();
    assert_eq!(claimed(store, Lane::Raft, "one").await, ("two".to_owned(), 10));
    assert!(!store.raise_mark(Lane::Raft, "one", 20).await.unwrap());
    assert!(store.raise_mark(Lane::Raft, "two", 20).await.unwrap());
    assert_eq!(claimed(store, Lane::Redis, "two").await.0, "one", "the other lane keeps its source");
}
