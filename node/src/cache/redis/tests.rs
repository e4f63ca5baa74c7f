//! The shared cache on real servers that forget, come back as they were, hang and are emptied.

mod loss;

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::*;
use crate::cache::memory::MemoryLinkCache;
use crate::domain::label::Tags;
use crate::domain::link::LinkContent;
use crate::domain::timestamp::UnixMs;
use crate::lifecycle::Tasks;
use crate::metrics::Registry;
use crate::ports::clock::ManualClock;
use crate::ports::entropy::OsEntropy;
use crate::ports::spawn::Spawn as _;
use crate::redis_server::Patience;
use crate::redis_server::real::Redis;

/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(2);

/// What a node knows of Redis: the cache, its own memory, and the tasks that keep both going.
struct Node {
    cache: Arc<RedisLinkCache>,
    server: RedisServer,
    local: Arc<MemoryLinkCache>,
    registry: Registry,
    clock: Arc<ManualClock>,
    _tasks: Tasks,
}

impl Node {
    /// A node that believes nothing yet.
    fn new(redis: &Redis) -> Self {
        let (tasks, registry) = (Tasks::default(), Registry::new().unwrap());
        // A busy machine must not look like a Redis that is away.
        let patience = Patience { connection: PATIENCE, answer: PATIENCE, visitor: PATIENCE };
        let server = RedisServer::open_with(&redis.url(), patience).unwrap();
        let kept = server.clone();
        tasks.start_endless("redis", async move { kept.keep_connected().await });
        let clock = Arc::<ManualClock>::default();
        let local = Arc::new(MemoryLinkCache::new(100, Duration::from_secs(30), Arc::clone(&clock) as _));
        let (cache, writer) = RedisLinkCache::new(
            server.clone(),
            PREFIX,
            Arc::clone(&local) as _,
            CacheMetrics::new(&registry),
            Arc::clone(&clock) as _,
            Arc::new(OsEntropy),
            tasks.stopping(),
        );
        tasks.start("redis writer", writer);
        Self { cache: Arc::new(cache), server, local, registry, clock, _tasks: tasks }
    }

    /// A node that has replayed an empty record at this position.
    async fn trusting(redis: &Redis, covered: FeedPosition) -> Self {
        let node = Self::new(redis);
        node.replay(covered, &[]).await;
        node
    }

    /// Replays these changes, once Redis answers.
    async fn replay(&self, covered: FeedPosition, changes: &[(Key, i64)]) {
        eventually("a replay", async || {
            self.cache.begin_replay().await
                && (changes.is_empty() || self.cache.note_changes(covered.timeline, changes).await)
                && self.cache.finish_replay(covered).await
        })
        .await;
        assert!(!self.cache.needs_replay());
    }

    async fn version(&self, key: i64) -> Option<i64> {
        self.cache.link(Key::new(key).unwrap()).await.map(|link| link.version)
    }

    /// Waits until everything queued before was written, or refused.
    async fn settle(&self) {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let hash = UrlHash(u128::from(NUMBER.fetch_add(1, Ordering::Relaxed)).to_be_bytes());
        let belief = self.cache.shared.trust.belief().expect("it believes");
        self.cache.put_target(OwnerId(0), hash, Key::new(1).unwrap(), belief.covered);
        eventually("the queue is written", async || {
            self.cache.target(OwnerId(0), hash).await.is_some() || self.cache.needs_replay()
        })
        .await;
    }

    fn dropped(&self, reason: &str) -> bool {
        let line = format!("stint_cache_dropped_writes_total{{reason=\"{reason}\"}} 0");
        !self.registry.render().contains(&line)
    }
}

async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let began = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    while !condition().await {
        assert!(began.elapsed() < DEADLINE, "{what} did not happen");
        tick.tick().await;
    }
}

const fn at(seq: i64) -> FeedPosition {
    FeedPosition { timeline: 1, seq }
}

fn link(key: i64, version: i64) -> Arc<Link> {
    let content = LinkContent {
        url: format!("https://example.com/a/page/of/average/length?with=a-query&version={version}").parse().unwrap(),
        expires_at: None,
        limit: None,
        title: None,
        tags: Tags::default(),
    };
    Arc::new(Link {
        key: Key::new(key).unwrap(),
        alias: None,
        owner: OwnerId(1),
        version,
        created_at: UnixMs::new(1_767_225_600_000).unwrap(),
        content: Some(content),
    })
}

#[tokio::test]
async fn of_two_versions_the_newer_stays_whichever_is_written_last() {
    let redis = Redis::start();
    let (one, other) = (Node::trusting(&redis, at(0)).await, Node::trusting(&redis, at(0)).await);
    one.cache.put_link(&link(7, 2), at(1));
    one.settle().await;
    assert_eq!(other.cache.link(link(7, 2).key).await, Some(link(7, 2)), "as it was");
    other.cache.put_link(&link(7, 1), at(5));
    other.settle().await;
    assert_eq!(one.version(7).await, Some(2));
    other.cache.put_link(&link(7, 3), at(0));
    other.settle().await;
    assert_eq!(one.version(7).await, Some(3));
    assert_eq!(one.version(8).await, None);
}

#[tokio::test]
async fn a_noted_change_removes_older_values_and_keeps_them_out() {
    let redis = Redis::start();
    let (one, other) = (Node::trusting(&redis, at(0)).await, Node::trusting(&redis, at(0)).await);
    let key = link(7, 1).key;
    one.cache.put_link(&link(7, 1), at(1));
    one.settle().await;
    assert_eq!(other.version(7).await, Some(1));
    assert!(other.cache.note_changes(1, &[(key, 2)]).await);
    assert_eq!(one.version(7).await, None);
    one.cache.put_link(&link(7, 1), at(1));
    one.settle().await;
    assert_eq!(one.version(7).await, None, "read before the change, written after it");
    one.cache.put_link(&link(7, 2), at(2));
    one.settle().await;
    assert!(other.cache.note_changes(1, &[(key, 2), (key, 1)]).await);
    assert_eq!(other.version(7).await, Some(2), "a change that the value holds leaves it");
    let floor = Names { prefix: PREFIX.into() }.link(link(9, 1).key);
    assert!(other.cache.note_changes(1, &[(link(9, 1).key, 2)]).await);
    let mut connection = one.server.connection().await.unwrap();
    let kept: u64 = redis::cmd("TTL").arg(floor).query_async(&mut connection).await.unwrap();
    assert!(kept >= 120, "{kept}");
}

#[tokio::test]
async fn what_this_nodes_memory_knows_to_be_old_and_what_waited_too_long_is_not_written() {
    let redis = Redis::start();
    let node = Node::trusting(&redis, at(0)).await;
    node.local.note_version(link(7, 1).key, 2);
    node.cache.put_link(&link(7, 1), at(0));
    node.settle().await;
    assert_eq!(node.version(7).await, None);
    assert!(node.dropped("stale"));
    let waiting = Waiting { write: Write::Link(link(8, 1), at(0)), since: Duration::ZERO };
    node.clock.advance(Duration::from_secs(11));
    node.cache.queue.send(waiting).await.unwrap();
    node.settle().await;
    assert_eq!(node.version(8).await, None);
}

#[tokio::test]
async fn a_corrupt_or_unknown_value_is_a_miss_and_is_replaced() {
    let redis = Redis::start();
    let node = Node::trusting(&redis, at(0)).await;
    let name = node.cache.shared.names.link(link(7, 1).key);
    let whole = value::of_link(&name, &link(7, 1), at(0));
    let foreign = value::of_link(b"another", &link(7, 1), at(0));
    for bytes in [&b""[..], b"x", &[0xff; 40], &whole[..whole.len() - 1], &foreign] {
        let mut connection = node.server.connection().await.unwrap();
        redis::cmd("SET").arg(&name).arg(bytes).exec_async(&mut connection).await.unwrap();
        assert_eq!(node.version(7).await, None, "{bytes:?}");
    }
    node.cache.put_link(&link(7, 1), at(0));
    node.settle().await;
    assert_eq!(node.version(7).await, Some(1));
}

#[tokio::test]
async fn another_timeline_makes_links_aliases_and_targets_misses_and_its_values_replace_older_ones() {
    let redis = Redis::start();
    let node = Node::trusting(&redis, at(0)).await;
    let (alias, hash): (Alias, _) = ("our-summer-sale".parse().unwrap(), UrlHash([3; 16]));
    let key = link(7, 5).key;
    node.cache.put_link(&link(7, 5), at(3));
    node.cache.put_alias(&alias, key, at(3));
    node.cache.put_target(OwnerId(1), hash, key, at(3));
    node.settle().await;
    assert_eq!((node.version(7).await, node.cache.alias(&alias).await), (Some(5), Some(key)));
    assert_eq!(node.cache.target(OwnerId(1), hash).await, Some(key));
    assert_eq!(node.cache.target(OwnerId(2), hash).await, None);
    let promoted = FeedPosition { timeline: 2, seq: 0 };
    node.replay(promoted, &[]).await;
    assert_eq!((node.version(7).await, node.cache.alias(&alias).await), (None, None));
    assert_eq!(node.cache.target(OwnerId(1), hash).await, None);
    // Version 5 was lost with the old primary.
    node.cache.put_link(&link(7, 4), promoted);
    node.settle().await;
    assert_eq!(node.version(7).await, Some(4));
    node.cache.put_link(&link(7, 6), at(9));
    node.settle().await;
    assert_eq!(node.version(7).await, Some(4), "read from the old primary");
}

#[tokio::test]
async fn an_announcement_wakes_the_other_nodes() {
    let redis = Redis::start();
    let node = Node::trusting(&redis, at(0)).await;
    let (tasks, wake) = (Tasks::default(), Arc::new(Notify::new()));
    tasks.start_endless("hints", listen(node.server.clone(), Arc::clone(&wake)));
    let woken = || tokio::time::timeout(DEADLINE, wake.notified());
    woken().await.expect("when it begins to listen");
    node.cache.announce();
    woken().await.expect("by the announcement");
}

#[tokio::test]
async fn a_link_of_average_length_takes_less_than_350_bytes() {
    let redis = Redis::start();
    let node = Node::trusting(&redis, at(0)).await;
    let used = || {
        let memory = redis.ask(&["INFO", "memory"]);
        let line = memory.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim().to_owned();
        line.parse::<f64>().unwrap()
    };
    let before = used();
    for key in 1..=8000 {
        node.cache.put_link(&link(key, 1), at(0));
        if key % 1000 == 0 {
            node.settle().await;
        }
    }
    assert_eq!(node.version(8000).await, Some(1));
    let each = (used() - before) / 8000.0;
    println!("{each:.0} bytes a link");
    assert!(each < 350.0, "{each}");
}
