//! The use cases behind a public port, over the adapters that a role has.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::http::StatusCode;
use stint_idgen::{CodeKey, Key, KeyCodec};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::Surroundings;
use crate::clicks::{self, ClickOptions};
use crate::config::{Config, Role};
use crate::domain::access::ApiKeyHash;
use crate::http::limits::LimitedClients;
use crate::http::state::{Api, BULK_PLACES, BodyBudget, HttpSettings, RequestIds};
use crate::ids::blocks::BlockOptions;
use crate::ids::raft::{RaftIdOptions, RaftIds};
use crate::lifecycle::Tasks;
use crate::metrics::{ClickMetrics, HttpMetrics, LinkMetrics, Registry};
use crate::ports::click_store::{ClickSink, ClickStore};
use crate::ports::coordination::Allocator;
use crate::ports::entropy::random_128;
use crate::ports::id_source::{KeySource, SnowflakeIssuer};
use crate::ports::key_store::KeyStore;
use crate::ports::link_store::{CreateOutcome, LinkStore, NewLink, VisitOutcome};
use crate::ports::spawn::Spawn;
use crate::redis_server::RedisServer;
use crate::service::batch::Batcher;
use crate::service::create::CreateLinks;
use crate::service::decode_ids::DecodeIds;
use crate::service::health::Health;
use crate::service::issue_ids::IssueIds;
use crate::service::keys::ManageKeys;
use crate::service::links::{Edit, Edited, ManageLinks, make_edits};
use crate::service::namespaces::ManageNamespaces;
use crate::service::own_host::OwnHost;
use crate::service::resolve::ResolveLinks;
use crate::service::stats::LinkStats;
use crate::service::tiers::Tiers;

/// How long a draw waits for a block of ids before the request is answered with 503.
const ID_PATIENCE: Duration = Duration::from_secs(2);

/// The adapters that the use cases are built on.
pub(super) struct Parts<'a> {
    pub(super) allocator: Arc<dyn Allocator>,
    pub(super) store: Arc<dyn LinkStore>,
    pub(super) keys: Arc<dyn KeyStore>,
    pub(super) ids: Ids,
    pub(super) clicks: Clicks,
    pub(super) health: Health,
    pub(super) clients: LimitedClients,
    pub(super) code_key: &'a CodeKey,
    pub(super) bootstrap: Option<ApiKeyHash>,
    pub(super) registry: &'a Registry,
    pub(super) background: &'a Tasks,
    /// What is remembered in front of the store.
    pub(super) tiers: Tiers,
    /// Batches of new links that may be on their way to the store at the same time.
    pub(super) write_batches: usize,
    /// Cancelled when the servers stop.
    pub(super) stopping: CancellationToken,
}

/// Where ids come from.
pub(super) struct Ids {
    /// The keys of links.
    pub(super) keys: Arc<dyn KeySource>,
    /// The ids of namespaces.
    pub(super) namespaces: Arc<RaftIds>,
    /// The ids of the namespace `snowflake`, if there are any.
    pub(super) snowflakes: Option<Arc<dyn SnowflakeIssuer>>,
}

/// Where clicks go, and where they are looked up.
pub(super) struct Clicks {
    pub(super) sink: Arc<dyn ClickSink>,
    pub(super) store: Arc<dyn ClickStore>,
}

/// Starts counting clicks in `store`, by way of `stream` if there is one.
pub(super) fn start_clicks(
    config: &Config,
    stream: Option<RedisServer>,
    store: Arc<dyn ClickStore>,
    registry: &Registry,
    background: &Tasks,
    around: &Surroundings,
) -> Clicks {
    let sink = clicks::start(
        ClickOptions::new(config.clicks.queue_size),
        stream,
        Arc::clone(&store),
        Arc::clone(&around.clock),
        &*around.entropy,
        background,
        ClickMetrics::new(registry),
    );
    Clicks { sink, store }
}

/// The use cases, over `parts`.
pub(super) fn assemble(parts: Parts<'_>, own: &Arc<OwnHost>, settings: HttpSettings, around: &Surroundings) -> Api {
    let clock = Arc::clone(&around.clock);
    let codec = Arc::new(KeyCodec::new(parts.code_key));
    let (http_metrics, link_metrics) = (HttpMetrics::new(parts.registry), LinkMetrics::new(parts.registry));
    let Workers { writes, edits, visits } = start_workers(&parts, &link_metrics);
    let Parts { allocator, store, keys, ids, clicks, health, clients, bootstrap, tiers, stopping, .. } = parts;
    let resolve =
        Arc::new(ResolveLinks::new(Arc::clone(&store), tiers.clone(), Arc::clone(&codec), visits, Arc::clone(&clock)));
    Api {
        create: CreateLinks::new(
            ids.keys,
            Arc::clone(&store),
            writes,
            tiers,
            Arc::clone(&codec),
            Arc::clone(own),
            Arc::clone(&clock),
            Arc::clone(&around.entropy),
        ),
        links: ManageLinks::new(
            store,
            edits,
            Arc::clone(&resolve),
            Arc::clone(&codec),
            Arc::clone(own),
            Arc::clone(&clock),
        ),
        resolve,
        clicks: clicks.sink,
        stats: LinkStats::new(clicks.store, Arc::clone(&clock)),
        ids: issue(&ids.namespaces, ids.snowflakes),
        namespaces: ManageNamespaces::new(ids.namespaces, Arc::clone(&allocator)),
        decode: DecodeIds::new(Arc::clone(&allocator), Arc::clone(&codec)),
        keys: ManageKeys::new(keys, bootstrap, Arc::clone(&clock), Arc::clone(&around.entropy)),
        health,
        allocator,
        codec,
        clock,
        traces: around.traces.clone(),
        http_metrics,
        link_metrics,
        clients,
        settings,
        request_ids: RequestIds::new(process_number(around)),
        body_budget: BodyBudget::default(),
        bulk_places: Semaphore::new(BULK_PLACES),
        stopping,
    }
}

/// What the request ids of this process begin with.
fn process_number(around: &Surroundings) -> u32 {
    u32::from_be_bytes(random_128(&*around.entropy)[..4].try_into().expect("four bytes"))
}

fn issue(namespaces: &Arc<RaftIds>, snowflakes: Option<Arc<dyn SnowflakeIssuer>>) -> IssueIds {
    let issue = IssueIds::new(Arc::clone(namespaces) as _);
    match snowflakes {
        Some(snowflakes) => issue.with_snowflakes(snowflakes),
        None => issue,
    }
}

/// The entrances to the workers that write: a request that is cut off doesn't cut off its write.
struct Workers {
    writes: Batcher<NewLink, CreateOutcome>,
    edits: Batcher<(Key, Edit), Edited>,
    visits: Batcher<Key, VisitOutcome>,
}

fn start_workers(parts: &Parts<'_>, metrics: &LinkMetrics) -> Workers {
    let Parts { background, write_batches, store, tiers, .. } = parts;
    let stop = background.stopping();
    let (creating, sizes) = (Arc::clone(store), metrics.batch_size.clone());
    let (writes, worker) = Batcher::new(stop.clone(), *write_batches, move |links: Vec<_>| {
        let store = Arc::clone(&creating);
        sizes.record(u32::try_from(links.len()).unwrap_or(u32::MAX));
        async move { store.create(links).await }
    });
    background.start("link writer", worker);
    let counting = Arc::clone(store);
    let (editing, noting) = (Arc::clone(store), tiers.clone());
    let (edits, worker) = Batcher::new(stop.clone(), 1, move |edits| {
        let (store, tiers) = (Arc::clone(&editing), noting.clone());
        async move { make_edits(&*store, &tiers, edits).await }
    });
    background.start("link editor", worker);
    let (visits, worker) = Batcher::new(stop, 1, move |keys| {
        let store = Arc::clone(&counting);
        async move { store.count_visits(keys).await }
    });
    background.start("visit counter", worker);
    Workers { writes, edits, visits }
}

/// How ids are held by the node that people call `label`.
pub(super) fn id_options(config: &Config, label: String) -> RaftIdOptions {
    RaftIdOptions {
        label,
        headroom: config.ids.headroom.get(),
        min_block: config.ids.min_block,
        max_block: config.ids.max_block,
        patience: ID_PATIENCE,
    }
}

/// How blocks of links' keys are held.
pub(super) fn block_options(config: &Config) -> BlockOptions {
    BlockOptions {
        headroom: config.ids.headroom.get(),
        min_block: config.ids.min_block,
        max_block: config.ids.max_block,
        patience: ID_PATIENCE,
    }
}

/// The settings of the public port of `role`.
pub(super) fn http_settings(config: &Config, role: Role, public_url: &str) -> HttpSettings {
    HttpSettings {
        public_url: public_url.to_owned(),
        redirect_status: StatusCode::from_u16(config.http.redirect_status.get()).expect("it was checked: 301 to 308"),
        anonymous_create: config.anonymous_create(role),
        max_body_size: config.http.max_body_size.as_usize(),
        request_timeout: config.http.request_timeout.get(),
    }
}

/// The host that links must not lead to.
pub(super) fn own_host(public_url: &str, listener: SocketAddr) -> anyhow::Result<Arc<OwnHost>> {
    let public_url = public_url.parse().context("the public URL (http.public_url)")?;
    Ok(Arc::new(OwnHost::new(&public_url, listener).context("the public URL (http.public_url) names no host")?))
}
