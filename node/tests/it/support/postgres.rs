//! Real Postgres servers for tests: one shared by all tests of a binary, each with a database of its own, and servers
//! that a test may stop, pause, copy and promote. A server ends, and its files go, when its test process ends however.

use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Settings of every test server: small, on loopback, fit for replicas. A crash of the server loses nothing even
/// without fsync; a crash of the machine isn't tested.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
fsync = off
max_connections = 200
shared_buffers = '32MB'
wal_level = replica
max_wal_senders = 10
hot_standby = on
wal_receiver_status_interval = '100ms'
wal_retrieve_retry_interval = '200ms'
log_min_messages = error
unix_socket_directories = ''
";

/// Waits for the test process to go, then stops the server and removes its files.
const SUPERVISOR: &str = r#"cat > /dev/null; root=$1; shift; "$@" > /dev/null 2>&1; rm -rf "$root""#;

/// One server, with a directory and a port of its own.
#[derive(Debug)]
pub(crate) struct Postgres {
    root: PathBuf,
    port: u16,
    supervisor: Option<Child>,
}

/// The server that all tests of this binary share, with a new, empty database: its URL.
pub(crate) fn fresh_database() -> String {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let server = SHARED.get_or_init(Postgres::start);
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    server.execute(&format!("CREATE DATABASE {name}"));
    server.url(&name)
}

impl Postgres {
    /// A new server, started.
    pub(crate) fn start() -> Self {
        let server = Self::prepare();
        let output = as_postgres(&bin().join("initdb"))
            .args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(server.data())
            .output();
        succeeded("initdb", &output.expect("PostgreSQL is installed: `make tools`"));
        server.configure(SETTINGS);
        server.launch();
        server
    }

    /// A streaming replica of this server, started.
    pub(crate) fn replica(&self) -> Self {
        let server = Self::prepare();
        let output = as_postgres(&bin().join("pg_basebackup"))
            .args(["-R", "-X", "stream", "-c", "fast", "--no-sync", "-d"])
            .arg(format!("host=127.0.0.1 port={} user=postgres application_name=r{}", self.port, server.port))
            .arg("-D")
            .arg(server.data())
            .output();
        succeeded("pg_basebackup", &output.expect("PostgreSQL is installed: `make tools`"));
        server.launch();
        server
    }

    /// Makes this server wait for the replicas given before it acknowledges a commit; for none, not any more.
    pub(crate) fn wait_for(&self, replicas: &[&Self]) {
        let names: Vec<_> = replicas.iter().map(|replica| format!("r{}", replica.port)).collect();
        let names = if names.is_empty() { String::new() } else { format!("ANY 1 ({})", names.join(",")) };
        self.execute(&format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'"));
        self.execute("SELECT pg_reload_conf()");
    }

    /// Adds to the configuration; takes effect at the next start.
    pub(crate) fn configure(&self, settings: &str) {
        let file = std::fs::OpenOptions::new().append(true).open(self.data().join("postgresql.conf"));
        file.expect("initdb made it").write_all(settings.as_bytes()).expect("the directory is writable");
    }

    /// The URL of a database on this server; `postgres` is always there.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Where it listens.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Its data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Does one statement on the database `postgres`; answers what psql printed, unaligned.
    pub(crate) fn execute(&self, sql: &str) -> String {
        self.execute_on("postgres", sql)
    }

    /// Does one statement on a database.
    pub(crate) fn execute_on(&self, database: &str, sql: &str) -> String {
        let output = Command::new(bin().join("psql"))
            .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql, &self.url(database)])
            .output();
        let output = output.expect("PostgreSQL is installed: `make tools`");
        succeeded(sql, &output);
        String::from_utf8(output.stdout).expect("psql prints text").trim().to_owned()
    }

    /// Starts a stopped server again.
    pub(crate) fn launch(&self) {
        let mut start = as_postgres(&bin().join("pg_ctl"));
        start.args(["-w", "-t", "60", "-s", "-l"]).arg(self.root.join("log")).arg("-D").arg(self.data());
        start.arg("-o").arg(format!("-p {}", self.port)).arg("start");
        // A server that inherited the test's pipes would keep whoever reads them waiting.
        let status = start.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        let log = || std::fs::read_to_string(self.root.join("log")).unwrap_or_default();
        assert!(status.expect("PostgreSQL is installed: `make tools`").success(), "it doesn't start: {}", log());
    }

    /// Ends it as a crash would: at once, without a checkpoint, clients cut off.
    pub(crate) fn crash(&self) {
        self.control(&["-m", "immediate", "stop"]);
    }

    /// Makes a replica a primary, on a timeline of its own.
    pub(crate) fn promote(&self) {
        self.control(&["promote"]);
    }

    /// Freezes all of its processes.
    pub(crate) fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets them go on.
    pub(crate) fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        // Children first would let the postmaster start new ones; its whole session stops as one.
        let postmaster = std::fs::read_to_string(self.data().join("postmaster.pid")).expect("it runs");
        let session = postmaster.lines().next().expect("the first line is the pid").to_owned();
        let status = Command::new("pkill").args(["--signal", signal, "--session", &session]).status();
        assert!(status.expect("procps is installed: `make tools`").success(), "no process has session {session}");
    }

    fn control(&self, arguments: &[&str]) {
        let mut command = as_postgres(&bin().join("pg_ctl"));
        command.arg("-D").arg(self.data()).args(["-w", "-s"]).args(arguments);
        succeeded("pg_ctl", &command.output().expect("PostgreSQL is installed: `make tools`"));
    }

    /// A directory of the server's user, a free port, and whoever takes both down at the end.
    fn prepare() -> Self {
        let root = tempfile::Builder::new().prefix("stint-postgres-").tempdir().expect("a temporary directory").keep();
        if is_root() {
            let status = Command::new("chown").arg("postgres").arg(&root).status();
            assert!(status.expect("chown is there").success(), "there is no user postgres: `make tools`");
        }
        let mut stop = as_postgres(&bin().join("pg_ctl"));
        stop.arg("-D").arg(root.join("data")).args(["-m", "immediate", "stop"]);
        let supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "supervisor"])
            .arg(&root)
            .arg(stop.get_program())
            .args(stop.get_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("a shell");
        Self { root, port: free_port(), supervisor: Some(supervisor) }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut supervisor) = self.supervisor.take() {
            if self.data().join("postmaster.pid").exists() {
                // A paused server can't stop.
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.resume()));
            }
            drop(supervisor.stdin.take());
            let _ = supervisor.wait();
        }
    }
}

/// A program of PostgreSQL, which refuses to run as root.
fn as_postgres(program: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/");
    command
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where Debian keeps the programs, or where the path has them.
fn bin() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.map(|version| version.path().join("bin")).filter(|bin| bin.join("initdb").exists()).max();
    newest.unwrap_or_default()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("loopback has free ports").port()
}

fn succeeded(what: &str, output: &Output) {
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
}
