//! `stint allocator`: one member of the group that grants ids.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;

use super::coordination::{certificates, dialer, secret};
use super::frontend::{Frontend, bind_admin};
use super::{CLOSED_WITHIN, Surroundings};
use crate::cluster::group::{GroupOptions, Storage};
use crate::cluster::log_store::LogStore;
use crate::cluster::member::{AllocatorMember, MemberFailure, MemberOptions, MemberTask};
use crate::cluster::rpc::RpcServer;
use crate::cluster::transport::Connections;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::http::server::bind;
use crate::lifecycle::Tasks;
use crate::metrics::{RaftMetrics, Registry};
use crate::ports::error_chain::Chain;
use crate::ports::spawn::Spawn;
use crate::service::health::Health;
use crate::tasks;

/// How long a stop waits for another member to lead.
const TRANSFERRED_WITHIN: Duration = Duration::from_secs(2);

/// A running allocator.
#[derive(Debug)]
pub struct AllocatorNode {
    /// Its number.
    pub node_id: u64,
    /// Where its RPC listener is.
    pub address: SocketAddr,
    /// Where the admin port listens.
    pub admin_address: SocketAddr,
    frontend: Frontend,
    background: Tasks,
    member: Arc<AllocatorMember>,
    connections: Connections,
    /// Why the member can't go on.
    failure: Arc<OnceLock<String>>,
    /// Nobody else may open the directory until everything above is closed.
    _dir: DataDir,
}

/// Starts an allocator; it finds or founds its cluster by itself. With `bootstrap` an empty one may found it with its
/// peers. What it lacks is not looked at: see `Loaded::check_allocator`.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub fn start_allocator(config: &Config, bootstrap: bool, around: &Surroundings) -> anyhow::Result<AllocatorNode> {
    // The ports first: one in use is the most common mistake, and nothing has been touched yet.
    let listener = bind(config.cluster.listen.get()).context("the allocator's port (cluster.listen)")?;
    let address = listener.local_addr()?;
    let admin_listener = bind_admin(config)?;
    let tls = certificates(&config.cluster)?;
    let dir = DataDir::open(&config.cluster.data_dir)?;
    let registry = Registry::new()?;
    let connections = Connections::default();
    let mut group = GroupOptions::new(Arc::clone(&around.clock), Arc::clone(&around.entropy));
    let raft_metrics = RaftMetrics::new(&registry);
    group.metrics = Some(raft_metrics.clone());
    let storage = Storage::open(&dir.raft(), config.cluster.node_id, &group).context("the allocator can't start")?;
    let options = member_options(config, bootstrap, group);
    let (member, task) = AllocatorMember::new(storage, dialer(tls.clone()), connections.clone(), options);

    let background = Tasks::default();
    let server = RpcServer::new(Arc::clone(&member), tls, connections.clone());
    listen(&background, server, listener)?;
    let failure = Arc::new(OnceLock::new());
    run(&background, task, Arc::clone(&failure), config.cluster.data_dir.clone());
    let measured = Arc::clone(&member);
    background.start_endless("raft metrics", async move { measured.running().await.report(&raft_metrics).await });
    let mut frontend = Frontend::new(config);
    let health = Health::new(Arc::clone(&member) as _);
    let admin_address = frontend.serve_admin(admin_listener, &registry, health, around)?;
    background.start("metrics upkeep", tasks::fold_metrics(registry, background.stopping()));
    let node_id = config.cluster.node_id;
    Ok(AllocatorNode { node_id, address, admin_address, frontend, background, member, connections, failure, _dir: dir })
}

fn member_options(config: &Config, bootstrap: bool, group: GroupOptions) -> MemberOptions {
    let peers = config.cluster.peers.iter().map(|peer| (peer.node_id, peer.address.to_string())).collect();
    MemberOptions { peers, bootstrap, secret: secret(&config.cluster), cluster_id: config.cluster.id.clone(), group }
}

fn listen(background: &Tasks, server: RpcServer, listener: TcpListener) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener).context("the allocator's port (cluster.listen)")?;
    background.start_endless("allocator's port", server.run(listener));
    Ok(())
}

/// A member that can't go on is of no use: the process ends, so that a person or whoever started it notices.
fn run(background: &Tasks, task: MemberTask<LogStore>, failure: Arc<OnceLock<String>>, data_dir: PathBuf) {
    background.start_endless("allocator", async move {
        let Err(error) = task.run().await;
        let cause = Chain(&error);
        let _ = failure.set(match &error {
            MemberFailure::Open(_) => format!(
                "the allocator's data in {} can't be used; start the version of stint that wrote it, or replace this \
                 member by a new one: {cause}",
                data_dir.display()
            ),
            MemberFailure::Refused(_) | MemberFailure::Stopped(_) => cause.to_string(),
        });
    });
}

impl AllocatorNode {
    /// Resolves when the member can't go on by itself: its disk has failed, it is refused, or a task ended.
    pub async fn failed(&self) {
        self.frontend.failed(&self.background).await;
    }

    /// Why the member can't go on, in one line, if it said so.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Stops in order: another member leads before this one goes, so that nobody waits for an election. False if
    /// something had to be cut off.
    pub async fn stop(self) -> bool {
        self.frontend.begin_stopping();
        if let Some(group) = self.member.group() {
            // Whoever is left elects a leader if this takes too long.
            let _ = tokio::time::timeout(TRANSFERRED_WITHIN, group.step_down()).await;
        }
        let drained = self.frontend.stop().await;
        let finished = self.background.finish(self.frontend.deadline()).await;
        let closed = tokio::time::timeout(CLOSED_WITHIN, async {
            // Calls first: the core calls each that still comes to it an error, although all is well.
            self.connections.close().await;
            if let Some(group) = self.member.group() {
                group.stop().await;
            }
        });
        drained & finished & closed.await.is_ok()
    }
}
