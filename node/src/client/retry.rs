//! How long a request is tried again.

use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Bounds of the tries of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RetryPolicy {
    tries: u32,
    total: Duration,
}

impl RetryPolicy {
    /// Outlives a server that restarts.
    pub(super) const PATIENT: Self = Self { tries: 30, total: Duration::from_mins(1) };
    /// Outlives a hiccup while somebody waits at the terminal.
    pub(super) const BRIEF: Self = Self { tries: 6, total: Duration::from_secs(3) };
    /// Tries once.
    pub(super) const NONE: Self = Self { tries: 1, total: Duration::ZERO };

    /// The policy that gives up earlier.
    pub(super) fn at_most(self, other: Self) -> Self {
        Self { tries: self.tries.min(other.tries), total: self.total.min(other.total) }
    }

    /// How long to wait after `tried` tries in `elapsed`; `None` to give up. The pause doubles, is spread over half its
    /// length by the random `jitter` so that many clients don't return at the same moment, and is never shorter
    /// than what the server asks for.
    pub(super) fn pause(
        self,
        tried: u32,
        elapsed: Duration,
        retry_after: Option<Duration>,
        jitter: u8,
    ) -> Option<Duration> {
        if tried >= self.tries {
            return None;
        }
        let doubled = FIRST_PAUSE.saturating_mul(1 << tried.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
        let spread = doubled / 2 + doubled.mul_f64(f64::from(jitter) / 512.0);
        let pause = spread.max(retry_after.unwrap_or_default());
        (elapsed.saturating_add(pause) <= self.total).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(pause: Option<Duration>) -> Option<u128> {
        pause.map(|pause| pause.as_millis())
    }

    #[test]
    fn pauses_double_up_to_five_seconds() {
        let policy = RetryPolicy { tries: 100, total: Duration::from_mins(10) };
        let pauses: Vec<_> =
            (1..=8).map(|tried| millis(policy.pause(tried, Duration::ZERO, None, 0)).unwrap()).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1600, 2500, 2500]);
        assert_eq!(millis(policy.pause(1, Duration::ZERO, None, 255)), Some(99));
    }

    #[test]
    fn the_server_may_ask_for_more_but_not_for_less() {
        let asked =
            |seconds| millis(RetryPolicy::PATIENT.pause(5, Duration::ZERO, Some(Duration::from_secs(seconds)), 0));
        assert_eq!((asked(0), asked(7), asked(61)), (Some(800), Some(7000), None));
    }

    #[test]
    fn tries_and_time_are_bounded() {
        let policy = RetryPolicy::PATIENT;
        assert_eq!(policy.pause(30, Duration::ZERO, None, 0), None);
        assert_eq!(policy.pause(20, Duration::from_secs(58), None, 0), None);
        assert_eq!(RetryPolicy::NONE.pause(1, Duration::ZERO, None, 0), None);
        assert_eq!(policy.at_most(RetryPolicy::BRIEF), RetryPolicy::BRIEF);
    }

    #[test]
    fn patience_lasts_for_most_of_a_minute() {
        let mut elapsed = Duration::ZERO;
        let mut tried = 1;
        while let Some(pause) = RetryPolicy::PATIENT.pause(tried, elapsed, Some(Duration::from_secs(1)), 0) {
            elapsed += pause;
            tried += 1;
        }
        assert!(elapsed > Duration::from_secs(50), "gave up after {elapsed:?} and {tried} tries");
    }
}
