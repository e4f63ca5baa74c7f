//! The sources under the suite: Raft and Snowflake over an allocator in memory, Redis and Postgres over real servers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use stint_idgen::{Key, Lane};
use tokio::sync::watch;

use super::{BLOCK, Node, Rig};
use crate::ids::blocks::testing::{LaneNode, PATIENCE, PgMarks};
use crate::ids::fallback::FallbackKeys;
use crate::ids::{raft, snowflake};
use crate::lifecycle::Tasks;
use crate::metrics::{FallbackMetrics, Registry};
use crate::redis_server::real;

pub(super) struct Raft(raft::tests::rig::Rig);

pub(super) struct Snowflake(snowflake::tests::rig::Rig);

pub(super) struct Redis {
    redis: real::Redis,
    marks: Arc<PgMarks>,
}

pub(super) struct Postgres(Arc<PgMarks>);

/// Raft, and Postgres while it is away.
pub(super) struct Fallback {
    raft: raft::tests::rig::Rig,
    marks: Arc<PgMarks>,
}

fn lane(key: Key) -> Option<Lane> {
    Lane::locate(key).map(|(lane, _)| lane)
}

#[async_trait]
impl Rig for Raft {
    async fn fresh() -> Self {
        Self(raft::tests::rig::Rig::new())
    }

    fn node(&self) -> Node {
        let node = self.0.node_with(BLOCK, PATIENCE);
        Node { keys: node.ids, tasks: vec![node.tasks] }
    }

    fn owns(key: Key) -> bool {
        lane(key) == Some(Lane::Raft)
    }

    async fn cut(&mut self) {
        self.0.allocator.is_away.store(true, Ordering::Relaxed);
    }

    async fn mend(&mut self) {
        self.0.allocator.is_away.store(false, Ordering::Relaxed);
    }
}

#[async_trait]
impl Rig for Snowflake {
    async fn fresh() -> Self {
        Self(snowflake::tests::rig::Rig::new())
    }

    fn node(&self) -> Node {
        let node = self.0.node();
        Node { keys: node.ids, tasks: vec![node.tasks] }
    }

    fn owns(key: Key) -> bool {
        key.get() < 0 && lane(key).is_none()
    }

    async fn cut(&mut self) {
        self.0.allocator.is_away.store(true, Ordering::Relaxed);
    }

    async fn mend(&mut self) {
        self.0.allocator.is_away.store(false, Ordering::Relaxed);
    }

    async fn pass(&self) {
        tokio::time::advance(snowflake::tests::rig::LEASE).await;
    }
}

#[async_trait]
impl Rig for Redis {
    async fn fresh() -> Self {
        Self { redis: real::Redis::start(), marks: PgMarks::new().await }
    }

    fn node(&self) -> Node {
        let node = LaneNode::redis(&self.redis.url(), &self.marks, BLOCK);
        Node { keys: node.keys, tasks: vec![node.tasks] }
    }

    fn owns(key: Key) -> bool {
        lane(key) == Some(Lane::Redis)
    }

    async fn cut(&mut self) {
        self.redis.kill();
    }

    /// It comes back empty.
    async fn mend(&mut self) {
        self.redis.launch();
    }
}

#[async_trait]
impl Rig for Postgres {
    async fn fresh() -> Self {
        Self(PgMarks::new().await)
    }

    fn node(&self) -> Node {
        let node = LaneNode::postgres(Arc::clone(&self.0) as _, BLOCK, &watch::Sender::new(Some(1)));
        Node { keys: node.keys, tasks: vec![node.tasks] }
    }

    fn owns(key: Key) -> bool {
        lane(key) == Some(Lane::Postgres)
    }

    async fn cut(&mut self) {
        self.0.is_away.store(true, Ordering::Relaxed);
    }

    async fn mend(&mut self) {
        self.0.is_away.store(false, Ordering::Relaxed);
    }
}

#[async_trait]
impl Rig for Fallback {
    async fn fresh() -> Self {
        Self { raft: raft::tests::rig::Rig::new(), marks: PgMarks::new().await }
    }

    fn node(&self) -> Node {
        let raft = self.raft.node_with(BLOCK, PATIENCE);
        let postgres = LaneNode::postgres(Arc::clone(&self.marks) as _, BLOCK, &watch::Sender::new(Some(1)));
        let tasks = Tasks::default();
        let metrics = FallbackMetrics::new(&Registry::new().unwrap());
        let keys = FallbackKeys::start(vec![("raft", raft.ids), ("postgres", postgres.keys)], metrics, &tasks);
        Node { keys: Arc::new(keys), tasks: vec![tasks, raft.tasks, postgres.tasks] }
    }

    fn owns(key: Key) -> bool {
        matches!(lane(key), Some(Lane::Raft | Lane::Postgres))
    }

    async fn cut(&mut self) {
        self.raft.allocator.is_away.store(true, Ordering::Relaxed);
        self.marks.is_away.store(true, Ordering::Relaxed);
    }

    async fn mend(&mut self) {
        self.raft.allocator.is_away.store(false, Ordering::Relaxed);
        self.marks.is_away.store(false, Ordering::Relaxed);
    }
}
