//! The real program as a child process.

use std::fs::File;
use std::path::Path;
use std::process::{Output, Stdio};

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::{Client, DEADLINE};

/// `stint dev`, `stint serve` or `stint allocator`, running.
pub(crate) struct Program {
    child: Child,
    pub(crate) base: String,
    pub(crate) admin: String,
    /// Everything it printed until it was ready.
    pub(crate) banner: String,
    pub(crate) key: String,
}

/// The program with no environment but what it is given.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stint"));
    command.args(arguments).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs the program to its end.
pub(crate) async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let child = command(arguments).envs(environment.iter().copied()).output();
    // An import of 20,000 lines is the longest that is run.
    tokio::time::timeout(10 * DEADLINE, child).await.expect("the program ends").expect("the program runs")
}

impl Program {
    /// Starts `stint dev` on `data` and waits until it says that it is ready.
    pub(crate) async fn start(data: &Path) -> Self {
        let data_dir = data.to_str().expect("the path is text");
        let arguments = ["dev", "--data-dir", data_dir, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let (child, banner) = banner_of(command(&arguments).stderr(Stdio::inherit()), "curl").await;
        let key = std::fs::read_to_string(data.join("admin.key")).expect("the key is kept").trim().to_owned();
        Self { base: value(&banner, "Shorten"), admin: admin_of(&banner), key, child, banner }
    }

    /// Starts `stint allocator` on `data` and waits until it says that it runs.
    pub(crate) async fn start_allocator(data: &Path, arguments: &[&str]) -> Self {
        let data_dir = data.to_str().expect("the path is text");
        let ports = ["allocator", "--data-dir", data_dir, "--admin-listen", "127.0.0.1:0"];
        let arguments = [&ports[..], arguments].concat();
        let (child, banner) = banner_of(command(&arguments).stderr(Stdio::inherit()), "Metrics").await;
        Self { base: value(&banner, "Allocator"), admin: admin_of(&banner), key: String::new(), child, banner }
    }

    /// Starts an allocator or a shortener, with its log at the end of `log`, and waits until it says that it runs.
    pub(crate) async fn start_role(arguments: &[&str], environment: &[(&str, &str)], log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).expect("the log can be written");
        let mut command = command(arguments);
        let (child, banner) = banner_of(command.envs(environment.iter().copied()).stderr(log), "Metrics").await;
        let name = if arguments[0] == "serve" { "API" } else { "Allocator" };
        let base = value(&banner, name).trim_end_matches("/api/v1/ids").to_owned();
        let key = environment.iter().find(|(name, _)| *name == "STINT_ADMIN_KEY").map_or("", |(_, key)| *key);
        Self { base, admin: admin_of(&banner), key: key.to_owned(), child, banner }
    }

    /// A client of the admin port.
    pub(crate) fn admin_client(&self) -> Client {
        Client::new(self.admin.clone(), None)
    }

    /// A client with the admin key.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.base.clone(), Some(&self.key))
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("it can be killed");
    }

    /// Waits until it has ended by itself, and answers its exit code.
    pub(crate) async fn ended(mut self) -> Option<i32> {
        let ended = tokio::time::timeout(DEADLINE, self.child.wait()).await.expect("it ends");
        ended.expect("it can be waited for").code()
    }

    /// Asks it to stop (SIGTERM) and answers its exit code.
    pub(crate) async fn terminate(self) -> Option<i32> {
        let pid = self.child.id().expect("it runs").to_string();
        let kill = Command::new("kill").args(["-TERM", &pid]).status().await.expect("kill runs");
        assert!(kill.success());
        self.ended().await
    }
}

/// Starts a server of somebody else's, which says nothing and ends with its handle.
pub(super) fn quiet(command: &mut Command) -> Child {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command.spawn().expect("it is installed: `make tools`")
}

/// Starts the program and reads what it prints, up to a line with the word `last`.
async fn banner_of(command: &mut Command, last: &str) -> (Child, String) {
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout is a pipe")).lines();
    let mut banner = String::new();
    let read = async {
        while let Some(line) = lines.next_line().await.expect("stdout is text") {
            banner += &line;
            banner.push('\n');
            if line.contains(last) {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, read).await.expect("the program says that it is ready");
    (child, banner)
}

/// The last word of the banner's line that begins with `name`.
fn value(banner: &str, name: &str) -> String {
    let line = banner.lines().find(|line| line.trim_start().starts_with(name)).expect("the banner has it");
    line.split_whitespace().last().expect("the line has the value").to_owned()
}

fn admin_of(banner: &str) -> String {
    value(banner, "Metrics").trim_end_matches("/metrics").to_owned()
}
