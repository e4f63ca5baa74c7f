//! `stint allocator`: one member of the group that grants ids.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::frontend::{Frontend, bind_admin};
use super::{CLOSED_WITHIN, Surroundings};
use crate::cluster::group::{Group, GroupOptions};
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::http::server::bind;
use crate::lifecycle::Tasks;
use crate::metrics::Registry;
use crate::ports::coordination::{Allocator, MemberChange};
use crate::ports::error_chain::Chain;
use crate::ports::spawn::Spawn;
use crate::service::health::Health;
use crate::tasks;

/// How long a stop waits for another member to lead.
const TRANSFERRED_WITHIN: Duration = Duration::from_secs(2);

/// A running member.
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
    group: Arc<Group>,
    /// Nobody else may open the directory until everything above is closed.
    _dir: DataDir,
}

/// Starts a member. With `bootstrap` it may help to make the group. What it lacks is not looked at: see
/// `Loaded::check_allocator`.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub async fn start_allocator(config: &Config, bootstrap: bool, around: Surroundings) -> anyhow::Result<AllocatorNode> {
    // The ports first: one in use is the most common mistake, and nothing has been touched yet.
    let listener = bind(config.cluster.listen.get()).context("the allocator's port (cluster.listen)")?;
    let address = listener.local_addr()?;
    let admin_listener = bind_admin(config)?;
    let mut frontend = Frontend::new(config);
    let dir = DataDir::open(&config.cluster.data_dir)?;
    let registry = Registry::new()?;
    let group = open_member(config, bootstrap, &dir, listener, &mut frontend, &around).await?;

    let background = Tasks::default();
    let health = Health::new(Arc::clone(&group) as _);
    let admin_address = frontend.serve_admin(admin_listener, &registry, health, &around)?;
    background.start("metrics upkeep", tasks::fold_metrics(registry, background.stopping()));
    watch(&background, Arc::clone(&group));
    Ok(AllocatorNode {
        node_id: config.cluster.node_id,
        address,
        admin_address,
        frontend,
        background,
        group,
        _dir: dir,
    })
}

// THE SEAM: the member itself, with its RPC listener, is opened here and nowhere else. `frontend.serve("allocator's
// port", listener, router)` serves the RPC routes, and stops them after leadership was handed on.
async fn open_member(
    config: &Config,
    bootstrap: bool,
    dir: &DataDir,
    listener: TcpListener,
    _frontend: &mut Frontend,
    around: &Surroundings,
) -> anyhow::Result<Arc<Group>> {
    let is_alone = bootstrap && config.cluster.peers.len() == 1;
    anyhow::ensure!(is_alone, "this version runs a group of one only: --bootstrap with this node as the only peer");
    drop(listener);
    let (clock, entropy) = (Arc::clone(&around.clock), Arc::clone(&around.entropy));
    let mut options = GroupOptions::new(dir.raft(), config.cluster.node_id, clock, entropy);
    options.address = config.cluster.own_peer().map(|peer| peer.address.to_string()).unwrap_or_default();
    Ok(Arc::new(Group::open(options).await.context("the allocator can't start")?))
}

impl AllocatorNode {
    /// Resolves when the member can't go on by itself: its disk has failed, or a task or a server ended.
    pub async fn failed(&self) {
        tokio::select! {
            () = self.frontend.failed() => {}
            () = self.background.failed() => {}
        }
    }

    /// Stops in order: another member leads before this one goes, so that nobody waits for an election. False if
    /// something had to be cut off.
    pub async fn stop(self) -> bool {
        self.frontend.begin_stopping();
        hand_on(&*self.group).await;
        let drained = self.frontend.stop().await;
        let finished = self.background.finish(self.frontend.deadline()).await;
        let closed = tokio::time::timeout(CLOSED_WITHIN, self.group.stop()).await;
        drained & finished & closed.is_ok()
    }
}

/// Hands leadership to another voter, if this member leads and there is one.
async fn hand_on(member: &dyn Allocator) {
    let handed_on = tokio::time::timeout(TRANSFERRED_WITHIN, async {
        let Ok(status) = member.status().await else { return Ok(()) };
        if status.leader == Some(status.node_id) && status.voters.len() > 1 {
            return member.change_members(MemberChange::Transfer { to: None }).await;
        }
        Ok(())
    });
    match handed_on.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(error = %Chain(&error), "leadership was not handed on: the others will elect"),
        Err(_) => tracing::warn!("leadership was not handed on in time: the others will elect"),
    }
}

/// A member that has stopped is of no use: the process ends, so that whoever started it starts it again.
fn watch(background: &Tasks, group: Arc<Group>) {
    let stop = background.stopping();
    background.start("allocator watch", async move {
        tokio::select! {
            reason = group.failed() => tracing::error!(reason, "the allocator has stopped"),
            () = stop.cancelled() => {}
        }
    });
}
