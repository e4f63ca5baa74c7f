//! Everything that the run makes, it makes inside: a process, network and mount namespace that the kernel takes down
//! with all that is in them when the process inside ends, or when this one does, by whatever signal or panic.
//!
//! Without the rights for that the run happens over loopback; the nodes still end with the process that started them.

use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use stint::lifecycle::Signals;
use tokio::process::Command;

use crate::{Options, say};

/// What must end with this process is started by these words.
pub(crate) const ENDS_WITH_ITS_PARENT: [&str; 4] = ["setpriv", "--pdeathsig", "KILL", "--"];

const UNSHARED: [&str; 8] = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"];

/// What the run needs inside, tried in namespaces that end at once.
const TRIAL: &str = "mount -t tmpfs tmpfs /run && ip netns add trial && ip link add bridge type bridge && \
                     ip link add port type veth peer name eth0 netns trial && \
                     nsenter --net=/run/netns/trial nft add table inet cut";

/// An interrupted program ends with this.
const INTERRUPTED: u8 = 130;

/// Runs the part inside, and clears up behind it.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    // One thread: the kernel counts the thread that started a process as its parent.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let mut signals = Signals::take().context("the signals can't be taken over")?;
        let dir = tempfile::Builder::new().prefix("stint-chaos-").tempdir().context("no temporary directory")?;
        let separate = match trial().await {
            Ok(()) => true,
            Err(why) => {
                say(&format!(
                    "no network namespaces here ({why}): over loopback, without cuts and without a full disk"
                ));
                false
            }
        };
        let mut words: Vec<&str> = ENDS_WITH_ITS_PARENT.to_vec();
        words.extend(UNSHARED.iter().filter(|_| separate));
        let mut inside = Command::new(words[0]);
        inside.args(&words[1..]).arg(std::env::current_exe()?).args(std::env::args_os().skip(1));
        inside.arg("--inside").arg(dir.path()).args(separate.then_some("--separate"));
        let mut inside = inside.stdin(Stdio::null()).kill_on_drop(true).spawn().context("the run can't be started")?;
        // The run has a limit of its own; this one is for a run that hangs.
        let limit = options.patience() + Duration::from_secs(30);
        let code = tokio::select! {
            ended = tokio::time::timeout(limit, inside.wait()) => match ended {
                Ok(status) => u8::try_from(status?.code().unwrap_or(1)).unwrap_or(1),
                Err(_) => 1,
            },
            () = signals.next() => INTERRUPTED,
        };
        let _ = inside.kill().await;
        clear(dir).await;
        Ok(ExitCode::from(code))
    })
}

/// Whether everything that is needed inside can be had.
async fn trial() -> Result<(), String> {
    let mut trial = Command::new(UNSHARED[0]);
    let trial = trial.args(&UNSHARED[1..]).args(["sh", "-c", TRIAL]).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_secs(10), trial).await.map_err(|_| "no answer".to_owned())?;
    let output = output.map_err(|error| format!("unshare: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().lines().last().unwrap_or_default().to_owned();
    Err(said)
}

/// The last processes may still be on their way out.
async fn clear(dir: tempfile::TempDir) {
    let path = dir.keep();
    let cleared = crate::pace::until("the directory is cleared", Duration::from_secs(5), async || {
        !path.exists() || std::fs::remove_dir_all(&path).is_ok()
    });
    if let Err(error) = cleared.await {
        say(&format!("{} is left behind: {error}", path.display()));
    }
}
