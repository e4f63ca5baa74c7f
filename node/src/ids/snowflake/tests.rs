//! Drawing ids through every way in which the allocator and the clock can fail.

mod holders;
pub(in crate::ids) mod rig;

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use stint_idgen::allocator::{LeaseId, WorkerLease};
use stint_idgen::snowflake::{WorkerId, decode};
use tokio::task::JoinSet;
use tokio::time::advance;

use super::*;
use crate::lifecycle::Tasks;
use crate::ports::error_chain::Chain;
use rig::{LEASE, PATIENCE, Rig, START_MS, Trouble};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// The reason why an id was not to be had.
fn reason<T: std::fmt::Debug>(drawn: Result<T, IdError>) -> NoSnowflake {
    let error = drawn.unwrap_err();
    assert!(error.retryable());
    let IdError::Snowflake(reason) = error else { panic!("{error:?}") };
    reason
}

/// Time passes in small steps, so that whoever waits acts in time.
async fn pass(time: Duration) {
    const STEP: Duration = Duration::from_millis(10);
    let until = Instant::now() + time;
    while Instant::now() < until {
        advance(STEP.min(until - Instant::now())).await;
    }
}

fn worker_of(id: u64) -> u16 {
    decode(id).unwrap().worker.get()
}

#[tokio::test(start_paused = true)]
async fn ids_say_their_worker_and_time_and_keys_are_their_negatives() {
    let rig = Rig::new();
    let (one, two) = (rig.node(), rig.node());
    one.ids.draw(1).await.unwrap();
    let drawn = two.ids.draw(3).await.unwrap();
    assert_eq!(drawn.iter().map(|&id| worker_of(id)).collect::<Vec<_>>(), [1, 1, 1]);
    assert_eq!(decode(drawn[0]).unwrap().timestamp_ms, START_MS);
    let key = two.ids.next_key().await.unwrap();
    assert_eq!(key.get(), -(drawn[2] + 1).cast_signed());
    assert_eq!(two.metric(r#"stint_ids_issued_total{namespace="links",source="snowflake"}"#), "1");
    assert_eq!(two.metric(r#"stint_ids_issued_total{namespace="snowflake",source="snowflake"}"#), "3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_id_of_the_real_crate_is_drawn_twice_by_any_number_of_nodes_and_tasks() {
    const DRAWS: u64 = 200;
    let (rig, tasks) = (Rig::new(), Tasks::default());
    rig.allocator.follow_the_wall_clock();
    let nodes = [rig.real_ids(&tasks), rig.real_ids(&tasks)];
    let mut drawing = JoinSet::new();
    for (node, large) in nodes.iter().cycle().zip(0..8) {
        let ids = Arc::clone(node);
        drawing.spawn(async move {
            let mut all = Vec::new();
            for draw in 0..DRAWS {
                let drawn = ids.draw(1 + large * draw).await.unwrap();
                assert!(drawn.is_sorted_by(|a, b| a < b));
                all.extend(drawn);
            }
            all
        });
    }
    let drawn: Vec<u64> = drawing.join_all().await.concat();
    assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), drawn.len());
    assert_eq!(drawn.iter().map(|&id| worker_of(id)).collect::<HashSet<_>>(), HashSet::from([0, 1]));
}

#[tokio::test(start_paused = true)]
async fn a_large_draw_takes_no_more_than_4000_of_each_millisecond() {
    let rig = Rig::new();
    let node = rig.node();
    let drawn = node.ids.draw(10_000).await.unwrap();
    assert!(drawn.is_sorted_by(|a, b| a < b));
    let in_millisecond = |ms: u64| drawn.iter().filter(|&&id| decode(id).unwrap().timestamp_ms == ms).count();
    assert_eq!([START_MS, START_MS + 1].map(in_millisecond), [4_000, 4_000]);
}

#[tokio::test(start_paused = true)]
async fn more_than_a_millisecond_has_does_not_hang_while_the_clock_stands() {
    let rig = Rig::new();
    let node = rig.node();
    node.clock.stop_at(START_MS + 5);
    let started = Instant::now();
    assert_eq!(reason(node.ids.draw(5_000).await), NoSnowflake::ClockStands);
    assert!(started.elapsed() <= PATIENCE + TICK, "{:?}", started.elapsed());
    node.clock.go_on();
    assert_eq!(node.ids.draw(5_000).await.unwrap().len(), 5_000);
}

#[tokio::test(start_paused = true)]
async fn a_draw_waits_for_a_lease_as_long_as_its_patience_and_fails() {
    let rig = Rig::new();
    rig.allocator.is_away.store(true, Ordering::Relaxed);
    let node = rig.node();
    assert!(matches!(node.ids.lease(), Err(IdError::Snowflake(NoSnowflake::NotLeased))));
    let started = Instant::now();
    assert_eq!(reason(node.ids.draw(1).await), NoSnowflake::NotLeased);
    assert_eq!(started.elapsed(), PATIENCE);
    assert_eq!(node.metric("stint_id_stalls_total"), "1");
    let coming_back = async {
        pass(TICK).await;
        rig.allocator.is_away.store(false, Ordering::Relaxed);
    };
    let (drawn, ()) = futures_util::join!(node.ids.draw(1), coming_back);
    drawn.unwrap();
    assert_eq!(node.ids.lease().unwrap().worker().get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_small_rollback_is_waited_out() {
    let rig = Rig::new();
    let node = rig.node();
    let before = node.ids.draw(1).await.unwrap();
    node.clock.set_ahead(-30);
    let started = Instant::now();
    let after = node.ids.draw(1).await.unwrap();
    assert!(before < after);
    assert_eq!(started.elapsed(), Duration::from_millis(30));
}

#[tokio::test(start_paused = true)]
async fn a_large_rollback_is_an_error_at_once_that_says_how_large_and_passes_with_it() {
    let rig = Rig::new();
    let node = rig.node();
    let before = node.ids.draw(1).await.unwrap();
    node.clock.set_ahead(-10_000);
    let started = Instant::now();
    let error = node.ids.draw(1).await.unwrap_err();
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert!(Chain(&error).to_string().contains("clock went back by 10s"), "{}", Chain(&error));
    assert_eq!(reason(node.ids.lease()), NoSnowflake::ClockWentBack { by: secs(10) });
    advance(secs(10)).await;
    assert!(node.ids.draw(1).await.unwrap() > before);
}

#[tokio::test(start_paused = true)]
async fn before_the_window_begins_draws_fail_or_wait_if_it_is_soon() {
    let rig = Rig::new();
    let node = rig.node();
    node.clock.set_ahead(-5_000);
    assert_eq!(reason(node.ids.draw(1).await), NoSnowflake::TooEarly { wait: secs(5) });
    advance(secs(4)).await;
    assert_eq!(decode(node.ids.draw(1).await.unwrap()[0]).unwrap().timestamp_ms, START_MS);
}

#[tokio::test(start_paused = true)]
async fn a_clock_ahead_of_the_window_makes_no_ids_until_it_is_right_again() {
    let rig = Rig::new();
    let node = rig.node();
    node.ids.draw(1).await.unwrap();
    node.clock.set_ahead(3_600_000);
    assert!(matches!(reason(node.ids.draw(1).await), NoSnowflake::TooLate { .. }));
    node.clock.set_ahead(0);
    node.ids.draw(1).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn ids_that_must_not_be_given_out_are_counted_and_do_not_hang_a_draw() {
    let rig = Rig::new();
    let node = rig.node();
    node.ids.draw(1).await.unwrap();
    node.faults.flipped.store(1 << 12, Ordering::Relaxed);
    assert_eq!(reason(node.ids.draw(1).await), NoSnowflake::Discarded { what: "worker" });
    assert_ne!(node.metric(r#"stint_snowflake_discarded_total{reason="worker"}"#), "0");
    node.faults.flipped.store(0, Ordering::Relaxed);
    node.ids.draw(1).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_lease_is_renewed_for_as_long_as_the_allocator_answers() {
    let rig = Rig::new();
    let node = rig.node();
    for _ in 0..600 {
        assert_eq!(worker_of(node.ids.draw(1).await.unwrap()[0]), 0);
        pass(secs(1)).await;
        let remaining: f64 = node.metric("stint_snowflake_lease_remaining_seconds").parse().unwrap();
        assert!(remaining > (LEASE / 3).as_secs_f64(), "{remaining}");
    }
    let totals = rig.allocator.state().worker_totals();
    assert_eq!((totals.granted, totals.live), (1, 1));
    assert!((18..=22).contains(&totals.renewed), "{totals:?}");
}

#[tokio::test(start_paused = true)]
async fn while_the_allocator_is_away_ids_are_made_until_shortly_before_the_end_and_come_back_with_it() {
    let rig = Rig::new();
    let node = rig.node();
    node.ids.draw(1).await.unwrap();
    let window = node.ids.lease().unwrap();
    rig.allocator.is_away.store(true, Ordering::Relaxed);
    let started = Instant::now();
    let mut last = 0;
    let error = loop {
        match node.ids.draw(1).await {
            Ok(drawn) => last = drawn[0],
            Err(error) => break error,
        }
        pass(secs(1)).await;
    };
    assert_eq!(reason(Err::<(), _>(error)), NoSnowflake::LeaseOver);
    assert!(started.elapsed() >= secs(52), "{:?}", started.elapsed());
    assert!(decode(last).unwrap().timestamp_ms < window.lease_until_ms() - 7_000);
    assert_eq!(node.metric("stint_snowflake_lease_remaining_seconds"), "0");
    rig.allocator.is_away.store(false, Ordering::Relaxed);
    assert_eq!(worker_of(node.ids.draw(1).await.unwrap()[0]), 1, "a new lease, and the old id is free last");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_is_lost_or_hangs_is_sent_again() {
    let rig = Rig::new();
    let node = rig.node();
    node.ids.draw(1).await.unwrap();
    rig.allocator.trouble([Trouble::LostRequest, Trouble::Hangs, Trouble::LostAnswer, Trouble::LostRequest]);
    for _ in 0..60 {
        pass(secs(1)).await;
        node.ids.draw(1).await.unwrap();
    }
    assert_eq!(rig.allocator.requests(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_is_followed_by_another_under_the_next_number() {
    let rig = Rig::new();
    let node = rig.node();
    node.ids.draw(1).await.unwrap();
    rig.allocator.revoke();
    pass(LEASE / 2 + secs(1)).await;
    assert_eq!(worker_of(node.ids.draw(1).await.unwrap()[0]), 1);
    assert_eq!(rig.allocator.requests(), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_again_under_the_same_number_and_found() {
    for lost in [Trouble::LostAnswer, Trouble::LostRequest, Trouble::Hangs] {
        let rig = Rig::new();
        rig.allocator.trouble([lost; 3]);
        let node = rig.node();
        while node.ids.draw(1).await.is_err() {}
        assert_eq!(rig.allocator.requests(), [1; 4]);
        assert_eq!(rig.allocator.state().worker_totals().used_workers, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_whose_answer_came_too_late_is_not_used() {
    let rig = Rig::new();
    rig.allocator.trouble([Trouble::LostAnswer]);
    let node = rig.node();
    pass(TICK).await;
    rig.allocator.is_away.store(true, Ordering::Relaxed);
    pass(secs(58)).await;
    rig.allocator.is_away.store(false, Ordering::Relaxed);
    assert_eq!(worker_of(node.ids.draw(1).await.unwrap()[0]), 1);
    assert_eq!(rig.allocator.requests(), [1, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn without_a_free_worker_id_the_error_says_so_and_one_is_taken_when_it_is_free() {
    let rig = Rig::new();
    rig.allocator.lease_all(secs(600));
    let node = rig.node();
    let error = node.ids.draw(1).await.unwrap_err();
    assert!(Chain(&error).to_string().contains("every worker id is leased"), "{}", Chain(&error));
    assert_eq!(reason(Err::<(), _>(error)), NoSnowflake::NoWorkerFree { free_at_ms: START_MS + 600_000 });
    pass(secs(602)).await;
    node.ids.draw(1).await.unwrap();
    let requests = rig.allocator.requests();
    assert!(requests.is_sorted_by(|a, b| a < b), "each refusal is an answer");
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_a_length_that_is_not_given_is_refused_and_not_waited_for() {
    let rig = Rig::new();
    let node = rig.node_with(secs(1));
    let error = node.ids.draw(1).await.unwrap_err();
    assert!(matches!(error, IdError::Refused(Refusal::BadLeaseDuration { .. })) && !error.retryable(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_clean_stop_releases_the_worker_id_and_makes_no_more_ids() {
    let rig = Rig::new();
    let node = rig.node();
    node.ids.draw(1).await.unwrap();
    assert!(node.tasks.finish(PATIENCE).await);
    let totals = rig.allocator.state().worker_totals();
    assert_eq!((totals.released, totals.live), (1, 0));
    assert_eq!(reason(node.ids.draw(1).await), NoSnowflake::Stopping);
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_neither_for_an_allocator_that_is_away_nor_for_one_that_hangs() {
    let rig = Rig::new();
    let nodes = [rig.node(), rig.node()];
    for node in &nodes {
        node.ids.draw(1).await.unwrap();
    }
    rig.allocator.trouble([Trouble::Hangs]);
    assert!(nodes[0].tasks.finish(PATIENCE).await);
    rig.allocator.is_away.store(true, Ordering::Relaxed);
    assert!(nodes[1].tasks.finish(PATIENCE).await);
}

/// The clock was ahead, and is put right just when another lease comes.
#[tokio::test(start_paused = true)]
async fn the_ids_of_one_draw_ascend_even_over_two_leases() {
    let rig = Rig::new();
    rig.allocator.is_away.store(true, Ordering::Relaxed);
    let node = rig.node();
    let hand = |number: u64| {
        let worker = WorkerId::new(9 - u16::try_from(number).unwrap()).unwrap();
        let (not_before_ms, lease_until_ms) = (START_MS, START_MS + 60_000);
        let holder = stint_idgen::allocator::HolderId(1);
        let (lease, stamped_at_ms) = (LeaseId(number), START_MS);
        let granted = WorkerLease { worker, lease, holder, stamped_at_ms, not_before_ms, lease_until_ms };
        Hand::Held(Maker::new(WorkerWindow::new(&granted, Duration::ZERO), &*node.ids.shared.generators))
    };
    node.clock.stop_at(START_MS + 20_000);
    node.ids.shared.set_hand(hand(1));
    let putting_right = async {
        pass(secs(1)).await;
        node.ids.shared.set_hand(hand(2));
        node.clock.go_on();
    };
    let (drawn, ()) = futures_util::join!(node.ids.draw(5_000), putting_right);
    let drawn = drawn.unwrap();
    assert!(drawn.is_sorted_by(|a, b| a < b));
    assert_eq!(drawn.iter().map(|&id| worker_of(id)).collect::<HashSet<_>>(), HashSet::from([7, 8]));
}
