//! The allocators: three seats, each a host with a data directory and, most of the time, a member that runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;
use stint::cluster::remote::{RemoteAllocator, RemoteOptions};
use stint::cluster::rpc::ClusterSecret;
use stint::cluster::transport::{Connections, Dial, TcpDialer};
use stint::ports::coordination::{Allocator as _, ClusterStatus, MemberChange, MemberStatus};

use crate::network::Network;
use crate::pace::until;
use crate::process::Process;

/// How many allocators there are.
pub(crate) const SEATS: usize = 3;
/// The host of the first allocator.
pub(crate) const FIRST_HOST: u8 = 11;
/// The seat whose disk is small.
pub(crate) const SMALL_DISK: usize = 2;

/// How long the group may take to be whole again.
const WHOLE_WITHIN: Duration = Duration::from_secs(30);
/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(5);
const PORT: u16 = 7101;
const SECRET: &str = "a-secret-for-this-run-alone";

/// The allocators.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) network: Network,
    pub(crate) seats: Vec<Seat>,
    stint: PathBuf,
    control: RemoteAllocator,
    last_node_id: u64,
}

/// A place for an allocator.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) host: u8,
    /// The member's number: another one once its data was lost.
    pub(crate) node_id: u64,
    pub(crate) data: PathBuf,
    pub(crate) log: PathBuf,
    /// What its environment holds besides the secret.
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) process: Option<Process>,
}

impl Cluster {
    /// Three seats below `dir`; nobody runs.
    pub(crate) fn new(network: Network, stint: PathBuf, dir: &Path, logs: &Path) -> Self {
        let addresses = (0..SEATS).map(|seat| address(&network, seat)).collect();
        let seat = |seat: usize| Seat {
            host: host(seat),
            node_id: seat as u64 + 1,
            data: dir.join(format!("disk-{}", seat + 1)).join("data"),
            log: logs.join(format!("allocator-{}.log", seat + 1)),
            environment: Vec::new(),
            process: None,
        };
        let seats = (0..SEATS).map(seat).collect();
        Self { control: client(addresses), network, seats, stint, last_node_id: SEATS as u64 }
    }

    /// A client of its own, as a holder has one.
    pub(crate) fn client(&self) -> RemoteAllocator {
        client((0..SEATS).map(|seat| address(&self.network, seat)).collect())
    }

    /// Where the allocators are, as flags say it.
    pub(crate) fn addresses(&self) -> String {
        (0..SEATS).map(|seat| address(&self.network, seat)).collect::<Vec<_>>().join(",")
    }

    /// The variable with the secret.
    pub(crate) fn secret() -> (String, String) {
        ("STINT_CLUSTER_SECRET".to_owned(), SECRET.to_owned())
    }

    /// The program that runs.
    pub(crate) fn program(&self) -> &Path {
        &self.stint
    }

    /// The words that run the program on a host.
    pub(crate) fn words(&self, host: u8, arguments: &[&str]) -> Vec<String> {
        let mut words = self.network.enter(host);
        words.push(self.stint.display().to_string());
        words.extend(arguments.iter().map(|&argument| argument.to_owned()));
        words
    }

    /// Starts the member of a seat.
    pub(crate) fn start(&mut self, seat: usize, bootstrap: bool) -> anyhow::Result<()> {
        let host = host(seat);
        let peers: Vec<_> = (0..SEATS).map(|at| format!("{}={}", at + 1, address(&self.network, at))).collect();
        let (listen, admin) = (address(&self.network, seat), format!("{}:9464", self.network.address(host)));
        let Seat { node_id, data, log, environment, .. } = &self.seats[seat];
        let (node_id, data) = (node_id.to_string(), data.display().to_string());
        let mut arguments = vec!["allocator", "--node-id", &node_id, "--listen", &listen, "--admin-listen", &admin];
        arguments.extend(["--data-dir", &data]);
        let peers = peers.join(",");
        if bootstrap {
            arguments.extend(["--bootstrap", "--peers", &peers]);
        }
        let environment: Vec<_> = environment.iter().cloned().chain([Self::secret()]).collect();
        let process =
            Process::start(&format!("allocator {node_id}"), &self.words(host, &arguments), &environment, log)?;
        self.seats[seat].process = Some(process);
        Ok(())
    }

    /// The running member of a seat.
    pub(crate) fn running(&self, seat: usize) -> anyhow::Result<&Process> {
        self.seats[seat].process.as_ref().with_context(|| format!("seat {seat} is empty"))
    }

    /// The running member of a seat, to be ended.
    pub(crate) fn take(&mut self, seat: usize) -> anyhow::Result<Process> {
        self.seats[seat].process.take().with_context(|| format!("seat {seat} is empty"))
    }

    /// Sends a signal to the member of a seat.
    pub(crate) fn signal(&self, seat: usize, signal: Signal) -> anyhow::Result<()> {
        self.running(seat)?.signal(signal)
    }

    /// What the leader, or whoever answers, says of the group.
    pub(crate) async fn status(&self) -> anyhow::Result<ClusterStatus> {
        Ok(self.control.status().await?)
    }

    /// The leader's seat.
    pub(crate) async fn leader(&self) -> anyhow::Result<usize> {
        let leader = self.status().await?.leader.context("nobody leads")?;
        self.seats.iter().position(|seat| seat.node_id == leader).context("the leader has no seat")
    }

    /// A seat that does not lead.
    pub(crate) async fn follower(&self) -> anyhow::Result<usize> {
        Ok((self.leader().await? + 1) % SEATS)
    }

    /// Makes the member of a seat the leader.
    pub(crate) async fn lead(&self, seat: usize) -> anyhow::Result<()> {
        let to = self.seats[seat].node_id;
        until("leadership is handed over", WHOLE_WITHIN, async || {
            let leads = self.status().await.is_ok_and(|status| status.leader == Some(to) && status.node_id == to);
            // A transfer may be refused when the group is busy with an election of its own.
            leads || self.control.change_members(MemberChange::Transfer { to: Some(to) }).await.is_ok_and(|()| false)
        })
        .await
        .map(drop)
    }

    /// Waits until the group is founded.
    pub(crate) async fn founded(&self) -> anyhow::Result<()> {
        until("the group is founded", WHOLE_WITHIN, async || {
            self.status()
                .await
                .is_ok_and(|status| status.leader == Some(status.node_id) && status.members.len() == SEATS)
        })
        .await
        .map(drop)
    }

    /// Waits until all three vote and have what was written from now on. Somebody must be writing: of a member that has
    /// just gone the leader does not know it yet.
    pub(crate) async fn whole(&self) -> anyhow::Result<()> {
        let mut from = None;
        until("all three allocators follow", WHOLE_WITHIN, async || {
            let Ok(status) = self.status().await else { return false };
            let from = *from.get_or_insert(status.last_log_index);
            let follows = |member: &MemberStatus| member.is_voter && member.matched_index > from;
            status.leader == Some(status.node_id) && status.members.len() == SEATS && status.members.iter().all(follows)
        })
        .await
        .map(drop)
    }

    /// A number that no member ever had.
    pub(crate) const fn new_number(&mut self) -> u64 {
        self.last_node_id += 1;
        self.last_node_id
    }

    /// Where the member of a seat listens.
    pub(crate) fn address(&self, seat: usize) -> String {
        address(&self.network, seat)
    }
}

/// The host of a seat.
pub(crate) fn host(seat: usize) -> u8 {
    FIRST_HOST + u8::try_from(seat).expect("there are three seats")
}

fn address(network: &Network, seat: usize) -> String {
    format!("{}:{PORT}", network.address(host(seat)))
}

fn client(addresses: Vec<String>) -> RemoteAllocator {
    let secret = Some(ClusterSecret::of(&Cluster::secret().1));
    let dialer: Arc<dyn Dial> = Arc::new(TcpDialer);
    let options = RemoteOptions { addresses, secret, cluster_id: None, patience: PATIENCE };
    RemoteAllocator::new(options, &dialer, &Connections::default())
}
