//! Real Redis servers for tests, on loopback, in memory only. A server ends, and its files go, when its test process
//! ends however.

use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::{Client, FromRedisValue};
use tokio::time::{Instant, interval};

/// How long a server may take to start.
const DEADLINE: Duration = Duration::from_secs(30);

/// Ends the server when its own input ends; then removes its files, unless it was told to keep them.
const SUPERVISOR: &str = r#"
dir=$1; shift
redis-server --dir "$dir" --bind 127.0.0.1 --save '' --appendonly no "$@" > /dev/null 2>&1 < /dev/null &
server=$!
told=$(cat)
kill -9 $server; wait $server
[ "$told" = keep ] || rm -rf "$dir"
"#;

/// One server, with a directory and a port of its own.
pub(in crate::ids) struct RedisProcess {
    dir: PathBuf,
    port: u16,
    supervisor: Option<Child>,
}

impl RedisProcess {
    /// A new, empty server.
    pub(in crate::ids) async fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("stint-redis-").tempdir().expect("a temporary directory").keep();
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let port = listener.local_addr().expect("it is bound").port();
        drop(listener);
        let mut server = Self { dir, port, supervisor: None };
        server.launch().await;
        server
    }

    /// Starts it again after [`RedisProcess::kill`], with what it saved.
    pub(in crate::ids) async fn launch(&mut self) {
        let supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "supervisor"])
            .arg(&self.dir)
            .args(["--port", &self.port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        self.supervisor = Some(supervisor.expect("a shell"));
        let started = Instant::now();
        let mut ticks = interval(Duration::from_millis(5));
        while let Err(error) = self.ask::<String>(&["PING"]).await {
            assert!(started.elapsed() < DEADLINE, "Redis doesn't answer (is it installed? `make tools`): {error}");
            ticks.tick().await;
        }
    }

    /// Ends it at once; nothing is saved.
    pub(in crate::ids) fn kill(&mut self) {
        self.end(b"keep");
    }

    pub(in crate::ids) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// Does one command, which must succeed.
    pub(super) async fn command<T: FromRedisValue>(&self, words: &[&str]) -> T {
        self.ask(words).await.expect("Redis does it")
    }

    async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let mut connection = Client::open(self.url())?.get_multiplexed_async_connection().await?;
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]).query_async(&mut connection).await
    }

    fn end(&mut self, word: &[u8]) {
        if let Some(mut supervisor) = self.supervisor.take() {
            let told = supervisor.stdin.take().map(|mut stdin| stdin.write_all(word));
            let _ = (told, supervisor.wait());
        }
    }
}

impl Drop for RedisProcess {
    fn drop(&mut self) {
        self.end(b"");
    }
}
