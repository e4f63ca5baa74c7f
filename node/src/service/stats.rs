//! How often a link was followed.

use std::sync::Arc;

use crate::domain::link::Link;
use crate::domain::timestamp::UnixMs;
use crate::ports::click_store::{ClickStore, ClickTotals, Day};
use crate::ports::clock::Clock;
use crate::ports::link_store::StoreError;

/// Shows what was counted.
#[derive(Debug)]
pub struct LinkStats {
    store: Arc<dyn ClickStore>,
    clock: Arc<dyn Clock>,
}

impl LinkStats {
    /// Shows what `store` has counted.
    pub const fn new(store: Arc<dyn ClickStore>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// The clicks of a link: ever, and on each of the last `days` days, today among them. Whoever asks must be allowed to
    /// see the link.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn of(&self, link: &Link, days: u16) -> Result<ClickTotals, StoreError> {
        let today = Day::of(UnixMs::from_clock(self.clock.unix_ms()));
        self.store.clicks(link.key, today.back(days.saturating_sub(1))).await
    }
}
