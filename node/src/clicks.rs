//! Counting clicks: collected in memory, carried by a Redis stream, counted once in the database.
//!
//! Each node collects what it redirects, sends it off ten times a second, and counts what any node has sent. Guarantees,
//! losses and sizes are in `docs/clicks.md`.

mod collector;
mod consumer;
mod entry;
mod forgetting;
mod redis_stream;
mod sender;

use std::sync::Arc;
use std::time::Duration;

use self::collector::Collector;
use self::consumer::Consumer;
use self::redis_stream::ClickStream;
use self::sender::Sender;
use crate::metrics::ClickMetrics;
use crate::ports::click_store::{ClickSink, ClickStore};
use crate::ports::clock::Clock;
use crate::ports::entropy::{Entropy, random_128};
use crate::ports::spawn::Spawn;
use crate::redis_server::RedisServer;

/// The pace of counting.
#[derive(Clone, Copy, Debug)]
pub struct ClickOptions {
    /// Pairs of link and day that may wait in memory; clicks on others are shed.
    pub max_waiting: usize,
    /// How often what was collected is sent off: what `kill -9` may lose.
    pub send_every: Duration,
    /// How often the stream is looked at while it is empty.
    pub poll_every: Duration,
    /// How long a chunk may be in the hands of a node that doesn't settle it, before another takes it over.
    pub claim_after: Duration,
    /// How long a stop waits for Redis or the database to take the last chunks.
    pub stop_patience: Duration,
}

impl ClickOptions {
    /// The usual pace, with room for so many pairs of link and day.
    pub const fn new(max_waiting: usize) -> Self {
        Self {
            max_waiting,
            send_every: Duration::from_millis(100),
            poll_every: Duration::from_millis(100),
            claim_after: Duration::from_secs(30),
            stop_patience: Duration::from_secs(5),
        }
    }
}

/// Starts counting into `store`, through `stream` if there is one. What the sink has taken in when the tasks of `spawn`
/// are asked to finish is sent off before they end, so nothing may be recorded after that.
pub fn start(
    options: ClickOptions,
    stream: Option<RedisServer>,
    store: Arc<dyn ClickStore>,
    clock: Arc<dyn Clock>,
    entropy: &dyn Entropy,
    spawn: &dyn Spawn,
    metrics: ClickMetrics,
) -> Arc<dyn ClickSink> {
    let process = u128::from_be_bytes(random_128(entropy));
    let collector = Arc::new(Collector::new(options.max_waiting, metrics.shed.clone()));
    let stream = stream.map(|server| ClickStream::new(server, process));
    if let Some(stream) = stream.clone() {
        let consumer = Consumer::new(stream, Arc::clone(&store), Arc::clone(&clock), metrics.clone(), options);
        spawn.spawn("click consumer", Box::pin(consumer.run(spawn.stopping())));
    }
    let forgetting = forgetting::forget_old_chunks(Arc::clone(&store), Arc::clone(&clock), spawn.stopping());
    spawn.spawn("click chunk cleanup", Box::pin(forgetting));
    let sender = Sender::new(process, Arc::clone(&collector), stream, store, clock, metrics, options);
    spawn.spawn("click sender", Box::pin(sender.run(spawn.stopping())));
    collector
}
