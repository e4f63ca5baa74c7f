//! The leader's stamps: the only way in which time enters the allocator.
//!
//! Stamps never go back, and within one term they never run ahead of the leader's monotonic clock by more than
//! [`MAX_DRIFT`]: one bad reading of the wall clock can't expire what others still hold.

use std::time::Duration;

/// How far stamps may run ahead of the monotonic clock within a term, beyond the time that passed on it.
pub const MAX_DRIFT: Duration = Duration::from_secs(5);

/// Stamps the log entries of one leader's term; a new term takes a new stamper.
#[derive(Clone, Debug)]
pub struct Stamper {
    last_ms: u64,
    /// The term's first stamp and the monotonic time at which it was made. The drift is measured from here, as it
    /// would add up if it were measured from stamp to stamp.
    anchor: Option<(u64, Duration)>,
    refused: u64,
}

impl Stamper {
    /// A stamper for a term that begins when `last_applied_ms` is the state's clock: no stamp will be below it.
    ///
    /// The first stamp has nothing to be measured by and takes the wall clock as it is, so that a group which was down
    /// for days can go on.
    pub const fn new(last_applied_ms: u64) -> Self {
        Self { last_ms: last_applied_ms, anchor: None, refused: 0 }
    }

    /// The stamp for an entry, in Unix milliseconds: the wall clock, or the last stamp if the wall clock is behind it.
    /// Of a jump ahead only the drift is taken, and the rest refused and counted: commands go on, time doesn't run away.
    /// `monotonic` is the time on any clock that never goes back, the same for all calls.
    pub fn stamp(&mut self, wall_ms: u64, monotonic: Duration) -> u64 {
        let wanted = wall_ms.max(self.last_ms);
        let (first_ms, since) = *self.anchor.get_or_insert((wanted, monotonic));
        let allowed = monotonic.saturating_sub(since).saturating_add(MAX_DRIFT);
        let limit_ms = first_ms.saturating_add(u64::try_from(allowed.as_millis()).unwrap_or(u64::MAX));
        if wanted > limit_ms {
            self.refused = self.refused.saturating_add(1);
        }
        self.last_ms = wanted.min(limit_ms).max(self.last_ms);
        self.last_ms
    }

    /// How many stamps of this term are behind the wall clock because it had jumped.
    pub const fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn stamps_follow_the_wall_clock_and_never_go_back() {
        let mut stamper = Stamper::new(1_000);
        let stamps = [(500, 0), (1_200, 300), (1_100, 400), (1_200, 500), (1_900, 1_000)]
            .map(|(wall_ms, monotonic)| stamper.stamp(wall_ms, ms(monotonic)));
        assert_eq!(stamps, [1_000, 1_200, 1_200, 1_200, 1_900]);
        assert_eq!(stamper.refused(), 0);
    }

    #[test]
    fn the_first_stamp_of_a_term_takes_the_wall_clock_as_it_is() {
        assert_eq!(Stamper::new(1_000).stamp(u64::MAX, ms(0)), u64::MAX);
    }

    #[test]
    fn a_jump_past_the_drift_is_refused_and_counted_until_the_clock_is_right_again() {
        let mut stamper = Stamper::new(0);
        assert_eq!(stamper.stamp(10_000, ms(0)), 10_000);
        assert_eq!(stamper.stamp(15_101, ms(100)), 15_100);
        assert_eq!(stamper.stamp(u64::MAX, ms(100)), 15_100);
        assert_eq!(stamper.refused(), 2);
        assert_eq!(stamper.stamp(10_200, ms(200)), 15_100, "stamps never go back");
        assert_eq!(stamper.stamp(15_300, ms(300)), 15_300);
        assert_eq!(stamper.refused(), 2);
    }

    #[test]
    fn small_jumps_do_not_add_up_past_the_drift() {
        let mut stamper = Stamper::new(0);
        let stamps = [(0, 0), (4_000, 0), (8_000, 0), (8_000, 3_000)]
            .map(|(wall_ms, monotonic)| stamper.stamp(wall_ms, ms(monotonic)));
        assert_eq!(stamps, [0, 4_000, 5_000, 8_000]);
    }

    #[test]
    fn a_monotonic_clock_that_goes_back_allows_no_more_than_the_drift() {
        let mut stamper = Stamper::new(0);
        let stamps =
            [(1_000, 9_000), (6_000, 0), (6_001, 0)].map(|(wall_ms, monotonic)| stamper.stamp(wall_ms, ms(monotonic)));
        assert_eq!(stamps, [1_000, 6_000, 6_000]);
    }
}
