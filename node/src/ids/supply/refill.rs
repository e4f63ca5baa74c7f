//! The task that keeps one pool filled, and accounts for what is left when the node stops.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use stint_idgen::{Demand, Filler};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{BlockSource, Ended, History, NoBlock, Supply};
use crate::ports::clock::Clock;
use crate::ports::error_chain::Chain;

/// How often the rate is measured and the gauges are set.
const MEASURED_EVERY: Duration = Duration::from_secs(1);
/// The pause before the first repeat of a failed request; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How soon ids that were refused because none are left are asked for again; each request is an entry of the log.
const REFUSED_FOR: Duration = Duration::from_secs(1);

/// The task's own part.
#[derive(Debug)]
pub(super) struct Refill {
    supply: Arc<Supply>,
    filler: Filler,
    source: Box<dyn BlockSource>,
    history: History,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    demand: Demand,
}

impl Refill {
    pub(super) fn new(
        supply: Arc<Supply>,
        filler: Filler,
        source: Box<dyn BlockSource>,
        history: History,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) -> Self {
        Self { supply, filler, source, history, clock, stop, demand: Demand::new() }
    }

    /// Keeps the pool filled until the node stops.
    pub(super) async fn run(mut self) {
        let supply = Arc::clone(&self.supply);
        // Whether the last block that was asked for was refused.
        let mut refused = false;
        loop {
            self.demand.observe(supply.pool.claimed(), self.clock.monotonic());
            // Before the pool is looked at: whoever asks from here on, in the middle of a refill too, wakes this task
            // again.
            let asked = supply.asked.swap(false, Ordering::AcqRel);
            if supply.pool.wants_block() && supply.arrivals.borrow().ended.is_none() && (asked || !refused) {
                let came = self.fill().await;
                if !came && !refused {
                    tracing::warn!(namespace = %supply.namespace, "a block was refused: no ids are left, or its quota is granted");
                }
                refused = !came;
                let settled = self.filler.settled();
                self.source.account_for(settled).await;
            }
            let headroom = self.demand.headroom(supply.pool.remaining());
            supply.metrics.set_headroom(&supply.namespace, headroom);
            if supply.arrivals.borrow().ended.as_ref().is_some_and(Ended::may_pass) {
                tokio::select! {
                    () = self.stop.cancelled() => break,
                    () = supply.reopened.notified() => {}
                    () = sleep(REFUSED_FOR) => {}
                }
                supply.arrivals.send_modify(|arrivals| arrivals.ended = None);
                // From here on a block is asked for when somebody wants an id, not once a second for ever.
                continue;
            }
            tokio::select! {
                biased;
                timeline = self.history.changed() => self.discard(timeline),
                () = self.stop.cancelled() => break,
                () = supply.refill.notified() => {}
                () = sleep(MEASURED_EVERY) => {}
            }
        }
        supply.pool.close();
        let settled = self.filler.settled();
        self.source.account_for(settled).await;
        self.source.account_for(self.filler.unused()).await;
    }

    /// Gets one block, trying until it is there, is refused, or the node stops; false if it was refused.
    async fn fill(&mut self) -> bool {
        let supply = Arc::clone(&self.supply);
        let options = &supply.options;
        let wanted = self.demand.want(options.headroom, options.min_block, options.max_block);
        let wanted = wanted.max(supply.wanted.swap(0, Ordering::Relaxed)).min(options.max_block);
        let started = self.clock.monotonic();
        let mut pause = FIRST_PAUSE;
        while !self.stop.is_cancelled() {
            let taken = tokio::select! {
                biased;
                timeline = self.history.changed() => {
                    // The block that is on its way may be of either history: it becomes a gap.
                    self.discard(timeline);
                    continue;
                }
                taken = self.source.take(wanted) => taken,
            };
            match taken {
                Ok(block) => {
                    self.filler.install(block).expect("a block was wanted, and is within the size asked for");
                    supply.arrivals.send_modify(|arrivals| arrivals.blocks += 1);
                    supply.metrics.refill_duration.record(self.clock.monotonic().saturating_sub(started));
                    return true;
                }
                Err(NoBlock::Ended(ended)) => {
                    if !ended.may_pass() {
                        tracing::error!(namespace = %supply.namespace, ?ended, "no more ids will come");
                    }
                    supply.arrivals.send_modify(|arrivals| arrivals.ended = Some(ended));
                    return false;
                }
                Err(error) => {
                    tracing::warn!(namespace = %supply.namespace, error = %Chain(&error), "no block of ids yet; trying again");
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => return true,
                () = sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            }
        }
        true
    }

    /// Drops every id at hand: on the database's new timeline others may be given the same.
    fn discard(&mut self, timeline: u32) {
        let dropped = self.supply.pool.remaining();
        self.filler.discard();
        tracing::warn!(namespace = %self.supply.namespace, timeline, dropped, "the database has another timeline: the ids at hand are dropped");
    }
}
