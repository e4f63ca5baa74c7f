//! How far replicas are behind, and whether they may be read.
//!
//! The measure is the primary's log: a replica is behind since the moment at which the primary was first seen past what
//! the replica has replayed. No clock of another machine counts, and an idle primary makes nobody late. While the primary
//! is away, nobody falls further behind.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::probe::{Progress, Role};

/// How many positions of the primary are remembered: at two looks a second more than eight minutes of steady writing.
const REMEMBERED: usize = 1_024;

/// Where the primary's log was, and when; the positions rise.
#[derive(Debug, Default)]
pub(super) struct History {
    passed: VecDeque<(Instant, u64)>,
    /// When the primary was last seen, wherever it was.
    seen: Option<Instant>,
    /// Whether nothing is known of the time before.
    cold: bool,
}

/// Since when a replica has been behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Behind {
    since: Instant,
    /// What it was behind already then.
    before: Duration,
}

/// What is known of a replica when it is judged.
#[derive(Debug)]
pub(super) struct Standing {
    /// Since when it has been behind, if it is.
    pub(super) behind: Option<Behind>,
    /// The lag that comes to.
    pub(super) lag: Duration,
}

/// What a replica is measured by.
#[derive(Debug)]
pub(super) struct Measure<'a> {
    /// Where the primary was.
    pub(super) history: &'a History,
    /// Until when: now while the primary is there, else when it was last seen.
    pub(super) until: Instant,
    /// The timeline in use, or last used.
    pub(super) timeline: Option<u32>,
    /// The most that a replica may be behind.
    pub(super) limit: Duration,
}

impl History {
    /// Forgets everything: the primary is on another timeline, or is the first.
    pub(super) fn restart(&mut self) {
        let cold = self.seen.is_none();
        *self = Self { cold, ..Self::default() };
    }

    /// Notes where the primary is.
    pub(super) fn note(&mut self, at: Instant, position: u64) {
        self.seen = Some(at);
        if self.passed.back().is_none_or(|(_, last)| *last < position) {
            self.passed.push_back((at, position));
            if self.passed.len() > REMEMBERED {
                self.passed.pop_front();
                self.cold = false;
            }
        }
    }

    /// When the primary was last seen.
    pub(super) const fn seen(&self) -> Option<Instant> {
        self.seen
    }

    /// Since when somebody who has replayed so much has been behind, if he is; `was` is what was said of him before.
    fn behind(&self, progress: &Progress, was: Option<Behind>, unknown: Duration) -> Option<Behind> {
        let at = self.passed.partition_point(|(_, position)| *position <= progress.replayed);
        let (since, _) = *self.passed.get(at)?;
        if at > 0 {
            return Some(Behind { since, before: Duration::ZERO });
        }
        // Further back than is remembered. A node that has just started asks the replica's clock how far.
        let before = if self.cold { progress.replay_age.unwrap_or(unknown) } else { Duration::ZERO };
        Some(was.unwrap_or(Behind { since, before }))
    }
}

impl Behind {
    fn until(self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.since) + self.before
    }
}

impl Measure<'_> {
    /// How far a replica is behind that was looked at at some moment.
    pub(super) fn lag(&self, progress: &Progress, was: Option<Behind>) -> Standing {
        if self.history.seen.is_none() {
            return Standing { behind: None, lag: own_word(progress) };
        }
        // Who can't say how far he is behind is too far behind.
        let behind = self.history.behind(progress, was, self.limit + Duration::from_secs(1));
        Standing { behind, lag: behind.map_or(Duration::ZERO, |behind| behind.until(self.until)) }
    }

    /// Why a replica with this lag must not be read.
    pub(super) fn objection(&self, looked_at: Instant, progress: &Progress, lag: Duration) -> Option<String> {
        if let (Some(followed), Some(timeline)) = (progress.following, self.timeline)
            && followed < timeline
        {
            return Some(format!("it follows timeline {followed}, and the primary is on {timeline}"));
        }
        let primary = self.history.passed.back().map(|(_, position)| *position);
        if primary.is_some_and(|primary| progress.replayed > primary && self.history.seen > Some(looked_at)) {
            return Some("it is ahead of the primary: it follows another one".to_owned());
        }
        let paused = if progress.paused { ", and replay is paused on it" } else { "" };
        (lag > self.limit).then(|| {
            format!("it is {:.1} s behind, more than {:.1} s{paused}", lag.as_secs_f64(), self.limit.as_secs_f64())
        })
    }

    /// Why a server that isn't in recovery and isn't the primary in use must not be read.
    pub(super) fn objection_to_primary(&self, role: &Role, has_primary: bool) -> Option<String> {
        match role {
            Role::Primary { timeline, .. } if self.timeline.is_some_and(|newest| *timeline < newest) => {
                Some(format!("it is an old primary, on timeline {timeline}"))
            }
            Role::Primary { .. } if has_primary => Some("it is another primary than the one in use".to_owned()),
            Role::Primary { writable: true, .. } => Some("it is a primary that isn't in use (yet)".to_owned()),
            Role::Primary { writable: false, .. } | Role::Replica(_) => None,
        }
    }
}

/// What a replica says of itself, when this node has never seen the primary.
fn own_word(progress: &Progress) -> Duration {
    let has_more = progress.received.is_some_and(|received| received > progress.replayed);
    if has_more { progress.replay_age.unwrap_or_default() } else { Duration::ZERO }
}

#[cfg(test)]
mod tests;
