//! The whole production data path as real processes: a Postgres primary with replicas, Redis, allocators, shorteners.

use serde_json::{Value, json};

use super::{Client, Cluster, Line, Postgres, Program, Redis, eventually};

/// 32 hex digits, the same on every node.
const CODE_KEY: &str = "000102030405060708090a0b0c0d0e0f";

/// Everything, running.
pub(crate) struct Fleet {
    pub(crate) primary: Postgres,
    pub(crate) replicas: Vec<Postgres>,
    pub(crate) redis: Redis,
    pub(crate) allocators: Cluster,
    pub(crate) nodes: Vec<Program>,
}

/// What of it a test wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) source: &'static str,
    pub(crate) replicas: usize,
    pub(crate) nodes: u64,
    /// Whether a commit waits for a replica.
    pub(crate) synchronous: bool,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { source: "raft", replicas: 2, nodes: 3, synchronous: false }
    }
}

impl Fleet {
    /// Starts all of it; the nodes are ready.
    pub(crate) async fn start(wanted: Wanted) -> Self {
        let mut fleet = Self::without_nodes(wanted).await;
        for number in 1..=wanted.nodes {
            let node = fleet.serve(number, &[("STINT_IDS__SOURCE", wanted.source)]).await;
            fleet.nodes.push(node);
        }
        fleet.all_ready().await;
        fleet
    }

    /// Starts the servers that nodes need, and migrates the database.
    pub(crate) async fn without_nodes(wanted: Wanted) -> Self {
        let primary = Postgres::start();
        primary.execute("CREATE DATABASE stint");
        let replicas: Vec<_> = (0..wanted.replicas).map(|_| primary.replica()).collect();
        if wanted.synchronous {
            primary.wait_for(&replicas.iter().collect::<Vec<_>>());
        }
        let needs_allocators = matches!(wanted.source, "raft" | "snowflake");
        let mut allocators = Cluster::of(if needs_allocators { 3 } else { 0 });
        allocators.environment.push(("STINT_CODE_KEY".to_owned(), CODE_KEY.to_owned()));
        let allocators = if needs_allocators { allocators.founded().await } else { allocators };
        let fleet = Self { primary, replicas, redis: Redis::start(), allocators, nodes: Vec::new() };
        let database = fleet.database_url();
        let output = super::run(&["migrate"], &[("DATABASE_URL", &database)]).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fleet
    }

    /// A node with its own settings, which replace those that all have.
    pub(crate) async fn serve(&self, number: u64, settings: &[(&str, &str)]) -> Program {
        let (database, redis) = (self.database_url(), self.redis.url());
        let common = [("DATABASE_URL", database.as_str()), ("REDIS_URL", redis.as_str())];
        self.allocators.shorten(number, &[&common, settings].concat()).await
    }

    /// Three nodes that are ready, with these settings and blocks as small as they go, so that sources are asked all the
    /// time.
    pub(crate) async fn serve_small_blocks(&self, settings: &[(&str, &str)]) -> Vec<Program> {
        let small = [("STINT_IDS__MIN_BLOCK", "10"), ("STINT_IDS__MAX_BLOCK", "10")];
        let mut nodes = Vec::new();
        for number in 1..=3 {
            nodes.push(self.serve(number, &[&small, settings].concat()).await);
        }
        for node in &nodes {
            ready(node).await;
        }
        nodes
    }

    /// Every server by name: any of them may be the primary.
    pub(crate) fn database_url(&self) -> String {
        let ports = std::iter::once(&self.primary).chain(&self.replicas).map(Postgres::port);
        database_url(ports)
    }

    /// Waits until every node says that it is ready.
    pub(crate) async fn all_ready(&self) {
        for node in &self.nodes {
            ready(node).await;
        }
    }

    /// A client of one node, with the admin key.
    pub(crate) fn client(&self, node: usize) -> Client {
        self.nodes[node].client()
    }
}

/// A URL that names the servers on these ports.
pub(crate) fn database_url(ports: impl IntoIterator<Item = u16>) -> String {
    let hosts: Vec<_> = ports.into_iter().map(|port| format!("127.0.0.1:{port}")).collect();
    format!("postgres://postgres@{}/stint", hosts.join(","))
}

/// A URL that names a server at the near end of a line.
pub(crate) fn database_through(line: &Line) -> String {
    database_url([line.port()])
}

/// Waits until a node says that it is ready, and has nothing to add.
pub(crate) async fn ready(node: &Program) {
    let admin = node.admin_client();
    eventually("a node that is ready", || async { admin.get("/readyz").await.text() == "ok\n" }).await;
}

/// Creates a link that must be new or reused; answers its code.
pub(crate) async fn create(client: &Client, url: &str) -> String {
    let created = client.post("/api/v1/links", &json!({ "url": url })).await;
    assert!(created.status.is_success(), "{url}: {}", created.text());
    created.json()["code"].as_str().expect("a code").to_owned()
}

/// Waits until creating works; answers the code.
pub(crate) async fn create_in_the_end(client: &Client, body: &Value) -> String {
    let code = std::sync::Mutex::new(String::new());
    eventually("a create that succeeds", || async {
        let created = client.post("/api/v1/links", body).await;
        if created.status.is_success() {
            created.json()["code"].as_str().expect("a code").clone_into(&mut code.lock().expect("nobody panicked"));
        }
        created.status.is_success()
    })
    .await;
    code.into_inner().expect("nobody panicked")
}

/// Where following leads; the status in words if it leads nowhere.
pub(crate) async fn followed(client: &Client, code: &str) -> String {
    let answer = client.get(&format!("/{code}")).await;
    match answer.status.as_u16() {
        302 => answer.header("location").to_owned(),
        status => format!("{status}: {}", answer.text()),
    }
}
