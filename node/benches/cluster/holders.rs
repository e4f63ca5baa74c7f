//! Many holders, each drawing 1,000 ids a second: what do they cost the allocators?
//!
//! A holder asks for a block once in a headroom, so what the leader does depends on how many holders there are and not on
//! how many ids they draw. The headroom here is 20 s instead of the default 10 minutes, so that a short run sees the
//! steady state; the default costs a thirtieth.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use stint::ids::raft::{RaftIdOptions, RaftIds};
use stint::lifecycle::{Tasks, raise_open_files};
use stint::metrics::{IdMetrics, Registry};
use stint::ports::clock::SystemClock;
use stint::ports::coordination::Allocator;
use stint::ports::entropy::OsEntropy;
use stint::ports::id_source::IdIssuer;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, sleep};

use super::servers::Servers;
use super::{allocator, namespace, prepare, to_f64};

const HEADROOM: Duration = Duration::from_secs(20);
/// How long the rate estimates and blocks take to settle.
const SETTLED_AFTER: Duration = Duration::from_secs(40);
/// How long is measured, in windows.
const WINDOW: Duration = Duration::from_secs(5);
const WINDOWS: usize = 6;
const DRAWN_EVERY: Duration = Duration::from_millis(100);
const DRAWN_AT_ONCE: u64 = 100;

/// Measures two numbers of holders, each over a fresh group.
pub(crate) async fn measure() -> Result<()> {
    raise_open_files();
    let (half, full) = (run(500).await?, run(1_000).await?);
    let each = (full.cpu - half.cpu) / 500.0;
    println!(
        "one more holder: {:.3} grants/s, {:.3} ms of CPU a second over all three members",
        (full.grants - half.grants) / 500.0,
        each * 1_000.0
    );
    Ok(())
}

struct Run {
    /// Grants a second.
    grants: f64,
    /// Log entries a second, by window. Grants and reports that come together share them.
    entries: Vec<f64>,
    /// CPU seconds a second, over all members.
    cpu: f64,
}

async fn run(count: usize) -> Result<Run> {
    let servers = Servers::stint()?;
    prepare(&servers).await?;
    let (tasks, registry, mut drawing) = (Tasks::default(), Registry::new()?, JoinSet::new());
    let metrics = IdMetrics::new(&registry, "raft");
    for number in 0..count {
        let options = RaftIdOptions {
            label: format!("holder {number}"),
            headroom: HEADROOM,
            min_block: 1_000,
            max_block: 10_000_000,
            patience: Duration::from_secs(5),
        };
        let ids = RaftIds::without_links(
            Arc::new(allocator(&servers)),
            options,
            metrics.clone(),
            Arc::new(SystemClock),
            Arc::new(OsEntropy),
            Arc::new(tasks.clone()),
        );
        // Spread over the period, as independent holders are.
        let first = Instant::now() + DRAWN_EVERY * u32::try_from(number)? / u32::try_from(count)?;
        drawing.spawn(async move {
            let mut ticks = interval_at(first, DRAWN_EVERY);
            loop {
                ticks.tick().await;
                if let Err(error) = ids.issue(&namespace(), DRAWN_AT_ONCE).await {
                    return error;
                }
            }
        });
    }
    sleep(SETTLED_AFTER).await;
    let observed = observe(&servers, &registry).await?;
    if let Some(failed) = drawing.try_join_next() {
        return Err(failed?).context("a draw failed");
    }
    drawing.shutdown().await;
    tasks.finish(Duration::from_secs(10)).await;
    print(count, &observed);
    Ok(observed.run)
}

struct Observed {
    run: Run,
    ids_per_second: f64,
    stalls: String,
}

async fn observe(servers: &Servers, registry: &Registry) -> Result<Observed> {
    let watcher = allocator(servers);
    let index = async || anyhow::Ok(watcher.status().await?.last_log_index.context("a log")?);
    let (began, cpu, drawn) = (Instant::now(), servers.cpu_seconds()?, counted(registry, "stint_ids_issued_total")?);
    let granted = counted(registry, "stint_id_refill_duration_seconds_count")?;
    let (mut entries, mut before) = (Vec::new(), index().await?);
    for _ in 0..WINDOWS {
        let window = Instant::now();
        sleep(WINDOW).await;
        let now = index().await?;
        entries.push(to_f64(usize::try_from(now - before)?) / window.elapsed().as_secs_f64());
        before = now;
    }
    let took = began.elapsed().as_secs_f64();
    let cpu = (servers.cpu_seconds()? - cpu) / took;
    let ids_per_second = (counted(registry, "stint_ids_issued_total")? - drawn) / took;
    let grants = (counted(registry, "stint_id_refill_duration_seconds_count")? - granted) / took;
    let stalls = format!("{:.0}", counted(registry, "stint_id_stalls_total")?);
    Ok(Observed { run: Run { grants, entries, cpu }, ids_per_second, stalls })
}

/// The sum of a counter over its labels.
fn counted(registry: &Registry, name: &str) -> Result<f64> {
    let text = registry.render();
    let lines = text.lines().filter(|line| line.starts_with(name));
    lines.map(|line| Ok(line.rsplit(' ').next().context("a value")?.parse::<f64>()?)).sum()
}

fn print(count: usize, observed: &Observed) {
    let rates: Vec<_> = observed.run.entries.iter().map(|rate| format!("{rate:.0}")).collect();
    println!(
        "{count} holders draw {:.0} ids/s: {:.0} grants/s, log entries/s {} (by {} s), members use {:.3} CPU seconds a second, \
         {} stalls (while the first blocks come)",
        observed.ids_per_second,
        observed.run.grants,
        rates.join(" "),
        WINDOW.as_secs(),
        observed.run.cpu,
        observed.stalls
    );
}
