//! Clicks of this process, added up by link and day until they are sent off.
//!
//! Recording never waits: each thread adds to counts of its own, and whoever takes them out holds one of a thread's two
//! lanes at a time, for as long as it takes to swap a map. Memory is bounded by the pairs of link and day that wait; a
//! link that already waits is counted on, whatever the load.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use metrics::Counter;
use stint_idgen::Key;
use thread_local::ThreadLocal;
use tokio::sync::Notify;

use crate::domain::timestamp::UnixMs;
use crate::ports::click_store::{ClickSink, Day};

type Counts = HashMap<(Key, Day), u64>;

/// The counts of one thread: the second lane is for while the first is taken out.
#[derive(Debug, Default)]
struct Lanes([Mutex<Counts>; 2]);

/// Adds clicks up.
#[derive(Debug)]
pub(super) struct Collector {
    threads: ThreadLocal<Lanes>,
    waiting: AtomicUsize,
    max_waiting: usize,
    /// Half of the room is taken: time to send, whatever the clock says.
    half_full: Notify,
    shed: Counter,
}

impl Collector {
    pub(super) fn new(max_waiting: usize, shed: Counter) -> Self {
        Self { threads: ThreadLocal::new(), waiting: AtomicUsize::new(0), max_waiting, half_full: Notify::new(), shed }
    }

    /// Resolves when half of the room is taken.
    pub(super) async fn half_full(&self) {
        self.half_full.notified().await;
    }

    /// Takes everything out, sorted by link and day, each pair once.
    pub(super) fn take(&self) -> Vec<(Key, Day, u64)> {
        let mut taken: Vec<(Key, Day, u64)> = Vec::new();
        for lane in self.threads.iter().flat_map(|lanes| &lanes.0) {
            let counts = self.take_lane(lane);
            taken.extend(counts.into_iter().map(|((key, day), clicks)| (key, day, clicks)));
        }
        taken.sort_unstable();
        taken.dedup_by(|next, kept| {
            let same = (next.0, next.1) == (kept.0, kept.1);
            if same {
                kept.2 += next.2;
            }
            same
        });
        taken
    }

    fn take_lane(&self, lane: &Mutex<Counts>) -> Counts {
        let expected = lock(lane).len();
        // Made outside of the lock, and as large as it is going to be: growing is not left to the visitors.
        let empty = Counts::with_capacity(expected);
        let counts = std::mem::replace(&mut *lock(lane), empty);
        self.waiting.fetch_sub(counts.len(), Ordering::Relaxed);
        counts
    }

    fn add(&self, counts: &mut Counts, pair: (Key, Day)) {
        if let Some(clicks) = counts.get_mut(&pair) {
            *clicks += 1;
            return;
        }
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed);
        if waiting >= self.max_waiting {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.shed.increment(1);
            return;
        }
        counts.insert(pair, 1);
        if waiting == self.max_waiting / 2 {
            self.half_full.notify_one();
        }
    }
}

impl ClickSink for Collector {
    fn record(&self, key: Key, at: UnixMs) {
        for lane in &self.threads.get_or_default().0 {
            let mut counts = match lane.try_lock() {
                Ok(counts) => counts,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => continue,
            };
            self.add(&mut counts, (key, Day::of(at)));
            return;
        }
        // Only a second taker could hold both lanes, and there is one.
        self.shed.increment(1);
    }
}

/// Counts are whole whoever panicked: nothing in between can.
fn lock(lane: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    lane.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn key(number: i64) -> Key {
        Key::new(number).unwrap()
    }

    fn at(ms: i64) -> UnixMs {
        UnixMs::new(ms).unwrap()
    }

    #[test]
    fn clicks_are_added_up_by_link_and_day_and_taken_out_once() {
        let collector = Collector::new(10, Counter::noop());
        for (number, ms) in [(5, 0), (5, 1), (-7, 0), (5, 86_400_000), (5, 86_399_999)] {
            collector.record(key(number), at(ms));
        }
        assert_eq!(collector.take(), [(key(-7), Day(0), 1), (key(5), Day(0), 3), (key(5), Day(1), 1)]);
        assert_eq!(collector.take(), []);
    }

    #[test]
    fn what_does_not_fit_is_shed_and_what_already_waits_is_counted_on() {
        let shed = std::sync::Arc::new(metrics::atomics::AtomicU64::new(0));
        let collector = Collector::new(2, Counter::from_arc(std::sync::Arc::clone(&shed)));
        for number in [1, 2, 3, 1, 3, 2] {
            collector.record(key(number), at(0));
        }
        assert_eq!(shed.load(Ordering::Relaxed), 2);
        assert_eq!(collector.take(), [(key(1), Day(0), 2), (key(2), Day(0), 2)]);
        collector.record(key(3), at(0));
        assert_eq!(collector.take(), [(key(3), Day(0), 1)], "there is room again");
    }

    #[test]
    fn no_click_is_lost_while_others_take_them_out() {
        const CLICKS: u64 = 200_000;
        let collector = Collector::new(1000, Counter::noop());
        let done = AtomicBool::new(false);
        let taken = std::thread::scope(|scope| {
            let taker = scope.spawn(|| {
                let mut sum = 0;
                while !done.load(Ordering::Acquire) {
                    sum += collector.take().iter().map(|(_, _, clicks)| clicks).sum::<u64>();
                }
                sum
            });
            let visitors: Vec<_> = (0..3)
                .map(|thread| {
                    let collector = &collector;
                    scope.spawn(move || {
                        for click in 0..CLICKS {
                            let number = i64::try_from(click % 50).unwrap() + 1 + thread;
                            collector.record(key(number), at(0));
                        }
                    })
                })
                .collect();
            for visitor in visitors {
                visitor.join().unwrap();
            }
            done.store(true, Ordering::Release);
            taker.join().unwrap()
        });
        let rest: u64 = collector.take().iter().map(|(_, _, clicks)| clicks).sum();
        assert_eq!(taken + rest, 3 * CLICKS);
        assert_eq!(collector.waiting.load(Ordering::Relaxed), 0);
    }
}
