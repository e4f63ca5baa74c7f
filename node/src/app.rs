//! The composition root: the only place that names concrete adapters.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use axum::http::StatusCode;
use stint_idgen::{CodeKey, KeyCodec};

use crate::admin::{self, Admin};
use crate::cache::memory::MemoryLinkCache;
use crate::cluster::group::{Group, GroupOptions};
use crate::config::{Config, IdSourceKind, Role, Secret};
use crate::data_dir::{DataDir, Kept};
use crate::domain::access::ApiKeyHash;
use crate::domain::target_url::TargetUrl;
use crate::http::server::{Server, ServerLimits, bind};
use crate::http::state::{Api, HttpSettings, RequestIds};
use crate::ids::raft::{RaftIdOptions, RaftIds, links_spec};
use crate::lifecycle::{Readiness, Tasks};
use crate::metrics::{HttpMetrics, IdMetrics, LinkMetrics, Registry};
use crate::ports::clock::Clock;
use crate::ports::coordination::Allocator;
use crate::ports::entropy::{Entropy, random_128};
use crate::ports::link_store::{FenceStore, LinkStore};
use crate::ports::spawn::Spawn;
use crate::service::batch::Batcher;
use crate::service::create::{CreateLinks, OwnAuthorities};
use crate::service::fence::{check_code_key, check_raft_lane};
use crate::service::health::Health;
use crate::service::issue_ids::IssueIds;
use crate::service::keys::ManageKeys;
use crate::service::links::ManageLinks;
use crate::service::resolve::ResolveLinks;
use crate::storage::sqlite::SqliteStore;
use crate::telemetry::LogLevel;
use crate::{http, tasks};

/// How long a draw waits for a block of ids before the request is answered with 503.
const ID_PATIENCE: Duration = Duration::from_secs(2);
/// How long the stores may take to close.
const CLOSED_WITHIN: Duration = Duration::from_secs(5);

/// What a node is made of, besides its configuration.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The log filter, for the admin port.
    pub log_level: LogLevel,
}

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
    readiness: Readiness,
    servers: Tasks,
    background: Tasks,
    public: Server,
    admin: Server,
    group: Arc<Group>,
    store: Arc<SqliteStore>,
    drain_delay: Duration,
    deadline: Duration,
}

/// Starts a whole shortener on embedded storage.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub async fn start_dev(config: &Config, repair_ids: bool, around: Surroundings) -> anyhow::Result<DevNode> {
    refuse_what_dev_lacks(config)?;
    // The ports first: one in use is the most common mistake, and nothing has been touched yet.
    let listener = bind(config.http.listen.get()).context("the public port (http.listen)")?;
    let admin_listener = bind(config.admin.listen.get()).context("the admin port (admin.listen)")?;
    let dir = DataDir::open(&config.cluster.data_dir)?;
    let admin_key = match &config.auth.admin_key {
        Some(key) => Kept { text: key.expose().to_owned(), new: false },
        None => dir.admin_key(&*around.entropy)?,
    };
    let code_key = read_code_key(config, &dir, &*around.entropy)?;

    let group = Arc::new(open_group(&dir, config, &around).await?);
    let store = match open_store(&dir, &code_key, &*group, repair_ids).await {
        Ok(store) => store,
        Err(error) => {
            group.stop().await;
            return Err(error);
        }
    };

    let registry = Registry::new()?;
    let background = Tasks::default();
    let ids = Arc::new(start_ids(config, &group, &store, &registry, &background, &around));
    let public_url = config.http.public_url_at(listener.local_addr()?).as_str().to_owned();
    let settings = http_settings(config, &public_url);
    let bootstrap = Some(ApiKeyHash::of(&admin_key.text));
    let parts = Parts { group: &group, store: &store, ids, registry: &registry, background: &background };
    let api = Arc::new(assemble(config, &parts, &code_key, settings, bootstrap, &around));

    let readiness = Readiness::default();
    let servers = Tasks::default();
    let limits = ServerLimits {
        header_timeout: config.http.header_timeout.get(),
        max_header_size: config.http.max_header_size.as_usize(),
        max_connections: config.http.max_connections,
    };
    let admin = Admin {
        registry: registry.clone(),
        health: api.health.clone(),
        readiness: readiness.clone(),
        log_level: around.log_level.clone(),
    };
    let public = serve(&servers, "public port", listener, http::router(api), limits)?;
    let admin = serve(&servers, "admin port", admin_listener, admin::router(admin), limits)?;
    start_housekeeping(&background, &registry, &store, &group, &around);
    Ok(DevNode {
        address: public.address(),
        admin_address: admin.address(),
        public_url,
        admin_key_is_new: admin_key.new,
        admin_key: Secret::new(admin_key.text),
        admin_key_file: config.auth.admin_key.is_none().then(|| dir.admin_key_file()),
        readiness,
        servers,
        background,
        public,
        admin,
        group,
        store,
        drain_delay: config.http.drain_delay.get(),
        deadline: config.http.shutdown_deadline.get().saturating_sub(config.http.drain_delay.get()),
    })
}

impl DevNode {
    /// Resolves when the node can't go on by itself: a task or a server ended.
    pub async fn failed(&self) {
        tokio::select! {
            () = self.servers.failed() => {}
            () = self.background.failed() => {}
        }
    }

    /// Stops in order; nothing acknowledged is lost however it ends. False if something had to be cut off.
    pub async fn stop(self) -> bool {
        self.readiness.begin_stopping();
        tokio::time::sleep(self.drain_delay).await;
        // Before the servers end, so that their end is no surprise.
        self.servers.stopping().cancel();
        self.public.stop(self.deadline);
        self.admin.stop(self.deadline);
        let drained = self.servers.finish(self.deadline).await;
        let finished = self.background.finish(self.deadline).await;
        let closed = tokio::time::timeout(CLOSED_WITHIN, async {
            self.group.stop().await;
            self.store.close().await;
        });
        drained & finished & closed.await.is_ok()
    }
}

/// The adapters that the use cases are built on.
struct Parts<'a> {
    group: &'a Arc<Group>,
    store: &'a Arc<SqliteStore>,
    ids: Arc<RaftIds>,
    registry: &'a Registry,
    background: &'a Tasks,
}

fn assemble(
    config: &Config,
    parts: &Parts<'_>,
    code_key: &CodeKey,
    settings: HttpSettings,
    bootstrap: Option<ApiKeyHash>,
    around: &Surroundings,
) -> Api {
    let clock = Arc::clone(&around.clock);
    let codec = Arc::new(KeyCodec::new(code_key));
    let store: Arc<dyn LinkStore> = Arc::clone(parts.store) as _;
    let allocator: Arc<dyn Allocator> = Arc::clone(parts.group) as _;
    let cache = Arc::new(MemoryLinkCache::new(config.cache.l1_entries, config.cache.l1_ttl.get(), Arc::clone(&clock)));
    let own = Arc::new(own_authorities(&settings.public_url));
    let link_metrics = LinkMetrics::new(parts.registry);

    let stop = parts.background.stopping();
    let (creating, sizes) = (Arc::clone(&store), link_metrics.batch_size.clone());
    let (writes, worker) = Batcher::new(stop.clone(), move |links: Vec<_>| {
        let store = Arc::clone(&creating);
        sizes.record(u32::try_from(links.len()).unwrap_or(u32::MAX));
        async move { store.create(links).await }
    });
    parts.background.start("link writer", worker);
    let counting = Arc::clone(&store);
    let (visits, worker) = Batcher::new(stop, move |keys| {
        let store = Arc::clone(&counting);
        async move { store.count_visits(keys).await }
    });
    parts.background.start("visit counter", worker);

    let resolve = Arc::new(ResolveLinks::new(
        Arc::clone(&store),
        Arc::clone(&cache) as _,
        Arc::clone(&codec),
        visits,
        Arc::clone(&clock),
    ));
    let process = u32::from_be_bytes(random_128(&*around.entropy)[..4].try_into().expect("four bytes"));
    Api {
        create: CreateLinks::new(
            Arc::clone(&parts.ids) as _,
            Arc::clone(&store),
            writes,
            Arc::clone(&cache) as _,
            Arc::clone(&codec),
            Arc::clone(&own),
            Arc::clone(&clock),
        ),
        links: ManageLinks::new(
            Arc::clone(&store),
            cache,
            Arc::clone(&resolve),
            Arc::clone(&codec),
            own,
            Arc::clone(&clock),
        ),
        resolve,
        ids: IssueIds::new(Arc::clone(&parts.ids) as _),
        keys: ManageKeys::new(Arc::clone(parts.store) as _, bootstrap, Arc::clone(&clock), Arc::clone(&around.entropy)),
        health: Health::new(store, Arc::clone(&allocator)),
        allocator,
        codec,
        clock,
        http_metrics: HttpMetrics::new(parts.registry),
        link_metrics,
        settings,
        request_ids: RequestIds::new(process),
    }
}

fn read_code_key(config: &Config, dir: &DataDir, entropy: &dyn Entropy) -> anyhow::Result<CodeKey> {
    let (text, origin) = match &config.codes.key {
        Some(key) => (key.expose().to_owned(), "codes.key"),
        None => (dir.code_key(entropy)?.text, "the file code.key in the data directory"),
    };
    text.parse().with_context(|| format!("the code key ({origin})"))
}

async fn open_group(dir: &DataDir, config: &Config, around: &Surroundings) -> anyhow::Result<Group> {
    let (clock, entropy) = (Arc::clone(&around.clock), Arc::clone(&around.entropy));
    let options = GroupOptions::new(dir.raft(), config.cluster.node_id, clock, entropy);
    Group::open(options).await.context("the allocator can't start")
}

fn refuse_what_dev_lacks(config: &Config) -> anyhow::Result<()> {
    ensure!(
        config.ids.source == IdSourceKind::Raft && config.ids.fallback.is_empty(),
        "`stint dev` draws its ids from its own allocator: leave `ids.source` at \"raft\", without a fallback"
    );
    ensure!(
        config.database.primary_urls.is_empty(),
        "`stint dev` keeps its links in its data directory: leave `database.primary_urls` (DATABASE_URL) out"
    );
    ensure!(
        config.cache.redis_url.is_none(),
        "`stint dev` caches in its own memory: leave `cache.redis_url` (REDIS_URL) out"
    );
    Ok(())
}

/// Opens the database, if it belongs to this code key and this allocator.
async fn open_store(
    dir: &DataDir,
    code_key: &CodeKey,
    allocator: &dyn Allocator,
    repair_ids: bool,
) -> anyhow::Result<Arc<SqliteStore>> {
    let store = SqliteStore::open(&dir.database()).await?;
    check_code_key(&store, code_key).await?;
    check_raft_lane(allocator, &store, links_spec(), repair_ids).await?;
    Ok(Arc::new(store))
}

fn start_ids(
    config: &Config,
    group: &Arc<Group>,
    store: &Arc<SqliteStore>,
    registry: &Registry,
    background: &Tasks,
    around: &Surroundings,
) -> RaftIds {
    let options = RaftIdOptions {
        label: "dev".to_owned(),
        headroom: config.ids.headroom.get(),
        min_block: config.ids.min_block,
        max_block: config.ids.max_block,
        patience: ID_PATIENCE,
    };
    let fence: Arc<dyn FenceStore> = Arc::clone(store) as _;
    RaftIds::start(
        Arc::clone(group) as _,
        fence,
        options,
        IdMetrics::new(registry, "raft"),
        Arc::clone(&around.clock),
        Arc::clone(&around.entropy),
        Arc::new(background.clone()),
    )
}

fn http_settings(config: &Config, public_url: &str) -> HttpSettings {
    HttpSettings {
        public_url: public_url.to_owned(),
        redirect_status: StatusCode::from_u16(config.http.redirect_status.get()).expect("it was checked: 301 to 308"),
        anonymous_create: config.anonymous_create(Role::Dev),
        max_body_size: config.http.max_body_size.as_usize(),
        request_timeout: config.http.request_timeout.get(),
    }
}

/// Stint's own host and port, under every name a loopback listener has.
fn own_authorities(public_url: &str) -> OwnAuthorities {
    let Some((host, port)) = TargetUrl::from_stored(public_url.to_owned()).authority() else {
        return OwnAuthorities::default();
    };
    let loopback = ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::]"];
    if loopback.contains(&host.as_str()) {
        return OwnAuthorities(loopback.iter().map(|name| ((*name).to_owned(), port)).collect());
    }
    OwnAuthorities(vec![(host, port)])
}

fn serve(
    servers: &Tasks,
    name: &'static str,
    listener: std::net::TcpListener,
    router: axum::Router,
    limits: ServerLimits,
) -> anyhow::Result<Server> {
    let (server, task) = Server::new(listener, router, limits).context(name)?;
    servers.start(name, async move {
        if let Err(error) = task.await {
            tracing::error!(%error, "the {name} failed");
        }
    });
    Ok(server)
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
    let cleanup = tasks::forget_idempotency_keys(Arc::clone(store) as _, Arc::clone(&around.clock), stop.clone());
    background.start("idempotency cleanup", cleanup);
    let group = Arc::clone(group);
    background.start("allocator watch", async move {
        tokio::select! {
            reason = group.failed() => {
                tracing::error!(reason, "the allocator has stopped: no new ids once those at hand are used; see /readyz");
                stop.cancelled().await;
            }
            () = stop.cancelled() => {}
        }
    });
}
