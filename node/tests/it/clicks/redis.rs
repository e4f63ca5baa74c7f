//! A real Redis without persistence for a test: it can stop and start again on its port, its memory gone. It ends when
//! the test process ends, however.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::eventually;

/// Starts Redis, waits for the test process to go, then ends it.
const SUPERVISOR: &str = r#""$@" > /dev/null 2>&1 < /dev/null & server=$!; cat > /dev/null; kill -9 $server; wait"#;

/// One server, on a port of its own.
pub(super) struct Redis {
    dir: TempDir,
    port: u16,
    supervisor: Option<Child>,
}

impl Redis {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let port = listener.local_addr().expect("it is bound").port();
        drop(listener);
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut redis = Self { dir, port, supervisor: None };
        redis.launch().await;
        redis
    }

    /// Starts it again, empty.
    pub(super) async fn launch(&mut self) {
        let supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "supervisor", "redis-server", "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "no", "--maxmemory", "64mb", "--port", &self.port.to_string(), "--dir"])
            .arg(self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.supervisor = Some(supervisor.expect("a shell"));
        eventually("Redis answers (is it installed? `make tools`)", || async {
            self.ask::<String>(&redis::cmd("PING")).is_ok()
        })
        .await;
    }

    /// Ends it at once.
    pub(super) fn stop(&mut self) {
        if let Some(mut supervisor) = self.supervisor.take() {
            drop(supervisor.stdin.take());
            let _ = supervisor.wait();
        }
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// What it answers to a command.
    pub(super) fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> redis::RedisResult<T> {
        let mut connection = redis::Client::open(self.url())?.get_connection()?;
        command.query(&mut connection)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}
