//! Real Redis servers that lose their count in every way, while several nodes draw: no key is drawn twice.

mod timeline;

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;
use crate::ids::blocks::testing::{Drawing, LaneNode, PgMarks, eventually};
use crate::ports::id_source::IdError;
use crate::ports::link_store::FenceStore as _;
use crate::redis_server::real::Redis;

/// Small, so that a second of drawing takes hundreds of blocks.
const BLOCK: u64 = 50;
/// What each task draws before and after a fault: 10 blocks at least of each node.
const SOME: u64 = 5 * BLOCK;
const COUNTER: &str = "stint:ids:test";

struct Rig {
    redis: Redis,
    marks: Arc<PgMarks>,
}

impl Rig {
    async fn new() -> Self {
        Self { redis: Redis::start(), marks: PgMarks::new().await }
    }

    fn nodes<const N: usize>(&self) -> [LaneNode; N] {
        std::array::from_fn(|_| LaneNode::redis(&self.redis.url(), &self.marks, BLOCK))
    }
}

/// How far it has counted.
fn counted(redis: &Redis) -> u64 {
    redis.ask(&["GET", COUNTER]).parse().unwrap_or_default()
}

fn repairs<'a>(nodes: impl IntoIterator<Item = &'a LaneNode>) -> u64 {
    nodes.into_iter().map(LaneNode::repairs).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_that_outrun_each_other_repeat_nothing_and_repair_nothing() {
    let rig = Rig::new().await;
    let nodes = rig.nodes::<4>();
    let drawing = Drawing::start(&nodes);
    drawing.goes_on(4 * SOME).await;
    let drawn = drawing.stop().await;
    let mark = rig.marks.mark(Lane::Redis).await;
    assert!(drawn.iter().all(|counter| *counter < mark));
    assert_eq!(repairs(&nodes), 0, "a faster node is no loss");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn flushall_repeats_no_key() {
    let rig = Rig::new().await;
    let nodes = rig.nodes::<3>();
    let drawing = Drawing::start(&nodes);
    for _ in 0..3 {
        drawing.goes_on(SOME).await;
        rig.redis.flush();
    }
    drawing.goes_on(SOME).await;
    drawing.stop().await;
    assert!(repairs(&nodes) >= 3, "{} losses were noticed", repairs(&nodes));
    assert_eq!(rig.redis.ask(&["TTL", COUNTER]), "-1", "nothing that is volatile");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restart_without_persistence_repeats_no_key() {
    let rig = Rig::new().await;
    let nodes = rig.nodes::<3>();
    let drawing = Drawing::start(&nodes);
    for _ in 0..2 {
        drawing.goes_on(SOME).await;
        rig.redis.kill();
        rig.redis.launch();
    }
    drawing.goes_on(SOME).await;
    drawing.stop().await;
    assert!(repairs(&nodes) >= 2, "{} losses were noticed", repairs(&nodes));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_old_snapshot_repeats_no_key() {
    let rig = Rig::new().await;
    let nodes = rig.nodes::<3>();
    let drawing = Drawing::start(&nodes);
    drawing.goes_on(SOME).await;
    rig.redis.save();
    drawing.goes_on(SOME).await;
    rig.redis.kill();
    rig.redis.launch();
    assert!(counted(&rig.redis) > 0, "it was loaded");
    drawing.goes_on(SOME).await;
    drawing.stop().await;
    assert!(repairs(&nodes) >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stale_replica_that_takes_over_repeats_no_key() {
    let rig = Rig::new().await;
    let old = rig.nodes::<2>();
    let mut drawing = Drawing::start(&old);
    drawing.goes_on(SOME).await;
    let replica = Redis::start();
    assert_eq!(replica.ask(&["REPLICAOF", "127.0.0.1", &rig.redis.port().to_string()]), "OK");
    eventually("the replica has a count", async || counted(&replica) > 0).await;
    assert_eq!(replica.ask(&["REPLICAOF", "NO", "ONE"]), "OK");
    drawing.goes_on(SOME).await;
    // Some nodes have the promoted replica already, others still the old primary.
    let new: [LaneNode; 2] = std::array::from_fn(|_| LaneNode::redis(&replica.url(), &rig.marks, BLOCK));
    for node in &new {
        drawing.join(node);
    }
    drawing.goes_on(SOME).await;
    rig.redis.kill();
    drawing.some_go_on(2 * old.len(), SOME).await;
    drawing.stop().await;
    assert!(repairs(&new) >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_redis_servers_at_once_repeat_no_key() {
    let rig = Rig::new().await;
    let other = Redis::start();
    let mut nodes = rig.nodes::<4>();
    nodes[2] = LaneNode::redis(&other.url(), &rig.marks, BLOCK);
    nodes[3] = LaneNode::redis(&other.url(), &rig.marks, BLOCK);
    let drawing = Drawing::start(&nodes);
    drawing.goes_on(2 * SOME).await;
    drawing.stop().await;
    assert!(repairs(&nodes) >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_counter_that_somebody_wrote_to_repeats_no_key_and_uses_up_no_lane() {
    let rig = Rig::new().await;
    let nodes = rig.nodes::<2>();
    let drawing = Drawing::start(&nodes);
    let last = Lane::CAPACITY.to_string();
    for (round, value) in ["words", "-5000", "0", "007", "9223372036854775807", &last, "", "1e3"].iter().enumerate() {
        drawing.goes_on(SOME).await;
        assert_eq!(rig.redis.ask(&["SET", COUNTER, value]), "OK");
        eventually("it is noticed", async || repairs(&nodes) > round as u64).await;
    }
    drawing.goes_on(SOME).await;
    assert_eq!(rig.redis.ask(&["LPUSH", "a list", "x"]), "1");
    assert_eq!(rig.redis.ask(&["RENAME", "a list", COUNTER]), "OK");
    eventually("a list is noticed", async || repairs(&nodes) > 8).await;
    drawing.goes_on(SOME).await;
    assert!(rig.marks.mark(Lane::Redis).await < 100_000_000, "nothing but what was drawn is gone");
    let far = (Lane::CAPACITY / 2).to_string();
    assert_eq!(rig.redis.ask(&["SET", COUNTER, &far]), "OK");
    drawing.goes_on(SOME).await;
    drawing.stop().await;
    assert!(rig.marks.mark(Lane::Redis).await > Lane::CAPACITY / 2, "what lies far ahead is a gap before it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn answers_that_are_lost_are_gaps() {
    let rig = Rig::new().await;
    let nodes = rig.nodes::<3>();
    let drawing = Drawing::start(&nodes);
    for _ in 0..2 {
        drawing.goes_on(SOME).await;
        // Longer than anybody waits for an answer: the count goes on after everybody has gone.
        assert_eq!(rig.redis.ask(&["CLIENT", "PAUSE", "600", "ALL"]), "OK");
        drawing.goes_on(SOME).await;
        let killed = rig.redis.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
        assert!(killed.parse::<u64>().is_ok(), "{killed}");
    }
    drawing.goes_on(SOME).await;
    drawing.stop().await;
    assert_eq!(repairs(&nodes), 0, "nothing was lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_key_is_served_while_the_database_can_not_vouch_for_it() {
    let rig = Rig::new().await;
    rig.marks.claim_lane(Lane::Redis, REDIS_SOURCE).await.unwrap();
    let node = &rig.nodes::<1>()[0];
    node.draw_many(1).await;
    rig.marks.is_away.store(true, Ordering::Relaxed);
    let mut drawn = 1;
    let error = loop {
        match node.draw().await {
            Ok(_) => drawn += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, IdError::Stalled { .. }), "{error:?}");
    assert!(drawn <= 2 * BLOCK, "{drawn} keys were served");
    rig.marks.is_away.store(false, Ordering::Relaxed);
    let counted = counted(&rig.redis);
    assert!(counted > drawn, "Redis went on to {counted}");
    eventually("it recovers by itself", async || node.draw().await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lane_that_another_source_has_gives_nothing() {
    let rig = Rig::new().await;
    rig.marks.claim_lane(Lane::Redis, "another").await.unwrap();
    let node = &rig.nodes::<1>()[0];
    assert!(matches!(node.draw().await, Err(IdError::LaneTaken)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_lane_gives_its_last_id_whatever_redis_has_counted_and_then_says_so() {
    for counted in [0, Lane::CAPACITY - 10, Lane::CAPACITY, Lane::CAPACITY + 5] {
        let rig = Rig::new().await;
        rig.marks.claim_lane(Lane::Redis, REDIS_SOURCE).await.unwrap();
        rig.marks.raise_mark(Lane::Redis, REDIS_SOURCE, Lane::CAPACITY - BLOCK - 20).await.unwrap();
        assert_eq!(rig.redis.ask(&["SET", COUNTER, &counted.to_string()]), "OK");
        let node = &rig.nodes::<1>()[0];
        let drawn = node.draw_many(BLOCK + 20).await;
        assert_eq!(drawn, (Lane::CAPACITY - BLOCK - 20..Lane::CAPACITY).collect::<Vec<_>>(), "counted {counted}");
        let error = node.draw().await.unwrap_err();
        assert!(matches!(error, IdError::Exhausted), "{error:?}");
        assert!(node.tasks.finish(Duration::from_secs(10)).await);
    }
}
