//! Three members of either kind, as processes on this machine, their data on one disk.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::grpc::Etcd;

pub(crate) const SECRET: &str = "a-secret-for-benches-only";
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Running members; killed when dropped.
pub(crate) struct Servers {
    pub(crate) addresses: Vec<String>,
    children: Vec<Child>,
    _dir: TempDir,
}

impl Servers {
    /// Three allocators with their default settings.
    pub(crate) fn stint() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let addresses = free_addresses(3)?;
        let peers: Vec<_> = (1..).zip(&addresses).map(|(id, address)| format!("{id}={address}")).collect();
        let peers = peers.join(",");
        let children = (1..).zip(&addresses).map(|(id, address): (u32, _)| {
            let id = id.to_string();
            let data = dir.path().join(&id);
            let mut command = Command::new(env!("CARGO_BIN_EXE_stint"));
            command
                .args(["allocator", "--bootstrap", "--node-id", &id, "--listen", address, "--peers", &peers])
                .args(["--admin-listen", "127.0.0.1:0", "--data-dir"])
                .arg(&data)
                .env("STINT_CLUSTER_SECRET", SECRET);
            spawn(command, dir.path(), &id)
        });
        let children = children.collect::<Result<_>>()?;
        Ok(Self { addresses, children, _dir: dir })
    }

    /// Three members of etcd with their default settings, fsync included.
    pub(crate) fn etcd() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let (addresses, peers) = (free_addresses(3)?, free_addresses(3)?);
        let cluster: Vec<_> = (1..).zip(&peers).map(|(id, peer): (u32, _)| format!("m{id}=http://{peer}")).collect();
        let cluster = cluster.join(",");
        let children = (1..).zip(addresses.iter().zip(&peers)).map(|(id, (address, peer)): (u32, _)| {
            let name = format!("m{id}");
            let (client, peer) = (format!("http://{address}"), format!("http://{peer}"));
            let mut command = Command::new("etcd");
            command
                .args(["--name", &name, "--listen-client-urls", &client, "--advertise-client-urls", &client])
                .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
                .args(["--initial-cluster", &cluster, "--log-level", "error", "--data-dir"])
                .arg(dir.path().join(&name));
            spawn(command, dir.path(), &name)
        });
        let children = children.collect::<Result<_>>().context("is etcd installed? `apt-get install etcd-server`")?;
        Ok(Self { addresses, children, _dir: dir })
    }

    /// The CPU time that all members have used, in seconds.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        // User and system time, in ticks of 10 ms: the 14th and 15th field of proc(5)'s stat, behind the name.
        let ticks = self.children.iter().map(|child| {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
            let fields = stat.rsplit(')').next().context("a stat line")?.split_whitespace();
            let used: Vec<f64> = fields.skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
            anyhow::Ok(used.iter().sum::<f64>())
        });
        Ok(ticks.sum::<Result<f64>>()? / 100.0)
    }

    /// Kills one member at once, without a word.
    pub(crate) fn kill(&mut self, member: usize) -> Result<()> {
        self.children[member].kill()?;
        self.children[member].wait()?;
        Ok(())
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The address of etcd's leader.
pub(crate) async fn etcd_leader(servers: &Servers) -> Result<String> {
    let began = Instant::now();
    while began.elapsed() < READY_WITHIN {
        for address in &servers.addresses {
            if let Ok(mut etcd) = Etcd::connect(address).await
                && etcd.leads().await.unwrap_or(false)
                && etcd.put(b"ready", b"yes").await.is_ok()
            {
                return Ok(address.clone());
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
    bail!("etcd has no leader after {} s", READY_WITHIN.as_secs())
}

fn spawn(mut command: Command, dir: &Path, name: &str) -> Result<Child> {
    let log = File::create(dir.join(format!("{name}.log")))?;
    Ok(command.stdout(log.try_clone()?).stderr(log).spawn()?)
}

/// Addresses that are free at this moment, all different.
fn free_addresses(count: usize) -> Result<Vec<String>> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.to_string())).collect()
}
