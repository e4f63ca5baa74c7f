//! Clicks in a real Postgres: the conformance suite, and several nodes at the same time.

use stint_idgen::Key;

use super::*;
use crate::ports::click_store::ChunkId;
use crate::storage::conformance::clicks_conform;
use crate::storage::test_postgres::fresh_database;

clicks_conform!(crate::storage::postgres::clicks::tests::fresh);

async fn fresh() -> (PgClickStore, ()) {
    (PgClickStore::new(connected(&migrated().await)), ())
}

/// The URL of a new database with the schema.
async fn migrated() -> String {
    let url = tokio::task::spawn_blocking(fresh_database).await.unwrap();
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    sqlx::migrate!("migrations/postgres").run(&pool).await.unwrap();
    pool.close().await;
    url
}

fn connected(url: &str) -> Arc<Servers> {
    Arc::new(Servers::single(url, 8).unwrap())
}

/// Chunk `seq` of process 1: a click on each link from `from` on, in any order.
fn chunk(seq: u64, from: i64, links: i64) -> ClickChunk {
    let clicks = (from..from + links).map(|number| (Key::new(number).unwrap(), Day(20_000), 1)).collect();
    ClickChunk { id: ChunkId { process: 1, seq }, clicks }
}

#[tokio::test]
async fn two_nodes_that_add_the_same_chunks_at_the_same_time_count_each_once() {
    let url = migrated().await;
    let nodes = [PgClickStore::new(connected(&url)), PgClickStore::new(connected(&url))];
    let now = UnixMs::new(0).unwrap();
    let chunks: Vec<_> = (1..=300).map(|seq| chunk(seq, i64::try_from(seq % 7).unwrap() + 1, 40)).collect();
    let backwards: Vec<_> = chunks.iter().rev().cloned().collect();
    let adding = [(&nodes[0], &chunks), (&nodes[1], &backwards), (&nodes[0], &backwards), (&nodes[1], &chunks)];
    let adding = adding.map(|(node, chunks)| async move {
        let mut counted = 0;
        for some in chunks.chunks(7) {
            counted += node.add_chunks(some, now).await.unwrap();
        }
        counted
    });
    let counted: u64 = futures_util::future::join_all(adding).await.into_iter().sum();
    assert_eq!(counted, 300 * 40);
    let mut found = 0;
    for number in 1..50 {
        let totals = nodes[0].clicks(Key::new(number).unwrap(), Day(0)).await.unwrap();
        assert_eq!(totals.days.iter().map(|(_, clicks)| clicks).sum::<u64>(), totals.total);
        found += totals.total;
    }
    assert_eq!(found, 300 * 40);
}

#[tokio::test]
async fn a_chunk_whose_transaction_was_broken_off_counts_when_it_comes_again() {
    let url = migrated().await;
    let node = PgClickStore::new(connected(&url));
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    let now = UnixMs::new(0).unwrap();
    node.add_chunks(&[chunk(1, 5, 1)], now).await.unwrap();
    let mut holder = pool.begin().await.unwrap();
    sqlx::query("SELECT * FROM click_totals FOR UPDATE").fetch_all(&mut *holder).await.unwrap();
    let waiting = tokio::time::timeout(std::time::Duration::from_millis(200), async {
        node.add_chunks(&[chunk(2, 5, 1)], now).await
    });
    assert!(waiting.await.is_err(), "it waits for the row");
    holder.rollback().await.unwrap();
    assert_eq!(node.add_chunks(&[chunk(2, 5, 1)], now).await.unwrap(), 1);
    assert_eq!(node.clicks(Key::new(5).unwrap(), Day(0)).await.unwrap().total, 2);
}
