//! Sending off what was collected: to the stream, else to the database, else it waits in memory.
//!
//! A chunk keeps its number however often and wherever it is sent, so an outcome that isn't known is simply tried again.
//! While chunks are on their way nothing is taken out of the collector: what comes meanwhile is added up there, within its
//! bounds, and no chunk ever has to be changed after it was first sent.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ClickOptions;
use super::collector::Collector;
use super::entry::{MAX_PAIRS, encode};
use super::redis_stream::ClickStream;
use crate::domain::timestamp::UnixMs;
use crate::metrics::ClickMetrics;
use crate::ports::click_store::{ChunkId, ClickChunk, ClickStore};
use crate::ports::clock::Clock;
use crate::ports::error_chain::Chain;

/// How long Redis is left alone after it failed.
const STREAM_RESTS: Duration = Duration::from_secs(1);
/// The pause after both ways failed.
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// How long a transaction may take before it is given up, its outcome unknown.
const WRITTEN_WITHIN: Duration = Duration::from_secs(5);
/// Chunks sent at a time: one call of Redis, or one transaction.
const TOGETHER: usize = 16;

/// Sends chunks off.
#[derive(Debug)]
pub(super) struct Sender {
    process: u128,
    last_seq: u64,
    collector: Arc<Collector>,
    stream: Option<ClickStream>,
    store: Arc<dyn ClickStore>,
    clock: Arc<dyn Clock>,
    metrics: ClickMetrics,
    options: ClickOptions,
    stream_rests_until: Option<Instant>,
    failing: bool,
}

impl Sender {
    pub(super) const fn new(
        process: u128,
        collector: Arc<Collector>,
        stream: Option<ClickStream>,
        store: Arc<dyn ClickStore>,
        clock: Arc<dyn Clock>,
        metrics: ClickMetrics,
        options: ClickOptions,
    ) -> Self {
        let (last_seq, stream_rests_until, failing) = (0, None, false);
        Self { process, last_seq, collector, stream, store, clock, metrics, options, stream_rests_until, failing }
    }

    /// Sends until it is time to stop; what was collected by then is sent before it ends.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.options.send_every) => {}
                () = self.collector.half_full() => {}
                () = stop.cancelled() => {}
            }
            let last = stop.is_cancelled();
            let chunks = self.take_chunks();
            self.deliver(chunks, &stop).await;
            if last {
                return;
            }
        }
    }

    fn take_chunks(&mut self) -> Vec<ClickChunk> {
        let taken = self.collector.take();
        self.metrics.collected.increment(taken.iter().map(|(_, _, clicks)| clicks).sum());
        let pieces = taken.chunks(MAX_PAIRS).map(|clicks| {
            self.last_seq += 1;
            ClickChunk { id: ChunkId { process: self.process, seq: self.last_seq }, clicks: clicks.to_vec() }
        });
        pieces.collect()
    }

    /// Returns when all chunks are in safe hands, or when the patience of a stop is at its end.
    async fn deliver(&mut self, mut chunks: Vec<ClickChunk>, stop: &CancellationToken) {
        let mut give_up_at = None;
        while !chunks.is_empty() {
            let together = TOGETHER.min(chunks.len());
            if self.stream_takes(&chunks[..together]).await || self.store_takes(&chunks[..together]).await {
                chunks.drain(..together);
                continue;
            }
            if stop.is_cancelled() {
                let give_up_at = *give_up_at.get_or_insert_with(|| Instant::now() + self.options.stop_patience);
                if Instant::now() >= give_up_at {
                    self.give_up(&chunks);
                    return;
                }
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    /// Whether the stream has the chunks. After a "no" it may have them as well.
    async fn stream_takes(&mut self, chunks: &[ClickChunk]) -> bool {
        let Some(stream) = &self.stream else { return false };
        if self.stream_rests_until.is_some_and(|until| Instant::now() < until) {
            return false;
        }
        let entries: Vec<Vec<u8>> = chunks.iter().map(encode).collect();
        match stream.add(&entries).await {
            Ok(length) => {
                self.metrics.stream_entries.set(f64::from(u32::try_from(length).unwrap_or(u32::MAX)));
                self.metrics.streamed.increment(chunks.len() as u64);
                if self.stream_rests_until.take().is_some() {
                    tracing::info!("clicks go through Redis again");
                }
                true
            }
            Err(error) => {
                if self.stream_rests_until.is_none() {
                    tracing::warn!(error = %Chain(&error), "clicks go to the database directly until Redis takes them");
                }
                self.stream_rests_until = Some(Instant::now() + STREAM_RESTS);
                false
            }
        }
    }

    /// Whether the database has counted the chunks. After a "no" it may have done so as well.
    async fn store_takes(&mut self, chunks: &[ClickChunk]) -> bool {
        let now = UnixMs::from_clock(self.clock.unix_ms());
        let counted = match tokio::time::timeout(WRITTEN_WITHIN, self.store.add_chunks(chunks, now)).await {
            Ok(Ok(counted)) => counted,
            Ok(Err(error)) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(error = %Chain(&error), "clicks wait in memory until they can be written");
                }
                return false;
            }
            Err(_) => {
                self.failing = true;
                tracing::warn!(within = ?WRITTEN_WITHIN, "writing clicks took too long; trying again");
                return false;
            }
        };
        if std::mem::take(&mut self.failing) {
            tracing::info!("clicks are written again");
        }
        self.metrics.direct.increment(chunks.len() as u64);
        self.metrics.counted.increment(counted);
        true
    }

    fn give_up(&self, chunks: &[ClickChunk]) {
        let lost = chunks.iter().flat_map(|chunk| &chunk.clicks).map(|(_, _, clicks)| clicks).sum();
        self.metrics.shed.increment(lost);
        tracing::error!(lost, "neither Redis nor the database took the last clicks: they are lost");
    }
}
