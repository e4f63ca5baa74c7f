//! `stint serve`: a node without a state of its own, which follows and creates links over Postgres, Redis and the sources
//! of ids; or serves ids alone.

mod checks;
mod health;
mod ids;
mod late;
mod shortener;
#[cfg(test)]
mod tests;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::{Context, ensure};
use stint_idgen::CodeKey;

use self::ids::{start_namespaces, start_snowflakes};
use super::Surroundings;
use super::api::{Ids, Parts, assemble, http_settings, own_host, start_clicks};
use super::coordination::allocators_client;
use super::frontend::{Frontend, bind_admin, bind_public};
use super::limits::rate_limits;
use crate::cache::memory::MemoryLinkCache;
use crate::config::{Config, Role};
use crate::domain::access::ApiKeyHash;
use crate::http::state::Api;
use crate::ids::raft::RaftIds;
use crate::ids::snowflake::SnowflakeIds;
use crate::lifecycle::Tasks;
use crate::metrics::Registry;
use crate::ports::coordination::Allocator;
use crate::ports::entropy::random_128;
use crate::ports::error_chain::Chain;
use crate::ports::spawn::Spawn;
use crate::service::health::{Health, IdsAtHand};
use crate::service::own_host::OwnHost;
use crate::service::tiers::Tiers;
use crate::storage::absent::NoDatabase;
use crate::{http, tasks};

/// A running `serve` node.
#[derive(Debug)]
pub struct ServeNode {
    /// Where the public port listens.
    pub address: SocketAddr,
    /// Where the admin port listens.
    pub admin_address: SocketAddr,
    /// What short URLs begin with.
    pub public_url: String,
    frontend: Frontend,
    background: Tasks,
}

/// The ports, taken before anything else is touched: one in use is the most common mistake.
struct Ports {
    listener: TcpListener,
    admin_listener: TcpListener,
    address: SocketAddr,
    admin_address: SocketAddr,
    public_url: String,
    own: Arc<OwnHost>,
    /// What people call this node in the records of others.
    label: String,
    frontend: Frontend,
}

#[derive(Debug)]
struct AtHand {
    namespaces: Arc<RaftIds>,
    snowflakes: Option<Arc<SnowflakeIds>>,
}

impl IdsAtHand for AtHand {
    fn readiness(&self) -> Result<(), String> {
        match &self.snowflakes {
            Some(snowflakes) => snowflakes.lease().map(drop).map_err(|error| Chain(&error).to_string()),
            None => self.namespaces.readiness(),
        }
    }
}

/// Starts a node. What it lacks is not looked at: see `Loaded::check_serve`. Servers that are away don't keep it from
/// starting.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub async fn start_serve(config: &Config, repair_ids: bool, around: Surroundings) -> anyhow::Result<ServeNode> {
    let allocator = allocators_client(&config.cluster)?;
    if config.ids.only {
        return start_ids_only(config, allocator, &around);
    }
    ensure!(
        !config.database.primary_urls.is_empty(),
        "there is no database: name it with DATABASE_URL, or serve ids alone with --ids-only"
    );
    shortener::start_shortener(config, allocator, repair_ids, &around).await
}

/// Starts a node that serves ids alone.
fn start_ids_only(config: &Config, allocator: Arc<dyn Allocator>, around: &Surroundings) -> anyhow::Result<ServeNode> {
    let mut ports = Ports::bind(config)?;
    let admin_key = config.auth.admin_key.as_ref().context("there is no API key: set STINT_ADMIN_KEY")?;
    let (registry, background) = (Registry::new()?, Tasks::default());
    let (label, allocator_ref) = (ports.label.clone(), &allocator);
    let namespaces = start_namespaces(config, &label, allocator_ref, &registry, &background, around);
    let snowflakes = start_snowflakes(config, &label, allocator_ref, &registry, &background, around);
    let at_hand = AtHand { namespaces: Arc::clone(&namespaces), snowflakes: snowflakes.clone() };
    let health = Health::new(Arc::clone(&allocator)).with_ids(Arc::new(at_hand));
    // Without a database there is no code that depends on the code key: any is as good.
    let code_key = CodeKey::from_bytes(random_128(&*around.entropy));
    let memory = MemoryLinkCache::new(1, config.cache.l1_ttl.get(), Arc::clone(&around.clock));
    let adapters = Parts {
        allocator: Arc::clone(&allocator),
        store: Arc::new(NoDatabase),
        keys: Arc::new(NoDatabase),
        ids: Ids { keys: Arc::clone(&namespaces) as _, namespaces, snowflakes: snowflakes.map(|it| it as _) },
        clicks: start_clicks(config, None, Arc::new(NoDatabase), &registry, &background, around),
        health: health.clone(),
        clients: rate_limits(config, None, &registry, around),
        code_key: &code_key,
        bootstrap: Some(ApiKeyHash::of(admin_key.expose())),
        registry: &registry,
        background: &background,
        tiers: Tiers::alone(Arc::new(memory)),
        write_batches: 1,
        stopping: ports.frontend.stopping(),
    };
    let settings = http_settings(config, Role::Serve, &ports.public_url);
    let api = assemble(adapters, &ports.own, settings, around);
    ports.serve(api, &registry, health, around)?;
    background.start("metrics upkeep", tasks::fold_metrics(registry, background.stopping()));
    look_for_allocators(&background, allocator);
    Ok(ports.into_node(background))
}

impl Ports {
    fn bind(config: &Config) -> anyhow::Result<Self> {
        let listener = bind_public(config)?;
        let admin_listener = bind_admin(config)?;
        let (address, admin_address) = (listener.local_addr()?, admin_listener.local_addr()?);
        let public_url = config.http.public_url_at(address).as_str().to_owned();
        let own = own_host(&public_url, address)?;
        let label = format!("serve {address}");
        let frontend = Frontend::new(config);
        Ok(Self { listener, admin_listener, address, admin_address, public_url, own, label, frontend })
    }

    fn serve(&mut self, api: Api, registry: &Registry, health: Health, around: &Surroundings) -> anyhow::Result<()> {
        self.frontend.serve("public port", self.listener.try_clone()?, http::router(Arc::new(api)))?;
        self.frontend.serve_admin(self.admin_listener.try_clone()?, registry, health, around)?;
        Ok(())
    }

    fn into_node(self, background: Tasks) -> ServeNode {
        let Self { address, admin_address, public_url, frontend, .. } = self;
        ServeNode { address, admin_address, public_url, frontend, background }
    }
}

impl ServeNode {
    /// Resolves when the node can't go on by itself: a task or a server ended.
    pub async fn failed(&self) {
        self.frontend.failed(&self.background).await;
    }

    /// Stops in order: no request is cut off that ends in time, and what is left of the ids is reported. False if
    /// something had to be cut off.
    pub async fn stop(self) -> bool {
        let drained = self.frontend.stop().await;
        drained & self.background.finish(self.frontend.deadline()).await
    }
}

/// Says in the log, once, whether the allocators answer. Nothing waits for it.
fn look_for_allocators(background: &Tasks, allocator: Arc<dyn Allocator>) {
    background.start_endless("first look for the allocators", async move {
        match allocator.status().await {
            Ok(status) => {
                tracing::info!(cluster_id = status.cluster_id, leader = status.leader, "the allocators answer");
            }
            Err(error) => tracing::warn!(
                error = %Chain(&error),
                "no allocator answers: this node has no ids until one does; see /readyz"
            ),
        }
        std::future::pending::<()>().await;
    });
}
