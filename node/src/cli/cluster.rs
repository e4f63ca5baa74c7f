//! `stint cluster …`: through a shortener, or straight to the allocators.

use clap::builder::RangedU64ValueParser;
use clap::{Args, Subcommand};

use super::client::{ClientArgs, Target};
use crate::config::{ClientEnvironment, Flag, HostPort, Peer};

const EXAMPLES: &str = "\
Each of these asks a shortener (--server URL --key KEY) or, with --allocators, the group itself, which works while no
shortener does. STINT_CLUSTER__ALLOCATORS stands for --allocators where neither --server nor STINT_SERVER is set. The
group wants its secret: STINT_CLUSTER_SECRET, or STINT_CLUSTER_SECRET_FILE.

Examples:
  stint cluster status --allocators 127.0.0.1:7101,127.0.0.1:7102,127.0.0.1:7103
  stint cluster add 4=allocator-4:7101
  stint cluster remove 2";

/// `stint cluster …`
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum ClusterCommand {
    /// Show the members, the leader, the namespaces, and whether all is well
    Status(StatusArgs),
    /// Take in a running, empty allocator: it catches up, then it votes
    Add(AddArgs),
    /// Remove a member for good
    Remove(RemoveArgs),
    /// Hand leadership to another voter
    Transfer(TransferArgs),
}

/// `stint cluster status`
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where.
    #[command(flatten)]
    pub group: GroupArgs,
}

/// `stint cluster add`
#[derive(Debug, Args)]
pub struct AddArgs {
    /// Its number, higher than that of any member before, and where it listens
    #[arg(value_name = "NODE_ID=HOST:PORT")]
    pub member: Peer,
    /// Where.
    #[command(flatten)]
    pub group: GroupArgs,
}

/// `stint cluster remove`
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// Its number, as `stint cluster status` shows it
    #[arg(value_name = "NODE_ID", value_parser = RangedU64ValueParser::<u64>::new().range(1..))]
    pub node_id: u64,
    /// Where.
    #[command(flatten)]
    pub group: GroupArgs,
}

/// `stint cluster transfer`
#[derive(Debug, Args)]
pub struct TransferArgs {
    /// To whom [default: the voter that is furthest]
    #[arg(value_name = "NODE_ID", value_parser = RangedU64ValueParser::<u64>::new().range(1..))]
    pub node_id: Option<u64>,
    /// Where.
    #[command(flatten)]
    pub group: GroupArgs,
}

/// How to reach the group.
#[derive(Debug, Clone, Default, Args)]
pub struct GroupArgs {
    /// Through a server.
    #[command(flatten)]
    pub client: ClientArgs,
    /// Ask the allocators themselves [env: STINT_CLUSTER__ALLOCATORS]
    #[arg(long, value_name = "HOST:PORT,…", value_delimiter = ',', conflicts_with_all = ["server", "key", "data_dir"])]
    pub allocators: Vec<HostPort>,
}

impl ClusterCommand {
    /// How it reaches the group.
    pub const fn group(&self) -> &GroupArgs {
        match self {
            Self::Status(args) => &args.group,
            Self::Add(args) => &args.group,
            Self::Remove(args) => &args.group,
            Self::Transfer(args) => &args.group,
        }
    }
}

impl GroupArgs {
    /// The server that is named, by flag or environment. Where none is, the allocators are asked if any are configured.
    pub fn named_server(&self, environment: &ClientEnvironment) -> Option<Target> {
        let client = &self.client;
        let named = client.server.is_some() || client.key.is_some() || client.data_dir.is_some();
        let named = named || (self.allocators.is_empty() && environment.server.is_some());
        named.then(|| client.target(environment))
    }

    /// The flags as the uppermost layer of the configuration.
    pub fn flags(&self) -> Vec<Flag> {
        let value = self.allocators.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let flag = Flag { flag: "--allocators", key: "cluster.allocators", value };
        if self.allocators.is_empty() { Vec::new() } else { vec![flag] }
    }
}
