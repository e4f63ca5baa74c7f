//! A holder's window: what it may issue, and when it stops.

use super::*;
use crate::allocator::HolderId;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn lease(stamped_at_ms: u64, not_before_ms: u64, lease_until_ms: u64) -> WorkerLease {
    let worker = WorkerId::new(7).unwrap();
    WorkerLease { worker, lease: LeaseId(3), holder: HolderId(1), stamped_at_ms, not_before_ms, lease_until_ms }
}

/// A minute from 1,000,000 ms, asked for at 500 s of the monotonic clock.
fn window() -> WorkerWindow {
    WorkerWindow::new(&lease(1_000_000, 1_000_000, 1_060_000), secs(500))
}

#[test]
fn only_timestamps_of_the_window_are_accepted() {
    let accepted = [999_999, 1_000_000, 1_059_999, 1_060_000].map(|at_ms| window().accepts(at_ms));
    assert_eq!(accepted, [false, true, true, false]);
}

#[test]
fn issuing_stops_an_eighth_before_the_end_by_the_monotonic_clock() {
    let window = window();
    assert_eq!(window.stop_at(), Duration::from_millis(552_500));
    assert!(window.may_issue(secs(552)) && !window.may_issue(Duration::from_millis(552_500)));
    assert!(!window.may_issue(Duration::MAX));
}

#[test]
fn the_margin_is_a_second_at_least() {
    let short = WorkerWindow::new(&lease(0, 0, 4_000), secs(0));
    assert_eq!(short.stop_at(), secs(3));
    let too_short = WorkerWindow::new(&lease(0, 0, 900), secs(9));
    assert!(!too_short.may_issue(secs(9)));
}

#[test]
fn a_renewal_is_due_from_half_of_the_lease_on() {
    assert!(!window().renewal_due(Duration::from_millis(529_999)));
    assert!(window().renewal_due(secs(530)) && window().renewal_due(secs(9_999)));
}

#[test]
fn a_renewal_moves_the_ends_and_keeps_the_beginning() {
    let mut window = window();
    window.renew(&lease(1_030_000, 1_000_000, 1_090_000), secs(530));
    assert!(window.accepts(1_000_000) && window.accepts(1_089_999) && !window.accepts(1_090_000));
    assert_eq!((window.renew_at(), window.stop_at()), (secs(560), Duration::from_millis(582_500)));
}

#[test]
fn an_answer_that_comes_late_or_is_of_another_lease_changes_nothing() {
    let mut window = window();
    window.renew(&lease(1_030_000, 1_000_000, 1_090_000), secs(530));
    let renewed = window;
    window.renew(&lease(1_010_000, 1_000_000, 1_070_000), secs(510));
    window.renew(&WorkerLease { lease: LeaseId(4), ..lease(1_040_000, 1_000_000, 2_000_000) }, secs(540));
    let worker = WorkerId::new(8).unwrap();
    window.renew(&WorkerLease { worker, ..lease(1_040_000, 1_000_000, 2_000_000) }, secs(540));
    assert_eq!(window, renewed);
}

#[test]
fn a_window_that_has_not_begun_is_waited_for() {
    let window = WorkerWindow::new(&lease(1_000_000, 1_030_000, 1_090_000), secs(500));
    assert!(!window.accepts(1_000_000) && window.accepts(1_030_000));
    assert!(window.may_issue(secs(500)));
    assert_eq!(window.stop_at(), Duration::from_millis(590_000 - 11_250));
}

/// The wall clock jumps while the monotonic one goes on: the window decides by what is in the id.
#[test]
fn a_wall_clock_that_jumps_makes_no_ids_outside_the_window() {
    let window = window();
    let at = |wall_ms: u64, monotonic: Duration| window.may_issue(monotonic) && window.accepts(wall_ms);
    assert!(at(1_001_000, secs(501)));
    assert!(!at(1_001_000 + 600_000, secs(502)), "ten minutes ahead");
    assert!(!at(1_001_000 - 600_000, secs(503)), "ten minutes back");
    assert!(at(1_000_500, secs(504)), "a little back, within the window");
    assert!(!at(1_001_000, secs(600)), "back into the window, when the lease is long over");
}

#[test]
fn a_monotonic_clock_at_its_end_does_not_wrap() {
    let window = WorkerWindow::new(&lease(0, 0, u64::MAX), Duration::MAX);
    assert!(window.may_issue(secs(1)) && !window.may_issue(Duration::MAX));
}
