//! When a value in Redis is believed. This is the whole rule.
//!
//! Redis may forget everything, or come back as it was hours ago: a restart, an old dump, FLUSHALL, a replica that lagged
//! when Sentinel made it the primary. So there is *ground* to stand on: one connection (its generation), to one memory (a
//! random mark in it, the epoch, which an emptied memory hasn't got).
//!
//! 1. On new ground nothing is believed until every change that the primary retains (an hour) was noted on it.
//! 2. Then a link is believed if it was read on the current timeline, at or after the position from which on changes were
//!    noted. An older one may lack a change that was forgotten before the replay.
//! 3. Changes go on being noted on the same ground, in their order. One that can't be noted, another connection or
//!    another epoch end the trust; so does another timeline.
//!
//! Why that is enough: a link as of position p holds every change up to p. Each later one was noted, either in the replay
//! or after it, and noting removes an older value and leaves a floor, below which nothing is stored. Writers store only on
//! ground they trust themselves, drop what they have carried for more than a few seconds, and note each change after the
//! writes they sent before; so a floor that has expired (after ten minutes) is not needed any more.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::value::Stamp;
use crate::ports::change_feed::FeedPosition;

/// A mark in Redis's memory.
pub(super) type Epoch = [u8; 16];

/// One memory, over one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ground {
    /// The connection's number.
    pub(super) generation: u64,
    /// What the memory is known by.
    pub(super) epoch: Epoch,
}

/// What may be believed, on which ground.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Belief {
    /// Where.
    pub(super) ground: Ground,
    /// The timeline, and the lowest position of a believed link.
    pub(super) covered: FeedPosition,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    #[default]
    None,
    Replaying(Ground),
    Believed(Belief),
}

/// What this node believes of Redis's memory.
#[derive(Debug, Default)]
pub(super) struct Trust {
    standing: RwLock<Standing>,
}

impl Belief {
    /// Whether a link with this stamp is as fresh as the last noted change.
    pub(super) fn of_link(&self, stamp: Stamp) -> bool {
        stamp.as_of.timeline == self.covered.timeline && stamp.as_of.seq >= self.covered.seq
    }

    /// Whether an alias or a target with this stamp holds: aliases never change and targets are hints, but both may have
    /// been undone by a failover.
    pub(super) fn of_key(&self, stamp: Stamp) -> bool {
        stamp.as_of.timeline == self.covered.timeline
    }
}

impl Trust {
    /// What is believed, if anything.
    pub(super) fn belief(&self) -> Option<Belief> {
        match *self.read() {
            Standing::Believed(belief) => Some(belief),
            Standing::None | Standing::Replaying(_) => None,
        }
    }

    /// What is stood on, believed or not yet.
    pub(super) fn ground(&self) -> Option<Ground> {
        match *self.read() {
            Standing::None => None,
            Standing::Replaying(ground) => Some(ground),
            Standing::Believed(belief) => Some(belief.ground),
        }
    }

    /// A replay begins on this ground: nothing is believed.
    pub(super) fn begin(&self, ground: Ground) {
        *self.write() = Standing::Replaying(ground);
    }

    /// The replay on this ground is finished; false if it isn't the one under way any more.
    pub(super) fn finish(&self, ground: Ground, covered: FeedPosition) -> bool {
        let mut standing = self.write();
        let is_under_way = *standing == Standing::Replaying(ground);
        if is_under_way {
            *standing = Standing::Believed(Belief { ground, covered });
        }
        is_under_way
    }

    /// This ground is gone, if it is still the one that is stood on.
    pub(super) fn lose(&self, ground: Ground) {
        let mut standing = self.write();
        if matches!(*standing, Standing::Replaying(lost) | Standing::Believed(Belief { ground: lost, .. }) if lost == ground)
        {
            *standing = Standing::None;
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Standing> {
        self.standing.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Standing> {
        self.standing.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Ground = Ground { generation: 1, epoch: [1; 16] };
    const RECONNECTED: Ground = Ground { generation: 2, ..HERE };
    const COVERED: FeedPosition = FeedPosition { timeline: 2, seq: 100 };

    fn stamp(timeline: u32, seq: i64) -> Stamp {
        Stamp { version: 1, as_of: FeedPosition { timeline, seq } }
    }

    #[test]
    fn nothing_is_believed_before_a_replay_is_finished() {
        let trust = Trust::default();
        assert_eq!((trust.belief(), trust.ground()), (None, None));
        assert!(!trust.finish(HERE, COVERED), "none was begun");
        trust.begin(HERE);
        assert_eq!((trust.belief(), trust.ground()), (None, Some(HERE)));
        assert!(trust.finish(HERE, COVERED));
        assert_eq!(trust.belief(), Some(Belief { ground: HERE, covered: COVERED }));
        trust.begin(HERE);
        assert_eq!(trust.belief(), None, "another replay begins anew");
    }

    #[test]
    fn a_link_is_believed_on_the_timeline_and_from_the_position_that_were_covered() {
        let belief = Belief { ground: HERE, covered: COVERED };
        assert!(belief.of_link(stamp(2, 100)) && belief.of_link(stamp(2, 101)));
        assert!(!belief.of_link(stamp(2, 99)), "a forgotten change may be missing");
        assert!(!belief.of_link(stamp(1, 200)) && !belief.of_link(stamp(3, 200)), "of another timeline");
        assert!(belief.of_key(stamp(2, 0)) && !belief.of_key(stamp(1, 200)));
    }

    #[test]
    fn lost_ground_ends_the_replay_and_the_belief_on_it_and_on_no_other() {
        let trust = Trust::default();
        trust.begin(HERE);
        trust.lose(HERE);
        assert!(!trust.finish(HERE, COVERED));
        trust.begin(RECONNECTED);
        trust.lose(HERE);
        assert!(!trust.finish(HERE, COVERED) && trust.finish(RECONNECTED, COVERED));
        trust.lose(HERE);
        assert!(trust.belief().is_some(), "a late failure on old ground");
        trust.lose(RECONNECTED);
        assert_eq!(trust.belief(), None);
    }
}
