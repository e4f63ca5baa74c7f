//! The database's timeline, as far as ids at hand depend on it.
//!
//! A block is safe because the primary recorded it. A promoted replica may not have that record, so what was taken
//! before it was promoted is not served after it: another node may be given the same ids.

use tokio::sync::watch;

/// Tells when the database has begun another timeline.
#[derive(Debug)]
pub(in crate::ids) struct History {
    timelines: Option<watch::Receiver<Option<u32>>>,
    current: Option<u32>,
}

impl History {
    /// For blocks that no database vouches for alone.
    pub(in crate::ids) const fn endless() -> Self {
        Self { timelines: None, current: None }
    }

    /// Follows the primary's timeline; `None` while there is no primary says nothing.
    pub(in crate::ids) fn of(mut timelines: watch::Receiver<Option<u32>>) -> Self {
        let current = *timelines.borrow_and_update();
        Self { timelines: Some(timelines), current }
    }

    /// Resolves with the new timeline once there is another one; each is told once. Cancel safe.
    pub(super) async fn changed(&mut self) -> u32 {
        if let Some(timelines) = &mut self.timelines {
            loop {
                let now = *timelines.borrow_and_update();
                if let Some(timeline) = now.filter(|_| now != self.current) {
                    self.current = now;
                    return timeline;
                }
                if timelines.changed().await.is_err() {
                    break;
                }
            }
        }
        std::future::pending().await
    }
}
