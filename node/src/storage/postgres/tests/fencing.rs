//! Blocks that the database vouches for: disjoint, never below the mark, and far above it after a promotion.

use stint_idgen::{IdRange, Lane};

use super::*;
use crate::ports::block_store::BlockStore as _;
use crate::ports::link_store::FenceStore as _;

fn block(start: u64, end: u64) -> IdRange {
    IdRange::new(start, end).unwrap()
}

async fn mark(store: &PgStore, lane: Lane) -> u64 {
    store.find_lane(lane).await.unwrap().unwrap().mark
}

#[tokio::test]
async fn a_block_is_fenced_only_above_the_mark_and_for_the_lanes_source() {
    let (store, ()) = fresh().await;
    let fence = async |source, start, end| store.fence_block(Lane::Redis, source, block(start, end)).await.unwrap();
    assert!(!fence("one", 0, 10).await, "nobody has claimed the lane");
    store.claim_lane(Lane::Redis, "one").await.unwrap();
    assert!(fence("one", 0, 10).await);
    assert!(!fence("one", 0, 10).await, "the same block is not served twice");
    assert!(!fence("one", 9, 20).await);
    assert!(!fence("two", 10, 20).await);
    assert!(fence("one", 15, 20).await, "a gap is no harm");
    assert!(!fence("one", 10, 15).await);
    assert_eq!(mark(&store, Lane::Redis).await, 20);
}

#[tokio::test]
async fn blocks_that_are_taken_at_once_are_disjoint() {
    let (store, ()) = fresh().await;
    assert_eq!(store.take_block(Lane::Postgres, "one", 5).await.unwrap(), None);
    store.claim_lane(Lane::Postgres, "one").await.unwrap();
    assert_eq!(store.take_block(Lane::Postgres, "two", 5).await.unwrap(), None);
    let asking = (1..=30).map(|want| store.take_block(Lane::Postgres, "one", want));
    let mut taken: Vec<IdRange> =
        futures_util::future::join_all(asking).await.into_iter().filter_map(Result::unwrap).collect();
    taken.sort_by_key(|block| block.start());
    assert_eq!(taken.iter().map(|block| block.len()).sum::<u64>(), 30 * 31 / 2);
    assert!(taken.windows(2).all(|pair| pair[0].end() == pair[1].start()), "{taken:?}");
    assert_eq!((taken[0].start(), mark(&store, Lane::Postgres).await), (0, 30 * 31 / 2));
}

#[tokio::test]
async fn marks_wait_for_the_disk_whatever_the_server_does_by_itself() {
    let url = database();
    let name = url.rsplit('/').next().unwrap();
    shared().execute(&format!("ALTER DATABASE {name} SET synchronous_commit = off"));
    let store = open(&url);
    assert_eq!(
        number(&store, "SELECT count(*) FROM pg_settings WHERE name = 'synchronous_commit' AND setting = 'on'").await,
        1
    );
    let limited = "SELECT count(*) FROM pg_settings WHERE name = 'statement_timeout' AND setting = '5000'";
    assert_eq!(number(&store, limited).await, 1);
}
