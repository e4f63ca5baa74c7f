//! Drawing ids through every way in which the allocator and the fence can fail. Time is paused: it passes only where
//! somebody waits for it.

mod namespaces;
pub(in crate::ids) mod rig;

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use futures_util::poll;
use stint_idgen::allocator::NamespaceTotals;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::*;
use crate::ports::coordination::CoordinationError;
use rig::{BLOCK, Node, PATIENCE, Rig, Trouble, counter};

fn name(text: &str) -> NamespaceName {
    text.parse().unwrap()
}

/// Draws until none is left; answers how many there were, and what ended it.
async fn drain(node: &Node) -> (u64, IdError) {
    for drawn in 0.. {
        tokio::task::yield_now().await;
        if let Err(error) = node.draw().await {
            return (drawn, error);
        }
    }
    unreachable!("no range of numbers is that long")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_key_is_drawn_twice_by_any_number_of_nodes_and_tasks() {
    const DRAWS: usize = 500;
    let rig = Rig::new();
    let nodes: Vec<Node> = [3, 64, 1_000].map(|block| rig.node_with(block, Duration::from_secs(30))).into();
    let mut drawing = JoinSet::new();
    for node in nodes.iter().cycle().take(4 * nodes.len()) {
        let ids = Arc::clone(&node.ids);
        drawing.spawn(async move {
            let mut drawn = Vec::new();
            for _ in 0..DRAWS {
                drawn.push(counter(ids.next_key().await.unwrap()));
            }
            drawn
        });
    }
    let drawn: Vec<u64> = drawing.join_all().await.concat();
    assert_eq!(drawn.len(), 4 * nodes.len() * DRAWS);
    assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), drawn.len());
    assert!(drawn.iter().all(|counter| *counter < rig.fence.mark()));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_again_under_the_same_number_and_found() {
    for lost in [Trouble::LostAnswer, Trouble::LostRequest, Trouble::Unavailable] {
        let rig = Rig::new();
        rig.allocator.trouble(vec![lost; 3]);
        let node = rig.node();
        assert_eq!(node.draw().await.unwrap(), 0, "the first id is no gap");
        assert_eq!(rig.allocator.requests(), [1; 4]);
        assert_eq!(rig.links().granted, BLOCK);
    }
}

#[tokio::test(start_paused = true)]
async fn each_block_is_asked_for_under_a_number_of_its_own() {
    let rig = Rig::new();
    let node = rig.node();
    assert_eq!(node.draw_many(3 * BLOCK).await, (0..3 * BLOCK).collect::<Vec<_>>());
    assert_eq!(rig.allocator.requests(), [1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn the_next_block_is_asked_for_while_half_of_this_one_remains() {
    let rig = Rig::new();
    let node = rig.node();
    node.draw_many(BLOCK / 2 - 1).await;
    assert_eq!(rig.links().granted, BLOCK);
    node.draw_many(1).await;
    assert_eq!(rig.links().granted, 2 * BLOCK);
    let started = Instant::now();
    node.draw_many(50 * BLOCK).await;
    assert_eq!(node.stalls(), 1, "only the very first draw waits");
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn without_the_allocator_draws_go_on_until_the_blocks_are_used_and_then_stall() {
    let rig = Rig::new();
    let node = rig.node();
    let early = BLOCK / 2 + 10;
    node.draw_many(early).await;
    rig.allocator.is_away.store(true, Ordering::Relaxed);
    let started = Instant::now();
    let (drawn, error) = drain(&node).await;
    assert_eq!(drawn, 2 * BLOCK - early);
    assert!(matches!(error, IdError::Stalled { waited: PATIENCE }) && error.retryable(), "{error:?}");
    assert_eq!(started.elapsed(), PATIENCE);
    tokio::time::advance(Duration::from_mins(10)).await;
    assert!(matches!(node.draw().await, Err(IdError::Stalled { .. })));
    rig.allocator.is_away.store(false, Ordering::Relaxed);
    assert_eq!(node.draw().await.unwrap(), 2 * BLOCK, "it recovers by itself");
    assert!(node.tasks.finish(PATIENCE).await);
}

#[tokio::test(start_paused = true)]
async fn no_id_is_served_before_its_block_is_fenced() {
    let rig = Rig::new();
    rig.fence.is_away.store(true, Ordering::Relaxed);
    let node = rig.node();
    assert!(matches!(node.draw().await, Err(IdError::Stalled { .. })));
    assert_eq!((rig.links().granted, rig.fence.mark()), (BLOCK, 0));
    rig.fence.is_away.store(false, Ordering::Relaxed);
    assert_eq!(node.draw().await.unwrap(), 0, "the block is the one that was granted first");
    assert_eq!((rig.links().granted, rig.fence.mark()), (BLOCK, BLOCK));
    rig.fence.is_away.store(true, Ordering::Relaxed);
    let (drawn, error) = drain(&node).await;
    assert_eq!(drawn, BLOCK - 1, "what is fenced may be served");
    assert!(matches!(error, IdError::Stalled { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn ids_of_other_namespaces_need_no_fence() {
    let rig = Rig::new();
    rig.create(name("orders"), 1_000);
    rig.fence.is_away.store(true, Ordering::Relaxed);
    let node = rig.node();
    assert_eq!(node.ids.issue(&name("orders"), 5).await.unwrap(), [IdRun::new(0, 5, 1)]);
    assert_eq!(rig.fence.mark(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_took_the_lane_over_ends_drawing_at_once() {
    let rig = Rig::new();
    let early = rig.node();
    early.draw_many(1).await;
    rig.fence.take_over();
    let late = rig.node();
    let started = Instant::now();
    for _ in 0..2 {
        assert!(matches!(late.draw().await, Err(IdError::LaneTaken)));
    }
    let (drawn, error) = drain(&early).await;
    assert_eq!(drawn, BLOCK - 1);
    assert!(matches!(error, IdError::LaneTaken) && !error.retryable(), "{error:?}");
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_namespace_gives_its_last_id_and_then_says_so_at_once() {
    let rig = Rig::with_links(BLOCK + 50);
    rig.create(name("orders"), 60);
    let node = rig.node();
    let started = Instant::now();
    let (drawn, error) = drain(&node).await;
    assert_eq!(drawn, BLOCK + 50);
    assert!(matches!(error, IdError::Exhausted) && !error.retryable(), "{error:?}");
    assert!(matches!(node.draw().await, Err(IdError::Exhausted)));
    assert!(matches!(node.ids.issue(&name("orders"), 61).await, Err(IdError::Exhausted)));
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_to_those_who_wait_at_once() {
    let rig = Rig::new();
    rig.allocator.trouble([Trouble::Refused(Refusal::NothingWanted)]);
    let node = rig.node();
    let started = Instant::now();
    assert!(matches!(node.draw().await, Err(IdError::Refused(Refusal::NothingWanted))));
    let unknown = node.ids.issue(&name("unknown"), 1).await;
    assert!(matches!(unknown, Err(IdError::Refused(Refusal::UnknownNamespace(_)))), "{unknown:?}");
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn exactly_as_many_ids_are_issued_as_were_asked_for() {
    let rig = Rig::new();
    rig.create(name("orders"), 1_000_000);
    let node = rig.node();
    let mut next = 0;
    for count in [1, BLOCK, BLOCK - 1, 12_345, 0, 250_000, 2] {
        let ranges = node.ids.issue(&name("orders"), count).await.unwrap();
        assert_eq!(ranges.iter().map(|range| range.count()).sum::<u64>(), count);
        // Blocks grow to what is asked for, up to the largest block of 100,000.
        assert!(ranges.len() as u64 <= 3 + count / 100_000, "{count} ids came as {ranges:?}");
        for range in ranges {
            assert_eq!(range.first(), next, "one node alone leaves no gap");
            next = range.end();
        }
    }
}

/// `granted` ids, of which `used` were used and the rest was given back.
fn settled(granted: u64, used: u64) -> NamespaceTotals {
    NamespaceTotals { granted, live: 0, used, returned: granted - used, lost: 0 }
}

#[tokio::test(start_paused = true)]
async fn a_clean_stop_accounts_for_every_id() {
    for drawn in [0, 1, 30, BLOCK / 2, BLOCK, 3 * BLOCK + 70] {
        let rig = Rig::new();
        rig.create(name("orders"), 1_000);
        let node = rig.node();
        node.draw_many(drawn).await;
        node.ids.issue(&name("orders"), 7).await.unwrap();
        assert!(node.tasks.finish(PATIENCE).await);
        let granted = rig.links().granted;
        assert!(granted >= BLOCK);
        assert_eq!(rig.links(), settled(granted, drawn), "after {drawn} draws");
        assert_eq!(rig.allocator.totals(&name("orders")), settled(BLOCK, 7));
        assert!(matches!(node.draw().await, Err(IdError::Stalled { .. })), "nothing is drawn after the report");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_an_allocator_that_is_away() {
    let rig = Rig::new();
    let node = rig.node();
    node.draw_many(BLOCK / 4).await;
    rig.allocator.is_away.store(true, Ordering::Relaxed);
    assert!(node.tasks.finish(PATIENCE).await);
    let stuck = rig.node();
    assert!(matches!(stuck.draw().await, Err(IdError::Stalled { .. })));
    assert!(stuck.tasks.finish(PATIENCE).await);
    assert_eq!(rig.links(), NamespaceTotals { granted: BLOCK, live: BLOCK, ..NamespaceTotals::default() });
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_while_a_block_is_being_accounted_for_is_heard() {
    let rig = Rig::new();
    let node = rig.node();
    rig.allocator.reports.forget_permits(tokio::sync::Semaphore::MAX_PERMITS);
    // The third block is asked for in the middle of the second; then the first one's report hangs.
    let drawn = node.draw_many(2 * BLOCK).await.len() as u64;
    for _ in drawn..3 * BLOCK {
        node.draw().await.unwrap();
    }
    let started = Instant::now();
    let mut waiting = Box::pin(node.draw());
    assert!(poll!(&mut waiting).is_pending());
    rig.allocator.reports.add_permits(1_000);
    assert_eq!(waiting.await.unwrap(), 3 * BLOCK);
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn making_a_namespace_passes_the_allocators_answer_on() {
    let rig = Rig::new();
    let node = rig.node();
    let spec = NamespaceSpec::contiguous(5, 50, 10);
    for created in [true, false] {
        assert_eq!(node.ids.create_namespace(name("orders"), spec).await.unwrap(), (spec, created));
    }
    let other = NamespaceSpec { limit: 60, ..spec };
    let refused = node.ids.create_namespace(name("orders"), other).await;
    assert!(matches!(refused, Err(IdError::Refused(Refusal::NamespaceDiffers { .. }))), "{refused:?}");
    assert_eq!(node.ids.issue(&name("orders"), 12).await.unwrap(), [IdRun::new(5, 12, 1)], "two blocks that touch");
    rig.allocator.is_away.store(true, Ordering::Relaxed);
    let away = node.ids.create_namespace(name("more"), spec).await;
    assert!(matches!(away, Err(IdError::Allocator(CoordinationError::Unavailable { .. }))), "{away:?}");
}
