//! What tests of block sources share: marks of lanes in a real database and in memory, nodes over them, and a way to
//! draw on several nodes while things go wrong.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgPool, PgPoolOptions};
use stint_idgen::{IdRange, Lane};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;

use super::{BlockOptions, LaneKeys, LaneParts};
use crate::lifecycle::Tasks;
use crate::metrics::Registry;
use crate::ports::block_store::BlockStore;
use crate::ports::clock::SystemClock;
use crate::ports::id_source::KeySource as _;
use crate::ports::link_store::{FenceStore, LaneMark, StoreError};
use crate::redis_server::RedisServer;
use crate::storage::test_postgres as postgres;

/// How long anything may take before a test gives up.
const DEADLINE: Duration = Duration::from_mins(1);
pub(in crate::ids) const PATIENCE: Duration = Duration::from_secs(2);

/// The rows of lanes in a real Postgres, and nothing else of a store.
#[derive(Debug)]
pub(in crate::ids) struct PgMarks {
    pool: PgPool,
    pub(in crate::ids) is_away: AtomicBool,
}

/// The same in memory.
#[derive(Debug)]
pub(in crate::ids) struct MemoryMarks {
    lanes: Mutex<HashMap<Lane, LaneMark>>,
    /// Each block taken waits here for its answer.
    pub(in crate::ids) answers: Semaphore,
}

/// One node's keys of one lane.
pub(in crate::ids) struct LaneNode {
    pub(in crate::ids) keys: Arc<LaneKeys>,
    pub(in crate::ids) tasks: Tasks,
    pub(in crate::ids) registry: Registry,
}

/// Nodes that draw without a pause, each in two tasks.
pub(in crate::ids) struct Drawing {
    stop: CancellationToken,
    drawers: JoinSet<Vec<u64>>,
    /// How many each task has drawn.
    counts: Vec<Arc<AtomicU64>>,
}

fn away() -> StoreError {
    StoreError::Unavailable { operation: "test", source: Arc::new(std::io::Error::other("away")) }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).expect("lanes end below 2^63")
}

fn lane_mark((source, mark): (String, i64)) -> LaneMark {
    LaneMark { source, mark: u64::try_from(mark).expect("no mark is negative") }
}

impl PgMarks {
    /// In a database of its own.
    pub(in crate::ids) async fn new() -> Arc<Self> {
        let url = postgres::fresh_database();
        let pool = PgPoolOptions::new().max_connections(16).connect(&url).await.unwrap();
        let table = "CREATE TABLE lanes (lane smallint PRIMARY KEY, source text NOT NULL, mark bigint NOT NULL)";
        sqlx::query(table).execute(&pool).await.unwrap();
        Arc::new(Self { pool, is_away: AtomicBool::new(false) })
    }

    pub(in crate::ids) async fn mark(&self, lane: Lane) -> u64 {
        self.find_lane(lane).await.unwrap().expect("the lane was claimed").mark
    }

    fn pool(&self) -> Result<&PgPool, StoreError> {
        if self.is_away.load(Ordering::Relaxed) { Err(away()) } else { Ok(&self.pool) }
    }
}

#[async_trait]
impl FenceStore for PgMarks {
    async fn claim_code_key(&self, _: &str) -> Result<String, StoreError> {
        unreachable!("drawing ids needs no code key")
    }

    async fn find_lane(&self, lane: Lane) -> Result<Option<LaneMark>, StoreError> {
        let row: Option<(String, i64)> = sqlx::query_as("SELECT source, mark FROM lanes WHERE lane = $1")
            .bind(i16::from(lane.number()))
            .fetch_optional(self.pool()?)
            .await
            .unwrap();
        Ok(row.map(lane_mark))
    }

    async fn claim_lane(&self, lane: Lane, source: &str) -> Result<LaneMark, StoreError> {
        let row: (String, i64) = sqlx::query_as(
            "INSERT INTO lanes VALUES ($1, $2, 0) ON CONFLICT (lane) DO UPDATE SET source = lanes.source
             RETURNING source, mark",
        )
        .bind(i16::from(lane.number()))
        .bind(source)
        .fetch_one(self.pool()?)
        .await
        .unwrap();
        Ok(lane_mark(row))
    }

    async fn replace_lane_source(&self, lane: Lane, source: &str) -> Result<(), StoreError> {
        let update = sqlx::query("UPDATE lanes SET source = $2 WHERE lane = $1");
        update.bind(i16::from(lane.number())).bind(source).execute(self.pool()?).await.unwrap();
        Ok(())
    }

    async fn raise_mark(&self, lane: Lane, source: &str, mark: u64) -> Result<bool, StoreError> {
        let update = sqlx::query("UPDATE lanes SET mark = greatest(mark, $3) WHERE lane = $1 AND source = $2");
        let update = update.bind(i16::from(lane.number())).bind(source).bind(number(mark));
        Ok(update.execute(self.pool()?).await.unwrap().rows_affected() == 1)
    }
}

#[async_trait]
impl BlockStore for PgMarks {
    async fn fence_block(&self, lane: Lane, source: &str, block: IdRange) -> Result<bool, StoreError> {
        let update = sqlx::query("UPDATE lanes SET mark = $4 WHERE lane = $1 AND source = $2 AND mark <= $3");
        let update = update.bind(i16::from(lane.number())).bind(source);
        let update = update.bind(number(block.start())).bind(number(block.end()));
        Ok(update.execute(self.pool()?).await.unwrap().rows_affected() == 1)
    }

    async fn take_block(&self, lane: Lane, source: &str, want: u64) -> Result<Option<IdRange>, StoreError> {
        let row: Option<(i64,)> =
            sqlx::query_as("UPDATE lanes SET mark = mark + $3 WHERE lane = $1 AND source = $2 RETURNING mark")
                .bind(i16::from(lane.number()))
                .bind(source)
                .bind(number(want))
                .fetch_optional(self.pool()?)
                .await
                .unwrap();
        let end = row.map(|(mark,)| u64::try_from(mark).unwrap());
        Ok(end.map(|end| IdRange::new(end - want, end).unwrap()))
    }
}

impl MemoryMarks {
    pub(in crate::ids) fn new() -> Arc<Self> {
        Arc::new(Self { lanes: Mutex::default(), answers: Semaphore::new(Semaphore::MAX_PERMITS) })
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<Lane, LaneMark>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes it so, whatever it was.
    pub(in crate::ids) fn set(&self, lane: Lane, source: &str, mark: u64) {
        self.lanes().insert(lane, LaneMark { source: source.to_owned(), mark });
    }
}

#[async_trait]
impl FenceStore for MemoryMarks {
    async fn claim_code_key(&self, _: &str) -> Result<String, StoreError> {
        unreachable!("drawing ids needs no code key")
    }

    async fn find_lane(&self, lane: Lane) -> Result<Option<LaneMark>, StoreError> {
        Ok(self.lanes().get(&lane).cloned())
    }

    async fn claim_lane(&self, lane: Lane, source: &str) -> Result<LaneMark, StoreError> {
        Ok(self.lanes().entry(lane).or_insert_with(|| LaneMark { source: source.to_owned(), mark: 0 }).clone())
    }

    async fn replace_lane_source(&self, _: Lane, _: &str) -> Result<(), StoreError> {
        unreachable!("drawing ids replaces nothing")
    }

    async fn raise_mark(&self, _: Lane, _: &str, _: u64) -> Result<bool, StoreError> {
        unreachable!("blocks are fenced or taken")
    }
}

#[async_trait]
impl BlockStore for MemoryMarks {
    async fn fence_block(&self, _: Lane, _: &str, _: IdRange) -> Result<bool, StoreError> {
        unreachable!("the database counts these blocks itself")
    }

    async fn take_block(&self, lane: Lane, source: &str, want: u64) -> Result<Option<IdRange>, StoreError> {
        let taken = self.lanes().get_mut(&lane).filter(|known| known.source == source).map(|known| {
            known.mark += want;
            IdRange::new(known.mark - want, known.mark).unwrap()
        });
        self.answers.acquire().await.expect("it is never closed").forget();
        Ok(taken)
    }
}

impl LaneNode {
    /// Takes blocks of this size from Redis.
    pub(in crate::ids) fn redis(url: &str, marks: &Arc<PgMarks>, block: u64) -> Self {
        let timelines = watch::Sender::new(Some(1));
        let server = RedisServer::open(url).unwrap();
        Self::make(block, &timelines, |parts| LaneKeys::redis(server, Arc::clone(marks) as _, "test", parts))
    }

    /// Takes blocks of this size from the database.
    pub(in crate::ids) fn postgres(
        store: Arc<dyn BlockStore>,
        block: u64,
        timelines: &watch::Sender<Option<u32>>,
    ) -> Self {
        Self::make(block, timelines, |parts| LaneKeys::postgres(store, parts))
    }

    fn make(block: u64, timelines: &watch::Sender<Option<u32>>, start: impl FnOnce(LaneParts) -> LaneKeys) -> Self {
        let (tasks, registry) = (Tasks::default(), Registry::new().unwrap());
        let headroom = Duration::from_secs(1);
        let keys = start(LaneParts {
            options: BlockOptions { headroom, min_block: block, max_block: block, patience: PATIENCE },
            timelines: timelines.subscribe(),
            registry: registry.clone(),
            clock: Arc::new(SystemClock),
            spawn: Arc::new(tasks.clone()),
        });
        Self { keys: Arc::new(keys), tasks, registry }
    }

    /// The next key, as its counter in the lane.
    pub(in crate::ids) async fn draw(&self) -> Result<u64, crate::ports::id_source::IdError> {
        self.keys.next_key().await.map(|key| Lane::locate(key).expect("a lane has the key").1)
    }

    /// Draws so many keys one after another, letting the refill task run in between.
    pub(in crate::ids) async fn draw_many(&self, count: u64) -> Vec<u64> {
        let mut drawn = Vec::new();
        for _ in 0..count {
            drawn.push(self.draw().await.expect("ids are at hand"));
            tokio::task::yield_now().await;
        }
        drawn
    }

    /// How often Redis was set right by this node.
    pub(in crate::ids) fn repairs(&self) -> u64 {
        let text = self.registry.render();
        let line = text.lines().find_map(|line| line.strip_prefix("stint_id_source_repairs_total{source=\"redis\"} "));
        line.expect("the metric is there").parse().expect("it is a whole number")
    }
}

impl Drawing {
    pub(in crate::ids) fn start<'a>(nodes: impl IntoIterator<Item = &'a LaneNode>) -> Self {
        let mut drawing = Self { stop: CancellationToken::new(), drawers: JoinSet::new(), counts: Vec::new() };
        for node in nodes {
            drawing.join(node);
        }
        drawing
    }

    /// One more node draws.
    pub(in crate::ids) fn join(&mut self, node: &LaneNode) {
        for _ in 0..2 {
            let (keys, stop, count) = (Arc::clone(&node.keys), self.stop.clone(), Arc::new(AtomicU64::new(0)));
            let counted = Arc::clone(&count);
            let drawer = async move {
                let mut drawn = Vec::new();
                while !stop.is_cancelled() {
                    match keys.next_key().await {
                        Ok(key) => drawn.push(Lane::locate(key).expect("a lane has the key").1),
                        Err(error) => assert!(error.retryable(), "{error:?}"),
                    }
                    counted.store(drawn.len() as u64, Ordering::Relaxed);
                    // A second of drawing is enough to find what is repeated, and little enough to keep.
                    tokio::task::yield_now().await;
                }
                drawn
            };
            self.counts.push(count);
            self.drawers.spawn(drawer);
        }
    }

    /// Waits until every task has drawn so many keys more.
    pub(in crate::ids) async fn goes_on(&self, more: u64) {
        self.some_go_on(0, more).await;
    }

    /// The same, of the tasks from one on: those before belong to nodes whose Redis is gone.
    pub(in crate::ids) async fn some_go_on(&self, from: usize, more: u64) {
        let counts = || self.counts[from..].iter().map(|count| count.load(Ordering::Relaxed));
        let before: Vec<u64> = counts().collect();
        eventually("every node draws on", async || counts().zip(&before).all(|(now, before)| now >= before + more))
            .await;
    }

    /// Ends drawing; answers every counter that was drawn, and checks that none was drawn twice.
    pub(in crate::ids) async fn stop(self) -> HashSet<u64> {
        self.stop.cancel();
        let mut all = HashSet::new();
        let mut repeated = Vec::new();
        for drawn in self.drawers.join_all().await {
            repeated.extend(drawn.into_iter().filter(|counter| !all.insert(*counter)));
        }
        assert!(
            repeated.is_empty(),
            "{} of {} keys were drawn twice: {:?}…",
            repeated.len(),
            all.len(),
            repeated.first()
        );
        all
    }
}

/// Waits until `condition` holds.
pub(in crate::ids) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    let mut ticks = interval(Duration::from_millis(5));
    while !condition().await {
        assert!(started.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        ticks.tick().await;
    }
}
