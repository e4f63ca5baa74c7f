//! Who reaches whom: a host for each node on one bridge, each with its own packet filter. Or loopback addresses, where
//! namespaces are not to be had: then nothing can be cut.

use std::time::Duration;

use anyhow::Context as _;
use tokio::process::Command;

use crate::sandbox::ENDS_WITH_ITS_PARENT;

/// How long one command of the system may take.
const DONE_WITHIN: Duration = Duration::from_secs(10);

/// The number of the machine that watches.
const WATCHER: u8 = 1;

/// What a node is cut off from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Both,
    Receiving,
    Sending,
}

/// The hosts.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    separate: bool,
    prefix: String,
}

impl Network {
    /// Makes a host for each number; namespaces only if they are to be had.
    pub(crate) async fn build(separate: bool, hosts: impl Iterator<Item = u8>) -> anyhow::Result<Self> {
        if !separate {
            // Linux owns all of 127.0.0.0/8; two runs at once should not meet.
            return Ok(Self { separate, prefix: format!("127.{}.0", 20 + std::process::id() % 200) });
        }
        let network = Self { separate, prefix: "10.77.0".to_owned() };
        // Private to this run: the names below are in nobody's way.
        run("mount -t tmpfs tmpfs /run").await?;
        run("ip link set lo up").await?;
        run("ip link add bridge type bridge").await?;
        run("ip link set bridge up").await?;
        run(&format!("ip addr add {}/24 dev bridge", network.address(WATCHER))).await?;
        for host in hosts {
            run(&format!("ip netns add h{host}")).await?;
            run(&format!("ip link add port{host} type veth peer name eth0 netns h{host}")).await?;
            run(&format!("ip link set port{host} master bridge up")).await?;
            let inside = network.enter(host).join(" ");
            run(&format!("{inside} ip addr add {}/24 dev eth0", network.address(host))).await?;
            run(&format!("{inside} ip link set eth0 up")).await?;
            run(&format!("{inside} ip link set lo up")).await?;
        }
        Ok(network)
    }

    /// Whether nodes can be cut off, and small disks mounted.
    pub(crate) const fn is_separate(&self) -> bool {
        self.separate
    }

    /// The address of a host.
    pub(crate) fn address(&self, host: u8) -> String {
        format!("{}.{host}", self.prefix)
    }

    /// The words before a command that runs on a host, and ends with this process.
    pub(crate) fn enter(&self, host: u8) -> Vec<String> {
        let mut words: Vec<String> = ENDS_WITH_ITS_PARENT.map(str::to_owned).into();
        if self.separate {
            words.extend(["nsenter".to_owned(), format!("--net=/run/netns/h{host}"), "--".to_owned()]);
        }
        words
    }

    /// Drops what a host sends, receives, or both, without a word to either side.
    pub(crate) async fn cut(&self, host: u8, cut: Cut) -> anyhow::Result<()> {
        let mut rules = vec!["add table inet cut".to_owned()];
        for (hook, side, cuts) in [("input", "iif", Cut::Receiving), ("output", "oif", Cut::Sending)] {
            if cut == cuts || cut == Cut::Both {
                rules.push(format!("add chain inet cut {hook} {{ type filter hook {hook} priority 0; policy drop; }}"));
                // What a host says to itself does not pass the wire.
                rules.push(format!("add rule inet cut {hook} {side} lo accept"));
            }
        }
        self.filter(host, rules.join("\n")).await
    }

    /// Lets everything through again.
    pub(crate) async fn heal(&self, host: u8) -> anyhow::Result<()> {
        self.filter(host, "delete table inet cut".to_owned()).await
    }

    async fn filter(&self, host: u8, rules: String) -> anyhow::Result<()> {
        let mut words = self.enter(host);
        words.extend(["nft".to_owned(), rules]);
        output(&words).await.map(drop)
    }
}

/// Runs a command of the system to its end.
pub(crate) async fn run(line: &str) -> anyhow::Result<String> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    output(&words).await
}

async fn output(words: &[String]) -> anyhow::Result<String> {
    let line = words.join(" ");
    let command = Command::new(&words[0]).args(&words[1..]).kill_on_drop(true).output();
    let output = tokio::time::timeout(DONE_WITHIN, command).await.with_context(|| format!("{line}: no end"))?;
    let output = output.with_context(|| line.clone())?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{line}: {}", said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
