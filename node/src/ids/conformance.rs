//! What every source of links' keys must do: one suite, run over each.
//!
//! A rig is what the instances of one source share: an allocator, servers, a database. Each of its nodes is an instance
//! as a process of its own would have it.

mod rigs;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stint_idgen::Key;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::lifecycle::Tasks;
use crate::ports::id_source::{IdError, KeySource};

/// How long anything may take before a test gives up.
const DEADLINE: Duration = Duration::from_secs(90);
const NODES: usize = 8;
/// All nodes together draw over 100,000 keys.
const DRAWS: usize = 12_800;
/// Ids in a block, where there are blocks.
const BLOCK: u64 = 100;

/// What several instances of one source share.
#[async_trait]
trait Rig: Send + Sync + Sized {
    /// Everything new.
    async fn fresh() -> Self;

    /// One more instance.
    fn node(&self) -> Node;

    /// Whether a key belongs to the source.
    fn owns(key: Key) -> bool;

    /// What the source depends on goes away.
    async fn cut(&mut self);

    /// It comes back.
    async fn mend(&mut self);

    /// Lets what is at hand grow old, where it does.
    async fn pass(&self) {}
}

/// One instance.
struct Node {
    keys: Arc<dyn KeySource>,
    tasks: Vec<Tasks>,
}

impl Node {
    /// A key, within the deadline.
    async fn draw(&self) -> Key {
        draw(&*self.keys).await
    }

    async fn stop(&self) {
        for tasks in &self.tasks {
            assert!(tasks.finish(Duration::from_secs(10)).await, "it stops in time");
        }
    }
}

async fn draw(keys: &dyn KeySource) -> Key {
    let started = Instant::now();
    loop {
        match keys.next_key().await {
            Ok(key) => return key,
            Err(error) => assert!(error.retryable() && started.elapsed() < DEADLINE, "{error:?}"),
        }
    }
}

/// Checks that no key is there twice, and that all are the source's.
fn check<R: Rig>(drawn: &[Key]) {
    let distinct: HashSet<_> = drawn.iter().map(|key| key.get()).collect();
    assert_eq!(distinct.len(), drawn.len(), "some keys were drawn twice");
    let strange = drawn.iter().find(|key| !R::owns(**key));
    assert_eq!(strange, None, "a key of another source");
}

async fn eight_nodes_that_draw_at_once_repeat_no_key<R: Rig + 'static>() {
    let rig = R::fresh().await;
    let nodes: Vec<Node> = (0..NODES).map(|_| rig.node()).collect();
    let mut drawing = JoinSet::new();
    for node in &nodes {
        for _ in 0..2 {
            let keys = Arc::clone(&node.keys);
            drawing.spawn(async move {
                let mut drawn = Vec::new();
                for _ in 0..DRAWS / 2 {
                    drawn.push(draw(&*keys).await);
                }
                drawn
            });
        }
    }
    let drawn = drawing.join_all().await.concat();
    assert_eq!(drawn.len(), NODES * DRAWS);
    check::<R>(&drawn);
    for node in &nodes {
        node.stop().await;
    }
}

async fn without_the_source_draws_go_on_then_fail_and_recover<R: Rig>() {
    let mut rig = R::fresh().await;
    let node = rig.node();
    let mut drawn = Vec::new();
    for _ in 0..10 {
        drawn.push(node.draw().await);
    }
    rig.cut().await;
    for _ in 0..BLOCK / 2 {
        drawn.push(node.keys.next_key().await.expect("what is at hand needs no source"));
    }
    rig.pass().await;
    let error = loop {
        match node.keys.next_key().await {
            Ok(key) => drawn.push(key),
            Err(error) => break error,
        }
        assert!(drawn.len() < 10_000, "what was at hand should be used up");
        tokio::task::yield_now().await;
    };
    assert!(error.retryable(), "{error:?}");
    assert!(matches!(error, IdError::Stalled { .. } | IdError::Snowflake(_)), "{error:?}");
    rig.mend().await;
    for _ in 0..3 * BLOCK {
        drawn.push(node.draw().await);
    }
    check::<R>(&drawn);
    node.stop().await;
}

async fn an_instance_that_starts_again_repeats_no_key<R: Rig>() {
    let rig = R::fresh().await;
    let mut drawn = Vec::new();
    // Every other one is not stopped, as a process that hangs.
    for round in 0..6 {
        let node = rig.node();
        for _ in 0..BLOCK + 30 {
            drawn.push(node.draw().await);
        }
        if round % 2 == 0 {
            node.stop().await;
        }
    }
    check::<R>(&drawn);
}

async fn after_a_clean_stop_nothing_is_drawn<R: Rig>() {
    let rig = R::fresh().await;
    let node = rig.node();
    check::<R>(&[node.draw().await]);
    node.stop().await;
    let late = node.keys.next_key().await;
    assert!(late.is_err(), "{late:?}");
}

async fn a_stop_does_not_wait_for_a_source_that_is_away<R: Rig>() {
    let mut rig = R::fresh().await;
    let node = rig.node();
    node.draw().await;
    rig.cut().await;
    node.stop().await;
}

/// Makes a test of each case. Where nothing but memory is involved, time may be paused.
macro_rules! conforms {
    ($name:ident, $rig:ty $(, $paused:meta)?) => {
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn eight_nodes_that_draw_at_once_repeat_no_key() {
                super::eight_nodes_that_draw_at_once_repeat_no_key::<$rig>().await;
            }

            conforms! { @cases $rig $(, $paused)?:
                without_the_source_draws_go_on_then_fail_and_recover
                an_instance_that_starts_again_repeats_no_key
                after_a_clean_stop_nothing_is_drawn
                a_stop_does_not_wait_for_a_source_that_is_away
            }
        }
    };
    (@cases $rig:ty: $($case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                super::$case::<$rig>().await;
            }
        )*
    };
    (@cases $rig:ty, $paused:meta: $($case:ident)*) => {
        $(
            #[tokio::test(start_paused = true)]
            async fn $case() {
                super::$case::<$rig>().await;
            }
        )*
    };
}

conforms!(raft, super::rigs::Raft, paused);
conforms!(snowflake, super::rigs::Snowflake, paused);
conforms!(redis, super::rigs::Redis);
conforms!(postgres, super::rigs::Postgres);
conforms!(fallback, super::rigs::Fallback);
