//! `stint serve`.

use crate::config::Flag;

const EXAMPLES: &str = "\
Examples:
  stint serve --allocators allocator-1:7101,allocator-2:7101,allocator-3:7101
  stint serve --listen 127.0.0.1:8080 --admin-listen 127.0.0.1:9464 --allocators 127.0.0.1:7101 --ids raft
  stint serve --ids redis
  stint serve --ids-only --allocators 127.0.0.1:7101

DATABASE_URL names the database (all servers that may be its primary), which `stint migrate` has made ready; REDIS_URL
names Redis, if there is one. STINT_CODE_KEY is the same on all nodes, for ever; STINT_CLUSTER_SECRET is shared with the
allocators, and STINT_ADMIN_KEY with whoever uses the node.";

/// Flags of `stint serve`. A flag that is not given leaves the setting to environment, file and defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ServeArgs {
    /// Where to listen; port 0 takes a free one [default: 0.0.0.0:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Where to serve metrics, probes and the log level [default: 127.0.0.1:9464]
    #[arg(long, value_name = "ADDRESS")]
    pub admin_listen: Option<String>,
    /// Where the allocators are, commas between them
    #[arg(long, value_name = "HOST:PORT,…")]
    pub allocators: Option<String>,
    /// Where ids come from [default: raft]
    #[arg(long, value_name = "SOURCE")]
    pub ids: Option<String>,
    /// Serve ids alone, without links and without a database
    #[arg(long)]
    pub ids_only: bool,
    /// Continue far above the database's mark when the allocators' data was lost or replaced; for one start
    #[arg(long)]
    pub repair_ids: bool,
    /// What short links begin with; needed behind a proxy [default: http:// and the listen address]
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
}

impl ServeArgs {
    /// The flags as the uppermost layer of the configuration.
    pub fn flags(&self) -> Vec<Flag> {
        let flags = [
            ("--listen", "http.listen", self.listen.clone()),
            ("--admin-listen", "admin.listen", self.admin_listen.clone()),
            ("--allocators", "cluster.allocators", self.allocators.clone()),
            ("--ids", "ids.source", self.ids.clone()),
            ("--ids-only", "ids.only", self.ids_only.then(|| "true".to_owned())),
            ("--public-url", "http.public_url", self.public_url.clone()),
        ];
        flags.into_iter().filter_map(|(flag, key, value)| Some(Flag { flag, key, value: value? })).collect()
    }
}
