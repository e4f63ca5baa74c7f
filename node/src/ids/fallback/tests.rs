//! Lists of sources that go and come back as they are told to. Time is paused: it passes only where somebody waits.

use std::sync::atomic::{AtomicBool, AtomicU64};

use stint_idgen::Lane;
use tokio::time::{Instant, advance, timeout};

use super::*;
use crate::lifecycle::Tasks;
use crate::metrics::Registry;

const PATIENCE: Duration = Duration::from_secs(2);

/// Counts up in its lane, or lets everybody wait in vain.
#[derive(Debug)]
struct Source {
    lane: Lane,
    next: AtomicU64,
    is_away: AtomicBool,
    is_lost: AtomicBool,
}

struct Rig {
    sources: Vec<Arc<Source>>,
    keys: FallbackKeys,
    tasks: Tasks,
    registry: Registry,
}

#[async_trait]
impl KeySource for Source {
    async fn next_key(&self) -> Result<Key, IdError> {
        if self.is_lost.load(Ordering::Relaxed) {
            return Err(IdError::LaneTaken);
        }
        if self.is_away.load(Ordering::Relaxed) {
            let _ = timeout(PATIENCE, std::future::pending::<()>()).await;
            return Err(IdError::Stalled { waited: PATIENCE });
        }
        Ok(self.lane.key(self.next.fetch_add(1, Ordering::Relaxed)).expect("a test is short"))
    }
}

impl Rig {
    fn new(lanes: &[(&'static str, Lane)]) -> Self {
        let source = |&(_, lane): &(&'static str, Lane)| Source {
            lane,
            next: AtomicU64::new(0),
            is_away: AtomicBool::new(false),
            is_lost: AtomicBool::new(false),
        };
        let sources: Vec<_> = lanes.iter().map(|lane| Arc::new(source(lane))).collect();
        let named = lanes.iter().zip(&sources).map(|((name, _), source)| (*name, Arc::clone(source) as _));
        let (tasks, registry) = (Tasks::default(), Registry::new().unwrap());
        let keys = FallbackKeys::start(named.collect(), FallbackMetrics::new(&registry), &tasks);
        Self { sources, keys, tasks, registry }
    }

    fn set_away(&self, source: usize, is_away: bool) {
        self.sources[source].is_away.store(is_away, Ordering::Relaxed);
    }

    /// The lanes of so many keys, drawn one after another.
    async fn draw(&self, count: usize) -> Vec<Lane> {
        let mut lanes = Vec::new();
        for _ in 0..count {
            lanes.push(Lane::locate(self.keys.next_key().await.unwrap()).expect("a lane has the key").0);
        }
        lanes
    }

    fn switches(&self, from: &str, to: &str) -> u64 {
        let name = format!("stint_id_source_switches_total{{from=\"{from}\",to=\"{to}\"}} ");
        let text = self.registry.render();
        text.lines().find_map(|line| line.strip_prefix(name.as_str())).map_or(0, |count| count.parse().unwrap())
    }

    /// Lets probes go by: one each second, and as long as it waits.
    async fn pass(&self) {
        for _ in 0..50 {
            advance(Duration::from_millis(100)).await;
            tokio::task::yield_now().await;
        }
    }
}

const TWO: [(&str, Lane); 2] = [("raft", Lane::Raft), ("redis", Lane::Redis)];
const THREE: [(&str, Lane); 3] = [("raft", Lane::Raft), ("redis", Lane::Redis), ("postgres", Lane::Postgres)];

#[tokio::test(start_paused = true)]
async fn the_first_source_is_used_while_it_has_keys() {
    let rig = Rig::new(&TWO);
    assert_eq!(rig.draw(100).await, [Lane::Raft; 100]);
    assert_eq!((rig.switches("raft", "redis"), rig.keys.active()), (0, "raft"));
    assert_eq!(rig.sources[1].next.load(Ordering::Relaxed), 0, "nobody asked the other");
}

#[tokio::test(start_paused = true)]
async fn one_draw_waits_for_a_source_that_is_out_and_the_others_do_not() {
    let rig = Rig::new(&TWO);
    rig.set_away(0, true);
    let started = Instant::now();
    assert_eq!(rig.draw(1).await, [Lane::Redis]);
    assert_eq!(started.elapsed(), PATIENCE);
    assert_eq!(rig.draw(1_000).await, [Lane::Redis; 1_000]);
    assert_eq!(started.elapsed(), PATIENCE);
    rig.pass().await;
    let started = Instant::now();
    assert_eq!(rig.draw(10).await, [Lane::Redis; 10], "looking after the first one keeps nobody waiting");
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert_eq!(rig.switches("raft", "redis"), 1, "however often it was found out");
}

#[tokio::test(start_paused = true)]
async fn the_first_source_is_used_again_by_itself_when_it_is_back() {
    let rig = Rig::new(&TWO);
    for round in 1..=3 {
        rig.set_away(0, true);
        rig.draw(2).await;
        rig.set_away(0, false);
        rig.pass().await;
        assert_eq!(rig.draw(5).await, [Lane::Raft; 5]);
        assert_eq!((rig.switches("raft", "redis"), rig.switches("redis", "raft")), (round, round));
    }
    assert!(rig.tasks.finish(PATIENCE).await);
}

#[tokio::test(start_paused = true)]
async fn each_source_of_the_list_has_its_turn() {
    let rig = Rig::new(&THREE);
    rig.set_away(0, true);
    rig.set_away(1, true);
    let started = Instant::now();
    assert_eq!(rig.draw(5).await, [Lane::Postgres; 5]);
    assert_eq!(started.elapsed(), 2 * PATIENCE);
    rig.set_away(1, false);
    rig.pass().await;
    assert_eq!(rig.draw(1).await, [Lane::Redis]);
    rig.set_away(0, false);
    rig.pass().await;
    assert_eq!(rig.draw(1).await, [Lane::Raft]);
    assert_eq!(rig.switches("raft", "redis") + rig.switches("redis", "postgres"), 2);
    assert_eq!((rig.switches("postgres", "redis"), rig.switches("redis", "raft")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn with_every_source_out_draws_fail_in_time_and_recover_by_themselves() {
    let rig = Rig::new(&THREE);
    (0..3).for_each(|source| rig.set_away(source, true));
    assert!(matches!(rig.keys.next_key().await, Err(IdError::Stalled { .. })));
    let started = Instant::now();
    assert!(matches!(rig.keys.next_key().await, Err(IdError::Stalled { .. })));
    assert_eq!(started.elapsed(), PATIENCE, "only one source is waited for");
    rig.set_away(1, false);
    rig.pass().await;
    assert_eq!(rig.draw(3).await, [Lane::Redis; 3]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_final_is_passed_on() {
    let rig = Rig::new(&TWO);
    rig.sources[0].is_lost.store(true, Ordering::Relaxed);
    assert!(matches!(rig.keys.next_key().await, Err(IdError::LaneTaken)));
    assert_eq!(rig.switches("raft", "redis"), 0, "another source would only hide what wants an operator");
    rig.sources[0].is_lost.store(false, Ordering::Relaxed);
    rig.sources[1].is_lost.store(true, Ordering::Relaxed);
    rig.set_away(0, true);
    let error = rig.keys.next_key().await.unwrap_err();
    assert!(matches!(error, IdError::Stalled { .. }), "what the first source says comes first: {error:?}");
}
