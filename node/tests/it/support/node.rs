//! A node in this process: the whole of it, on free ports and a directory of its own.

use std::path::Path;
use std::sync::Arc;

use stint::app::{DevNode, Surroundings, start_dev};
use stint::config::{Disk, Flag, Inputs, Role, load};
use stint::ports::clock::SystemClock;
use stint::ports::entropy::OsEntropy;
use stint::telemetry;
use stint::telemetry::traces::Traces;
use tempfile::TempDir;

use super::Client;

/// A running `dev` node.
pub(crate) struct TestNode {
    pub(crate) node: DevNode,
    pub(crate) dir: TempDir,
    pub(crate) key: String,
}

impl TestNode {
    /// Starts a node with default settings.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a node with some settings, as `(key, value)`.
    pub(crate) async fn start_with(settings: &[(&'static str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let node = open(dir.path(), settings, false).await.expect("the node starts");
        let key = std::fs::read_to_string(dir.path().join("data/admin.key")).expect("the admin key is kept");
        Self { node, dir, key: key.trim().to_owned() }
    }

    /// Stops the node, cleanly, and starts it again on the same directory.
    pub(crate) async fn restart(self) -> Self {
        let Self { node, dir, key } = self;
        assert!(node.stop().await, "the node stops cleanly");
        let node = open(dir.path(), &[], false).await.expect("the node starts again");
        Self { node, dir, key }
    }

    /// A client with the admin key.
    pub(crate) fn client(&self) -> Client {
        Client::new(format!("http://{}", self.node.address), Some(&self.key))
    }

    /// A client without a key.
    pub(crate) fn visitor(&self) -> Client {
        self.client().with_key(None)
    }

    /// A client of the admin port.
    pub(crate) fn admin(&self) -> Client {
        Client::new(format!("http://{}", self.node.admin_address), None)
    }

    /// A client with a new key of these scopes and this owner.
    pub(crate) async fn client_of(&self, owner: &str, scopes: &[&str]) -> Client {
        let body = serde_json::json!({ "name": "test", "owner": owner, "scopes": scopes });
        let created = self.client().post("/api/v1/keys", &body).await.json();
        self.client().with_key(created["key"].as_str())
    }
}

/// Opens a node on `dir/data`.
pub(crate) async fn open(dir: &Path, settings: &[(&'static str, &str)], repair: bool) -> anyhow::Result<DevNode> {
    let data = dir.join("data");
    let defaults = [
        ("cluster.data_dir", data.to_str().expect("the path is text")),
        ("http.listen", "127.0.0.1:0"),
        ("admin.listen", "127.0.0.1:0"),
    ];
    let flags: Vec<Flag> = defaults
        .iter()
        .chain(settings)
        .map(|(key, value)| Flag { flag: "--test", key, value: (*value).to_owned() })
        .collect();
    let inputs = Inputs { role: Role::Dev, file: None, flags: &flags, files: &Disk };
    let config = load(inputs, []).map_err(|error| anyhow::anyhow!("{error}"))?.config;
    let (subscriber, log_level) = telemetry::subscriber(&config.log, false, std::io::sink);
    // The log level can be changed as long as there is a log.
    Box::leak(Box::new(subscriber));
    let around = Surroundings {
        clock: Arc::new(SystemClock),
        entropy: Arc::new(OsEntropy),
        log_level,
        traces: Traces::start(&config.trace, "dev")?,
    };
    start_dev(&config, repair, around).await
}
