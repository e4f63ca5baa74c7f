//! What the tests share: a node in this process, the real program as a child, and an HTTP client that follows nothing.

mod cluster;
pub(crate) mod fleet;
mod http;
mod line;
mod node;
mod pgbouncer;
#[expect(dead_code, reason = "templates are for the stores' own tests")]
mod postgres;
mod process;
mod prometheus;
mod redis;

pub(crate) use cluster::{Cluster, SECRET, draw, free_address, last_line};
pub(crate) use http::{Client, Response};
pub(crate) use line::Line;
pub(crate) use node::{TestNode, open};
pub(crate) use pgbouncer::PgBouncer;
pub(crate) use postgres::{Postgres, fresh_database};
pub(crate) use process::{Program, command, run};
pub(crate) use prometheus::{Exporter, Prometheus};
pub(crate) use redis::Redis;

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

/// How long anything may take before a test gives up waiting. Nothing waits for it when all is well.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The repository's list of 20,000 real URLs.
pub(crate) fn real_urls() -> Vec<String> {
    let text = std::fs::read_to_string(real_urls_file()).expect("the list is part of the repository");
    text.lines().map(str::to_owned).collect()
}

/// Where that list is.
pub(crate) fn real_urls_file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../loadtest/data/urls.txt")
}

/// Waits until `condition` holds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let started = tokio::time::Instant::now();
    while !condition().await {
        assert!(started.elapsed() < DEADLINE, "{what} did not happen within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Does `work` with each item, `jobs` at a time; the results are in the order of the items.
pub(crate) async fn in_parallel<T, R, F: Future<Output = R>>(
    jobs: usize,
    items: impl IntoIterator<Item = T>,
    work: impl Fn(T) -> F,
) -> Vec<R> {
    use futures_util::StreamExt as _;
    futures_util::stream::iter(items).map(work).buffered(jobs).collect().await
}
