//! A worker lease in its holder's hands: what it may still make, and when to renew.
//!
//! Uniqueness rests on [`WorkerWindow::accepts`] alone: an id is given out only if the timestamp *in it* lies within the
//! window, so two holders of one worker id are apart whatever their clocks say. Stopping by the monotonic clock comes on
//! top: it keeps a holder whose wall clock stands still or went back from using a lease that is long over.

use std::time::Duration;

use crate::allocator::{LeaseId, WorkerLease};
use crate::snowflake::WorkerId;

/// The part of a lease that is left unused at its end, as a divisor: an eighth. Covers clocks that run at different
/// speeds by far more than real ones do, and what is under way while the lease ends.
const STOP_MARGIN_DIVISOR: u32 = 8;

/// The least of a lease that is left unused at its end. Of the shortest lease (10 s) an eighth is little more.
const MIN_STOP_MARGIN: Duration = Duration::from_secs(1);

/// A renewal is due when half of the lease is gone: the rest, less the margin, is for retries.
const RENEWAL_DIVISOR: u32 = 2;

/// A worker id, the timestamps it may be used for, and for how long by the holder's own monotonic clock.
///
/// Times called `monotonic` are on any clock that never goes back, the same for all calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerWindow {
    worker: WorkerId,
    lease: LeaseId,
    not_before_ms: u64,
    lease_until_ms: u64,
    /// When the request was sent that the lease was last granted or renewed by.
    anchor: Duration,
    /// How long the lease lasts from the anchor.
    length: Duration,
}

impl WorkerWindow {
    /// The window of a lease whose request was sent at `sent_at`, monotonic.
    ///
    /// The lease was stamped after that, so counting from there ends early and never late. For a request that was
    /// retried it is the first sending.
    pub const fn new(granted: &WorkerLease, sent_at: Duration) -> Self {
        Self {
            worker: granted.worker,
            lease: granted.lease,
            not_before_ms: granted.not_before_ms,
            lease_until_ms: granted.lease_until_ms,
            anchor: sent_at,
            length: length(granted),
        }
    }

    /// Takes in a renewal of this lease whose request was sent at `sent_at`. What another lease says, and what would end
    /// earlier (an answer that comes late), is left alone.
    pub fn renew(&mut self, renewed: &WorkerLease, sent_at: Duration) {
        if renewed.lease != self.lease || renewed.worker != self.worker {
            return;
        }
        self.lease_until_ms = self.lease_until_ms.max(renewed.lease_until_ms);
        if sent_at.saturating_add(length(renewed)) > self.end() {
            (self.anchor, self.length) = (sent_at, length(renewed));
        }
    }

    /// The worker id.
    pub const fn worker(&self) -> WorkerId {
        self.worker
    }

    /// The lease's number.
    pub const fn lease(&self) -> LeaseId {
        self.lease
    }

    /// The first Unix millisecond of the window.
    pub const fn not_before_ms(&self) -> u64 {
        self.not_before_ms
    }

    /// One past the window's last Unix millisecond.
    pub const fn lease_until_ms(&self) -> u64 {
        self.lease_until_ms
    }

    /// Whether an id with this timestamp in it may be given out. Ask for each id, after making it.
    pub const fn accepts(&self, decoded_timestamp_ms: u64) -> bool {
        self.not_before_ms <= decoded_timestamp_ms && decoded_timestamp_ms < self.lease_until_ms
    }

    /// Whether ids may still be made at all, `now` being monotonic: no longer once the stop margin has begun.
    pub fn may_issue(&self, now: Duration) -> bool {
        now < self.stop_at()
    }

    /// The monotonic time from which no ids are made.
    pub fn stop_at(&self) -> Duration {
        let margin = (self.length / STOP_MARGIN_DIVISOR).max(MIN_STOP_MARGIN);
        self.anchor.saturating_add(self.length.saturating_sub(margin))
    }

    /// The monotonic time from which the lease should be renewed.
    pub fn renew_at(&self) -> Duration {
        self.anchor.saturating_add(self.length / RENEWAL_DIVISOR)
    }

    /// Whether it is time to renew, `now` being monotonic. Past the end a new lease must be asked for instead.
    pub fn renewal_due(&self, now: Duration) -> bool {
        self.renew_at() <= now
    }

    fn end(&self) -> Duration {
        self.anchor.saturating_add(self.length)
    }
}

/// How long a lease lasts from its stamp. A window that has not begun yet counts with the wait before it.
const fn length(granted: &WorkerLease) -> Duration {
    Duration::from_millis(granted.lease_until_ms.saturating_sub(granted.stamped_at_ms))
}

#[cfg(test)]
mod tests;
