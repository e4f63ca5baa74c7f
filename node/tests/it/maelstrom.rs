//! The node for Maelstrom's `unique-ids` workload (`node/examples`), over pipes as Maelstrom runs it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::support::{Cluster, DEADLINE, SECRET, in_parallel};

/// One instance.
struct Instance {
    name: String,
    child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
}

/// Builds the example: cargo does it by itself only where all targets are tested.
async fn built() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "-p", "stint", "--example", "maelstrom_unique_ids"]);
    // Build scripts look at what cargo tells its tests, and would run again.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_") && !["CARGO_HOME", "CARGO_TARGET_DIR"].contains(&name.as_str()) {
            cargo.env_remove(name);
        }
    }
    let status = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().await.expect("cargo runs");
    assert!(status.success());
    Path::new(env!("CARGO_BIN_EXE_stint")).with_file_name("examples").join("maelstrom_unique_ids")
}

impl Instance {
    fn start(program: &Path, name: &str, allocators: &str) -> Self {
        let mut command = Command::new(program);
        command.env_clear().env("STINT_CLUSTER_SECRET", SECRET).env("STINT_CLUSTER__ALLOCATORS", allocators);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().expect("it starts");
        let stdin = child.stdin.take().expect("stdin is a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe")).lines();
        Self { name: name.to_owned(), child, stdin, stdout }
    }

    async fn say(&mut self, line: &str) {
        self.stdin.write_all(format!("{line}\n").as_bytes()).await.expect("it reads");
    }

    async fn hear(&mut self) -> Value {
        let line = tokio::time::timeout(DEADLINE, self.stdout.next_line()).await.expect("it answers");
        serde_json::from_str(&line.expect("stdout is text").expect("it runs")).expect("a line is JSON")
    }

    /// Sends a body from `c1` and checks the envelope of the answer; answers its body.
    async fn ask(&mut self, body: Value) -> Value {
        self.say(&json!({ "src": "c1", "dest": self.name, "body": body }).to_string()).await;
        let answer = self.hear().await;
        assert_eq!(answer["dest"], "c1", "{answer}");
        assert_eq!(answer["body"]["in_reply_to"], body["msg_id"], "{answer}");
        answer["body"].clone()
    }

    async fn init(&mut self) {
        let body = json!({ "type": "init", "msg_id": 1, "node_id": self.name, "node_ids": ["n1", "n2", "n3"] });
        assert_eq!(self.ask(body).await["type"], "init_ok");
    }

    /// Asks for ids, many at a time, as Maelstrom's clients do.
    async fn generate(mut self, count: u64) -> (Self, Vec<u64>) {
        let (mut ids, mut heard) = (Vec::new(), HashSet::new());
        for first in (0..count).step_by(100) {
            for n in first..first + 100 {
                let body = json!({ "type": "generate", "msg_id": 1_000 + n });
                self.say(&json!({ "src": format!("c{}", n % 5), "dest": self.name, "body": body }).to_string()).await;
            }
            for _ in 0..100 {
                let answer = self.hear().await;
                let body = &answer["body"];
                let asked = body["in_reply_to"].as_u64().expect("it says to what it replies") - 1_000;
                assert_eq!(answer["dest"], format!("c{}", asked % 5), "{answer}");
                assert_eq!((&answer["src"], &body["type"]), (&json!(self.name), &json!("generate_ok")), "{answer}");
                assert!((first..first + 100).contains(&asked) && heard.insert(body["msg_id"].as_u64().unwrap()));
                ids.push(body["id"].as_u64().expect("an id"));
            }
        }
        (self, ids)
    }

    /// Ends its stdin; it gives back what it did not use, and ends.
    async fn end(mut self) -> Option<i32> {
        drop(self.stdin);
        tokio::time::timeout(DEADLINE, self.child.wait()).await.expect("it ends").expect("it can be waited for").code()
    }
}

#[tokio::test]
async fn three_instances_generate_ten_thousand_ids_that_are_all_different() {
    let program = built().await;
    let cluster = Cluster::found().await;
    let mut instances = ["n1", "n2", "n3"].map(|name| Instance::start(&program, name, &cluster.allocators()));
    for instance in &mut instances {
        instance.init().await;
    }
    let rounds = in_parallel(3, instances, |instance| instance.generate(3_400)).await;
    let mut all = HashSet::new();
    for (instance, ids) in rounds {
        assert_eq!(ids.len(), 3_400);
        all.extend(ids);
        assert_eq!(instance.end().await, Some(0));
    }
    assert_eq!(all.len(), 10_200);
    let status = cluster.status().await.unwrap();
    let namespace = &status["namespaces"][0];
    assert_eq!(
        (&namespace["name"], &namespace["used"], &namespace["live"]),
        (&json!("maelstrom"), &json!(10_200), &json!(0))
    );
}

#[tokio::test]
async fn malformed_and_unknown_messages_are_answered_with_the_protocol_s_errors() {
    let program = built().await;
    // Nobody listens: what is wrong with a message is said without an allocator.
    let mut node = Instance::start(&program, "n1", &crate::support::free_address());
    for (body, code) in [
        (json!({ "type": "generate", "msg_id": 5 }), 22),
        (json!({ "type": "init", "msg_id": 6 }), 12),
        (json!({ "msg_id": 7 }), 12),
        (json!({ "type": "gossip", "msg_id": 8 }), 10),
        (json!({ "type": "generate" }), 12),
    ] {
        let answer = node.ask(body.clone()).await;
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!(code)), "{body}");
        assert!(answer["text"].as_str().is_some_and(|text| text.len() > 10), "{answer}");
    }
    for line in ["", "   ", "not JSON", "[1", "\u{0}", "null"] {
        node.say(line).await;
        if !line.trim().is_empty() {
            assert_eq!(node.hear().await["body"]["code"], 12, "{line:?}");
        }
    }
    node.init().await;
    assert_eq!(node.end().await, Some(0));
    let output = Command::new(&program).env_clear().output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.lines().count()), (Some(64), 1), "{said}");
    assert!(said.contains("--allocators HOST:PORT") && said.contains("STINT_CLUSTER__ALLOCATORS"), "{said}");
}
