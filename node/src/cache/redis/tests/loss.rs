//! Redis loses its memory, or gets an old one back: no stale target, whatever it was.

use super::*;

#[tokio::test]
async fn nothing_is_believed_or_written_before_the_changes_were_replayed() {
    let redis = Redis::start();
    let old = Node::trusting(&redis, at(0)).await;
    old.cache.put_link(&link(7, 1), at(0));
    old.settle().await;
    let fresh = Node::new(&redis);
    eventually("a connection", async || fresh.server.generation() == 1).await;
    assert!(fresh.cache.needs_replay());
    assert_eq!(fresh.version(7).await, None);
    fresh.cache.put_link(&link(8, 1), at(0));
    assert!(fresh.dropped("untrusted"));
    assert!(fresh.cache.begin_replay().await);
    assert_eq!(fresh.version(7).await, None, "not while it is under way");
    assert!(fresh.cache.finish_replay(at(0)).await);
    assert_eq!((fresh.version(7).await, fresh.version(8).await), (Some(1), None));
}

#[tokio::test]
async fn after_a_restart_without_persistence_redis_is_empty_and_doubted() {
    let redis = Redis::start();
    let node = Node::trusting(&redis, at(0)).await;
    node.cache.put_link(&link(7, 1), at(0));
    node.settle().await;
    redis.kill();
    redis.launch();
    eventually("the loss is noticed", async || node.version(7).await.is_none() && node.cache.needs_replay()).await;
    assert!(!node.cache.finish_replay(at(0)).await, "no replay was begun on this connection");
    node.replay(at(0), &[]).await;
    assert_eq!(node.version(7).await, None);
    node.cache.put_link(&link(7, 1), at(0));
    node.settle().await;
    assert_eq!(node.version(7).await, Some(1));
}

#[tokio::test]
async fn an_old_dump_brings_no_old_target_back() {
    let redis = Redis::start();
    let node = Node::trusting(&redis, at(9)).await;
    node.cache.put_link(&link(7, 1), at(10));
    node.settle().await;
    let dump = redis.keep_dump();
    // Change number 11.
    assert!(node.cache.note_changes(1, &[(link(7, 2).key, 2)]).await);
    node.cache.put_link(&link(7, 2), at(11));
    node.settle().await;
    assert_eq!(node.version(7).await, Some(2));

    redis.restore(&dump);
    eventually("the loss is noticed", async || node.version(7).await.is_none() && node.cache.needs_replay()).await;
    // Its change was forgotten: the record begins with number 12.
    node.replay(at(11), &[]).await;
    assert_eq!(node.version(7).await, None, "it lacks a change that nobody can replay");
    // Were it not for that, the value would be there to be believed.
    node.replay(at(10), &[]).await;
    assert_eq!(node.version(7).await, Some(1));
    // The record still holds its change.
    node.replay(at(10), &[(link(7, 2).key, 2)]).await;
    assert_eq!(node.version(7).await, None);
}

#[tokio::test]
async fn an_emptied_redis_takes_no_writes_of_nodes_that_trusted_what_it_was() {
    let redis = Redis::start();
    let (one, other) = (Node::trusting(&redis, at(0)).await, Node::trusting(&redis, at(0)).await);
    assert!(one.cache.note_changes(1, &[(link(7, 2).key, 2)]).await);
    redis.flush();
    // The floor is gone; a reader that began before the change comes late.
    other.cache.put_link(&link(7, 1), at(0));
    eventually("it is noticed by writing", async || other.cache.needs_replay()).await;
    one.replay(at(0), &[]).await;
    assert_eq!(one.version(7).await, None);
    other.replay(at(0), &[]).await;
    redis.flush();
    assert_eq!(other.version(7).await, None);
    assert!(other.cache.needs_replay(), "it is noticed by reading");
    other.replay(at(0), &[]).await;
    assert!(!one.cache.note_changes(1, &[(link(7, 3).key, 3)]).await);
    assert!(one.cache.needs_replay(), "it is noticed by noting");
}

#[tokio::test]
async fn a_replica_that_lagged_and_was_promoted_is_doubted_like_any_other_memory() {
    let redis = Redis::start();
    let replica = redis.replica();
    let node = Node::trusting(&redis, at(0)).await;
    node.cache.put_link(&link(7, 1), at(1));
    node.settle().await;
    eventually("it is replicated", async || replica.ask(&["DBSIZE"]) == redis.ask(&["DBSIZE"])).await;
    replica.pause();
    assert!(node.cache.note_changes(1, &[(link(7, 2).key, 2)]).await);
    redis.kill();
    replica.resume();
    assert_eq!(replica.ask(&["REPLICAOF", "NO", "ONE"]), "OK");
    let promoted = Node::new(&replica);
    eventually("a connection", async || promoted.server.generation() == 1).await;
    assert_eq!(promoted.version(7).await, None);
    promoted.replay(at(1), &[(link(7, 2).key, 2)]).await;
    assert_eq!(promoted.version(7).await, None);
}

#[tokio::test]
async fn a_paused_redis_costs_one_request_a_moment_and_the_next_ones_nothing() {
    let redis = Redis::start();
    let node = Node::trusting(&redis, at(0)).await;
    node.cache.put_link(&link(7, 1), at(0));
    node.settle().await;
    redis.pause();
    let began = Instant::now();
    assert_eq!(node.version(7).await, None);
    assert!(began.elapsed() < PATIENCE + Duration::from_millis(500), "{:?}", began.elapsed());
    let began = Instant::now();
    for _ in 0..1000 {
        assert_eq!(node.version(7).await, None);
    }
    assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
    redis.resume();
    node.replay(at(0), &[]).await;
    assert_eq!(node.version(7).await, Some(1));
    assert!(node.registry.render().contains("stint_cache_trusted 1"), "{}", node.registry.render());
}
