//! Exactly once, over a real Redis and Postgres: whoever dies, whatever is away, whatever comes twice.

use super::node::{Database, Node, Trouble, fresh_database, migrate, options};
use crate::support::{Postgres, Redis, eventually};

const ROOM: usize = 65_536;

/// What it answers to a command.
fn ask<T: redis::FromRedisValue>(redis: &Redis, command: &redis::Cmd) -> redis::RedisResult<T> {
    command.query(&mut redis::Client::open(redis.url())?.get_connection()?)
}

fn xlen(redis: &Redis) -> u64 {
    ask(redis, redis::cmd("XLEN").arg("stint:clicks")).unwrap()
}

/// Entries that were taken and not settled; while there is no group, after Redis lost its memory, more than any number.
fn pending(redis: &Redis) -> u64 {
    let answer: redis::RedisResult<redis::streams::StreamPendingReply> =
        ask(redis, redis::cmd("XPENDING").arg("stint:clicks").arg("counters"));
    match answer {
        Ok(answer) => u64::try_from(answer.count()).unwrap(),
        Err(error) if error.code() == Some("NOGROUP") => u64::MAX,
        Err(error) => panic!("{error}"),
    }
}

fn add_entry(redis: &Redis, field: &str, bytes: &[u8]) {
    let mut add = redis::cmd("XADD");
    add.arg("stint:clicks").arg("*").arg(field).arg(bytes);
    let _: String = ask(redis, &add).unwrap();
}

#[tokio::test]
async fn clicks_of_two_nodes_reach_the_database_through_the_stream_once() {
    let (redis, database) = (Redis::start(), Database::at(&fresh_database().await));
    let nodes = [0, 1].map(|_| Node::start(&database, Some(&redis), options(ROOM)));
    for round in 1..=5 {
        for node in &nodes {
            node.follow(20, 30);
        }
        database.counts(20, round * 2 * 20 * 30).await;
    }
    let sum = |read: &dyn Fn(&Node) -> u64| nodes.iter().map(read).sum::<u64>();
    eventually("an empty stream", || async { xlen(&redis) == 0 && pending(&redis) == 0 }).await;
    assert_eq!(sum(&|node| node.chunks("direct")), 0, "nothing went past Redis");
    assert_eq!(sum(&|node| node.clicks("counted")), 6000);
    assert_eq!(sum(&|node| node.clicks("shed")), 0);
    eventually("settled chunks", || async {
        // More, where a busy machine let one node take over what the other was about to settle.
        sum(&|node| node.chunks("consumed")) >= sum(&|node| node.chunks("streamed"))
    })
    .await;
}

#[tokio::test]
async fn a_consumer_killed_between_commit_and_settling_is_succeeded_by_another_without_counting_twice() {
    let (redis, url) = (Redis::start(), fresh_database().await);
    let (hanging, database) = (Database::at(&url), Database::at(&url));
    hanging.set(Trouble::Hangs);
    let dying = Node::start(&hanging, Some(&redis), options(ROOM));
    dying.follow(10, 7);
    database.counts(10, 70).await;
    assert!(pending(&redis) > 0, "committed, and not settled");
    dying.kill();
    let heir = Node::start(&database, Some(&redis), options(ROOM));
    eventually("the heir settles", || async { pending(&redis) == 0 && xlen(&redis) == 0 }).await;
    assert!(heir.chunks("consumed") > 0);
    assert_eq!(heir.clicks("counted"), 0, "they were counted before");
    heir.follow(10, 1);
    database.counts(10, 80).await;
}

#[tokio::test]
async fn what_was_recorded_before_a_clean_stop_is_counted() {
    let (redis, database) = (Redis::start(), Database::at(&fresh_database().await));
    let node = Node::start(&database, Some(&redis), options(ROOM));
    node.follow(50, 3);
    assert!(node.stop().await);
    let other = Node::start(&database, Some(&redis), options(ROOM));
    database.counts(50, 150).await;
    redis.kill();
    other.follow(50, 1);
    assert!(other.stop().await);
    // Without Redis they are in the database when the node has stopped.
    database.counts(50, 200).await;
}

#[tokio::test]
async fn without_redis_clicks_go_to_the_database_and_through_redis_again_when_it_is_back() {
    let (redis, database) = (Redis::start(), Database::at(&fresh_database().await));
    let node = Node::start(&database, Some(&redis), options(ROOM));
    node.follow(10, 10);
    database.counts(10, 100).await;
    redis.kill();
    node.follow(10, 5);
    database.counts(10, 150).await;
    assert!(node.chunks("direct") > 0);
    redis.launch();
    let streamed = node.chunks("streamed");
    let mut clicks = 150;
    eventually("Redis is used again", || {
        node.follow(1, 1);
        clicks += 1;
        async { node.chunks("streamed") > streamed }
    })
    .await;
    database.counts(10, clicks).await;
    assert_eq!(node.clicks("shed"), 0);
}

#[tokio::test]
async fn redis_that_loses_its_memory_loses_unread_chunks_only_and_nothing_is_counted_twice() {
    let (redis, database) = (Redis::start(), Database::at(&fresh_database().await));
    let node = Node::start(&database, Some(&redis), options(ROOM));
    node.follow(10, 10);
    database.counts(10, 100).await;
    database.set(Trouble::Away);
    for round in 1..=4 {
        node.follow(10, 1);
        node.collects(100 + round * 10).await;
    }
    eventually("chunks that wait", || async { xlen(&redis) >= 1 }).await;
    redis.kill();
    redis.launch();
    database.set(Trouble::None);
    let mut last = 0;
    eventually("counting goes on", || {
        node.follow(1, 1);
        last += 1;
        async { node.chunks("consumed") > 0 && xlen(&redis) == 0 && database.counted(10).await > 100 }
    })
    .await;
    eventually("the last ones", || async { node.clicks("collected") == 140 + last }).await;
    assert!(node.stop().await);
    let heir = Node::start(&database, Some(&redis), options(ROOM));
    eventually("an empty stream", || async { xlen(&redis) == 0 && pending(&redis) == 0 }).await;
    let counted = database.counted(10).await;
    assert!((100 + last..=140 + last).contains(&counted), "{counted} of {}", 140 + last);
    drop(heir);
}

#[tokio::test]
async fn clicks_wait_in_the_stream_while_the_database_is_down() {
    let redis = Redis::start();
    let server = tokio::task::spawn_blocking(Postgres::start).await.unwrap();
    migrate(&server.url("postgres")).await;
    let database = Database::at(&server.url("postgres"));
    let node = Node::start(&database, Some(&redis), options(ROOM));
    node.follow(10, 10);
    database.counts(10, 100).await;
    server.crash();
    for round in 1..=3 {
        node.follow(10, 2);
        node.collects(100 + round * 20).await;
    }
    assert!(xlen(&redis) > 0);
    server.launch();
    database.counts(10, 160).await;
    eventually("an empty stream", || async { xlen(&redis) == 0 }).await;
    assert_eq!((node.clicks("shed"), node.chunks("direct")), (0, 0));
}

#[tokio::test]
async fn with_both_away_memory_is_bounded_and_whatever_is_not_shed_is_counted() {
    let (redis, database) = (Redis::start(), Database::at(&fresh_database().await));
    let node = Node::start(&database, Some(&redis), options(40));
    redis.kill();
    database.set(Trouble::Away);
    node.follow(10, 1);
    node.collects(10).await;
    for _ in 0..5 {
        node.follow(100, 10);
    }
    assert_eq!(node.clicks("shed"), 5 * 10 * 60, "40 links have room, and are counted on");
    database.set(Trouble::None);
    database.counts(100, 10 + 5 * 10 * 40).await;
    node.follow(100, 1);
    eventually("there is room again", || async { database.counted(100).await > 2010 }).await;
    let shed = node.clicks("shed");
    assert!(node.stop().await);
    assert_eq!(database.counted(100).await, 10 + 5000 + 100 - shed);
}

#[tokio::test]
async fn a_transaction_whose_answer_is_lost_is_repeated_and_counts_once() {
    let (redis, url) = (Redis::start(), fresh_database().await);
    for redis in [None, Some(&redis)] {
        let database = Database::at(&url);
        let before = database.counted(10).await;
        let node = Node::start(&database, redis, options(ROOM));
        database.set(Trouble::AnswerLost);
        node.follow(10, 4);
        eventually("the repeat", || async { node.chunks("direct") + node.chunks("consumed") > 0 }).await;
        assert!(database.is(Trouble::None), "an answer was lost");
        database.counts(10, before + 40).await;
    }
}

#[tokio::test]
async fn entries_that_nobody_can_read_are_moved_aside_and_those_of_a_newer_version_left_to_others() {
    let (redis, database) = (Redis::start(), Database::at(&fresh_database().await));
    let newer = [9, 1, 2, 3];
    for (field, bytes) in [("chunk", b"\x01garbage".as_slice()), ("chunk", b""), ("other", b"x"), ("chunk", &newer)] {
        add_entry(&redis, field, bytes);
    }
    let node = Node::start(&database, Some(&redis), options(ROOM));
    node.follow(10, 1);
    database.counts(10, 10).await;
    eventually("the damaged ones are settled", || async { xlen(&redis) == 1 && pending(&redis) == 1 }).await;
    assert_eq!(node.chunks("damaged"), 3);
    let aside: u64 = ask(&redis, redis::cmd("XLEN").arg("stint:clicks:aside")).unwrap();
    assert_eq!(aside, 2, "what has bytes is kept for people to look at");
    node.follow(10, 1);
    database.counts(10, 20).await;
    add_entry(&redis, "chunk", &newer);
    node.follow(10, 1);
    database.counts(10, 30).await;
}

#[tokio::test]
async fn a_stream_that_is_full_is_left_alone_and_the_database_written_to_directly() {
    let (redis, database) = (Redis::start(), Database::at(&fresh_database().await));
    let mut fill = redis::cmd("EVAL");
    fill.arg("for n = 1, 10000 do redis.call('XADD', KEYS[1], '*', 'chunk', ARGV[1]) end return 1");
    fill.arg(1).arg("stint:clicks").arg([9_u8, 0].as_slice());
    let _: u64 = ask(&redis, &fill).unwrap();
    let node = Node::start(&database, Some(&redis), options(ROOM));
    node.follow(10, 2);
    database.counts(10, 20).await;
    assert_eq!((node.chunks("streamed"), xlen(&redis)), (0, 10_000));
}
