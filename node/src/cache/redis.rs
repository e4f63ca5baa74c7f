//! The shared cache in Redis: versioned values that live a day, floors for what changed, and doubt whenever Redis was away.
//!
//! **Invariant: no value older than a noted change is answered**, whatever Redis lost or brought back; `trust` holds the
//! rule. A request waits a tenth of a second at most, once; then Redis counts as away and costs nothing. Writing only queues.

mod hints;
mod scripts;
#[cfg(test)]
mod tests;
mod trust;
mod value;
mod writes;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::RedisError;
use redis::aio::MultiplexedConnection;
use stint_idgen::Key;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::scripts::Scripts;
use self::trust::{Belief, Epoch, Ground, Trust};
use self::value::{Stamp, Value};
use self::writes::{Waiting, Write};
use crate::domain::access::OwnerId;
use crate::domain::alias::Alias;
use crate::domain::link::Link;
use crate::domain::target_url::UrlHash;
use crate::metrics::{CacheMetrics, CacheReads};
use crate::ports::change_feed::FeedPosition;
use crate::ports::clock::Clock;
use crate::ports::entropy::{Entropy, random_128};
use crate::ports::link_cache::LinkCache;
use crate::ports::shared_cache::SharedCache;
use crate::redis_server::RedisServer;

pub use hints::listen;

/// How long a floor is kept: far longer than any value waits to be written, and than any replica may lag.
const FLOOR_KEPT: Duration = Duration::from_mins(10);
/// Changes noted by one call of the script: well under a millisecond of Redis's only thread.
const NOTED_AT_ONCE: usize = 200;
/// Writes that may wait: a second of what one node stores at its busiest.
const QUEUE_LENGTH: usize = 4096;

/// What all of our names begin with.
const PREFIX: &str = "st:";

/// Links, aliases and targets in Redis.
#[derive(Debug)]
pub struct RedisLinkCache {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Waiting>,
}

/// What reading, writing and noting have in common.
#[derive(Debug)]
struct Shared {
    server: RedisServer,
    trust: Trust,
    scripts: Scripts,
    names: Names,
    /// This node's memory, which knows what changed in the last minute.
    floors: Arc<dyn LinkCache>,
    metrics: CacheMetrics,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// The names of things in Redis.
#[derive(Debug)]
struct Names {
    prefix: Vec<u8>,
}

/// What the names of a deployment begin with.
pub fn prefix_of(deployment: &str) -> String {
    format!("{PREFIX}{deployment}:")
}

impl RedisLinkCache {
    /// A cache on `server` under names that begin with `prefix`, and the worker that must be spawned for it: it writes what
    /// is queued, and ends once `stop` is cancelled. `floors` is the node's own memory of links.
    pub fn new(
        server: RedisServer,
        prefix: &str,
        floors: Arc<dyn LinkCache>,
        metrics: CacheMetrics,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (queue, waiting) = mpsc::channel(QUEUE_LENGTH);
        let names = Names { prefix: prefix.as_bytes().to_owned() };
        let (trust, scripts) = (Trust::default(), Scripts::default());
        let shared = Arc::new(Shared { server, trust, scripts, names, floors, metrics, clock, entropy });
        let writer = writes::write(Arc::clone(&shared), waiting, stop);
        (Self { shared, queue }, writer)
    }

    /// Queues a write, or drops it: what isn't cached is only read again.
    fn put(&self, write: Write) {
        if self.shared.trust.belief().is_none() {
            self.shared.metrics.dropped_untrusted.increment(1);
            return;
        }
        let waiting = Waiting { write, since: self.shared.clock.monotonic() };
        if self.queue.try_send(waiting).is_err() {
            self.shared.metrics.dropped_full.increment(1);
        }
    }
}

impl Shared {
    /// What stands under a name and is believed; counts the hit or miss.
    async fn find<T>(
        &self,
        name: &[u8],
        reads: &CacheReads,
        read: impl FnOnce(&Belief, &[u8]) -> Option<T>,
    ) -> Option<T> {
        let found = match self.fetch(name).await {
            Some((belief, Some(bytes))) => read(&belief, &bytes),
            Some((_, None)) | None => None,
        };
        if found.is_some() { &reads.hits } else { &reads.misses }.increment(1);
        found
    }

    /// The bytes under a name, in the memory that is believed in, before and after they were read.
    async fn fetch(&self, name: &[u8]) -> Option<(Belief, Option<Vec<u8>>)> {
        let belief = self.trust.belief()?;
        let (mut connection, generation) = self.server.line().await.ok()?;
        if generation != belief.ground.generation {
            self.lose(belief.ground);
            return None;
        }
        let mut command = redis::cmd("MGET");
        command.arg(self.names.epoch()).arg(name);
        let asked = timeout(
            self.server.patience().visitor,
            command.query_async::<(Option<Vec<u8>>, Option<Vec<u8>>)>(&mut connection),
        );
        match asked.await.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into())) {
            Ok((epoch, bytes)) if epoch.as_deref() == Some(&belief.ground.epoch) => {
                (self.trust.belief() == Some(belief)).then_some((belief, bytes))
            }
            Ok(_) => {
                self.lose(belief.ground);
                None
            }
            Err(error) => {
                self.failed(belief.ground, &error);
                None
            }
        }
    }

    /// Notes changes, in calls of a bounded size; answers whether all of them are certainly on the ground stood on.
    async fn note(&self, timeline: u32, changes: &[(Key, i64)]) -> bool {
        let Ok((mut connection, generation)) = self.server.line().await else { return false };
        let ground = self.trust.ground().filter(|ground| ground.generation == generation);
        for chunk in changes.chunks(NOTED_AT_ONCE) {
            match self.note_chunk(&mut connection, timeline, chunk).await {
                Ok(epoch) if ground.is_some_and(|ground| epoch.as_deref() == Some(&ground.epoch)) => {}
                Ok(_) => {
                    ground.inspect(|ground| self.lose(*ground));
                    return false;
                }
                Err(error) => {
                    self.failed(ground.unwrap_or(Ground { generation, epoch: Epoch::default() }), &error);
                    return false;
                }
            }
        }
        ground.is_some()
    }

    async fn note_chunk(
        &self,
        connection: &mut MultiplexedConnection,
        timeline: u32,
        changes: &[(Key, i64)],
    ) -> Result<Option<Vec<u8>>, RedisError> {
        let mut call = self.scripts.note.prepare_invoke();
        call.key(self.names.epoch()).arg(FLOOR_KEPT.as_secs());
        for (key, version) in changes {
            let name = self.names.link(*key);
            call.arg(value::of_floor(&name, timeline, *version)).key(name);
        }
        call.invoke_async(connection).await
    }

    /// Finds out what the memory is known by, or gives it a mark.
    async fn survey(&self) -> Result<Ground, RedisError> {
        let (mut connection, generation) = self.server.line().await?;
        let fresh: Epoch = random_128(&*self.entropy);
        let mut pipeline = redis::pipe();
        pipeline.cmd("SET").arg(self.names.epoch()).arg(&fresh[..]).arg("NX").ignore();
        pipeline.cmd("GET").arg(self.names.epoch());
        let surveyed: Result<(Vec<u8>,), RedisError> = pipeline.query_async(&mut connection).await;
        match surveyed {
            Ok((epoch,)) => {
                if let Ok(epoch) = Epoch::try_from(epoch) {
                    return Ok(Ground { generation, epoch });
                }
                // Somebody else's value: the next survey finds none, and leaves its own.
                redis::cmd("DEL").arg(self.names.epoch()).exec_async(&mut connection).await?;
                Err((redis::ErrorKind::Parse, "the mark in Redis isn't ours").into())
            }
            Err(error) => {
                self.failed(Ground { generation, epoch: Epoch::default() }, &error);
                Err(error)
            }
        }
    }

    fn failed(&self, ground: Ground, error: &RedisError) {
        self.metrics.errors.increment(1);
        self.server.lost(ground.generation, error);
        self.lose(ground);
    }

    fn lose(&self, ground: Ground) {
        self.trust.lose(ground);
        self.show_trust();
    }

    fn show_trust(&self) {
        self.metrics.trusted.set(if self.trust.belief().is_some() { 1.0 } else { 0.0 });
    }
}

#[async_trait]
impl SharedCache for RedisLinkCache {
    async fn link(&self, key: Key) -> Option<Arc<Link>> {
        let name = self.shared.names.link(key);
        let read = |belief: &Belief, bytes: &[u8]| match value::read(&name, Some(key), bytes)? {
            (stamp, Value::Link(link)) if belief.of_link(stamp) => Some(Arc::from(link)),
            _ => None,
        };
        self.shared.find(&name, &self.shared.metrics.links, read).await
    }

    async fn alias(&self, alias: &Alias) -> Option<Key> {
        let name = self.shared.names.alias(alias);
        let read = |belief: &Belief, bytes: &[u8]| read_key(&name, belief, bytes);
        self.shared.find(&name, &self.shared.metrics.aliases, read).await
    }

    async fn target(&self, owner: OwnerId, hash: UrlHash) -> Option<Key> {
        let name = self.shared.names.target(owner, hash);
        let read = |belief: &Belief, bytes: &[u8]| read_key(&name, belief, bytes);
        self.shared.find(&name, &self.shared.metrics.targets, read).await
    }

    fn put_link(&self, link: &Arc<Link>, as_of: FeedPosition) {
        self.put(Write::Link(Arc::clone(link), as_of));
    }

    fn put_alias(&self, alias: &Alias, key: Key, as_of: FeedPosition) {
        self.put(Write::Key(self.shared.names.alias(alias), key, as_of));
    }

    fn put_target(&self, owner: OwnerId, hash: UrlHash, key: Key, as_of: FeedPosition) {
        self.put(Write::Key(self.shared.names.target(owner, hash), key, as_of));
    }

    async fn note_changes(&self, timeline: u32, changes: &[(Key, i64)]) -> bool {
        self.shared.note(timeline, changes).await
    }

    fn announce(&self) {
        self.put(Write::Announcement);
    }

    fn needs_replay(&self) -> bool {
        let generation = self.shared.server.generation();
        self.shared.trust.belief().is_none_or(|belief| belief.ground.generation != generation)
    }

    async fn begin_replay(&self) -> bool {
        if let Some(ground) = self.shared.trust.ground() {
            self.shared.lose(ground);
        }
        let Ok(ground) = self.shared.survey().await else { return false };
        self.shared.trust.begin(ground);
        true
    }

    async fn finish_replay(&self, covered: FeedPosition) -> bool {
        let Some(ground) = self.shared.trust.ground() else { return false };
        // Once more: the memory may have been emptied after the last change was noted.
        let is_the_same = self.shared.survey().await.is_ok_and(|found| found == ground);
        let is_trusted = is_the_same && self.shared.trust.finish(ground, covered);
        if !is_the_same {
            self.shared.trust.lose(ground);
        }
        self.shared.show_trust();
        is_trusted
    }
}

fn read_key(name: &[u8], belief: &Belief, bytes: &[u8]) -> Option<Key> {
    match value::read(name, None, bytes)? {
        (stamp, Value::Key(key)) if belief.of_key(stamp) => Some(key),
        _ => None,
    }
}

impl Names {
    fn epoch(&self) -> Vec<u8> {
        self.of(b'e', &[])
    }

    fn link(&self, key: Key) -> Vec<u8> {
        self.of(b'l', &key.get().to_be_bytes())
    }

    fn alias(&self, alias: &Alias) -> Vec<u8> {
        self.of(b'a', alias.as_str().as_bytes())
    }

    fn target(&self, owner: OwnerId, hash: UrlHash) -> Vec<u8> {
        let mut id = Vec::with_capacity(24);
        id.extend(owner.0.to_be_bytes());
        id.extend(hash.0);
        self.of(b't', &id)
    }

    fn of(&self, kind: u8, id: &[u8]) -> Vec<u8> {
        let mut name = Vec::with_capacity(self.prefix.len() + 1 + id.len());
        name.extend(&self.prefix);
        name.push(kind);
        name.extend(id);
        name
    }
}

/// A stamp is all that a script and the trust look at.
impl Stamp {
    /// Whether it may be written on what is believed.
    const fn fits(self, belief: &Belief) -> bool {
        self.as_of.timeline == belief.covered.timeline
    }
}
