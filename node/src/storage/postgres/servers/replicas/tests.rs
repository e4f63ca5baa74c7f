//! How far a replica is behind, from looks that are made up.

use super::*;

const LIMIT: Duration = Duration::from_secs(30);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(replayed: u64) -> Progress {
    Progress { replayed, ..Progress::default() }
}

/// A primary that was at these positions at these seconds after `start`.
fn history(start: Instant, positions: &[(u64, u64)]) -> History {
    let mut history = History::default();
    history.restart();
    for (second, position) in positions {
        history.note(start + seconds(*second), *position);
    }
    history
}

fn measure(history: &History, until: Instant) -> Measure<'_> {
    Measure { history, until, timeline: Some(2), limit: LIMIT }
}

#[test]
fn a_replica_is_behind_since_the_primary_passed_it() {
    let start = Instant::now();
    let history = history(start, &[(0, 100), (1, 200), (2, 200), (60, 300)]);
    let measure = measure(&history, start + seconds(70));
    for (replayed, lag) in [(400, 0), (300, 0), (299, 10), (200, 10), (199, 69), (100, 69)] {
        assert_eq!(measure.lag(&at(replayed), None).lag, seconds(lag), "{replayed}");
    }
}

#[test]
fn how_far_a_replica_was_behind_before_this_node_started_is_its_own_word() {
    let start = Instant::now();
    let cold = history(start, &[(0, 100)]);
    let measure = measure(&cold, start + seconds(5));
    let hour = Progress { replay_age: Some(seconds(3_600)), ..at(99) };
    let standing = measure.lag(&hour, None);
    assert_eq!(standing.lag, seconds(3_605));
    assert_eq!(measure.lag(&at(99), standing.behind).lag, seconds(3_605), "it is still behind");
    assert!(measure.lag(&at(99), None).lag > LIMIT, "who can't say is too far behind");
    assert_eq!(measure.lag(&Progress { replay_age: Some(seconds(3_600)), ..at(100) }, standing.behind).lag, seconds(0));
}

#[test]
fn after_a_promotion_replicas_start_anew_unless_they_were_behind() {
    let start = Instant::now();
    let mut history = history(start, &[(0, 100), (10, 200)]);
    let was = measure(&history, start + seconds(20)).lag(&at(150), None).behind;
    history.restart();
    history.note(start + seconds(30), 300);
    let measure = measure(&history, start + seconds(31));
    let idle_for_an_hour = Progress { replay_age: Some(seconds(3_600)), ..at(200) };
    assert_eq!(measure.lag(&idle_for_an_hour, None).lag, seconds(1));
    assert_eq!(measure.lag(&at(150), was).lag, seconds(21));
}

#[test]
fn a_replica_of_another_history_is_not_read() {
    let start = Instant::now();
    let history = history(start, &[(0, 100), (2, 100)]);
    let measure = measure(&history, start + seconds(2));
    let objection = |looked_at: u64, progress: &Progress| {
        measure.objection(start + seconds(looked_at), progress, measure.lag(progress, None).lag)
    };
    assert_eq!(objection(1, &at(100)), None);
    assert!(objection(1, &at(101)).unwrap().contains("ahead"));
    assert_eq!(objection(3, &at(101)), None, "the primary was looked at before");
    let old = Progress { following: Some(1), ..at(100) };
    assert!(objection(1, &old).unwrap().contains("timeline 1"));
    assert!(objection(1, &Progress { following: Some(2), ..at(100) }).is_none());
}

#[test]
fn without_a_primary_ever_seen_a_replica_is_late_only_with_what_it_has_received() {
    let history = History::default();
    let measure = measure(&history, Instant::now());
    let received = |received| Progress { received: Some(received), replay_age: Some(seconds(90)), ..at(100) };
    assert_eq!(measure.lag(&received(100), None).lag, seconds(0));
    assert_eq!(measure.lag(&received(101), None).lag, seconds(90));
}
