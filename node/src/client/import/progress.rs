//! The progress bar.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use super::state::State;

const DRAWS_PER_SECOND: u8 = 5;
const OF_FILE: &str = "{bar:30} {binary_bytes}/{binary_total_bytes}, {msg}, ETA {eta}";
const OF_STREAM: &str = "{binary_bytes}, {msg}, {elapsed}";

/// Shows how far an import is, or nothing.
pub(super) struct Progress {
    bar: ProgressBar,
    started: Instant,
    lines_before: u64,
}

impl Progress {
    /// Progress on the process's stderr if `shown`.
    pub(super) fn new(shown: bool, length: Option<u64>, state: &State) -> Self {
        let target =
            if shown { ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND) } else { ProgressDrawTarget::hidden() };
        let template = if length.is_some() { OF_FILE } else { OF_STREAM };
        let style = ProgressStyle::with_template(template).expect("the templates are well-formed, as a test shows");
        let bar = ProgressBar::with_draw_target(length, target).with_style(style).with_position(state.offset);
        // What an earlier run did says nothing about the speed of this one.
        bar.reset_eta();
        Self { bar, started: Instant::now(), lines_before: state.tally.total() }
    }

    pub(super) fn show(&self, state: &State) {
        if self.bar.is_hidden() {
            return;
        }
        let lines = state.tally.total();
        let tenths = self.started.elapsed().as_millis() / 100;
        let rate = u128::from(lines - self.lines_before) * 10 / tenths.max(1);
        self.bar.set_message(format!("{lines} lines, {rate}/s"));
        self.bar.set_position(state.offset);
    }

    /// Takes the bar away, so that lines can be printed.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_well_formed() {
        assert!([OF_FILE, OF_STREAM].into_iter().all(|template| ProgressStyle::with_template(template).is_ok()));
    }
}
