//! Where a node's ids come from: ranges of namespaces, and the keys of links from one source or a list of them.

use std::sync::Arc;

use crate::app::Surroundings;
use crate::app::api::{block_options, id_options};
use crate::config::{Config, IdSourceKind};
use crate::ids::blocks::{LaneKeys, LaneParts};
use crate::ids::fallback::{FallbackKeys, NamedSource};
use crate::ids::raft::RaftIds;
use crate::ids::snowflake::{CrateGenerators, SnowflakeIds, SnowflakeOptions};
use crate::lifecycle::Tasks;
use crate::metrics::{FallbackMetrics, IdMetrics, Registry, SnowflakeMetrics};
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
    pub(super) snowflakes: Option<Arc<SnowflakeIds>>,
    /// What tells this deployment from others in one Redis.
    pub(super) deployment: String,
    pub(super) registry: Registry,
    pub(super) background: Tasks,
}

impl IdSources {
    /// Starts the sources that are configured, in order.
    pub(super) fn start(&self, config: &Config, around: &Surroundings) -> Arc<dyn KeySource> {
        let kinds = std::iter::once(config.ids.source).chain(config.ids.fallback.iter().copied());
        let mut sources: Vec<NamedSource> = kinds.filter_map(|kind| self.source(kind, config, around)).collect();
        match sources.len() {
            1 => sources.remove(0).1,
            _ => Arc::new(FallbackKeys::start(sources, FallbackMetrics::new(&self.registry), &self.background)),
        }
    }

    /// One source; none if what it needs isn't configured, which was checked.
    fn source(&self, kind: IdSourceKind, config: &Config, around: &Surroundings) -> Option<NamedSource> {
        let store = Arc::clone(&self.store);
        let source: NamedSource = match kind {
            IdSourceKind::Raft => ("raft", Arc::new(self.raft(config, around))),
            IdSourceKind::Redis => {
                let server = self.redis.clone()?;
                ("redis", Arc::new(LaneKeys::redis(server, store, &self.deployment, self.parts(config, around))))
            }
            IdSourceKind::Postgres => ("postgres", Arc::new(LaneKeys::postgres(store, self.parts(config, around)))),
            IdSourceKind::Snowflake => ("snowflake", Arc::clone(self.snowflakes.as_ref()?) as _),
        };
        Some(source)
    }

    fn raft(&self, config: &Config, around: &Surroundings) -> RaftIds {
        RaftIds::start(
            Arc::clone(&self.allocator),
            Arc::clone(&self.store) as _,
            id_options(config, self.label.clone()),
            IdMetrics::new(&self.registry, "raft"),
            Arc::clone(&around.clock),
            Arc::clone(&around.entropy),
            Arc::new(self.background.clone()),
        )
    }

    fn parts(&self, config: &Config, around: &Surroundings) -> LaneParts {
        LaneParts {
            options: block_options(config),
            timelines: self.servers.timelines(),
            registry: self.registry.clone(),
            clock: Arc::clone(&around.clock),
            spawn: Arc::new(self.background.clone()),
        }
    }
}

/// Snowflake ids, if the node is to make any.
pub(super) fn start_snowflakes(
    config: &Config,
    label: &str,
    allocator: &Arc<dyn Allocator>,
    registry: &Registry,
    background: &Tasks,
    around: &Surroundings,
) -> Option<Arc<SnowflakeIds>> {
    (config.ids.source == IdSourceKind::Snowflake).then(|| {
        Arc::new(SnowflakeIds::start(
            Arc::clone(allocator),
            SnowflakeOptions { label: label.to_owned(), ..SnowflakeOptions::default() },
            Arc::new(CrateGenerators),
            SnowflakeMetrics::new(registry),
            Arc::clone(&around.clock),
            Arc::clone(&around.entropy),
            background,
        ))
    })
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
