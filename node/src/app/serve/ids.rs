//! Where a node's ids come from: ranges of namespaces, and the keys of links from one source or a list of them.

use std::sync::Arc;

use crate::app::Surroundings;
use crate::app::api::id_options;
use crate::config::{Config, IdSourceKind};
use crate::ids::raft::RaftIds;
use crate::lifecycle::Tasks;
use crate::metrics::{IdMetrics, Registry};
use crate::ports::coordination::Allocator;
use crate::ports::id_source::KeySource;
use crate::redis_server::RedisServer;
use crate::storage::postgres::PgStore;
use crate::storage::postgres::servers::Servers;

/// What sources of keys are made of. They start once the database was checked.
#[derive(Debug)]
pub(super) struct IdSources {
    pub(super) label: String,
    pub(super) allocator: Arc<dyn Allocator>,
    pub(super) store: Arc<PgStore>,
    pub(super) servers: Arc<Servers>,
    pub(super) redis: Option<RedisServer>,
    pub(super) registry: Registry,
    pub(super) background: Tasks,
}

/// Ranges of namespaces, without those of links.
pub(super) fn start_namespaces(
    config: &Config,
    label: &str,
    allocator: &Arc<dyn Allocator>,
    registry: &Registry,
    background: &Tasks,
    around: &Surroundings,
) -> Arc<RaftIds> {
    Arc::new(RaftIds::without_links(
        Arc::clone(allocator),
        id_options(config, label.to_owned()),
        IdMetrics::new(registry, "raft"),
        Arc::clone(&around.clock),
        Arc::clone(&around.entropy),
        Arc::new(background.clone()),
    ))
}
