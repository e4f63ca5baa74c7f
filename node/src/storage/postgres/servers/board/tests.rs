//! Looks that are made up, under a clock that is moved by hand.

use super::super::ServerOptions;
use super::super::probe::Progress;
use super::*;

const LIMIT: Duration = Duration::from_secs(30);

fn board() -> Board {
    let url = |host: &str| format!("postgres://u@{host}/x");
    let options = ServerOptions {
        primary_urls: vec![url("one"), url("two")],
        replica_urls: vec![url("three")],
        pool_size: 1,
        max_replica_lag: LIMIT,
    };
    Board::new(options.servers().unwrap(), 1, LIMIT, None)
}

#[expect(clippy::unnecessary_wraps, reason = "a look is what it is recorded as")]
fn primary(timeline: u32, position: u64) -> Result<Look, LookError> {
    Ok(Look { at: Instant::now(), system: 7, role: Role::Primary { timeline, position, writable: true } })
}

#[expect(clippy::unnecessary_wraps, reason = "a look is what it is recorded as")]
fn replica(replayed: u64) -> Result<Look, LookError> {
    Ok(Look { at: Instant::now(), system: 7, role: Role::Replica(Progress { replayed, ..Progress::default() }) })
}

fn away(slow: bool) -> Result<Look, LookError> {
    Err(LookError::Away { server: "one".to_owned(), reason: "?".to_owned(), slow })
}

/// A board whose first server is the primary on timeline 1, at position 100.
fn with_primary() -> Board {
    let board = board();
    board.record(0, primary(1, 100));
    let lineage = Lineage { system: 7, timeline: 1 };
    let pool = board.servers[0].writing_pool(1, lineage);
    board.take(&mut board.state(), 0, lineage, pool);
    board
}

async fn pass(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_primary_is_given_up_when_it_refuses_and_when_it_is_slow_twice() {
    let board = with_primary();
    board.record(0, away(true));
    board.record(0, primary(1, 100));
    board.record(0, away(true));
    assert!(board.primary().is_some());
    board.record(0, away(true));
    assert!(board.primary().is_none());

    let board = with_primary();
    let pool = board.primary().unwrap().pool.clone();
    board.record(0, away(false));
    assert!(board.primary().is_none() && pool.is_closed());
    assert_eq!(*board.timelines().borrow(), None);
}

#[tokio::test(start_paused = true)]
async fn a_primary_is_given_up_when_another_is_seen_on_a_newer_timeline() {
    for look in [primary(2, 50), Ok(Look { system: 8, ..primary(2, 50).unwrap() })] {
        let board = with_primary();
        let is_ours = look.as_ref().unwrap().system == 7;
        board.record(1, look);
        assert_eq!(board.primary().is_none(), is_ours);
    }
    let board = with_primary();
    board.record(2, primary(2, 50));
    assert!(board.primary().is_some(), "one that may not be the primary says nothing");
}

#[tokio::test(start_paused = true)]
async fn no_replica_falls_behind_while_the_primary_is_idle_or_away() {
    let board = with_primary();
    board.record(2, replica(100));
    assert_eq!(board.rotation().len(), 1);
    pass(100).await;
    board.record(0, primary(1, 100));
    board.record(2, replica(100));
    assert_eq!(board.state().seen[2].lag, Some(Duration::ZERO));

    board.record(0, primary(1, 101));
    pass(10).await;
    board.record(0, primary(1, 101));
    board.record(2, replica(100));
    assert_eq!(board.state().seen[2].lag, Some(Duration::from_secs(10)));
    board.record(0, away(false));
    pass(100).await;
    board.record(2, replica(100));
    assert_eq!(board.state().seen[2].lag, Some(Duration::from_secs(10)));
    assert_eq!(board.rotation().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_too_far_behind_is_out_until_it_has_caught_up() {
    let board = with_primary();
    board.record(2, replica(100));
    board.record(0, primary(1, 200));
    pass(31).await;
    board.record(2, replica(100));
    assert!(board.rotation().is_empty());
    board.record(2, replica(200));
    assert_eq!(board.rotation().len(), 1);
    board.record(2, away(true));
    assert!(board.rotation().is_empty(), "one slow look is enough: others are read");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_taken_before_all_who_may_be_the_primary_were_looked_at() {
    let candidate = |board: &Board| board.state().candidate(board);
    let board = board();
    board.record(0, primary(1, 100));
    assert_eq!(candidate(&board), None);
    board.record(1, primary(2, 50));
    assert_eq!(candidate(&board), Some((1, Lineage { system: 7, timeline: 2 })), "the higher timeline");
    board.record(0, primary(2, 100));
    assert_eq!(candidate(&board), Some((0, Lineage { system: 7, timeline: 2 })), "the first of equal ones");
    board.record(0, away(false));
    assert_eq!(candidate(&board), Some((1, Lineage { system: 7, timeline: 2 })));
    let read_only = Role::Primary { timeline: 3, position: 50, writable: false };
    board.record(0, Ok(Look { at: Instant::now(), system: 7, role: read_only }));
    assert_eq!(candidate(&board), None, "neither one that is read-only nor one that it has replaced");
}
