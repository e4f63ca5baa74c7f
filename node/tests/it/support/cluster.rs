//! A cluster of real processes on this machine: allocators with a directory and a log each, and shorteners.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Output;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Client, Program, eventually, run};

pub(crate) const SECRET: &str = "the-cluster-secret-of-the-tests";
pub(crate) const KEY: &str = "the-admin-key-of-the-tests";

/// Processes, by their numbers.
pub(crate) struct Cluster {
    pub(crate) dir: TempDir,
    /// Where each allocator listens, running or not.
    pub(crate) addresses: BTreeMap<u64, String>,
    founders: Vec<u64>,
    /// What every process is told through the environment.
    pub(crate) environment: Vec<(String, String)>,
    nodes: BTreeMap<u64, Program>,
}

impl Cluster {
    /// As many allocators that are not started yet.
    pub(crate) fn of(size: u64) -> Self {
        let addresses = (1..=size).map(|node_id| (node_id, free_address())).collect();
        let environment = [("STINT_CLUSTER_SECRET", SECRET), ("STINT_ADMIN_KEY", KEY)];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let dir = tempfile::tempdir().expect("a temporary directory");
        Self { dir, addresses, founders: (1..=size).collect(), environment, nodes: BTreeMap::new() }
    }

    /// A running cluster of three with a leader.
    pub(crate) async fn found() -> Self {
        Self::of(3).founded().await
    }

    /// All of it, started and led.
    pub(crate) async fn founded(mut self) -> Self {
        for node_id in self.founders.clone() {
            if !self.nodes.contains_key(&node_id) {
                self.start(node_id, &["--bootstrap"]).await;
            }
        }
        self.led().await;
        self
    }

    /// The flag `--peers`.
    pub(crate) fn peers(&self) -> String {
        let peers = self.founders.iter().map(|node_id| format!("{node_id}={}", self.addresses[node_id]));
        peers.collect::<Vec<_>>().join(",")
    }

    /// The flag `--allocators`: everybody who ever was one.
    pub(crate) fn allocators(&self) -> String {
        self.addresses.values().cloned().collect::<Vec<_>>().join(",")
    }

    /// The arguments of an allocator; `flags` replace those that it has by default.
    fn arguments(&self, node_id: u64, flags: &[&str]) -> Vec<String> {
        let data = self.data(node_id);
        let mut arguments = vec!["allocator".to_owned()];
        let own = [
            ("--admin-listen", "127.0.0.1:0".to_owned()),
            ("--node-id", node_id.to_string()),
            ("--listen", self.addresses[&node_id].clone()),
            ("--data-dir", data.to_str().expect("the path is text").to_owned()),
            ("--peers", self.peers()),
        ];
        let has_peers = self.founders.contains(&node_id);
        for (name, value) in own.into_iter().filter(|(name, _)| has_peers || *name != "--peers") {
            if !flags.contains(&name) {
                arguments.extend([name.to_owned(), value]);
            }
        }
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        arguments
    }

    /// Starts an allocator that is expected to run.
    pub(crate) async fn start(&mut self, node_id: u64, flags: &[&str]) {
        self.addresses.entry(node_id).or_insert_with(free_address);
        let arguments = self.arguments(node_id, flags);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let program = Program::start_role(&arguments, &self.environment(), &self.log_file(&node_id.to_string())).await;
        self.nodes.insert(node_id, program);
    }

    /// Starts an allocator that is expected to give up, with exit code 1, and answers its last line.
    pub(crate) async fn refused(&self, node_id: u64, flags: &[&str]) -> String {
        let arguments = self.arguments(node_id, flags);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        last_line(&run(&arguments, &self.environment()).await, 1)
    }

    /// Waits until one of two allocators has given up with this reason; answers which.
    pub(crate) async fn one_gives_up(&mut self, nodes: [u64; 2], reason: &str) -> u64 {
        let says = |node_id: &u64| {
            let log = self.log(&node_id.to_string());
            log.lines().any(|line| line.starts_with("stint: node ") && line.contains(reason))
        };
        eventually(reason, || async { nodes.iter().any(says) }).await;
        let who = nodes.into_iter().find(says).expect("one has");
        assert_eq!(self.take(who).ended().await, Some(1));
        who
    }

    /// Starts a node that serves ids alone; its number only names its log.
    pub(crate) async fn serve(&self, number: u64, settings: &[(&str, &str)]) -> Program {
        self.shorten(number, &[&[("STINT_IDS__ONLY", "true")], settings].concat()).await
    }

    /// Starts a shortener, with the allocators if there are any; its number only names its log.
    pub(crate) async fn shorten(&self, number: u64, settings: &[(&str, &str)]) -> Program {
        let allocators = self.allocators();
        let ports = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--allocators", &allocators];
        let ports = if allocators.is_empty() { &ports[..5] } else { &ports[..] };
        let environment = [&[("STINT_HTTP__DRAIN_DELAY", "0s")], &self.environment()[..], settings].concat();
        Program::start_role(ports, &environment, &self.log_file(&format!("serve-{number}"))).await
    }

    /// A running allocator.
    pub(crate) fn node(&self, node_id: u64) -> &Program {
        &self.nodes[&node_id]
    }

    /// Takes a running allocator out, to be ended.
    pub(crate) fn take(&mut self, node_id: u64) -> Program {
        self.nodes.remove(&node_id).expect("it runs")
    }

    pub(crate) fn data(&self, node_id: u64) -> PathBuf {
        self.dir.path().join(node_id.to_string())
    }

    fn log_file(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.log"))
    }

    /// What a process has logged.
    pub(crate) fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.log_file(name)).unwrap_or_default()
    }

    /// Waits until a process has logged a line with all of these texts.
    pub(crate) async fn logged(&self, name: &str, texts: &[&str]) {
        let has = |line: &str| texts.iter().all(|text| line.contains(text));
        eventually(&format!("a line with {texts:?} from {name}"), || async { self.log(name).lines().any(has) }).await;
    }

    /// Runs `stint cluster …` against every allocator.
    pub(crate) async fn command(&self, arguments: &[&str]) -> Output {
        let allocators = self.allocators();
        let arguments = [&["cluster"], arguments, &["--allocators", &allocators]].concat();
        run(&arguments, &self.environment()).await
    }

    /// `stint cluster status --json`; nothing while no allocator answers.
    pub(crate) async fn status(&self) -> Option<Value> {
        let output = self.command(&["status", "--json"]).await;
        output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("it prints JSON"))
    }

    /// Waits until somebody leads and every voter that runs is up to date; answers who leads.
    pub(crate) async fn led(&self) -> u64 {
        let leader = AtomicU16::new(0);
        eventually("a leader whom the others follow", || async {
            let Some(status) = self.status().await else { return false };
            let (Some(leads), Some(members)) = (status["leader"].as_u64(), status["members"].as_array()) else {
                return false;
            };
            leader.store(u16::try_from(leads).expect("numbers are small"), Ordering::Relaxed);
            let runs = |member: &&Value| self.nodes.contains_key(&member["node_id"].as_u64().unwrap_or_default());
            self.nodes.contains_key(&leads)
                && status["node_id"] == status["leader"]
                && members.iter().filter(runs).all(|member| member["lag"].as_u64().is_some_and(|lag| lag < 100))
        })
        .await;
        leader.into_inner().into()
    }

    fn environment(&self) -> Vec<(&str, &str)> {
        self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }
}

/// The last line that a program said before it ended with `code`: what comes before it is its log.
pub(crate) fn last_line(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said.lines().last().expect("it says why").to_owned()
}

/// A port that nobody listens on, out of a range from which the system takes none by itself.
pub(crate) fn free_address() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 100).expect("it is small") * 100;
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return format!("127.0.0.1:{port}");
        }
    }
}

/// Draws ids through a shortener.
pub(crate) async fn draw(client: &Client, count: u64) -> Vec<u64> {
    let answer = client.post("/api/v1/ids", &json!({ "namespace": "orders", "count": count })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["ids"].as_array().expect("ids").iter().map(|id| id.as_u64().expect("a number")).collect()
}
