//! Response times of a run, as histograms with three significant digits, in microseconds.

use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::Instant;

/// The longest time that is told apart: longer ones count as this.
const LONGEST_US: u64 = 600_000_000;

/// Response times of a run.
#[derive(Clone, Debug)]
pub(crate) struct Times {
    /// All of them.
    pub(crate) all: Histogram<u64>,
    /// Those of the first tenth of the run.
    pub(crate) first_tenth: Histogram<u64>,
    /// Those of the last.
    pub(crate) last_tenth: Histogram<u64>,
    planned: Duration,
    began: Option<Instant>,
    last: Option<Instant>,
}

impl Times {
    /// Of a run that is to last so long.
    pub(crate) fn new(planned: Duration) -> Self {
        Self { all: histogram(), first_tenth: histogram(), last_tenth: histogram(), planned, began: None, last: None }
    }

    /// The first user begins; the others don't change that.
    pub(crate) fn begin(&mut self) {
        self.began.get_or_insert_with(Instant::now);
    }

    /// A request ends now; it took so long, if it was answered.
    pub(crate) fn record(&mut self, took: Option<Duration>) {
        let now = Instant::now();
        self.last = Some(now);
        let Some(took) = took else { return };
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.all.saturating_record(microseconds);
        let elapsed = self.began.map(|began| now - began).unwrap_or_default();
        if elapsed < self.planned / 10 {
            self.first_tenth.saturating_record(microseconds);
        } else if elapsed >= self.planned * 9 / 10 {
            self.last_tenth.saturating_record(microseconds);
        }
    }

    /// From the first request's beginning to the end of the last.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.zip(self.last).map(|(began, last)| last - began).unwrap_or_default()
    }
}

/// The time within which this share of requests (0 to 1) was answered; zero if there were none.
pub(crate) fn percentile(times: &Histogram<u64>, share: f64) -> Duration {
    Duration::from_micros(times.value_at_quantile(share))
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds and digits are valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_and_the_last_tenth_are_kept_apart() {
        let mut times = Times::new(Duration::from_secs(100));
        times.begin();
        for second in 0..100_u64 {
            times.record(Some(Duration::from_millis(second + 1)));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!((times.all.len(), times.first_tenth.len(), times.last_tenth.len()), (100, 10, 10));
        assert_eq!(times.elapsed(), Duration::from_secs(99));
        let near = |time: Duration, ms: u64| assert!(time.as_millis().abs_diff(ms.into()) <= 1, "{time:?}");
        near(percentile(&times.all, 0.5), 50);
        near(percentile(&times.first_tenth, 0.99), 10);
        near(percentile(&times.last_tenth, 0.99), 100);
        times.record(None);
        assert_eq!((times.all.len(), times.elapsed()), (100, Duration::from_secs(100)), "no answer, but time");
    }

    #[test]
    fn nothing_took_no_time() {
        let times = Times::new(Duration::from_secs(1));
        assert_eq!((percentile(&times.all, 0.99), times.elapsed()), (Duration::ZERO, Duration::ZERO));
    }
}
