//! `stint dev`: a whole shortener on embedded storage.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use stint_idgen::CodeKey;

use super::api::{Ids, Parts, assemble, http_settings, id_options, own_host, start_clicks};
use super::frontend::{Frontend, bind_admin, bind_public};
use super::limits::rate_limits;
use super::{CLOSED_WITHIN, Surroundings};
use crate::cache::memory::MemoryLinkCache;
use crate::cluster::group::{Group, GroupOptions};
use crate::config::{Config, Role, Secret};
use crate::data_dir::{DataDir, Kept};
use crate::domain::access::ApiKeyHash;
use crate::ids::raft::{RaftIds, links_spec};
use crate::lifecycle::Tasks;
use crate::metrics::{IdMetrics, RaftMetrics, Registry};
use crate::ports::coordination::Allocator;
use crate::ports::entropy::Entropy;
use crate::ports::link_store::FenceStore;
use crate::ports::spawn::Spawn;
use crate::service::fence::{check_code_key, check_raft_lane};
use crate::service::health::Health;
use crate::service::tiers::Tiers;
use crate::storage::sqlite::SqliteStore;
use crate::{http, tasks};

/// A running `dev` node.
#[derive(Debug)]
pub struct DevNode {
    /// Where the public port listens.
    pub address: SocketAddr,
    /// Where the admin port listens.
    pub admin_address: SocketAddr,
    /// What short URLs begin with.
    pub public_url: String,
    /// The bootstrap API key.
    pub admin_key: Secret,
    /// Whether it was made by this start.
    pub admin_key_is_new: bool,
    /// The file it is kept in, if it isn't configured.
    pub admin_key_file: Option<PathBuf>,
    frontend: Frontend,
    background: Tasks,
    group: Arc<Group>,
    store: Arc<SqliteStore>,
    /// Nobody else may open the directory until everything above is closed.
    _dir: DataDir,
}

/// Starts a whole shortener on embedded storage. What it lacks is not looked at: see `Loaded::check_dev`.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub async fn start_dev(config: &Config, repair_ids: bool, around: Surroundings) -> anyhow::Result<DevNode> {
    // The ports first: one in use is the most common mistake, and nothing has been touched yet.
    let listener = bind_public(config)?;
    let admin_listener = bind_admin(config)?;
    let public_url = config.http.public_url_at(listener.local_addr()?).as_str().to_owned();
    let own = own_host(&public_url, listener.local_addr()?)?;
    let mut frontend = Frontend::new(config);
    let dir = DataDir::open(&config.cluster.data_dir)?;
    // A lost code key is noticed before anything is written.
    let code_key = read_code_key(config, &dir, &*around.entropy)?;
    let admin_key = read_admin_key(config, &dir, &*around.entropy)?;

    let registry = Registry::new()?;
    let raft_metrics = RaftMetrics::new(&registry);
    let group = Arc::new(open_group(&dir, config, raft_metrics.clone(), &around).await?);
    let store = match open_store(&dir, &code_key, &*group, repair_ids).await {
        Ok(store) => store,
        Err(error) => {
            group.stop().await;
            return Err(error);
        }
    };

    let background = Tasks::default();
    let ids = Arc::new(start_ids(config, &group, &store, &registry, &background, &around));
    let memory = MemoryLinkCache::new(config.cache.l1_entries, config.cache.l1_ttl.get(), Arc::clone(&around.clock));
    let parts = Parts {
        allocator: Arc::clone(&group) as _,
        store: Arc::clone(&store) as _,
        keys: Arc::clone(&store) as _,
        ids: Ids { keys: Arc::clone(&ids) as _, namespaces: ids, snowflakes: None },
        clicks: start_clicks(config, None, Arc::clone(&store) as _, &registry, &background, &around),
        health: Health::new(Arc::clone(&group) as _).with_store(Arc::clone(&store) as _),
        clients: rate_limits(config, None, &registry, &around),
        code_key: &code_key,
        bootstrap: Some(ApiKeyHash::of(&admin_key.text)),
        registry: &registry,
        background: &background,
        tiers: Tiers::alone(Arc::new(memory)),
        write_batches: 1,
        stopping: frontend.stopping(),
    };
    let api = assemble(parts, &own, http_settings(config, Role::Dev, &public_url), &around);
    let health = api.health.clone();
    let address = frontend.serve("public port", listener, http::router(Arc::new(api)))?;
    let admin_address = frontend.serve_admin(admin_listener, &registry, health, &around)?;
    start_housekeeping(&background, &registry, &store, &group, &around);
    let measured = Arc::clone(&group);
    background.start_endless("raft metrics", async move { measured.report(&raft_metrics).await });
    Ok(DevNode {
        address,
        admin_address,
        public_url,
        admin_key_is_new: admin_key.new,
        admin_key: Secret::new(admin_key.text),
        admin_key_file: config.auth.admin_key.is_none().then(|| dir.admin_key_file()),
        frontend,
        background,
        group,
        store,
        _dir: dir,
    })
}

impl DevNode {
    /// Resolves when the node can't go on by itself: a task or a server ended.
    pub async fn failed(&self) {
        self.frontend.failed(&self.background).await;
    }

    /// Stops in order; nothing acknowledged is lost however it ends. False if something had to be cut off.
    pub async fn stop(self) -> bool {
        let drained = self.frontend.stop().await;
        let finished = self.background.finish(self.frontend.deadline()).await;
        let closed = tokio::time::timeout(CLOSED_WITHIN, async {
            self.group.stop().await;
            self.store.close().await;
        });
        drained & finished & closed.await.is_ok()
    }
}

fn read_admin_key(config: &Config, dir: &DataDir, entropy: &dyn Entropy) -> anyhow::Result<Kept> {
    let configured = config.auth.admin_key.as_ref().map(|key| Kept { text: key.expose().to_owned(), new: false });
    configured.map_or_else(|| Ok(dir.admin_key(entropy)?), Ok)
}

fn read_code_key(config: &Config, dir: &DataDir, entropy: &dyn Entropy) -> anyhow::Result<CodeKey> {
    let (text, origin) = match &config.codes.key {
        Some(key) => (key.expose().to_owned(), "codes.key"),
        None => (dir.code_key(entropy)?.text, "the file code.key in the data directory"),
    };
    text.parse().with_context(|| format!("the code key ({origin})"))
}

async fn open_group(
    dir: &DataDir,
    config: &Config,
    metrics: RaftMetrics,
    around: &Surroundings,
) -> anyhow::Result<Group> {
    let (clock, entropy) = (Arc::clone(&around.clock), Arc::clone(&around.entropy));
    let options = GroupOptions { metrics: Some(metrics), ..GroupOptions::new(clock, entropy) };
    Group::open_alone(&dir.raft(), config.cluster.node_id, options).await.context("the allocator can't start")
}

/// Opens the database, if it belongs to this code key and this allocator.
async fn open_store(
    dir: &DataDir,
    code_key: &CodeKey,
    allocator: &dyn Allocator,
    repair_ids: bool,
) -> anyhow::Result<Arc<SqliteStore>> {
    let store = Arc::new(SqliteStore::open(&dir.database()).await?);
    let check = async {
        check_code_key(&*store, code_key).await?;
        check_raft_lane(allocator, &*store, links_spec(), repair_ids).await
    };
    if let Err(error) = check.await {
        // Closed whole: a write-ahead log left behind would be taken for that of a database restored beside it.
        store.close().await;
        return Err(error.into());
    }
    Ok(store)
}

fn start_ids(
    config: &Config,
    group: &Arc<Group>,
    store: &Arc<SqliteStore>,
    registry: &Registry,
    background: &Tasks,
    around: &Surroundings,
) -> RaftIds {
    let fence: Arc<dyn FenceStore> = Arc::clone(store) as _;
    RaftIds::start(
        Arc::clone(group) as _,
        fence,
        id_options(config, "dev".to_owned()),
        IdMetrics::new(registry, "raft"),
        Arc::clone(&around.clock),
        Arc::clone(&around.entropy),
        Arc::new(background.clone()),
    )
}

fn start_housekeeping(
    background: &Tasks,
    registry: &Registry,
    store: &Arc<SqliteStore>,
    group: &Arc<Group>,
    around: &Surroundings,
) {
    let stop = background.stopping();
    background.start("metrics upkeep", tasks::fold_metrics(registry.clone(), stop.clone()));
    let cleanup = tasks::forget_idempotency_keys(Arc::clone(store) as _, Arc::clone(&around.clock), stop);
    background.start("idempotency cleanup", cleanup);
    let group = Arc::clone(group);
    background.start_endless("allocator watch", async move {
        let reason = group.failed().await;
        tracing::error!(reason, "the allocator has stopped: no new ids once those at hand are used; see /readyz");
        std::future::pending::<()>().await;
    });
}
