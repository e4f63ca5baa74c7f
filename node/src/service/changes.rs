//! Following the record of changes, so that no memory serves what was replaced: every node reads it twice a second.
//!
//! **Invariant: a change that became visible is noted in both memories by the next look**, even if numbers above it were
//! seen before: numbers that are missing are asked for until they can't come any more. On a new timeline, and after too
//! long a silence, everything begins again with the whole record.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use stint_idgen::Key;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::ports::change_feed::{Change, ChangeFeed, ChangePage, FeedPosition};
use crate::ports::link_cache::LinkCache;
use crate::ports::link_store::StoreError;
use crate::ports::shared_cache::SharedCache;

/// Changes read at a time.
const PAGE: usize = 2000;
/// How long a number may be missing: longer than any transaction that writes a change may take.
const MISSING_FOR: Duration = Duration::from_mins(1);
/// Numbers that are asked for again, at most: after a larger jump only the last ones can be under way.
const MOST_MISSING: usize = 1000;
/// Numbers below the first one in the record that may be under way when a node starts.
const MISSING_BEFORE: i64 = 32;
/// How long the primary may take for a page.
const READ_WITHIN: Duration = Duration::from_secs(5);
/// After so long without a look the position counts as unknown: a copy may have stopped following as well, and floors that
/// would tell that it is old are kept for a minute (a copy lags 30 s at most).
const STALLED_AFTER: Duration = Duration::from_secs(20);
/// After so long without a look changes may have been forgotten unseen: the record holds an hour.
const TOO_LONG: Duration = Duration::from_mins(45);

/// How far the record was followed. Clones share it.
#[derive(Clone, Debug)]
pub struct Followed(watch::Sender<FeedPosition>);

/// Reads the record and notes what it says.
#[derive(Debug)]
pub struct FollowChanges {
    feed: Arc<dyn ChangeFeed>,
    local: Arc<dyn LinkCache>,
    shared: Arc<dyn SharedCache>,
    followed: Followed,
    /// 0 until the whole record was read once.
    timeline: u32,
    /// The highest number seen.
    seen: i64,
    /// Lower numbers that weren't.
    missing: BTreeMap<i64, Missing>,
    looked_at: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    since: Duration,
    /// Whether the position stays below it.
    holds: bool,
}

impl Default for Followed {
    fn default() -> Self {
        Self(watch::Sender::new(FeedPosition::default()))
    }
}

impl Followed {
    /// The position: a value read from the store from now on holds every change up to it. Unknown until the whole record
    /// was read once.
    pub fn position(&self) -> FeedPosition {
        *self.0.borrow()
    }
}

#[cfg(test)]
impl Followed {
    /// Says that the record was followed up to here.
    pub(super) fn set(&self, position: FeedPosition) {
        self.0.send_replace(position);
    }
}

impl FollowChanges {
    /// Follows `feed` for both memories. The position stands in [`FollowChanges::followed`].
    pub fn new(feed: Arc<dyn ChangeFeed>, local: Arc<dyn LinkCache>, shared: Arc<dyn SharedCache>) -> Self {
        Self {
            feed,
            local,
            shared,
            followed: Followed::default(),
            timeline: 0,
            seen: 0,
            missing: BTreeMap::new(),
            looked_at: None,
        }
    }

    /// How far the record was followed.
    pub fn followed(&self) -> Followed {
        self.followed.clone()
    }

    /// Numbers that may still appear.
    pub fn missing(&self) -> usize {
        self.missing.len()
    }

    /// Looks at the record once; `now` is a monotonic time. False when nothing came of it, because the primary's timeline
    /// is just changing.
    ///
    /// # Errors
    /// [`StoreError`], when the primary gives no answer: what was noted before stays noted.
    pub async fn look(&mut self, now: Duration) -> Result<bool, StoreError> {
        let has_stalled = self.looked_at.is_some_and(|at| now > at + STALLED_AFTER);
        if has_stalled {
            self.followed.0.send_replace(FeedPosition::default());
        }
        if self.looked_at.is_some_and(|at| now > at + TOO_LONG) {
            self.begin_again();
        }
        if self.timeline == 0 {
            if !self.read_all(now).await? {
                return Ok(false);
            }
        } else if !self.read_on(now).await? {
            return Ok(false);
        }
        if has_stalled {
            // Copies that were read meanwhile may be of any age.
            self.local.clear();
        }
        self.looked_at = Some(now);
        self.followed.0.send_replace(self.position());
        if self.shared.needs_replay() {
            self.replay().await?;
        }
        Ok(true)
    }

    /// Reads what is new.
    async fn read_on(&mut self, now: Duration) -> Result<bool, StoreError> {
        self.missing.retain(|_, missing| now < missing.since + MISSING_FOR);
        loop {
            let missing: Vec<i64> = self.missing.keys().copied().collect();
            let page = read(&*self.feed, self.seen, &missing).await?;
            if page.timeline < self.timeline {
                // A primary that has been replaced: what it says is history.
                return Ok(false);
            }
            if page.timeline > self.timeline {
                self.begin_again();
                return self.read_all(now).await;
            }
            self.note_locally(&page.changes);
            if !page.changes.is_empty() && !self.shared.needs_replay() {
                self.shared.note_changes(page.timeline, &pairs(&page.changes)).await;
            }
            self.take(&page.changes, now);
            if page.changes.len() < PAGE {
                return Ok(true);
            }
        }
    }

    /// Reads the whole record, for both memories; false if the timeline changed meanwhile.
    async fn read_all(&mut self, now: Duration) -> Result<bool, StoreError> {
        self.begin_again();
        let mut walk = Walk::begin(Arc::clone(&self.shared)).await;
        while let Some(page) = walk.next(&*self.feed).await? {
            self.note_locally(&page.changes);
            if let Some(first) = page.changes.first().filter(|_| self.seen == 0) {
                self.seen = first.seq - 1;
                let before = (first.seq - MISSING_BEFORE).max(1)..first.seq;
                self.missing.extend(before.map(|number| (number, Missing { since: now, holds: false })));
            }
            self.take(&page.changes, now);
        }
        let Some(covered) = walk.finish().await else { return Ok(false) };
        // What was read meanwhile may come from another timeline.
        self.local.clear();
        self.timeline = covered.timeline;
        Ok(true)
    }

    /// Reads the whole record again, for the shared cache alone.
    async fn replay(&mut self) -> Result<(), StoreError> {
        let mut walk = Walk::begin(Arc::clone(&self.shared)).await;
        walk.timeline = Some(self.timeline);
        while walk.is_replaying && walk.next(&*self.feed).await?.is_some() {}
        walk.finish().await;
        Ok(())
    }

    /// Forgets how far it got, and what may have been undone or missed.
    fn begin_again(&mut self) {
        if self.timeline != 0 {
            tracing::info!(timeline = self.timeline, "the record of changes is read again from its beginning");
            self.local.clear();
        }
        self.followed.0.send_replace(FeedPosition::default());
        (self.timeline, self.seen, self.looked_at) = (0, 0, None);
        self.missing.clear();
    }

    fn note_locally(&self, changes: &[Change]) {
        for change in changes {
            self.local.note_version(change.key, change.version);
        }
    }

    fn take(&mut self, changes: &[Change], now: Duration) {
        for change in changes {
            self.missing.remove(&change.seq);
            let most = i64::try_from(MOST_MISSING).unwrap_or(i64::MAX);
            for number in (self.seen + 1).max(change.seq - most)..change.seq {
                self.missing.insert(number, Missing { since: now, holds: true });
            }
            self.seen = self.seen.max(change.seq);
        }
        while self.missing.len() > MOST_MISSING {
            self.missing.pop_first();
        }
    }

    fn position(&self) -> FeedPosition {
        let first_missing = self.missing.iter().find(|(_, missing)| missing.holds).map(|(number, _)| *number);
        FeedPosition { timeline: self.timeline, seq: first_missing.map_or(self.seen, |number| number - 1) }
    }
}

/// One walk through the whole record, which the shared cache follows as long as it can.
struct Walk {
    shared: Arc<dyn SharedCache>,
    is_replaying: bool,
    timeline: Option<u32>,
    first: Option<i64>,
    after: i64,
    is_at_end: bool,
    is_broken: bool,
}

impl Walk {
    async fn begin(shared: Arc<dyn SharedCache>) -> Self {
        let is_replaying = shared.begin_replay().await;
        Self { shared, is_replaying, timeline: None, first: None, after: 0, is_at_end: false, is_broken: false }
    }

    /// The next page, noted in the shared cache; `None` at the end, or when the timeline changed.
    async fn next(&mut self, feed: &dyn ChangeFeed) -> Result<Option<ChangePage>, StoreError> {
        if self.is_at_end {
            return Ok(None);
        }
        let page = read(feed, self.after, &[]).await?;
        if *self.timeline.get_or_insert(page.timeline) != page.timeline {
            self.is_broken = true;
            return Ok(None);
        }
        if let (Some(first), Some(last)) = (page.changes.first(), page.changes.last()) {
            self.first.get_or_insert(first.seq);
            self.after = last.seq;
            self.is_replaying =
                self.is_replaying && self.shared.note_changes(page.timeline, &pairs(&page.changes)).await;
        }
        self.is_at_end = page.changes.len() < PAGE;
        Ok(Some(page))
    }

    /// What was covered: the position before the first change. `None` if the walk didn't come to the end.
    async fn finish(self) -> Option<FeedPosition> {
        let timeline = self.timeline.filter(|_| self.is_at_end && !self.is_broken)?;
        let covered = FeedPosition { timeline, seq: self.first.map_or(0, |first| first - 1) };
        if self.is_replaying {
            self.shared.finish_replay(covered).await;
        }
        Some(covered)
    }
}

async fn read(feed: &dyn ChangeFeed, after: i64, missing: &[i64]) -> Result<ChangePage, StoreError> {
    let page = timeout(READ_WITHIN, feed.read(after, missing, PAGE)).await;
    page.unwrap_or_else(|late| Err(StoreError::Unavailable { operation: "read changes", source: Arc::new(late) }))
}

fn pairs(changes: &[Change]) -> Vec<(Key, i64)> {
    changes.iter().map(|change| (change.key, change.version)).collect()
}
