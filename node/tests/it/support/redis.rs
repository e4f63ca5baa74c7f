//! Real Redis servers for tests, which a test may kill, pause, empty, and start again with other data. A server ends, and
//! its files go, when its test process ends however.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;

/// Starts servers one after the other as it is told on its input, and takes the last one down with its files once that ends.
/// `start` waits for the one before to be gone.
const SUPERVISOR: &str = r#"
root=$1; shift; pid=
while read -r line; do
  case $line in
    start) if [ -n "$pid" ]; then wait "$pid"; fi; "$@" > "$root/log" 2>&1 < /dev/null & pid=$! ;;
    kill) kill -9 "$pid"; wait "$pid"; pid= ;;
    stop) kill -CONT "$pid"; kill -TERM "$pid"; wait "$pid"; pid= ;;
    pause) kill -STOP "$pid" ;;
    resume) kill -CONT "$pid" ;;
  esac
  echo "$line"
done 2> /dev/null
if [ -n "$pid" ]; then kill -9 "$pid"; fi 2> /dev/null
rm -rf "$root"
"#;

/// How long a server may take to answer after its start.
const STARTED_WITHIN: Duration = Duration::from_secs(20);

/// One server, with a directory and a port of its own.
#[derive(Debug)]
pub(crate) struct Redis {
    root: PathBuf,
    port: u16,
    tls_port: u16,
    supervisor: std::sync::Mutex<Supervisor>,
}

#[derive(Debug)]
struct Supervisor {
    shell: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Redis {
    /// A new server, started, that saves nothing by itself.
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// The same, with more lines in its configuration. `ROOT` and `TLS_PORT` in them are replaced.
    pub(crate) fn start_with(settings: &str) -> Self {
        Self::launch_program(&[], settings)
    }

    /// A Sentinel that watches `primary` as `main` and gives it up after half a second, alone.
    pub(crate) fn sentinel(primary: &Self) -> Self {
        let settings = format!(
            "sentinel monitor main 127.0.0.1 {} 1\nsentinel down-after-milliseconds main 500\n\
             sentinel failover-timeout main 2000\n",
            primary.port
        );
        Self::launch_program(&["--sentinel"], &settings)
    }

    /// A replica of this server, started and in step.
    pub(crate) fn replica(&self) -> Self {
        let replica = Self::start_with(&format!("replicaof 127.0.0.1 {}\nrepl-diskless-sync-delay 0\n", self.port));
        let deadline = Instant::now() + STARTED_WITHIN;
        while !replica.ask(&["INFO", "replication"]).contains("master_link_status:up") {
            assert!(Instant::now() < deadline, "the replica doesn't follow: {}", replica.log());
            std::thread::yield_now();
        }
        replica
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Where it listens.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens for TLS, if `tls-port TLS_PORT` is configured.
    pub(crate) const fn tls_port(&self) -> u16 {
        self.tls_port
    }

    /// A file in its directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Ends it as a crash would, nothing saved.
    pub(crate) fn kill(&self) {
        self.tell("kill");
    }

    /// Starts it again after [`Redis::kill`], with what its dump holds.
    pub(crate) fn launch(&self) {
        self.tell("start");
        self.wait_until_it_answers();
    }

    /// Freezes it: it takes connections and answers nothing.
    pub(crate) fn pause(&self) {
        self.tell("pause");
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.tell("resume");
    }

    /// Empties it.
    pub(crate) fn flush(&self) {
        assert_eq!(self.ask(&["FLUSHALL"]), "OK");
    }

    /// Writes its dump.
    pub(crate) fn save(&self) {
        assert_eq!(self.ask(&["SAVE"]), "OK");
    }

    /// Keeps its dump aside.
    pub(crate) fn keep_dump(&self) -> Vec<u8> {
        self.save();
        std::fs::read(self.file("dump.rdb")).expect("it was saved")
    }

    /// Kills it and starts it again with an older dump.
    pub(crate) fn restore(&self, dump: &[u8]) {
        self.kill();
        std::fs::write(self.file("dump.rdb"), dump).expect("the directory is writable");
        self.launch();
    }

    /// Does one command; answers what redis-cli prints.
    pub(crate) fn ask(&self, command: &[&str]) -> String {
        let output = self.cli().args(command).output().expect("redis-cli is installed: `make tools`");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn cli(&self) -> Command {
        let mut cli = Command::new("redis-cli");
        // A password that the server doesn't ask for is only warned of.
        cli.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]).stderr(Stdio::null());
        cli
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.root.join("log")).unwrap_or_default()
    }

    fn launch_program(arguments: &[&str], settings: &str) -> Self {
        let root = tempfile::Builder::new().prefix("stint-redis-").tempdir().expect("a temporary directory").keep();
        let (port, tls_port) = (free_port(), free_port());
        let own = format!(
            "bind 127.0.0.1\nport {port}\ndir {0}\nsave \"\"\nappendonly no\ndaemonize no\nprotected-mode no\n",
            root.display()
        );
        let own = if arguments.is_empty() { own } else { own.replace("save \"\"\nappendonly no\n", "") };
        let more = settings.replace("ROOT", &root.display().to_string()).replace("TLS_PORT", &tls_port.to_string());
        let file = root.join("redis.conf");
        std::fs::write(&file, own + &more).expect("the directory is writable");
        let server = Self {
            supervisor: std::sync::Mutex::new(Supervisor::start(&root, &file, arguments)),
            root,
            port,
            tls_port,
        };
        server.launch();
        server
    }

    fn wait_until_it_answers(&self) {
        let deadline = Instant::now() + STARTED_WITHIN;
        loop {
            let answer = self.ask(&["PING"]);
            if answer == "PONG" || answer.contains("NOAUTH") || TcpStream::connect(("127.0.0.1", self.tls_port)).is_ok()
            {
                return;
            }
            assert!(Instant::now() < deadline, "it doesn't start: {}", self.log());
            std::thread::yield_now();
        }
    }

    fn tell(&self, order: &str) {
        self.supervisor.lock().expect("nobody panics with it").tell(order);
    }
}

impl Supervisor {
    fn start(root: &Path, file: &Path, arguments: &[&str]) -> Self {
        let mut shell = Command::new("sh")
            .args(["-c", SUPERVISOR, "supervisor"])
            .arg(root)
            .arg("redis-server")
            .arg(file)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("a shell");
        let answers = BufReader::new(shell.stdout.take().expect("it is piped"));
        Self { shell, answers }
    }

    fn tell(&mut self, order: &str) {
        let input = self.shell.stdin.as_mut().expect("it is piped");
        writeln!(input, "{order}").expect("the supervisor lives as long as the test");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the supervisor answers");
        assert_eq!(answer.trim(), order);
    }
}

/// Every test binary uses some of these.
const _: fn(&Redis) = |redis| {
    redis.flush();
    redis.pause();
    redis.resume();
    redis.restore(&redis.keep_dump());
    let _ = (redis.replica().url(), redis.port(), redis.tls_port(), Redis::sentinel, Redis::start);
};

impl Drop for Redis {
    fn drop(&mut self) {
        if let Ok(supervisor) = self.supervisor.get_mut() {
            drop(supervisor.shell.stdin.take());
            let _ = supervisor.shell.wait();
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("loopback has free ports").port()
}
