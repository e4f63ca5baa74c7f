//! The verdict: what was done, how long it took, and what was wrong, as one JSON object.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use crate::look::Look;
use crate::run::{Run, percentile};
use crate::verify::counts::Count;
use crate::verify::thresholds::{Seen, Thresholds};

/// The verdict of a run, or of several.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// What the users did.
    pub scenario: &'static str,
    /// Requests under load.
    pub requests: u64,
    /// Those with no answer or a wrong one; links that couldn't be made before the load count too.
    pub failed: u64,
    /// Links that are new: 201.
    pub created: u64,
    /// Redirects.
    pub followed: u64,
    /// Codes and ids that were given twice, aliases with two winners.
    pub duplicates: u64,
    /// Response times to the head of the answer.
    pub p50_ms: f64,
    /// The 95th percentile.
    pub p95_ms: f64,
    /// The 99th percentile.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// Links that were there: 200.
    pub reused: u64,
    /// Ids drawn.
    pub ids: u64,
    /// From the first request's beginning to the end of the last.
    pub seconds: f64,
    /// Requests a second.
    pub requests_per_second: f64,
    /// Whether the servers' counts were compared with these.
    pub counts_compared: bool,
    /// Whether everything held.
    pub passed: bool,
    /// What did not.
    pub broken: Vec<String>,
    /// What changed from the first to the last tenth of `soak`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// The parts of a smoke test.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<Summary>,
}

/// First and last tenth of a long run. What the servers don't show is `null`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drift {
    /// The 99th percentile of response times.
    pub p99_ms: [f64; 2],
    /// The memory of all servers together: of `--server-pid`, else as their metrics say.
    pub resident_bytes: [Option<f64>; 2],
    /// How long links' ids at hand last, on the server that has the fewest.
    pub headroom_seconds: [Option<f64>; 2],
}

impl Drift {
    /// From two looks at the servers.
    pub(crate) fn new(p99: [Duration; 2], looks: &[Look; 2]) -> Self {
        Self {
            p99_ms: p99.map(milliseconds),
            resident_bytes: looks.each_ref().map(Look::resident_bytes),
            headroom_seconds: looks.each_ref().map(Look::headroom_seconds),
        }
    }
}

impl Summary {
    /// Of one run; `broken` is what was wrong besides single requests.
    pub(crate) fn new(run: &Run, mut broken: Vec<String>, counts_compared: bool, drift: Option<Drift>) -> Self {
        let (requests, failed, duplicates) = run.totals();
        let (counts, times) = (run.counts(), run.times());
        let seconds = times.elapsed().as_secs_f64();
        let requests_per_second = if seconds > 0.0 { as_f64(requests) / seconds } else { 0.0 };
        let at = |share| percentile(&times.all, share);
        let seen = Seen { failed, p95: at(0.95), p99: at(0.99), rate: requests_per_second };
        broken.extend(thresholds(run).broken(&seen));
        if duplicates > 0 {
            broken.push(format!("{duplicates} codes or ids were given twice"));
        }
        if requests == 0 {
            broken.push("not one request was made".to_owned());
        }
        Self {
            scenario: run.scenario.as_str(),
            requests,
            failed,
            created: counts.get(Count::Created),
            followed: counts.get(Count::Followed),
            duplicates,
            p50_ms: milliseconds(at(0.5)),
            p95_ms: milliseconds(at(0.95)),
            p99_ms: milliseconds(at(0.99)),
            max_ms: milliseconds(Duration::from_micros(times.all.max())),
            reused: counts.get(Count::Reused),
            ids: counts.get(Count::Ids),
            seconds: rounded(seconds),
            requests_per_second: rounded(requests_per_second),
            counts_compared,
            passed: broken.is_empty(),
            broken,
            drift,
            runs: Vec::new(),
        }
    }

    /// Of several runs: sums, and of times the worst.
    pub(crate) fn of_all(scenario: &'static str, runs: Vec<Self>) -> Self {
        let sum = |field: fn(&Self) -> u64| runs.iter().map(field).sum();
        let worst = |field: fn(&Self) -> f64| runs.iter().map(field).fold(0.0, f64::max);
        let seconds: f64 = runs.iter().map(|run| run.seconds).sum();
        let requests: u64 = sum(|run| run.requests);
        let broken = |run: &Self| run.broken.iter().map(|line| format!("{}: {line}", run.scenario)).collect::<Vec<_>>();
        Self {
            scenario,
            requests,
            failed: sum(|run| run.failed),
            created: sum(|run| run.created),
            followed: sum(|run| run.followed),
            duplicates: sum(|run| run.duplicates),
            p50_ms: worst(|run| run.p50_ms),
            p95_ms: worst(|run| run.p95_ms),
            p99_ms: worst(|run| run.p99_ms),
            max_ms: worst(|run| run.max_ms),
            reused: sum(|run| run.reused),
            ids: sum(|run| run.ids),
            seconds: rounded(seconds),
            requests_per_second: if seconds > 0.0 { rounded(as_f64(requests) / seconds) } else { 0.0 },
            counts_compared: runs.iter().all(|run| run.counts_compared),
            passed: runs.iter().all(|run| run.passed),
            broken: runs.iter().flat_map(broken).collect(),
            drift: None,
            runs,
        }
    }

    /// Into `SCENARIO.summary.json`.
    pub(crate) fn write(&self, dir: &Path) -> anyhow::Result<()> {
        let path = dir.join(format!("{}.summary.json", self.scenario));
        let text = serde_json::to_string_pretty(self).expect("numbers and texts are JSON") + "\n";
        std::fs::write(&path, text).with_context(|| format!("{} can't be written", path.display()))
    }
}

/// JSON in one line.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

fn thresholds(run: &Run) -> Thresholds {
    let options = &run.options;
    Thresholds { max_failed: options.max_failed, p95: options.p95, p99: options.p99, min_rate: options.min_rate }
}

/// To three decimals: microseconds.
fn milliseconds(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1_000.0)
}

fn rounded(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}

#[expect(clippy::cast_precision_loss, reason = "no run makes 2^52 requests")]
fn as_f64(number: u64) -> f64 {
    number as f64
}
