//! Limits that fail a run.

use std::time::Duration;

/// Limits that fail a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Thresholds {
    /// More failed requests than this.
    pub(crate) max_failed: u64,
    /// A 95th percentile above this.
    pub(crate) p95: Option<Duration>,
    /// A 99th percentile above this.
    pub(crate) p99: Option<Duration>,
    /// Fewer requests a second than this.
    pub(crate) min_rate: Option<f64>,
}

/// What is held against them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// Failed requests.
    pub(crate) failed: u64,
    /// The 95th percentile of the response times.
    pub(crate) p95: Duration,
    /// The 99th percentile.
    pub(crate) p99: Duration,
    /// Requests a second.
    pub(crate) rate: f64,
}

impl Thresholds {
    /// A line for each limit that is broken.
    pub(crate) fn broken(&self, seen: &Seen) -> Vec<String> {
        let mut broken = Vec::new();
        if seen.failed > self.max_failed {
            broken.push(format!("{} requests failed, at most {} may (--max-failed)", seen.failed, self.max_failed));
        }
        for (name, limit, value) in [("p95", self.p95, seen.p95), ("p99", self.p99, seen.p99)] {
            if let Some(limit) = limit.filter(|&limit| value > limit) {
                broken.push(format!("the {name} is {value:.1?}, at most {limit:?} is allowed (--{name})"));
            }
        }
        // Written so that a rate that is no number is broken.
        if let Some(limit) = self.min_rate
            && !matches!(seen.rate.partial_cmp(&limit), Some(std::cmp::Ordering::Greater | std::cmp::Ordering::Equal))
        {
            broken.push(format!("{:.1} requests a second, at least {limit} must be (--min-rate)", seen.rate));
        }
        broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: Seen =
        Seen { failed: 3, p95: Duration::from_millis(50), p99: Duration::from_millis(90), rate: 1_000.0 };

    #[test]
    fn limits_that_are_just_met_are_kept() {
        let thresholds = Thresholds {
            max_failed: 3,
            p95: Some(Duration::from_millis(50)),
            p99: Some(Duration::from_millis(90)),
            min_rate: Some(1_000.0),
        };
        assert_eq!(thresholds.broken(&SEEN), [""; 0]);
        assert_eq!(Thresholds { max_failed: 3, ..Thresholds::default() }.broken(&SEEN), [""; 0]);
    }

    #[test]
    fn each_limit_that_is_broken_names_its_option() {
        let thresholds = Thresholds {
            max_failed: 2,
            p95: Some(Duration::from_millis(49)),
            p99: Some(Duration::from_millis(89)),
            min_rate: Some(1_000.5),
        };
        let broken = thresholds.broken(&SEEN);
        let names = ["--max-failed", "--p95", "--p99", "--min-rate"];
        assert_eq!(broken.len(), names.len(), "{broken:?}");
        assert!(broken.iter().zip(names).all(|(line, name)| line.contains(name)), "{broken:?}");
        let nothing = Seen { rate: f64::NAN, failed: 0, ..SEEN };
        assert_eq!(Thresholds { min_rate: Some(1.0), ..Thresholds::default() }.broken(&nothing).len(), 1);
    }
}
