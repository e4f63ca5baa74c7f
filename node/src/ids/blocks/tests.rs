//! Lanes over marks in memory: what a new timeline does to ids at hand, and how a lane ends. Time is paused.

use futures_util::poll;
use tokio::sync::Semaphore;

use super::testing::{LaneNode, MemoryMarks, PATIENCE};
use super::*;
use crate::ports::link_store::FenceStore as _;

const BLOCK: u64 = 100;
const LANE: Lane = Lane::Postgres;
/// How far a lane's mark goes ahead when the database has a new timeline.
const JUMP: u64 = 1 << 28;

fn rig() -> (Arc<MemoryMarks>, watch::Sender<Option<u32>>, LaneNode) {
    let (marks, timelines) = (MemoryMarks::new(), watch::Sender::new(Some(1)));
    let node = LaneNode::postgres(Arc::clone(&marks) as _, BLOCK, &timelines);
    (marks, timelines, node)
}

#[tokio::test(start_paused = true)]
async fn on_a_new_timeline_the_ids_at_hand_are_dropped_at_once() {
    for drawn in [1, BLOCK / 2, BLOCK + 10] {
        let (marks, timelines, node) = rig();
        node.draw_many(drawn).await;
        marks.set(LANE, POSTGRES_SOURCE, JUMP);
        timelines.send_replace(Some(2));
        tokio::task::yield_now().await;
        let late = node.draw_many(3 * BLOCK).await;
        assert!(late.iter().all(|counter| *counter >= JUMP), "after {drawn} draws: {late:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_block_on_its_way_while_the_timeline_changes_is_a_gap() {
    let (marks, timelines, node) = rig();
    node.draw_many(1).await;
    marks.answers.forget_permits(Semaphore::MAX_PERMITS);
    node.draw_many(BLOCK / 2).await;
    assert_eq!(marks.find_lane(LANE).await.unwrap().unwrap().mark, 2 * BLOCK, "the second block waits for its answer");
    marks.set(LANE, POSTGRES_SOURCE, JUMP);
    timelines.send_replace(Some(2));
    tokio::task::yield_now().await;
    let mut waiting = Box::pin(node.draw());
    assert!(poll!(&mut waiting).is_pending(), "nothing is left at hand");
    marks.answers.add_permits(1_000);
    assert!(waiting.await.unwrap() >= JUMP);
    assert!(node.draw_many(2 * BLOCK).await.iter().all(|counter| *counter >= JUMP));
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_is_away_for_a_while_has_no_new_timeline() {
    let (_marks, timelines, node) = rig();
    let mut drawn = node.draw_many(10).await;
    for timeline in [None, Some(1), None, Some(1)] {
        timelines.send_replace(timeline);
        tokio::task::yield_now().await;
    }
    drawn.extend(node.draw_many(2 * BLOCK).await);
    assert_eq!(drawn, (0..10 + 2 * BLOCK).collect::<Vec<_>>(), "nothing was dropped");
    drop(timelines);
    assert_eq!(node.draw().await.unwrap(), 10 + 2 * BLOCK, "nobody watches any more");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_is_given_up_and_asked_for_again() {
    let (marks, _timelines, node) = rig();
    node.draw_many(1).await;
    marks.answers.forget_permits(Semaphore::MAX_PERMITS);
    node.draw_many(BLOCK - 1).await;
    assert!(matches!(node.draw().await, Err(IdError::Stalled { waited: PATIENCE })));
    assert_eq!(node.keys.readiness().unwrap_err(), "no ids of `links` are at hand");
    tokio::time::advance(TAKEN_WITHIN).await;
    tokio::task::yield_now().await;
    marks.answers.add_permits(1_000);
    assert_eq!(node.draw().await.unwrap(), 2 * BLOCK, "what was not answered is a gap");
    assert_eq!(node.keys.readiness(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_another_source_has_gives_nothing() {
    let (marks, _timelines, node) = rig();
    marks.set(LANE, "another", 0);
    for _ in 0..2 {
        assert!(matches!(node.draw().await, Err(IdError::LaneTaken)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lane_gives_its_last_id_and_then_says_so() {
    let (marks, _timelines, node) = rig();
    marks.set(LANE, POSTGRES_SOURCE, Lane::CAPACITY - BLOCK - 50);
    assert_eq!(node.draw_many(BLOCK + 50).await.last(), Some(&(Lane::CAPACITY - 1)));
    for _ in 0..2 {
        let error = node.draw().await.unwrap_err();
        assert!(matches!(error, IdError::Exhausted) && !error.retryable(), "{error:?}");
    }
}
