//! One process of the real program. It is killed by its own number, never by a name, and never outlives the run.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// How long a process may take to end once it was asked to, or must.
const ENDED_WITHIN: Duration = Duration::from_secs(15);

/// A running process.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts `words` with nothing in its environment but `environment`; what it says is added to `log`.
    pub(crate) fn start(
        name: &str,
        words: &[String],
        environment: &[(String, String)],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let log = OpenOptions::new().create(true).append(true).open(log).context("the log can't be opened")?;
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear().envs(environment.iter().cloned()).env("PATH", PATH).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("{name} can't be started"))?;
        Ok(Self { child, name: name.to_owned() })
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = self.child.id().with_context(|| format!("{} has ended already", self.name))?;
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("a process has a number")?;
        kill_process(pid, signal).with_context(|| format!("{} can't be signalled", self.name))
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        let ended = tokio::time::timeout(ENDED_WITHIN, self.child.wait()).await;
        Ok(ended.with_context(|| format!("{} did not end within {} s", self.name, ENDED_WITHIN.as_secs()))??)
    }

    /// Kills it (SIGKILL).
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)?;
        self.ended().await.map(drop)
    }

    /// Asks it to stop (SIGTERM), which must go well.
    pub(crate) async fn terminate(mut self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)?;
        let status = self.ended().await?;
        anyhow::ensure!(status.success(), "{} did not stop cleanly: {status}", self.name);
        Ok(())
    }

    /// Whether it ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }
}

/// Where `setpriv`, `nsenter` and the like are.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
