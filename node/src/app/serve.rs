//! `stint serve`: a node without a state of its own, which takes its ids from the allocators.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use stint_idgen::CodeKey;

use super::Surroundings;
use super::api::{Ids, Parts, assemble, http_settings, id_options, own_host, start_clicks};
use super::coordination::allocators_client;
use super::frontend::{Frontend, bind_admin, bind_public};
use crate::config::{Config, IdSourceKind, Role};
use crate::domain::access::ApiKeyHash;
use crate::ids::raft::RaftIds;
use crate::ids::snowflake::{CrateGenerators, SnowflakeIds, SnowflakeOptions};
use crate::lifecycle::Tasks;
use crate::metrics::{IdMetrics, Registry, SnowflakeMetrics};
use crate::ports::coordination::Allocator;
use crate::ports::entropy::{Entropy, random_128};
use crate::ports::error_chain::Chain;
use crate::ports::spawn::Spawn;
use crate::service::health::{Health, IdsAtHand};
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

/// Starts a node that serves ids. What it lacks is not looked at: see `Loaded::check_serve`. Allocators that are away
/// don't keep it from starting.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub async fn start_serve(config: &Config, around: Surroundings) -> anyhow::Result<ServeNode> {
    let allocator = allocators_client(&config.cluster)?;
    start_over(config, allocator, &around)
}

fn start_over(config: &Config, allocator: Arc<dyn Allocator>, around: &Surroundings) -> anyhow::Result<ServeNode> {
    let listener = bind_public(config)?;
    let admin_listener = bind_admin(config)?;
    let public_url = config.http.public_url_at(listener.local_addr()?).as_str().to_owned();
    let own = own_host(&public_url, listener.local_addr()?)?;
    let admin_key = config.auth.admin_key.as_ref().context("there is no API key: set STINT_ADMIN_KEY")?;
    let code_key = code_key(config, &*around.entropy)?;
    let mut frontend = Frontend::new(config);

    let registry = Registry::new()?;
    let background = Tasks::default();
    let label = format!("serve {}", listener.local_addr()?);
    let (ids, at_hand) = start_ids(config, label, &allocator, &registry, &background, around);
    tracing::warn!("no database is configured: this node serves ids only, its links answer 503");
    let health = Health::new(Arc::clone(&allocator)).with_ids(Arc::new(at_hand));
    let parts = Parts {
        allocator: Arc::clone(&allocator),
        store: Arc::new(NoDatabase),
        keys: Arc::new(NoDatabase),
        ids,
        clicks: start_clicks(config, None, Arc::new(NoDatabase), &registry, &background, around),
        health: health.clone(),
        code_key: &code_key,
        bootstrap: ApiKeyHash::of(admin_key.expose()),
        registry: &registry,
        background: &background,
        stopping: frontend.stopping(),
    };
    let api = assemble(config, parts, &own, http_settings(config, Role::Serve, &public_url), around);
    let address = frontend.serve("public port", listener, http::router(Arc::new(api)))?;
    let admin_address = frontend.serve_admin(admin_listener, &registry, health, around)?;
    background.start("metrics upkeep", tasks::fold_metrics(registry, background.stopping()));
    look_for_allocators(&background, allocator);
    Ok(ServeNode { address, admin_address, public_url, frontend, background })
}

/// Ranges of namespaces, and Snowflake ids if they are asked for.
fn start_ids(
    config: &Config,
    label: String,
    allocator: &Arc<dyn Allocator>,
    registry: &Registry,
    background: &Tasks,
    around: &Surroundings,
) -> (Ids, AtHand) {
    let namespaces = Arc::new(RaftIds::without_links(
        Arc::clone(allocator),
        id_options(config, label.clone()),
        IdMetrics::new(registry, "raft"),
        Arc::clone(&around.clock),
        Arc::clone(&around.entropy),
        Arc::new(background.clone()),
    ));
    if config.ids.source != IdSourceKind::Snowflake {
        let at_hand = AtHand { namespaces: Arc::clone(&namespaces), snowflakes: None };
        return (Ids { keys: Arc::clone(&namespaces) as _, namespaces, snowflakes: None }, at_hand);
    }
    let snowflakes = Arc::new(SnowflakeIds::start(
        Arc::clone(allocator),
        SnowflakeOptions { label, ..SnowflakeOptions::default() },
        Arc::new(CrateGenerators),
        SnowflakeMetrics::new(registry),
        Arc::clone(&around.clock),
        Arc::clone(&around.entropy),
        background,
    ));
    let at_hand = AtHand { namespaces: Arc::clone(&namespaces), snowflakes: Some(Arc::clone(&snowflakes)) };
    (Ids { keys: Arc::clone(&snowflakes) as _, namespaces, snowflakes: Some(snowflakes) }, at_hand)
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

/// The configured one. Without a database there is no code that depends on it: any other is as good.
fn code_key(config: &Config, entropy: &dyn Entropy) -> anyhow::Result<CodeKey> {
    match &config.codes.key {
        Some(key) => key.expose().parse().context("the code key (codes.key)"),
        None => Ok(CodeKey::from_bytes(random_128(entropy))),
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
