//! `stint dev`, the default command.

use crate::config::Flag;

const EXAMPLES: &str = "\
Examples:
  stint dev
  stint dev --data-dir /var/lib/stint --listen 0.0.0.0:8080 --public-url https://sho.rt";

/// Flags of `stint dev`. A flag that is not given leaves the setting to environment, file and defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct DevArgs {
    /// Where everything is kept; created if missing [default: ./stint-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Where to serve metrics, probes and the log level [default: 127.0.0.1:9464]
    #[arg(long, value_name = "ADDRESS")]
    pub admin_listen: Option<String>,
    /// What short links begin with [default: http:// and the listen address]
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// Continue far above the database's mark when the allocator's data was lost or replaced
    #[arg(long)]
    pub repair_ids: bool,
}

impl DevArgs {
    /// The flags as the uppermost layer of the configuration.
    pub fn flags(&self) -> Vec<Flag> {
        let flags = [
            ("--data-dir", "cluster.data_dir", self.data_dir.clone()),
            ("--listen", "http.listen", self.listen.clone()),
            ("--admin-listen", "admin.listen", self.admin_listen.clone()),
            ("--public-url", "http.public_url", self.public_url.clone()),
        ];
        flags.into_iter().filter_map(|(flag, key, value)| Some(Flag { flag, key, value: value? })).collect()
    }
}
