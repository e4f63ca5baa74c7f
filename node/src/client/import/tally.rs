//! How many lines were made, found and refused.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::request::LineResult;

/// So many refusals are shown.
const SHOWN: usize = 5;

/// Counts of lines by what became of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    pub(super) created: u64,
    pub(super) reused: u64,
    pub(super) refused: u64,
    /// Line numbers and reasons.
    pub(super) first_refusals: Vec<(u64, String)>,
}

impl Tally {
    /// Counts a line.
    pub(super) fn add(&mut self, result: &LineResult) {
        match result {
            LineResult::Made { status: 200, .. } => self.reused += 1,
            LineResult::Made { .. } => self.created += 1,
            LineResult::Refused { line, detail, .. } => {
                self.refused += 1;
                if self.first_refusals.len() < SHOWN {
                    self.first_refusals.push((*line, detail.clone()));
                }
            }
        }
    }

    /// All lines.
    pub(super) fn total(&self) -> u64 {
        self.created + self.reused + self.refused
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.total();
        let lines = if total == 1 { "line" } else { "lines" };
        let Self { created, reused, refused, .. } = self;
        write!(f, "imported {total} {lines}: {created} created, {reused} reused, {refused} refused")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_and_the_first_refusals_kept() {
        let made = |line, status| LineResult::Made {
            line,
            status,
            code: String::new(),
            short_url: String::new(),
            url: String::new(),
        };
        let mut tally = Tally::default();
        tally.add(&made(1, 201));
        tally.add(&made(2, 200));
        for line in 3..10 {
            tally.add(&LineResult::Refused { line, status: 422, kind: None, detail: "no".into(), url: None });
        }
        assert_eq!(tally.to_string(), "imported 9 lines: 1 created, 1 reused, 7 refused");
        let lines: Vec<_> = tally.first_refusals.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [3, 4, 5, 6, 7]);
    }
}
