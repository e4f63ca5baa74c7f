//! The composition root: the only place that names concrete adapters.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::http::StatusCode;
use stint_idgen::{CodeKey, Key, KeyCodec};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::cache::memory::MemoryLinkCache;
use crate::cluster::group::{Group, GroupOptions};
use crate::config::{Config, Role, Secret};
use crate::data_dir::{DataDir, Kept};
use crate::domain::access::ApiKeyHash;
use crate::http::server::{Server, ServerLimits, bind};
use crate::http::state::{Api, BodyBudget, HttpSettings, RequestIds};
use crate::ids::raft::{RaftIdOptions, RaftIds, links_spec};
use crate::lifecycle::{Readiness, Tasks, raise_open_files};
use crate::metrics::{HttpMetrics, IdMetrics, LinkMetrics, Registry};
use crate::ports::clock::Clock;
use crate::ports::coordination::Allocator;
use crate::ports::entropy::{Entropy, random_128};
use crate::ports::link_store::{CreateOutcome, FenceStore, LinkStore, NewLink, VisitOutcome};
use crate::ports::spawn::Spawn;
use crate::service::batch::Batcher;
use crate::service::create::CreateLinks;
use crate::service::decode_ids::DecodeIds;
use crate::service::fence::{check_code_key, check_raft_lane};
use crate::service::health::Health;
use crate::service::issue_ids::IssueIds;
use crate::service::keys::ManageKeys;
use crate::service::links::{Edit, Edited, ManageLinks, make_edits};
use crate::service::namespaces::ManageNamespaces;
use crate::service::own_host::OwnHost;
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
    /// Nobody else may open the directory until everything above is closed.
    _dir: DataDir,
}

/// Starts a whole shortener on embedded storage. What it lacks is not looked at: see `Loaded::check_dev`.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub async fn start_dev(config: &Config, repair_ids: bool, around: Surroundings) -> anyhow::Result<DevNode> {
    // The ports first: one in use is the most common mistake, and nothing has been touched yet.
    let listener = bind(config.http.listen.get()).context("the public port (http.listen)")?;
    let admin_listener = bind(config.admin.listen.get()).context("the admin port (admin.listen)")?;
    let public_url = config.http.public_url_at(listener.local_addr()?).as_str().to_owned();
    let own = own_host(&public_url, listener.local_addr()?)?;
    make_room_for(config.http.max_connections);
    let dir = DataDir::open(&config.cluster.data_dir)?;
    // A lost code key is noticed before anything is written.
    let code_key = read_code_key(config, &dir, &*around.entropy)?;
    let admin_key = read_admin_key(config, &dir, &*around.entropy)?;

    let group = Arc::new(open_group(&dir, config, &around).await?);
    let store = match open_store(&dir, &code_key, &*group, repair_ids).await {
        Ok(store) => store,
        Err(error) => {
            group.stop().await;
            return Err(error);
        }
    };

    let registry = Registry::new()?;
    let (background, servers) = (Tasks::default(), Tasks::default());
    let ids = Arc::new(start_ids(config, &group, &store, &registry, &background, &around));
    let settings = http_settings(config, &public_url);
    let bootstrap = Some(ApiKeyHash::of(&admin_key.text));
    let parts = Parts { group: &group, store: &store, ids, own, registry: &registry, background: &background };
    let api = Arc::new(assemble(config, &parts, &code_key, settings, bootstrap, servers.stopping(), &around));

    let readiness = Readiness::default();
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
        _dir: dir,
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
    own: Arc<OwnHost>,
    registry: &'a Registry,
    background: &'a Tasks,
}

fn assemble(
    config: &Config,
    parts: &Parts<'_>,
    code_key: &CodeKey,
    settings: HttpSettings,
    bootstrap: Option<ApiKeyHash>,
    stopping: CancellationToken,
    around: &Surroundings,
) -> Api {
    let clock = Arc::clone(&around.clock);
    let codec = Arc::new(KeyCodec::new(code_key));
    let store: Arc<dyn LinkStore> = Arc::clone(parts.store) as _;
    let allocator: Arc<dyn Allocator> = Arc::clone(parts.group) as _;
    let cache = Arc::new(MemoryLinkCache::new(config.cache.l1_entries, config.cache.l1_ttl.get(), Arc::clone(&clock)));
    let link_metrics = LinkMetrics::new(parts.registry);

    let Workers { writes, edits, visits } = start_workers(parts.background, &store, &cache, &link_metrics);
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
            cache,
            Arc::clone(&codec),
            Arc::clone(&parts.own),
            Arc::clone(&clock),
        ),
        links: ManageLinks::new(
            Arc::clone(&store),
            edits,
            Arc::clone(&resolve),
            Arc::clone(&codec),
            Arc::clone(&parts.own),
            Arc::clone(&clock),
        ),
        resolve,
        ids: IssueIds::new(Arc::clone(&parts.ids) as _),
        namespaces: ManageNamespaces::new(Arc::clone(&parts.ids) as _, Arc::clone(&allocator)),
        decode: DecodeIds::new(Arc::clone(&allocator), Arc::clone(&codec)),
        keys: ManageKeys::new(Arc::clone(parts.store) as _, bootstrap, Arc::clone(&clock), Arc::clone(&around.entropy)),
        health: Health::new(store, Arc::clone(&allocator)),
        allocator,
        codec,
        clock,
        http_metrics: HttpMetrics::new(parts.registry),
        link_metrics,
        settings,
        request_ids: RequestIds::new(process),
        body_budget: BodyBudget::default(),
        stopping,
    }
}

fn read_admin_key(config: &Config, dir: &DataDir, entropy: &dyn Entropy) -> anyhow::Result<Kept> {
    let configured = config.auth.admin_key.as_ref().map(|key| Kept { text: key.expose().to_owned(), new: false });
    configured.map_or_else(|| Ok(dir.admin_key(entropy)?), Ok)
}

/// The entrances to the workers that write: a request that is cut off doesn't cut off its write.
struct Workers {
    writes: Batcher<NewLink, CreateOutcome>,
    edits: Batcher<(Key, Edit), Edited>,
    visits: Batcher<Key, VisitOutcome>,
}

fn start_workers(
    background: &Tasks,
    store: &Arc<dyn LinkStore>,
    cache: &Arc<MemoryLinkCache>,
    metrics: &LinkMetrics,
) -> Workers {
    let stop = background.stopping();
    let (creating, sizes) = (Arc::clone(store), metrics.batch_size.clone());
    let (writes, worker) = Batcher::new(stop.clone(), move |links: Vec<_>| {
        let store = Arc::clone(&creating);
        sizes.record(u32::try_from(links.len()).unwrap_or(u32::MAX));
        async move { store.create(links).await }
    });
    background.start("link writer", worker);
    let counting = Arc::clone(store);
    let (editing, noting) = (Arc::clone(store), Arc::clone(cache));
    let (edits, worker) = Batcher::new(stop.clone(), move |edits| {
        let (store, cache) = (Arc::clone(&editing), Arc::clone(&noting));
        async move { make_edits(&*store, &*cache, edits).await }
    });
    background.start("link editor", worker);
    let (visits, worker) = Batcher::new(stop, move |keys| {
        let store = Arc::clone(&counting);
        async move { store.count_visits(keys).await }
    });
    background.start("visit counter", worker);
    Workers { writes, edits, visits }
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

/// Each connection is an open file; so are the stores' files and what a backup opens meanwhile.
fn make_room_for(max_connections: usize) {
    const OTHERS: usize = 100;
    let files = raise_open_files();
    if files < max_connections.saturating_add(OTHERS) {
        tracing::warn!(
            files,
            max_connections,
            "this process may open fewer files than http.max_connections needs: raise the limit (ulimit -n) or lower it"
        );
    }
}

fn own_host(public_url: &str, listener: SocketAddr) -> anyhow::Result<Arc<OwnHost>> {
    let public_url = public_url.parse().context("the public URL (http.public_url)")?;
    Ok(Arc::new(OwnHost::new(&public_url, listener).context("the public URL (http.public_url) names no host")?))
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
