//! The counting part of a node, over a real Redis and Postgres, in a runtime of its own: so it can be killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use stint::clicks::{self, ClickOptions};
use stint::domain::timestamp::UnixMs;
use stint::lifecycle::Tasks;
use stint::metrics::{ClickMetrics, Registry};
use stint::ports::click_store::{ClickChunk, ClickSink, ClickStore, ClickTotals, Day};
use stint::ports::clock::{Clock as _, SystemClock};
use stint::ports::entropy::OsEntropy;
use stint::ports::link_store::StoreError;
use stint::redis_server::RedisServer;
use stint::storage::postgres::clicks::PgClickStore;
use stint::storage::postgres::servers::Servers;
use stint_idgen::Key;
use tokio::runtime::Runtime;

use crate::support::{DEADLINE, Redis, eventually};

/// A new database with the schema on the shared server.
pub(super) async fn fresh_database() -> String {
    let url = tokio::task::spawn_blocking(crate::support::fresh_database).await.unwrap();
    migrate(&url).await;
    url
}

pub(super) async fn migrate(url: &str) {
    let pool = sqlx::PgPool::connect(url).await.unwrap();
    sqlx::migrate!("migrations/postgres").run(&pool).await.unwrap();
    pool.close().await;
}

pub(super) fn options(max_waiting: usize) -> ClickOptions {
    ClickOptions { claim_after: Duration::from_millis(300), ..ClickOptions::new(max_waiting) }
}

/// What goes wrong between a node and its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Trouble {
    None,
    /// Nothing arrives.
    Away,
    /// The next transaction is made, and its answer lost.
    AnswerLost,
    /// The next transaction is made, and the node hangs from then on.
    Hangs,
}

/// A database with a fault between it and the node.
#[derive(Debug)]
pub(super) struct Database {
    store: PgClickStore,
    trouble: AtomicU8,
}

impl Database {
    pub(super) fn at(url: &str) -> Arc<Self> {
        let servers = Arc::new(Servers::single(url, 4).unwrap());
        Arc::new(Self { store: PgClickStore::new(servers), trouble: AtomicU8::new(Trouble::None as u8) })
    }

    pub(super) fn set(&self, trouble: Trouble) {
        self.trouble.store(trouble as u8, Ordering::SeqCst);
    }

    pub(super) fn is(&self, trouble: Trouble) -> bool {
        self.trouble.load(Ordering::SeqCst) == trouble as u8
    }

    /// Clicks counted on links 1 to `links`.
    pub(super) async fn counted(&self, links: i64) -> u64 {
        let mut sum = 0;
        for number in 1..=links {
            match self.store.clicks(Key::new(number).unwrap(), Day(0)).await {
                Ok(totals) => sum += totals.total,
                Err(_) => return 0,
            }
        }
        sum
    }

    /// Waits until so many are counted; then none may come on top.
    pub(super) async fn counts(&self, links: i64, clicks: u64) {
        eventually(&format!("{clicks} counted clicks"), || async { self.counted(links).await >= clicks }).await;
        assert_eq!(self.counted(links).await, clicks);
    }
}

#[async_trait]
impl ClickStore for Database {
    async fn add_chunks(&self, chunks: &[ClickChunk], now: UnixMs) -> Result<u64, StoreError> {
        let lost = || StoreError::Unavailable { operation: "test", source: Arc::new(std::io::Error::other("lost")) };
        if self.is(Trouble::Away) {
            return Err(lost());
        }
        let counted = self.store.add_chunks(chunks, now).await?;
        if self.is(Trouble::AnswerLost) {
            self.set(Trouble::None);
            return Err(lost());
        }
        if self.is(Trouble::Hangs) {
            std::future::pending::<()>().await;
        }
        Ok(counted)
    }

    async fn clicks(&self, key: Key, since: Day) -> Result<ClickTotals, StoreError> {
        self.store.clicks(key, since).await
    }

    async fn forget_chunks_before(&self, moment: UnixMs) -> Result<u64, StoreError> {
        self.store.forget_chunks_before(moment).await
    }
}

/// A node that counts.
pub(super) struct Node {
    runtime: Option<Runtime>,
    tasks: Tasks,
    sink: Arc<dyn ClickSink>,
    registry: Registry,
}

impl Node {
    pub(super) fn start(database: &Arc<Database>, redis: Option<&Redis>, options: ClickOptions) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (tasks, registry) = (Tasks::default(), Registry::new().unwrap());
        let sink = {
            let _inside = runtime.enter();
            clicks::start(
                options,
                redis.map(|redis| RedisServer::open(&redis.url()).unwrap()),
                Arc::clone(database) as _,
                Arc::new(SystemClock),
                &OsEntropy,
                &tasks,
                ClickMetrics::new(&registry),
            )
        };
        Self { runtime: Some(runtime), tasks, sink, registry }
    }

    /// Follows links 1 to `links`, each so often.
    pub(super) fn follow(&self, links: i64, times: u64) {
        for _ in 0..times {
            for number in 1..=links {
                self.sink.record(Key::new(number).unwrap(), UnixMs::from_clock(SystemClock.unix_ms()));
            }
        }
    }

    pub(super) fn metric(&self, line: &str) -> u64 {
        let text = self.registry.render();
        let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("there is no {line}:\n{text}")).parse().unwrap()
    }

    pub(super) fn clicks(&self, outcome: &str) -> u64 {
        self.metric(&format!("stint_clicks_total{{outcome=\"{outcome}\"}}"))
    }

    pub(super) fn chunks(&self, outcome: &str) -> u64 {
        self.metric(&format!("stint_click_chunks_total{{outcome=\"{outcome}\"}}"))
    }

    /// Waits until so many clicks were taken out of memory, to be sent.
    pub(super) async fn collects(&self, clicks: u64) {
        eventually("collecting", || async { self.clicks("collected") == clicks }).await;
    }

    /// SIGTERM: false if something was cut off.
    pub(super) async fn stop(mut self) -> bool {
        let finished = self.tasks.finish(DEADLINE).await;
        self.kill_runtime();
        finished
    }

    /// SIGKILL.
    pub(super) fn kill(mut self) {
        self.kill_runtime();
    }

    fn kill_runtime(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill_runtime();
    }
}
