//! Counting what any node has sent: read from the stream, added to the database in one transaction, settled after the commit.
//!
//! **Invariant: an entry is settled only after its chunk is committed**, and a chunk that comes again is recognised by its
//! number. So a node may die between any two steps; another takes over what it held. A failed batch stays in hand and is
//! tried again, and nothing more is read meanwhile.

use std::sync::Arc;
use std::time::Duration;

use redis::RedisError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ClickOptions;
use super::entry::{Unreadable, decode};
use super::redis_stream::{BATCH, ClickStream, Entry};
use crate::domain::timestamp::UnixMs;
use crate::metrics::ClickMetrics;
use crate::ports::click_store::{ClickChunk, ClickStore};
use crate::ports::clock::Clock;
use crate::ports::error_chain::Chain;
use crate::ports::link_store::StoreError;

/// The pause after a failure.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// How long a transaction may take before it is given up, its outcome unknown.
const COUNTED_WITHIN: Duration = Duration::from_secs(10);
/// Entries of another version are left to newer nodes for so long: an update of all nodes takes less.
const LEFT_TO_OTHERS_MS: u64 = 60 * 60 * 1000;
/// An entry older than this is not counted: the number of its chunk may be forgotten soon, and then nobody could tell
/// whether it was.
const STALE_AFTER_MS: u64 = 6 * 24 * 60 * 60 * 1000;
/// When consumers of processes that have ended are forgotten.
const CONSUMER_FORGOTTEN_AFTER: Duration = Duration::from_hours(24);
const CONSUMERS_CHECKED_EVERY: Duration = Duration::from_hours(1);

/// Counts what is in the stream.
#[derive(Debug)]
pub(super) struct Consumer {
    stream: ClickStream,
    store: Arc<dyn ClickStore>,
    clock: Arc<dyn Clock>,
    metrics: ClickMetrics,
    options: ClickOptions,
    /// Read, and not settled yet.
    in_hand: Vec<Entry>,
    group_made: bool,
    claim_cursor: String,
    next_claim: Instant,
    next_check: Instant,
    failing: bool,
}

/// Why a turn failed.
#[derive(Debug, thiserror::Error)]
enum TurnError {
    #[error("the click stream can't be read")]
    Redis(#[from] RedisError),
    #[error("clicks can't be counted")]
    Store(#[from] StoreError),
    #[error("counting clicks took longer than {COUNTED_WITHIN:?}")]
    TimedOut,
}

/// What is to become of an entry.
enum Verdict {
    Count(ClickChunk),
    /// Somebody else has settled it.
    Settled,
    /// A newer node will count it.
    Leave,
    Damaged,
    Stale,
}

impl Consumer {
    pub(super) fn new(
        stream: ClickStream,
        store: Arc<dyn ClickStore>,
        clock: Arc<dyn Clock>,
        metrics: ClickMetrics,
        options: ClickOptions,
    ) -> Self {
        let now = Instant::now();
        Self {
            stream,
            store,
            clock,
            metrics,
            options,
            in_hand: Vec::new(),
            group_made: false,
            claim_cursor: "0-0".to_owned(),
            next_claim: now,
            next_check: now,
            failing: false,
        }
    }

    /// Counts until it is time to stop. What is in hand then is another node's to take over.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let turn = self.turn().await;
            self.note(turn.as_ref().err());
            let pause = match turn {
                Ok(BATCH..) => continue,
                Ok(_) => self.options.poll_every,
                Err(_) => RETRY_AFTER,
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Reads, counts and settles one batch; answers how many entries it had.
    async fn turn(&mut self) -> Result<usize, TurnError> {
        if !self.group_made {
            self.stream.create_group().await?;
            self.group_made = true;
        }
        if self.in_hand.is_empty() {
            self.in_hand = self.next_batch().await.inspect_err(|error| {
                // Redis has lost its memory, the group with it.
                self.group_made &= error.code() != Some("NOGROUP");
            })?;
        }
        self.settle_batch().await?;
        Ok(std::mem::take(&mut self.in_hand).len())
    }

    async fn next_batch(&mut self) -> Result<Vec<Entry>, RedisError> {
        let now = Instant::now();
        if now >= self.next_check {
            self.next_check = now + CONSUMERS_CHECKED_EVERY;
            self.stream.forget_consumers(CONSUMER_FORGOTTEN_AFTER).await?;
        }
        if now >= self.next_claim {
            let (cursor, entries) = self.stream.claim(self.options.claim_after, &self.claim_cursor).await?;
            if cursor == "0-0" {
                self.next_claim = now + self.options.claim_after / 3;
            }
            self.claim_cursor = cursor;
            if !entries.is_empty() {
                return Ok(entries);
            }
        }
        self.stream.read().await
    }

    /// Adds what is in hand to the database, and only then lets go of it.
    async fn settle_batch(&self) -> Result<(), TurnError> {
        let (mut chunks, mut settled, mut aside) = (Vec::new(), Vec::new(), Vec::new());
        let (mut damaged, mut stale) = (0, 0);
        let now = self.clock.unix_ms();
        for entry in &self.in_hand {
            match judge(entry, now) {
                Verdict::Leave => continue,
                Verdict::Settled => {}
                Verdict::Count(chunk) => chunks.push(chunk),
                Verdict::Damaged => {
                    damaged += 1;
                    aside.push(entry.clone());
                }
                Verdict::Stale => {
                    stale += 1;
                    aside.push(entry.clone());
                }
            }
            settled.push(entry.id.clone());
        }
        if !chunks.is_empty() {
            let counting = self.store.add_chunks(&chunks, UnixMs::from_clock(now));
            let counted = tokio::time::timeout(COUNTED_WITHIN, counting).await.map_err(|_| TurnError::TimedOut)??;
            self.metrics.counted.increment(counted);
        }
        self.stream.settle(&settled, &aside).await?;
        self.metrics.consumed.increment(chunks.len() as u64);
        self.metrics.damaged.increment(damaged);
        self.metrics.stale.increment(stale);
        if damaged + stale > 0 {
            tracing::warn!(damaged, stale, "chunks of clicks were not counted but moved aside");
        }
        Ok(())
    }

    fn note(&mut self, error: Option<&TurnError>) {
        match (self.failing, error) {
            (false, Some(error)) => {
                tracing::warn!(error = %Chain(error), "clicks wait to be counted; trying again");
            }
            (true, None) => tracing::info!("clicks are counted again"),
            _ => {}
        }
        self.failing = error.is_some();
    }
}

fn judge(entry: &Entry, now: u64) -> Verdict {
    if entry.deleted {
        return Verdict::Settled;
    }
    let (Some(bytes), Some(added_at)) = (&entry.bytes, entry.added_at()) else { return Verdict::Damaged };
    let age = now.saturating_sub(added_at);
    match decode(bytes) {
        _ if age > STALE_AFTER_MS => Verdict::Stale,
        Ok(chunk) => Verdict::Count(chunk),
        Err(Unreadable::OtherVersion) if age < LEFT_TO_OTHERS_MS => Verdict::Leave,
        Err(Unreadable::OtherVersion | Unreadable::Damaged) => Verdict::Damaged,
    }
}
