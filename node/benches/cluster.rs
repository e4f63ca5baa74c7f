//! Grants beside etcd: three members each, on this machine and this disk, in one run, the same number of clients, each
//! with a connection of its own to the leader, fsync on in both.
//!
//! Rounds of the three workloads alternate, so that a noisy machine is noisy for all; what is printed are medians with
//! the lowest and the highest round. Then the leader is killed, several times, under a steady stream of grants; and at
//! last a thousand holders draw a million ids a second together.
//! `make bench-cluster`; `make bench-cluster SECONDS=5 CLIENTS=128` changes the length of a
//! round and the clients; PARTS=holders measures only that (or compare, failover).

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

#[path = "cluster/grpc.rs"]
mod grpc;
#[path = "cluster/holders.rs"]
mod holders;
#[path = "cluster/servers.rs"]
mod servers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use stint::cluster::remote::{RemoteAllocator, RemoteOptions};
use stint::cluster::rpc::ClusterSecret;
use stint::cluster::transport::{Connections, TcpDialer};
use stint::ports::coordination::Allocator;
use stint_idgen::allocator::{Command, HolderId, NamespaceName, NamespaceSpec, Reply};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use grpc::{Etcd, Swap};
use servers::{SECRET, Servers, etcd_leader};

/// What can be measured by itself, named as an argument.
const PARTS: [&str; 3] = ["compare", "failover", "holders"];
const ROUNDS: usize = 5;
const KILLS: usize = 5;
/// Clients during a failover: enough to see each gap to a few milliseconds.
const PROBES: u64 = 8;

/// One round of one workload.
#[derive(Clone, Debug, Default)]
struct Round {
    per_second: f64,
    p50: Duration,
    p99: Duration,
}

fn main() -> Result<()> {
    let [seconds, clients] = settings()?;
    let length = Duration::from_secs(seconds);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let parts: Vec<String> = std::env::args().filter(|argument| PARTS.contains(&argument.as_str())).collect();
        let wanted = |part| parts.is_empty() || parts.iter().any(|named| named == part);
        if wanted("compare") {
            compare(clients, length).await?;
        }
        if wanted("failover") {
            fail_over().await?;
        }
        if wanted("holders") {
            holders::measure().await?;
        }
        Ok(())
    })
}

async fn compare(clients: u64, length: Duration) -> Result<()> {
    let (stint, etcd) = (Servers::stint()?, Servers::etcd()?);
    let leader = etcd_leader(&etcd).await?;
    prepare(&stint).await?;
    let (mut grants, mut puts, mut swaps) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS as u64 {
        grants.push(measure(clients, length, |client| granting(&stint, round << 32 | client)).await?);
        puts.push(measure(clients, length, |client| putting(&leader, client)).await?);
        swaps.push(measure(clients, length, |_| swapping(&leader)).await?);
    }
    println!("{clients} clients, {ROUNDS} rounds of {} s each, median (lowest-highest):", length.as_secs());
    let rows = [("Stint: grants", &grants), ("etcd: puts", &puts), ("etcd: compare-and-swap of one counter", &swaps)];
    for (name, rounds) in rows {
        print(name, rounds);
    }
    let ratio = |a: &[Round], b: &[Round]| median(a, |it| it.per_second) / median(b, |it| it.per_second);
    println!("grants to puts: {:.2}, grants to swaps: {:.2}", ratio(&grants, &puts), ratio(&grants, &swaps));
    Ok(())
}

/// Runs `clients` of a workload for a while.
async fn measure<F, C>(clients: u64, length: Duration, client: impl Fn(u64) -> F) -> Result<Round>
where
    F: Future<Output = Result<C>>,
    C: Client + Send + 'static,
{
    let mut all = Vec::new();
    for number in 0..clients {
        all.push(client(number).await?);
    }
    let began = Instant::now();
    let mut running = JoinSet::new();
    for mut client in all {
        running.spawn(async move {
            let mut latencies = Vec::new();
            while began.elapsed() < length {
                let asked = Instant::now();
                client.ask().await?;
                latencies.push(asked.elapsed());
            }
            Ok::<_, anyhow::Error>(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(done) = running.join_next().await {
        latencies.extend(done??);
    }
    let took = began.elapsed();
    latencies.sort_unstable();
    let at = |part: usize| latencies.get(latencies.len() * part / 100).copied().unwrap_or_default();
    Ok(Round { per_second: to_f64(latencies.len()) / took.as_secs_f64(), p50: at(50), p99: at(99) })
}

trait Client {
    fn ask(&mut self) -> impl Future<Output = Result<()>> + Send;
}

struct Granting {
    allocator: RemoteAllocator,
    holder: HolderId,
    request: u64,
}

impl Client for Granting {
    async fn ask(&mut self) -> Result<()> {
        self.request += 1;
        let command = Command::Grant {
            namespace: namespace(),
            want: 1_000,
            holder: self.holder,
            label: "bench".to_owned(),
            request: self.request,
        };
        match self.allocator.submit(command).await? {
            Reply::Granted(_) => Ok(()),
            reply => bail!("a grant was answered with {reply:?}"),
        }
    }
}

struct Putting {
    etcd: Etcd,
    key: String,
    count: u64,
}

impl Client for Putting {
    async fn ask(&mut self) -> Result<()> {
        self.count += 1;
        self.etcd.put(self.key.as_bytes(), &self.count.to_be_bytes()).await
    }
}

struct Swapping {
    etcd: Etcd,
    known: Option<u64>,
}

impl Client for Swapping {
    async fn ask(&mut self) -> Result<()> {
        loop {
            let new = self.known.unwrap_or(0) + 1_000;
            match self.etcd.swap(b"counter", self.known, new).await? {
                Swap::Done => {
                    self.known = Some(new);
                    return Ok(());
                }
                Swap::Lost(found) => self.known = found,
            }
        }
    }
}

fn allocator(servers: &Servers) -> RemoteAllocator {
    let options = RemoteOptions {
        addresses: servers.addresses.clone(),
        secret: Some(ClusterSecret::of(SECRET)),
        cluster_id: None,
        patience: Duration::from_secs(5),
    };
    RemoteAllocator::new(options, &(Arc::new(TcpDialer) as _), &Connections::default())
}

async fn granting(servers: &Servers, number: u64) -> Result<Granting> {
    let allocator = allocator(servers);
    // Finds the leader, so that it isn't looked for while it is measured.
    allocator.submit(Command::RaiseTimeline { timeline: 1 }).await?;
    Ok(Granting { allocator, holder: HolderId(u128::from(number) + 1), request: 0 })
}

async fn putting(leader: &str, client: u64) -> Result<Putting> {
    Ok(Putting { etcd: Etcd::connect(leader).await?, key: format!("client-{client}"), count: 0 })
}

async fn swapping(leader: &str) -> Result<Swapping> {
    Ok(Swapping { etcd: Etcd::connect(leader).await?, known: None })
}

/// Waits for a leader and makes the namespace.
async fn prepare(servers: &Servers) -> Result<()> {
    let (allocator, began) = (allocator(servers), Instant::now());
    let spec = NamespaceSpec::contiguous(1, 1 << 62, 1 << 30);
    loop {
        match allocator.submit(Command::CreateNamespace { name: namespace(), spec }).await {
            Ok(_) => return Ok(()),
            Err(error) if began.elapsed() > Duration::from_secs(30) => return Err(error).context("no leader"),
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

fn namespace() -> NamespaceName {
    "bench".parse().expect("it is a name")
}

/// Kills leaders under a steady stream of grants, each in a fresh group: how long is nothing granted?
async fn fail_over() -> Result<()> {
    let mut gaps = Vec::new();
    for kill in 0..KILLS as u64 {
        let mut servers = Servers::stint()?;
        prepare(&servers).await?;
        let status = allocator(&servers).status().await?;
        let leader = usize::try_from(status.leader.context("a leader")?)? - 1;
        gaps.push(gap(&mut servers, leader, kill).await?);
    }
    gaps.sort_unstable();
    let ms: Vec<_> = gaps.iter().map(|gap| gap.as_millis().to_string()).collect();
    println!("leader killed {KILLS} times, longest time without a grant (ms): {}", ms.join(" "));
    Ok(())
}

/// The longest time between two grants, seen by all probes together, around a kill.
async fn gap(servers: &mut Servers, leader: usize, kill: u64) -> Result<Duration> {
    let began = Instant::now();
    let (last, longest) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut probes = JoinSet::new();
    for number in 0..PROBES {
        let mut probe = granting(servers, kill << 32 | number).await?;
        let (last, longest) = (Arc::clone(&last), Arc::clone(&longest));
        probes.spawn(async move {
            while began.elapsed() < Duration::from_secs(6) {
                if probe.ask().await.is_ok() {
                    let now = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                    let before = last.fetch_max(now, Ordering::Relaxed);
                    if before > 0 {
                        longest.fetch_max(now.saturating_sub(before), Ordering::Relaxed);
                    }
                } else {
                    // The same request again.
                    probe.request -= 1;
                }
                sleep(Duration::from_millis(2)).await;
            }
        });
    }
    sleep(Duration::from_secs(2)).await;
    servers.kill(leader)?;
    while probes.join_next().await.is_some() {}
    Ok(Duration::from_micros(longest.load(Ordering::Relaxed)))
}

fn print(name: &str, rounds: &[Round]) {
    let spread = |value: fn(&Round) -> f64, digits: usize| {
        let all: Vec<_> = rounds.iter().map(value).collect();
        let (low, high) = (all.iter().copied().fold(f64::MAX, f64::min), all.iter().copied().fold(0.0, f64::max));
        format!("{:.digits$} ({low:.digits$}-{high:.digits$})", median(rounds, value))
    };
    println!(
        "  {name}: {}/s, p50 {} ms, p99 {} ms",
        spread(|round| round.per_second, 0),
        spread(|round| round.p50.as_secs_f64() * 1_000.0, 1),
        spread(|round| round.p99.as_secs_f64() * 1_000.0, 1)
    );
}

fn median(rounds: &[Round], value: impl Fn(&Round) -> f64) -> f64 {
    let mut all: Vec<_> = rounds.iter().map(value).collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

#[expect(clippy::cast_precision_loss, reason = "a count of some hundred thousand")]
fn to_f64(count: usize) -> f64 {
    count as f64
}

/// The length of a round in seconds and the clients: the arguments of the bench, behind those of cargo.
fn settings() -> Result<[u64; 2]> {
    let mut settings = [10, 64];
    let given = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let given = given.filter(|argument| !PARTS.contains(&argument.as_str()));
    for (setting, text) in settings.iter_mut().zip(given) {
        *setting =
            text.parse().with_context(|| format!("{text:?} is no number: make bench-cluster SECONDS=10 CLIENTS=64"))?;
    }
    Ok(settings)
}
