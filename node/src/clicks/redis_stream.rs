//! The stream of chunks in Redis: one entry each, read by a consumer group of all nodes, bounded.
//!
//! Needs Redis 6.2 or later. Whatever fails may have been done or not; chunks have numbers, so nobody has to know.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::streams::{StreamAutoClaimReply, StreamId, StreamReadReply};
use redis::{Pipeline, RedisError, RedisResult, Script};

use crate::redis_server::RedisServer;

/// The stream.
const STREAM: &str = "stint:clicks";
/// The last entries that nobody could read, for people to look at.
const ASIDE: &str = "stint:clicks:aside";
/// The consumer group.
const GROUP: &str = "counters";
/// The field of an entry that holds the chunk.
const FIELD: &str = "chunk";
/// Entries from which on nothing is added, so that none is ever trimmed unread: 100 MB of the largest ones.
const MAX_ENTRIES: usize = 10_000;
/// The last resort against a stream without bounds, should very many nodes add at the same moment.
const TRIMMED_AT: usize = 2 * MAX_ENTRIES;
/// Entries kept aside.
const MAX_ASIDE: usize = 100;
/// Entries read at a time.
pub(super) const BATCH: usize = 64;

/// Drops the group's consumers that were silent for `ARGV[2]` milliseconds and have nothing in hand, in one step: one that
/// had something would take it along.
const FORGET_CONSUMERS: &str = r"
local forgotten = 0
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local fields = {}
  for n = 1, #consumer, 2 do fields[consumer[n]] = consumer[n + 1] end
  if fields.pending == 0 and fields.idle > tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], fields.name)
    forgotten = forgotten + 1
  end
end
return forgotten
";

/// The stream, as one process uses it.
#[derive(Clone, Debug)]
pub(super) struct ClickStream {
    server: RedisServer,
    consumer: String,
}

/// One entry, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its number: the milliseconds at which it was added, and a counter.
    pub(super) id: String,
    /// What it holds; `None` when it is no chunk, or has been deleted.
    pub(super) bytes: Option<Vec<u8>>,
    /// Whether it has been deleted: somebody else has settled it.
    pub(super) deleted: bool,
}

/// Why chunks were not added.
#[derive(Debug, thiserror::Error)]
pub(super) enum AddError {
    /// Too many wait to be read already.
    #[error("the stream holds {0} entries that nobody has counted yet")]
    Full(usize),
    /// Redis failed: they may have been added.
    #[error("Redis doesn't take clicks")]
    Redis(#[from] RedisError),
}

impl ClickStream {
    pub(super) fn new(server: RedisServer, process: u128) -> Self {
        Self { server, consumer: format!("{process:032x}") }
    }

    /// Adds one entry for each of `chunks`; answers how many entries were there before.
    pub(super) async fn add(&self, chunks: &[Vec<u8>]) -> Result<usize, AddError> {
        let mut connection = self.server.connection().await?;
        let length: usize = self.noted(redis::cmd("XLEN").arg(STREAM).query_async(&mut connection).await).await?;
        if length >= MAX_ENTRIES {
            return Err(AddError::Full(length));
        }
        let mut adding = redis::pipe();
        for chunk in chunks {
            let add = adding.cmd("XADD").arg(STREAM).arg("MAXLEN").arg("~").arg(TRIMMED_AT);
            add.arg("*").arg(FIELD).arg(chunk.as_slice()).ignore();
        }
        self.send(&mut connection, &adding).await?;
        Ok(length)
    }

    /// Makes the group, unless it is there: it reads from the very beginning.
    pub(super) async fn create_group(&self) -> Result<(), RedisError> {
        let mut connection = self.server.connection().await?;
        let mut create = redis::cmd("XGROUP");
        create.arg("CREATE").arg(STREAM).arg(GROUP).arg("0").arg("MKSTREAM");
        match create.query_async::<()>(&mut connection).await {
            Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
            answer => self.noted(answer).await,
        }
    }

    /// Entries that nobody has read, at most [`BATCH`]. They are in this process's hands until they are settled.
    pub(super) async fn read(&self) -> Result<Vec<Entry>, RedisError> {
        let mut connection = self.server.connection().await?;
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg(GROUP).arg(&self.consumer).arg("COUNT").arg(BATCH).arg("STREAMS").arg(STREAM).arg(">");
        let reply: Option<StreamReadReply> = self.noted(read.query_async(&mut connection).await).await?;
        Ok(reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids).map(Entry::from).collect())
    }

    /// Takes over entries that were in somebody's hands for too long, from `cursor` on; answers where to go on, which is
    /// `0-0` at the end.
    pub(super) async fn claim(&self, idle: Duration, cursor: &str) -> Result<(String, Vec<Entry>), RedisError> {
        let mut connection = self.server.connection().await?;
        let mut claim = redis::cmd("XAUTOCLAIM");
        let idle = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
        claim.arg(STREAM).arg(GROUP).arg(&self.consumer).arg(idle).arg(cursor).arg("COUNT").arg(BATCH);
        let reply: StreamAutoClaimReply = self.noted(claim.query_async(&mut connection).await).await?;
        Ok((reply.next_stream_id, reply.claimed.into_iter().map(Entry::from).collect()))
    }

    /// Lets go of entries that were counted (or are not worth it), and keeps some aside.
    pub(super) async fn settle(&self, settled: &[String], aside: &[Entry]) -> Result<(), RedisError> {
        if settled.is_empty() {
            return Ok(());
        }
        let mut connection = self.server.connection().await?;
        let mut settling = redis::pipe();
        for bytes in aside.iter().filter_map(|entry| entry.bytes.as_deref()) {
            let add = settling.cmd("XADD").arg(ASIDE).arg("MAXLEN").arg(MAX_ASIDE);
            add.arg("*").arg(FIELD).arg(bytes).ignore();
        }
        settling.cmd("XACK").arg(STREAM).arg(GROUP).arg(settled).ignore();
        settling.cmd("XDEL").arg(STREAM).arg(settled).ignore();
        self.send(&mut connection, &settling).await
    }

    /// Forgets consumers that have been silent for `idle` and hold nothing: processes that have ended.
    pub(super) async fn forget_consumers(&self, idle: Duration) -> Result<usize, RedisError> {
        let mut connection = self.server.connection().await?;
        let script = Script::new(FORGET_CONSUMERS);
        let mut call = script.key(STREAM);
        call.arg(GROUP).arg(u64::try_from(idle.as_millis()).unwrap_or(u64::MAX));
        self.noted(call.invoke_async(&mut connection).await).await
    }

    async fn send(&self, connection: &mut MultiplexedConnection, pipeline: &Pipeline) -> Result<(), RedisError> {
        self.noted(pipeline.query_async(connection).await).await
    }

    /// Tells the connection's owner about an error.
    async fn noted<T>(&self, answer: RedisResult<T>) -> RedisResult<T> {
        if let Err(error) = &answer {
            self.server.failed(error).await;
        }
        answer
    }
}

impl Entry {
    /// When it was added, by Redis's clock, in Unix milliseconds.
    pub(super) fn added_at(&self) -> Option<u64> {
        self.id.split('-').next()?.parse().ok()
    }
}

impl From<StreamId> for Entry {
    fn from(read: StreamId) -> Self {
        Self { bytes: read.get(FIELD), deleted: read.map.is_empty(), id: read.id }
    }
}
