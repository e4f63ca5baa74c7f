//! How many ids are needed: a rate estimate, and the block size that lasts for a given time at that rate.
//!
//! Pure: the caller brings the time. It decides how much is asked for, never who owns an id, so it may be rough.

use std::time::Duration;

/// A burst is believed within seconds, lest the pool run dry; a lull only after a while, lest blocks shrink in a pause.
const RISE: Duration = Duration::from_secs(2);
const FALL: Duration = Duration::from_mins(1);

/// Shorter spans between observations say nothing about a rate, so they are left to add up.
const MIN_SPAN: Duration = Duration::from_millis(50);

/// Estimates the rate at which ids are claimed: an exponentially weighted moving average.
#[derive(Clone, Debug, Default)]
pub struct Demand {
    last: Option<(u64, Duration)>,
    per_second: f64,
}

impl Demand {
    /// An estimate without a past: the rate is 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes note that `claimed_total` ids had been claimed at `at`, a time on a monotonic clock.
    pub fn observe(&mut self, claimed_total: u64, at: Duration) {
        let Some((total, since)) = self.last else {
            self.last = Some((claimed_total, at));
            return;
        };
        let span = at.saturating_sub(since);
        if span < MIN_SPAN {
            return;
        }
        self.last = Some((claimed_total, at));
        let sample = to_f64(claimed_total.saturating_sub(total)) / span.as_secs_f64();
        let time_constant = if sample > self.per_second { RISE } else { FALL };
        let weight = 1.0 - (-span.as_secs_f64() / time_constant.as_secs_f64()).exp();
        self.per_second += (sample - self.per_second) * weight;
    }

    /// The estimated rate, in ids per second.
    pub fn per_second(&self) -> f64 {
        self.per_second
    }

    /// The block that lasts for `headroom` at the estimated rate, within `min` and `max` ids (`max` wins over `min`).
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates, and is bounded")]
    pub fn want(&self, headroom: Duration, min: u64, max: u64) -> u64 {
        let ids = (self.per_second * headroom.as_secs_f64()).ceil() as u64;
        ids.max(min).min(max)
    }

    /// How long `remaining` ids last at the estimated rate; `Duration::MAX` where that is for ever.
    pub fn headroom(&self, remaining: u64) -> Duration {
        Duration::try_from_secs_f64(to_f64(remaining) / self.per_second).unwrap_or(Duration::MAX)
    }
}

#[expect(clippy::cast_precision_loss, reason = "an estimate does not need the last of 53 bits")]
const fn to_f64(ids: u64) -> f64 {
    ids as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    /// Observes a steady rate once a second.
    fn run(demand: &mut Demand, start: (u64, u64), per_second: u64, seconds: u64) -> (u64, u64) {
        for second in 1..=seconds {
            demand.observe(start.0 + second * per_second, Duration::from_secs(start.1 + second));
        }
        (start.0 + seconds * per_second, start.1 + seconds)
    }

    #[test]
    fn without_a_past_the_smallest_block_is_wanted_and_lasts_for_ever() {
        let mut demand = Demand::new();
        assert_eq!(demand.want(10 * MINUTE, 1_000, 1_000_000), 1_000);
        assert_eq!(demand.headroom(5), Duration::MAX);
        assert_eq!(demand.headroom(0), Duration::MAX);
        demand.observe(u64::MAX, Duration::MAX);
        assert_eq!(demand.want(Duration::MAX, 0, u64::MAX), 0);
    }

    #[test]
    fn a_steady_rate_is_found_and_a_block_lasts_for_the_headroom() {
        let mut demand = Demand::new();
        run(&mut demand, (0, 0), 500, 120);
        assert!((499.0..=501.0).contains(&demand.per_second()), "{demand:?}");
        assert!((299_000..=301_000).contains(&demand.want(10 * MINUTE, 1, u64::MAX)), "{demand:?}");
        assert!((590..=610).contains(&demand.headroom(300_000).as_secs()), "{demand:?}");
        assert_eq!(demand.headroom(0), Duration::ZERO);
    }

    #[test]
    fn a_burst_is_believed_within_seconds_and_a_lull_only_slowly() {
        let mut demand = Demand::new();
        let now = run(&mut demand, (0, 0), 10, 60);
        let now = run(&mut demand, now, 10_000, 5);
        assert!(demand.per_second() > 9_000.0, "{demand:?}");
        run(&mut demand, now, 0, 10);
        assert!(demand.per_second() > 7_000.0, "{demand:?}");
    }

    #[test]
    fn the_block_stays_within_its_bounds() {
        let mut demand = Demand::new();
        run(&mut demand, (0, 0), u64::MAX / 1_000, 100);
        assert_eq!(demand.want(Duration::MAX, 1, 5_000), 5_000);
        assert_eq!(demand.want(Duration::MAX, 1, u64::MAX), u64::MAX);
        assert_eq!(demand.want(Duration::ZERO, 7, 5_000), 7);
    }

    #[test]
    fn observations_close_together_or_out_of_order_do_not_spoil_the_estimate() {
        let mut demand = Demand::new();
        let (total, second) = run(&mut demand, (0, 0), 100, 60);
        let before = demand.per_second();
        let now = Duration::from_secs(second);
        demand.observe(total + 1_000_000, now + Duration::from_millis(1));
        demand.observe(total, now.checked_sub(Duration::from_secs(9)).unwrap());
        assert!((demand.per_second() - before).abs() < 1e-9);
        demand.observe(0, now + Duration::from_secs(1));
        assert!(demand.per_second().is_finite() && demand.per_second() <= before);
    }
}
