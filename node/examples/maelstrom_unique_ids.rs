//! A node of Maelstrom's `unique-ids` workload that draws its ids from a running group of allocators.
//!
//! It speaks Maelstrom's protocol: JSON lines on stdin and stdout, logs on stderr. Each instance is a holder of its own,
//! as each shortener is. `docs/testing.md` says how to run it.

use std::io::{BufRead as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::{Value, json};
use stint::app::allocators_client;
use stint::config::{Disk, Flag, Inputs, Loaded, Role, load, unicode_variables};
use stint::ids::raft::{RaftIdOptions, RaftIds};
use stint::lifecycle::Tasks;
use stint::metrics::{IdMetrics, Registry};
use stint::ports::clock::SystemClock;
use stint::ports::entropy::OsEntropy;
use stint::ports::error_chain::Chain;
use stint::ports::id_source::{IdIssuer, MAX_BLOCK};
use stint::telemetry;
use stint_idgen::allocator::{NamespaceName, NamespaceSpec};
use tokio::sync::mpsc;

/// Where the allocators are must be said.
const USAGE: &str = "maelstrom_unique_ids: no allocators: start a group, then give --allocators HOST:PORT,… or set \
                     STINT_CLUSTER__ALLOCATORS (and STINT_CLUSTER_SECRET, if the group has one)";
/// Lines that wait to be answered.
const WAITING: usize = 1_024;

/// Maelstrom's error codes: <https://github.com/jepsen-io/maelstrom/blob/main/doc/protocol.md#errors>.
#[derive(Clone, Copy)]
enum Code {
    NotSupported = 10,
    TemporarilyUnavailable = 11,
    MalformedRequest = 12,
    PreconditionFailed = 22,
}

/// This node, as Maelstrom knows it.
struct Node {
    /// Given by `init`.
    id: Option<String>,
    last_msg_id: u64,
    ids: RaftIds,
    namespace: NamespaceName,
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("maelstrom_unique_ids: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let mut flags = Vec::new();
    while let Some(argument) = arguments.next() {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (argument, arguments.next()),
        };
        let Some(value) = value.filter(|_| name == "--allocators") else {
            complain(USAGE);
            return Ok(ExitCode::from(64));
        };
        flags.push(Flag { flag: "--allocators", key: "cluster.allocators", value });
    }
    let inputs = Inputs { role: Role::Serve, file: None, flags: &flags, files: &Disk };
    let loaded = unicode_variables(std::env::vars_os()).and_then(|variables| load(inputs, variables))?;
    loaded.check_allocators_client()?;
    if loaded.config.cluster.allocators.is_empty() {
        complain(USAGE);
        return Ok(ExitCode::from(64));
    }
    telemetry::start(&loaded.config.log)?;
    tokio::runtime::Runtime::new().context("the runtime can't be started")?.block_on(serve(&loaded))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(loaded: &Loaded) -> anyhow::Result<()> {
    let background = Tasks::default();
    let config = &loaded.config;
    let options = RaftIdOptions {
        label: format!("maelstrom {}", std::process::id()),
        headroom: config.ids.headroom.get(),
        min_block: config.ids.min_block,
        max_block: config.ids.max_block,
        patience: config.http.request_timeout.get(),
    };
    let ids = RaftIds::without_links(
        allocators_client(&config.cluster)?,
        options,
        IdMetrics::new(&Registry::new()?, "raft"),
        Arc::new(SystemClock),
        Arc::new(OsEntropy),
        Arc::new(background.clone()),
    );
    let namespace = "maelstrom".to_owned().try_into().expect("it is a name");
    let mut node = Node { id: None, last_msg_id: 0, ids, namespace };
    let mut lines = lines();
    while let Some(line) = lines.recv().await {
        let Some(answer) = node.answer(&line).await else { continue };
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{answer}").and_then(|()| stdout.flush()).context("can't write to stdout")?;
    }
    // What was not used is given back.
    background.finish(config.http.shutdown_deadline.get()).await;
    Ok(())
}

/// The lines of stdin, read by a thread of their own: a blocked read would keep the runtime from ending.
fn lines() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(WAITING);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().split(b'\n') {
            let Ok(line) = line else { return };
            if sender.blocking_send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    lines
}

impl Node {
    /// The answer to a line; none where there is nobody to answer.
    async fn answer(&mut self, line: &str) -> Option<Value> {
        let message: Value = match serde_json::from_str(line) {
            Ok(message) => message,
            Err(_) if line.trim().is_empty() => return None,
            Err(error) => {
                tracing::warn!(%error, "a line is no JSON");
                Value::Null
            }
        };
        let request = &message["body"];
        let mut body = match request["type"].as_str() {
            // An answer to an answer could go on for ever.
            Some("error") => return None,
            Some("init") => self.init(request),
            Some("generate") => self.generate(request).await,
            Some(other) => error(Code::NotSupported, format!("this node does not know `{other}`")),
            None => error(Code::MalformedRequest, "a message has a `body` with a `type`"),
        };
        self.last_msg_id += 1;
        body["msg_id"] = self.last_msg_id.into();
        if request["msg_id"].is_u64() {
            body["in_reply_to"] = request["msg_id"].clone();
        }
        Some(json!({ "src": self.id, "dest": message["src"], "body": body }))
    }

    fn init(&mut self, request: &Value) -> Value {
        match (request["node_id"].as_str(), &self.id) {
            _ if !request["msg_id"].is_u64() => error(Code::MalformedRequest, "`init` has a `msg_id`"),
            (None, _) => error(Code::MalformedRequest, "`init` has a `node_id`"),
            (Some(given), Some(own)) if own != given => {
                error(Code::PreconditionFailed, format!("this node is {own} already"))
            }
            (Some(given), _) => {
                tracing::info!(node_id = given, "initialised");
                self.id = Some(given.to_owned());
                json!({ "type": "init_ok" })
            }
        }
    }

    async fn generate(&self, request: &Value) -> Value {
        if !request["msg_id"].is_u64() {
            return error(Code::MalformedRequest, "`generate` has a `msg_id`");
        }
        if self.id.is_none() {
            return error(Code::PreconditionFailed, "`init` comes first");
        }
        match self.draw().await {
            Ok(id) => json!({ "type": "generate_ok", "id": id }),
            Err(cause) => {
                tracing::warn!(error = %Chain(&cause), "no id");
                error(Code::TemporarilyUnavailable, Chain(&cause).to_string())
            }
        }
    }

    async fn draw(&self) -> Result<u64, stint::ports::id_source::IdError> {
        use stint::ports::id_source::IdError;
        let drawn = match self.ids.issue(&self.namespace, 1).await {
            // Whoever is first makes the namespace.
            Err(IdError::Refused(_)) => {
                let spec = NamespaceSpec::contiguous(1, 1 << 63, MAX_BLOCK);
                self.ids.create_namespace(self.namespace.clone(), spec).await?;
                self.ids.issue(&self.namespace, 1).await?
            }
            drawn => drawn?,
        };
        Ok(drawn.first().expect("one id was asked for").first())
    }
}

fn error(code: Code, text: impl Into<String>) -> Value {
    json!({ "type": "error", "code": code as u64, "text": text.into() })
}

fn complain(text: &str) {
    // Nobody is left to tell if stderr is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}
