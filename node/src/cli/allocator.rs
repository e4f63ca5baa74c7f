//! `stint allocator`.

use crate::config::Flag;

const EXAMPLES: &str = "\
A new group of three, one command on each machine; --bootstrap is for the first start only:
  stint allocator --node-id 1 --listen 0.0.0.0:7101 --data-dir /var/lib/stint --bootstrap \\
    --peers 1=allocator-1:7101,2=allocator-2:7101,3=allocator-3:7101

A node that joins a running group: start it empty, then let the group take it in:
  stint allocator --node-id 4 --listen 0.0.0.0:7101 --data-dir /var/lib/stint
  stint cluster add 4=allocator-4:7101 --allocators allocator-1:7101

All share one secret: STINT_CLUSTER_SECRET, or STINT_CLUSTER_SECRET_FILE.";

/// Flags of `stint allocator`. A flag that is not given leaves the setting to environment, file and defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct AllocatorArgs {
    /// This node's number in the group, from 1; never reuse one for an empty disk [default: 1]
    #[arg(long, value_name = "NUMBER")]
    pub node_id: Option<String>,
    /// Where to listen for the group and for shorteners [default: 127.0.0.1:7101]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Where to serve metrics, probes and the log level [default: 127.0.0.1:9464]
    #[arg(long, value_name = "ADDRESS")]
    pub admin_listen: Option<String>,
    /// Every first member, the same list on each: 1=a:7101,2=b:7101,3=c:7101
    #[arg(long, value_name = "NUMBER=HOST:PORT,…")]
    pub peers: Option<String>,
    /// Where the log and the snapshots are kept; created if missing [default: ./stint-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Make the group, together with the other peers, if this node and all of them are empty
    #[arg(long)]
    pub bootstrap: bool,
}

impl AllocatorArgs {
    /// The flags as the uppermost layer of the configuration.
    pub fn flags(&self) -> Vec<Flag> {
        let flags = [
            ("--node-id", "cluster.node_id", self.node_id.clone()),
            ("--listen", "cluster.listen", self.listen.clone()),
            ("--admin-listen", "admin.listen", self.admin_listen.clone()),
            ("--peers", "cluster.peers", self.peers.clone()),
            ("--data-dir", "cluster.data_dir", self.data_dir.clone()),
        ];
        flags.into_iter().filter_map(|(flag, key, value)| Some(Flag { flag, key, value: value? })).collect()
    }
}
