//! Real Postgres servers for tests: one shared by all tests of a binary, each with a database of its own, and servers
//! that a test may stop, pause, copy and promote. A server ends, and its files go, when its test process ends however.

use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};

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
log_line_prefix = '%d '
unix_socket_directories = ''
";

/// Waits for the test process to go, then stops the server and removes its files. A paused server can't stop.
const SUPERVISOR: &str = r#"cat > /dev/null; root=$1; shift
pid=$(head -n 1 "$root/data/postmaster.pid" 2> /dev/null) && kill -CONT "$pid" && pkill --signal CONT --parent "$pid"
"$@" > /dev/null 2>&1; rm -rf "$root""#;

/// One server, with a directory and a port of its own.
#[derive(Debug)]
pub(crate) struct Postgres {
    root: PathBuf,
    port: u16,
    supervisor: Option<Child>,
}

/// The server that all tests of this binary share, with a new, empty database: its URL.
pub(crate) fn fresh_database() -> String {
    new_database("template1")
}

/// The same with a schema: `migrate` is called once, with the URL of the database that all others are copies of. It must
/// leave no connection to it.
pub(crate) fn migrated_database(migrate: impl FnOnce(&str)) -> String {
    static TEMPLATE: OnceLock<String> = OnceLock::new();
    let template = TEMPLATE.get_or_init(|| {
        let url = fresh_database();
        migrate(&url);
        url.rsplit('/').next().expect("a URL has a path").to_owned()
    });
    new_database(template)
}

fn new_database(template: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    shared().execute(&format!("CREATE DATABASE {name} TEMPLATE {template}"));
    shared().url(&name)
}

/// The server that all tests of this binary share.
pub(crate) fn shared() -> &'static Postgres {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    SHARED.get_or_init(Postgres::start)
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

    /// What it has logged, each line with its database. With `log_statement = 'all'` in a database that is all it does.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.root.join("log")).unwrap_or_default()
    }

    /// Starts a stopped server again.
    pub(crate) fn launch(&self) {
        let mut start = as_postgres(&bin().join("pg_ctl"));
        start.args(["-w", "-t", "60", "-s", "-l"]).arg(self.root.join("log")).arg("-D").arg(self.data());
        start.arg("-o").arg(format!("-p {}", self.port)).arg("start");
        // A server that inherited the test's pipes would keep whoever reads them waiting.
        let status = start.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(status.expect("PostgreSQL is installed: `make tools`").success(), "it doesn't start: {}", self.log());
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
        self.signal(Signal::STOP, "STOP");
    }

    /// Lets them go on.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT, "CONT");
    }

    fn signal(&self, signal: Signal, name: &str) {
        let postmaster = std::fs::read_to_string(self.data().join("postmaster.pid")).expect("it runs");
        let postmaster = postmaster.lines().next().expect("the first line is the pid").to_owned();
        // The postmaster first, so that it starts no more children; each of them has a session of its own.
        let pid = postmaster.parse().ok().and_then(Pid::from_raw).expect("it is a number");
        kill_process(pid, signal).expect("it runs");
        let status = Command::new("pkill").args(["--signal", name, "--parent", &postmaster]).status();
        assert!(status.expect("procps is installed: `make tools`").success(), "{postmaster} has no children");
    }

    fn control(&self, arguments: &[&str]) {
        let mut control = as_postgres(&bin().join("pg_ctl"));
        let output = control.arg("-D").arg(self.data()).args(["-w", "-s"]).args(arguments).output();
        succeeded("pg_ctl", &output.expect("PostgreSQL is installed: `make tools`"));
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
            drop(supervisor.stdin.take());
            let _ = supervisor.wait();
        }
    }
}

/// A program of PostgreSQL, which refuses to run as root.
pub(crate) fn as_postgres(program: &Path) -> Command {
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

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::TcpStream;
    use std::time::Duration;

    use super::{Postgres, fresh_database};

    /// Whether the server greets a client: answers its question whether TLS is spoken.
    fn greets(server: &Postgres) -> bool {
        use std::io::Write as _;
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", server.port())) else { return false };
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        // The request for TLS: its length and its number.
        stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).is_ok() && stream.read_exact(&mut [0]).is_ok()
    }

    #[test]
    fn a_server_is_copied_paused_crashed_launched_again_and_replaced() {
        let first = Postgres::start();
        let second = first.replica();
        first.wait_for(&[&second]);
        first.execute("CREATE TABLE kept AS SELECT 7 AS number");
        first.wait_for(&[]);
        assert_eq!(second.execute("SELECT number FROM kept"), "7");

        second.pause();
        assert!(!greets(&second));
        second.resume();
        assert_eq!(second.execute("SELECT pg_is_in_recovery()"), "t");

        first.crash();
        assert!(!greets(&first));
        second.promote();
        second.execute("INSERT INTO kept VALUES (8)");
        first.configure("work_mem = '5MB'\n");
        first.launch();
        assert_eq!(first.execute("SELECT sum(number) FROM kept"), "7");
        assert_eq!(first.execute_on("template1", "SHOW work_mem"), "5MB");
    }

    #[test]
    fn each_database_of_the_shared_server_is_new() {
        assert_ne!(fresh_database(), fresh_database());
    }
}
