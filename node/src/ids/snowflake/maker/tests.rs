//! What of a generator's numbers is given out: the edges of the window, and generators and clocks that err.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use stint_idgen::allocator::{HolderId, LeaseId};
use stint_idgen::snowflake::WorkerId;

use super::*;
use crate::ids::snowflake::tests::rig::{Faults, START_MS, TestClock, TestGenerators};

/// A maker of worker 7 for the minute that begins with the test, its clock standing at the beginning.
struct Rig {
    clock: Arc<TestClock>,
    generators: TestGenerators,
    faults: Arc<Faults>,
    maker: Maker,
}

const UNTIL_MS: u64 = START_MS + 60_000;

impl Rig {
    fn new() -> Self {
        let clock = TestClock::new();
        clock.stop_at(START_MS);
        let generators = TestGenerators::new(&clock);
        let worker = WorkerId::new(7).unwrap();
        let granted = WorkerLease {
            worker,
            lease: LeaseId(3),
            holder: HolderId(1),
            stamped_at_ms: START_MS,
            not_before_ms: START_MS,
            lease_until_ms: UNTIL_MS,
        };
        let maker = Maker::new(WorkerWindow::new(&granted, Duration::ZERO), &generators);
        let faults = generators.faults();
        Self { clock, generators, faults, maker }
    }

    fn make(&mut self) -> Result<u64, NotMade> {
        self.maker.make(&*self.clock, &self.generators)
    }

    fn make_at(&mut self, unix_ms: u64) -> Result<u64, NotMade> {
        self.clock.stop_at(unix_ms);
        self.make()
    }

    /// One id that is fine.
    fn one(&mut self) -> u64 {
        self.make().expect("nothing is wrong")
    }
}

fn unavailable(why: NoSnowflake) -> Result<u64, NotMade> {
    Err(NotMade::Unavailable(why))
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[tokio::test(start_paused = true)]
async fn ids_are_made_from_the_first_to_the_last_millisecond_of_the_window() {
    let mut rig = Rig::new();
    assert_eq!(rig.make_at(START_MS - 1), unavailable(NoSnowflake::TooEarly { wait: ms(1) }));
    for at_ms in [START_MS, UNTIL_MS - 1] {
        let made = decode(rig.make_at(at_ms).unwrap()).unwrap();
        assert_eq!((made.timestamp_ms, made.worker.get(), made.sequence), (at_ms, 7, 0));
    }
    assert_eq!(rig.make_at(UNTIL_MS), unavailable(NoSnowflake::TooLate { by: ms(1) }));
}

#[tokio::test(start_paused = true)]
async fn a_generator_with_a_clock_outside_the_window_gives_nothing_out_and_is_replaced() {
    for ahead_ms in [60_000, -1] {
        let mut rig = Rig::new();
        rig.faults.ahead_ms.store(ahead_ms, Ordering::Relaxed);
        assert_eq!(rig.make(), Err(NotMade::Discarded(Discard::Window)));
        rig.faults.ahead_ms.store(0, Ordering::Relaxed);
        assert_eq!(decode(rig.one()).unwrap().timestamp_ms, START_MS, "it doesn't wait for the wrong time to come");
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_of_another_worker_is_not_given_out() {
    let mut rig = Rig::new();
    rig.faults.flipped.store(1 << 12, Ordering::Relaxed);
    assert_eq!(rig.make(), Err(NotMade::Discarded(Discard::Worker)));
}

#[tokio::test(start_paused = true)]
async fn a_number_of_64_bits_is_not_given_out() {
    let mut rig = Rig::new();
    rig.faults.flipped.store(i64::MIN, Ordering::Relaxed);
    assert_eq!(rig.make(), Err(NotMade::Discarded(Discard::Layout)));
}

#[tokio::test(start_paused = true)]
async fn a_number_that_is_not_above_the_last_is_not_given_out() {
    let mut rig = Rig::new();
    let first = rig.one();
    // Two fresh generators in a row begin the millisecond anew.
    rig.faults.flipped.store(1 << 12, Ordering::Relaxed);
    assert_eq!(rig.make(), Err(NotMade::Discarded(Discard::Worker)));
    rig.faults.flipped.store(0, Ordering::Relaxed);
    assert_eq!(rig.make(), Err(NotMade::Discarded(Discard::Order)));
    assert!(rig.make_at(START_MS + 1).unwrap() > first);
}

#[tokio::test(start_paused = true)]
async fn a_millisecond_has_4000_ids_and_the_generator_is_not_asked_for_more() {
    let mut rig = Rig::new();
    for _ in 0..MAX_PER_MS {
        rig.one();
    }
    for _ in 0..100 {
        assert_eq!(rig.make(), unavailable(NoSnowflake::ClockStands));
    }
    assert!(rig.make_at(START_MS + 1).is_ok());
}

/// The generator's clock goes back behind the node's, and again, just when a millisecond is full.
#[tokio::test(start_paused = true)]
async fn a_generator_whose_clock_repeats_a_full_millisecond_is_never_brought_to_spin() {
    let mut rig = Rig::new();
    for _ in 0..MAX_PER_MS {
        rig.one();
    }
    rig.faults.ahead_ms.store(-1, Ordering::Relaxed);
    assert_eq!(rig.make_at(START_MS + 1), Err(NotMade::Discarded(Discard::Rate)));
    for _ in 0..5_000 {
        assert_eq!(rig.make(), Err(NotMade::Discarded(Discard::Order)));
    }
    rig.faults.ahead_ms.store(0, Ordering::Relaxed);
    assert!(rig.make().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_clock_behind_the_last_id_is_not_used_and_the_distance_is_told() {
    let mut rig = Rig::new();
    let first = rig.make_at(START_MS + 9_000).unwrap();
    assert_eq!(rig.make_at(START_MS + 2_000), unavailable(NoSnowflake::ClockWentBack { by: ms(7_000) }));
    assert_eq!(rig.make_at(1), unavailable(NoSnowflake::ClockWentBack { by: ms(START_MS + 8_999) }));
    assert_eq!(rig.make_at(START_MS + 9_000), Ok(first + 1));
}

#[tokio::test(start_paused = true)]
async fn a_generator_that_sees_a_rollback_first_is_believed() {
    let mut rig = Rig::new();
    rig.make_at(START_MS + 50).unwrap();
    rig.faults.ahead_ms.store(-20, Ordering::Relaxed);
    assert_eq!(rig.make(), unavailable(NoSnowflake::ClockWentBack { by: ms(0) }));
}

#[tokio::test(start_paused = true)]
async fn a_clock_before_the_epoch_is_not_used_even_if_the_allocators_is_too() {
    let mut rig = Rig::new();
    let granted = WorkerLease {
        worker: rig.maker.window().worker(),
        lease: LeaseId(4),
        holder: HolderId(1),
        stamped_at_ms: 1,
        not_before_ms: 1,
        lease_until_ms: 60_001,
    };
    rig.maker = Maker::new(WorkerWindow::new(&granted, Duration::ZERO), &rig.generators);
    assert_eq!(rig.make_at(1), unavailable(NoSnowflake::TooEarly { wait: ms(EPOCH_MS - 1) }));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_over_by_the_monotonic_clock_makes_nothing_though_the_wall_clock_stands_within_it() {
    let mut rig = Rig::new();
    tokio::time::advance(ms(52_499)).await;
    rig.one();
    tokio::time::advance(ms(1)).await;
    assert_eq!(rig.make(), unavailable(NoSnowflake::LeaseOver));
}
