//! A shortener over Postgres, Redis and the sources of ids. What answers and refuses ends the start; what is away is gone
//! without until it comes.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use stint_idgen::CodeKey;
use tokio::sync::Notify;

use super::checks::StartChecks;
use super::health::{DatabaseLook, IdsLook, RedisLook};
use super::ids::{IdSources, start_namespaces, start_snowflakes};
use super::late::LateKeys;
use super::{AtHand, Ports, ServeNode};
use crate::app::Surroundings;
use crate::app::api::{Ids, Parts, assemble, http_settings, start_clicks};
use crate::app::limits::rate_limits;
use crate::cache::disabled::NoSharedCache;
use crate::cache::memory::MemoryLinkCache;
use crate::cache::redis::{RedisLinkCache, listen, prefix_of};
use crate::config::{Config, DatabaseUrl, Role};
use crate::domain::access::ApiKeyHash;
use crate::ids::redis_blocks::RedisTimeline;
use crate::lifecycle::Tasks;
use crate::metrics::{CacheMetrics, DatabaseMetrics, Registry};
use crate::ports::coordination::Allocator;
use crate::ports::error_chain::Chain;
use crate::ports::link_cache::LinkCache;
use crate::ports::shared_cache::SharedCache;
use crate::ports::spawn::Spawn;
use crate::ports::timeline::TimelineRegister;
use crate::redis_server::{FirstLook, RedisServer};
use crate::service::changes::FollowChanges;
use crate::service::health::{Health, Look};
use crate::service::tiers::Tiers;
use crate::storage::postgres::PgStore;
use crate::storage::postgres::clicks::PgClickStore;
use crate::storage::postgres::servers::{MAX_REPLICA_LAG, ServerOptions, Servers};
use crate::tasks;
use crate::tasks::changes::follow_changes;

/// How long the start waits for the database before it goes on without.
const CHECKED_WITHIN: Duration = Duration::from_secs(3);
/// How many batches of new links may be on their way to the primary at once: while one waits for the disk, the next is
/// sent. More would only make each smaller.
const WRITE_BATCHES: usize = 2;

/// Starts a node that creates and follows links.
///
/// # Errors
/// One line about what refuses.
pub(super) async fn start_shortener(
    config: &Config,
    allocator: Arc<dyn Allocator>,
    repair_ids: bool,
    around: &Surroundings,
) -> anyhow::Result<ServeNode> {
    let mut ports = Ports::bind(config)?;
    let code_key = config.codes.key.as_ref().context("there is no code key: set STINT_CODE_KEY")?;
    let code_key: CodeKey = code_key.expose().parse().context("the code key (codes.key)")?;
    // The fingerprint is no secret, and is the same on all nodes of a deployment and on no other's.
    let deployment = code_key.fingerprint();
    let (registry, background) = (Registry::new()?, Tasks::default());
    let redis = open_redis(config, &background).await?;
    let servers = open_database(config, &allocator, redis.as_ref(), &deployment, &registry, &background).await?;
    let store = Arc::new(PgStore::new(Arc::clone(&servers)));
    let snowflakes = start_snowflakes(config, &ports.label, &allocator, &registry, &background, around);
    let sources = IdSources {
        label: ports.label.clone(),
        allocator: Arc::clone(&allocator),
        store: Arc::clone(&store),
        servers: Arc::clone(&servers),
        redis: redis.clone(),
        snowflakes: snowflakes.clone(),
        deployment: deployment.clone(),
        registry: registry.clone(),
        background: background.clone(),
    };
    let keys = start_keys(sources, config, code_key.clone(), repair_ids, around).await?;
    let memory = MemoryLinkCache::new(config.cache.l1_entries, config.cache.l1_ttl.get(), Arc::clone(&around.clock));
    let local: Arc<dyn LinkCache> = Arc::new(memory);
    let tiers = follow(&store, local, redis.clone(), &deployment, &registry, &background, around);
    start_cleanup(&store, &background, around);
    let click_store = Arc::new(PgClickStore::new(Arc::clone(&servers)));
    let clicks = start_clicks(config, redis.clone(), click_store, &registry, &background, around);
    let namespaces = start_namespaces(config, &ports.label, &allocator, &registry, &background, around);
    let at_hand = AtHand { namespaces: Arc::clone(&namespaces), snowflakes: snowflakes.clone() };
    let ids_look = Health::new(Arc::clone(&allocator)).with_ids(Arc::new(at_hand));
    let ids_look = (!config.cluster.allocators.is_empty()).then(|| Arc::new(IdsLook(ids_look)) as _);
    let shared = redis.as_ref().map(|server| (server, deployment.as_str()));
    let clients = rate_limits(config, shared, &registry, around);
    let looks: [Option<Arc<dyn Look>>; 3] =
        [Some(Arc::new(DatabaseLook(servers))), redis.map(|server| Arc::new(RedisLook(server)) as _), ids_look];
    let health = Health::of(looks.into_iter().flatten().collect());
    let adapters = Parts {
        allocator: Arc::clone(&allocator),
        store: Arc::clone(&store) as _,
        keys: store,
        ids: Ids { keys, namespaces, snowflakes: snowflakes.map(|it| it as _) },
        clicks,
        health: health.clone(),
        clients,
        code_key: &code_key,
        bootstrap: config.auth.admin_key.as_ref().map(|key| ApiKeyHash::of(key.expose())),
        registry: &registry,
        background: &background,
        tiers,
        write_batches: WRITE_BATCHES,
        stopping: ports.frontend.stopping(),
    };
    let settings = http_settings(config, Role::Serve, &ports.public_url);
    let api = assemble(adapters, &ports.own, settings, around);
    ports.serve(api, &registry, health, around)?;
    background.start("metrics upkeep", tasks::fold_metrics(registry, background.stopping()));
    Ok(ports.into_node(background))
}

/// Forgets in the database what has had its time.
fn start_cleanup(store: &Arc<PgStore>, background: &Tasks, around: &Surroundings) {
    let (stop, clock) = (background.stopping(), Arc::clone(&around.clock));
    let keys = tasks::forget_idempotency_keys(Arc::clone(store) as _, clock, stop.clone());
    background.start("idempotency cleanup", keys);
    background.start("change cleanup", tasks::forget_old_changes(Arc::clone(store) as _, stop));
}

/// Redis, if it is configured and doesn't refuse.
async fn open_redis(config: &Config, background: &Tasks) -> anyhow::Result<Option<RedisServer>> {
    let Some(url) = &config.cache.redis_url else { return Ok(None) };
    let server =
        RedisServer::open(url.expose()).map_err(|error| anyhow!("Redis (cache.redis_url): {}", Chain(&error)))?;
    match server.first_look().await? {
        FirstLook::Answers { evicts_everything: Some(policy) } => tracing::warn!(
            policy,
            "Redis' maxmemory-policy may evict the clicks that wait to be counted, and counters: use volatile-lru"
        ),
        FirstLook::Answers { evicts_everything: None } => {}
        FirstLook::Away(error) => tracing::warn!(error = %Chain(&error), "Redis is away: going on without it"),
    }
    let kept = server.clone();
    background.start_endless("Redis connection", async move { kept.keep_connected().await });
    Ok(Some(server))
}

/// The database's servers, watched, if none refuses.
async fn open_database(
    config: &Config,
    allocator: &Arc<dyn Allocator>,
    redis: Option<&RedisServer>,
    deployment: &str,
    registry: &Registry,
    background: &Tasks,
) -> anyhow::Result<Arc<Servers>> {
    let urls = |urls: &[DatabaseUrl]| urls.iter().map(|url| url.expose().to_owned()).collect();
    let options = ServerOptions {
        primary_urls: urls(&config.database.primary_urls),
        replica_urls: urls(&config.database.replica_urls),
        pool_size: config.database.pool_size,
        max_replica_lag: MAX_REPLICA_LAG,
    };
    for away in Servers::first_look(&options).await? {
        tracing::warn!(error = %away, "a database server is away");
    }
    let register: Option<Arc<dyn TimelineRegister>> = match redis {
        _ if !config.cluster.allocators.is_empty() => Some(Arc::new(Arc::clone(allocator))),
        Some(server) => Some(Arc::new(RedisTimeline::new(server.clone(), deployment))),
        None => None,
    };
    let metrics = Arc::new(DatabaseMetrics::new(registry));
    Ok(Arc::new(Servers::start(&options, register, metrics, background)?))
}

/// Keys of links, from the moment on when the database was checked. What isn't well in a while is checked on in the
/// background.
async fn start_keys(
    sources: IdSources,
    config: &Config,
    code_key: CodeKey,
    repair_ids: bool,
    around: &Surroundings,
) -> anyhow::Result<Arc<LateKeys>> {
    let checks = StartChecks {
        servers: Arc::clone(&sources.servers),
        store: Arc::clone(&sources.store),
        allocator: Arc::clone(&sources.allocator),
        code_key,
        sources: std::iter::once(config.ids.source).chain(config.ids.fallback.iter().copied()).collect(),
        repair_ids,
    };
    let keys = Arc::new(LateKeys::default());
    let (config, late, around) = (config.clone(), Arc::clone(&keys), around.clone());
    let background = sources.background.clone();
    let mut passing = Box::pin(async move {
        checks.run().await?;
        late.come_from(sources.start(&config, &around));
        anyhow::Ok(())
    });
    if let Ok(passed) = tokio::time::timeout(CHECKED_WITHIN, &mut passing).await {
        passed?;
    } else {
        // Its end without success ends the node.
        background.start_endless("start checks", async move {
            match passing.await {
                Ok(()) => std::future::pending().await,
                Err(error) => tracing::error!(error = %format!("{error:#}"), "the database doesn't fit this node"),
            }
        });
    }
    Ok(keys)
}

/// The memories in front of the store, kept honest by the record of changes.
fn follow(
    store: &Arc<PgStore>,
    local: Arc<dyn LinkCache>,
    redis: Option<RedisServer>,
    deployment: &str,
    registry: &Registry,
    background: &Tasks,
    around: &Surroundings,
) -> Tiers {
    let metrics = CacheMetrics::new(registry);
    let hints = Arc::new(Notify::new());
    let shared: Arc<dyn SharedCache> = match redis {
        None => Arc::new(NoSharedCache),
        Some(server) => {
            let (clock, entropy) = (Arc::clone(&around.clock), Arc::clone(&around.entropy));
            let (stop, prefix) = (background.stopping(), prefix_of(deployment));
            let (cache, writer) =
                RedisLinkCache::new(server.clone(), &prefix, Arc::clone(&local), metrics.clone(), clock, entropy, stop);
            background.start("shared cache writer", writer);
            background.start_endless("change hints", listen(server, Arc::clone(&hints)));
            Arc::new(cache)
        }
    };
    let changes = FollowChanges::new(Arc::clone(store) as _, Arc::clone(&local), Arc::clone(&shared));
    let followed = changes.followed();
    let following = follow_changes(changes, hints, metrics, Arc::clone(&around.clock), background.stopping());
    background.start("changes", following);
    Tiers::among_others(local, shared, followed)
}
