//! A cluster in one process: real sockets, real logs, each node stopped and started at will.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::super::super::group::{Group, GroupOptions, Storage};
use super::super::super::remote::{RemoteAllocator, RemoteOptions};
use super::super::super::rpc::{ClusterSecret, RpcServer};
use super::super::super::transport::{Connections, TcpDialer};
use super::super::{AllocatorMember, MemberOptions};
use crate::ports::clock::SystemClock;
use crate::ports::coordination::Allocator;
use crate::ports::entropy::OsEntropy;

pub(super) const SECRET: &str = "a secret for tests";
const DEADLINE: Duration = Duration::from_secs(30);

pub(super) struct TestCluster {
    dir: TempDir,
    addresses: BTreeMap<u64, String>,
    founders: BTreeMap<u64, String>,
    nodes: BTreeMap<u64, TestNode>,
    change: fn(&mut GroupOptions),
    holders: Connections,
}

pub(super) struct TestNode {
    pub(super) node_id: u64,
    member: Arc<AllocatorMember>,
    connections: Connections,
    tasks: Vec<JoinHandle<()>>,
    failure: Arc<Mutex<Option<String>>>,
}

/// Tries until there is something.
pub(super) async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let began = tokio::time::Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    loop {
        ticks.tick().await;
        if let Some(found) = attempt().await {
            return found;
        }
        assert!(began.elapsed() < DEADLINE, "waited in vain: {what}");
    }
}

impl TestCluster {
    pub(super) async fn found(size: u64) -> Self {
        Self::found_with(size, |_| {}).await
    }

    pub(super) async fn found_with(size: u64, change: fn(&mut GroupOptions)) -> Self {
        let founders: BTreeMap<_, _> = (1..=size).map(|node_id| (node_id, free_address())).collect();
        let (dir, nodes) = (tempfile::tempdir().unwrap(), BTreeMap::new());
        let holders = Connections::default();
        let mut cluster = Self { dir, addresses: founders.clone(), founders, nodes, change, holders };
        for node_id in 1..=size {
            cluster.start_node(node_id, true);
        }
        cluster.settle().await;
        cluster
    }

    /// Waits until every running node knows one leader.
    pub(super) async fn settle(&self) {
        eventually("one leader", async || {
            let mut leaders = Vec::new();
            for node in self.nodes.values() {
                leaders.push(node.try_group()?.status().await.ok()?.leader?);
            }
            leaders.dedup();
            (leaders.len() == 1).then_some(())
        })
        .await;
    }

    pub(super) async fn leader(&self) -> u64 {
        self.settle().await;
        let node = self.nodes.values().next().unwrap();
        node.group().status().await.unwrap().leader.unwrap()
    }

    /// Starts a node and answers its address.
    pub(super) fn start_node(&mut self, node_id: u64, bootstrap: bool) -> String {
        let address = self.addresses.entry(node_id).or_insert_with(free_address).clone();
        let mut group = GroupOptions::new(Arc::new(SystemClock), Arc::new(OsEntropy));
        (self.change)(&mut group);
        let storage = Storage::open(&self.path(node_id), node_id, &group).unwrap();
        let connections = Connections::default();
        let options = MemberOptions {
            peers: self.founders.clone(),
            bootstrap,
            secret: Some(ClusterSecret::of(SECRET)),
            cluster_id: None,
            group,
        };
        let (member, task) = AllocatorMember::new(storage, Arc::new(TcpDialer), connections.clone(), options);
        let server = RpcServer::new(Arc::clone(&member), None, connections.clone());
        let failure = Arc::new(Mutex::new(None));
        let (noted, listens_at) = (Arc::clone(&failure), address.clone());
        let serving = tokio::spawn(async move {
            // A port that was just left may take a moment to be free.
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            let listener = loop {
                ticks.tick().await;
                if let Ok(listener) = tokio::net::TcpListener::bind(&listens_at).await {
                    break listener;
                }
            };
            server.run(listener).await;
        });
        let running = tokio::spawn(async move {
            let Err(error) = task.run().await;
            *noted.lock().unwrap() = Some(error.to_string());
        });
        let tasks = vec![serving, running];
        self.nodes.insert(node_id, TestNode { node_id, member, connections, tasks, failure });
        address
    }

    /// Starts a node that gives up, and answers why.
    pub(super) async fn start_node_that_fails(&mut self, node_id: u64, bootstrap: bool) -> String {
        self.start_node(node_id, bootstrap);
        let failure = Arc::clone(&self.nodes[&node_id].failure);
        let why = eventually("the node gives up", async || failure.lock().unwrap().clone()).await;
        self.stop_node(node_id).await;
        why
    }

    pub(super) async fn stop_node(&mut self, node_id: u64) {
        let node = self.nodes.remove(&node_id).unwrap();
        if let Some(group) = node.try_group() {
            group.step_down().await;
            group.stop().await;
        }
        node.connections.close().await;
        for task in node.tasks {
            task.abort();
            let _ = task.await;
        }
    }

    /// Stops a node and loses its volume.
    pub(super) async fn wipe_node(&mut self, node_id: u64) {
        self.stop_node(node_id).await;
        std::fs::remove_dir_all(self.path(node_id)).unwrap();
    }

    pub(super) async fn stop(mut self) {
        for node_id in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.stop_node(node_id).await;
        }
        self.holders.close().await;
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &TestNode> {
        self.nodes.values()
    }

    pub(super) fn node(&self, node_id: u64) -> &TestNode {
        &self.nodes[&node_id]
    }

    pub(super) fn holder(&self) -> RemoteAllocator {
        self.holder_with(Some(SECRET), None)
    }

    pub(super) fn holder_with(&self, secret: Option<&str>, cluster_id: Option<String>) -> RemoteAllocator {
        let addresses = self.addresses.values().cloned().collect();
        let secret = secret.map(ClusterSecret::of);
        let options = RemoteOptions { addresses, secret, cluster_id, patience: Duration::from_secs(5) };
        RemoteAllocator::new(options, &(Arc::new(TcpDialer) as _), &self.holders)
    }

    fn path(&self, node_id: u64) -> PathBuf {
        self.dir.path().join(node_id.to_string())
    }
}

impl TestNode {
    pub(super) fn group(&self) -> &Arc<Group> {
        self.try_group().expect("the node is in its cluster")
    }

    pub(super) fn try_group(&self) -> Option<&Arc<Group>> {
        self.member.group()
    }
}

fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}
