//! Worker leases, command by command: windows, renewals, releases and who goes next.

use super::*;
use crate::allocator::{Command, DecodeError, Stamped};

const MINUTE: u64 = 60_000;

fn apply(state: &mut State, at_ms: u64, command: Command) -> Reply {
    state.apply(&Stamped { at_ms, command })
}

fn ask(holder: u128, request: u64, duration_ms: u64) -> Command {
    Command::LeaseWorker { holder: HolderId(holder), label: "a".into(), request, duration_ms }
}

fn renew(lease: &WorkerLease, duration_ms: u64) -> Command {
    Command::RenewWorker { holder: lease.holder, worker: lease.worker, lease: lease.lease, duration_ms }
}

fn release(lease: &WorkerLease) -> Command {
    Command::ReleaseWorker { holder: lease.holder, worker: lease.worker, lease: lease.lease }
}

fn leased(reply: Reply) -> WorkerLease {
    match reply {
        Reply::WorkerLeased(lease) | Reply::WorkerRenewed(lease) => lease,
        other => panic!("not leased: {other:?}"),
    }
}

/// The worker id, the lease's number, and the window.
fn parts(lease: &WorkerLease) -> (u16, u64, u64, u64) {
    (lease.worker.get(), lease.lease.0, lease.not_before_ms, lease.lease_until_ms)
}

/// A state in which each worker id is leased by the holder of its number plus 1, for a minute from 0.
fn full() -> State {
    let mut state = State::default();
    for worker in 0..u128::from(WORKERS) {
        leased(apply(&mut state, 0, ask(worker + 1, 1, MINUTE)));
    }
    state
}

fn not_live(lease: &WorkerLease) -> Reply {
    Reply::Refused(Refusal::LeaseNotLive(lease.lease))
}

#[test]
fn worker_ids_that_were_never_used_go_first() {
    let mut state = State::default();
    let first = leased(apply(&mut state, 5_000, ask(1, 1, MINUTE)));
    assert_eq!(parts(&first), (0, 1, 5_000, 65_000));
    assert_eq!(apply(&mut state, 5_000, release(&first)), Reply::WorkerReleased);
    let second = leased(apply(&mut state, 6_000, ask(2, 1, MINUTE)));
    assert_eq!(parts(&second), (1, 2, 6_000, 66_000));
}

#[test]
fn the_worker_id_that_is_free_longest_goes_next_and_begins_after_its_last_window() {
    let mut state = full();
    assert_eq!(
        apply(&mut state, 9, ask(5_000, 1, MINUTE)),
        Reply::Refused(Refusal::NoWorkerFree { free_at_ms: 60_000 })
    );
    let statuses: Vec<_> = state.worker_leases().map(|it| (it.worker.get(), it.holder.0)).collect();
    assert_eq!((statuses.len(), statuses[8]), (1_024, (8, 9)));
    let lease_of = |worker: u16| WorkerLease {
        worker: WorkerId::new(worker).unwrap(),
        lease: LeaseId(u64::from(worker) + 1),
        holder: HolderId(u128::from(worker) + 1),
        stamped_at_ms: 0,
        not_before_ms: 0,
        lease_until_ms: MINUTE,
    };
    // 7 is renewed and then released, 8 only released: 8's window ends first.
    leased(apply(&mut state, 20_000, renew(&lease_of(7), MINUTE)));
    for worker in [7, 8] {
        assert_eq!(apply(&mut state, 20_000, release(&lease_of(worker))), Reply::WorkerReleased);
    }
    let next = [1, 2].map(|index| parts(&leased(apply(&mut state, 21_000, ask(5_000 + index, 2, MINUTE)))));
    assert_eq!(next, [(8, 1_025, 60_000, 120_000), (7, 1_026, 80_000, 140_000)]);
}

#[test]
fn a_window_too_far_ahead_is_not_leased() {
    let mut state = full();
    let longest = MAX_LEASE_MS;
    let lease = leased(apply(&mut state, MINUTE, ask(1, 2, longest)));
    apply(&mut state, MINUTE, release(&lease));
    for worker in 1..u64::from(WORKERS) {
        leased(apply(&mut state, MINUTE, ask(u128::from(worker) + 1, 2, longest)));
    }
    let free_at_ms = MINUTE + longest;
    let refused = Reply::Refused(Refusal::NoWorkerFree { free_at_ms });
    assert_eq!(apply(&mut state, free_at_ms - MAX_WAIT_MS - 1, ask(9_000, 1, MINUTE)), refused);
    let next = leased(apply(&mut state, free_at_ms - MAX_WAIT_MS, ask(9_000, 2, MINUTE)));
    assert_eq!(parts(&next), (0, 2_049, free_at_ms, free_at_ms + MINUTE));
}

#[test]
fn a_request_number_has_one_answer() {
    let mut state = State::default();
    let first = apply(&mut state, 1_000, ask(1, 7, MINUTE));
    leased(apply(&mut state, 2_000, renew(&leased(first.clone()), MINUTE)));
    assert_eq!(apply(&mut state, 3_000, ask(1, 7, MINUTE)), first);
    assert_eq!(apply(&mut state, 3_000, ask(1, 7, MINUTE + 1)), Reply::Refused(Refusal::RequestReused(7)));
    assert_eq!(apply(&mut state, 3_000, ask(1, 6, MINUTE)), Reply::Refused(Refusal::StaleRequest { last: 7 }));
    assert_eq!(apply(&mut state, 3_000, ask(2, 0, MINUTE)), Reply::Refused(Refusal::StaleRequest { last: 0 }));
    let refused = Reply::Refused(Refusal::BadLeaseDuration { shortest_ms: MIN_LEASE_MS, longest_ms: MAX_LEASE_MS });
    for (request, duration_ms) in [(8, MIN_LEASE_MS - 1), (9, MAX_LEASE_MS + 1), (10, 0), (11, u64::MAX)] {
        assert_eq!(
            [(); 2].map(|()| apply(&mut state, 0, ask(1, request, duration_ms))),
            [refused.clone(), refused.clone()]
        );
    }
    assert_eq!(state.worker_totals().granted, 1);
}

#[test]
fn a_holder_that_asks_anew_gives_up_its_former_lease() {
    let mut state = State::default();
    let first = leased(apply(&mut state, 0, ask(1, 1, MINUTE)));
    let second = leased(apply(&mut state, 0, ask(1, 2, MINUTE)));
    assert_eq!((first.worker.get(), second.worker.get()), (0, 1));
    assert_eq!(apply(&mut state, 0, renew(&first, MINUTE)), not_live(&first));
    let totals = WorkerTotals { granted: 2, renewed: 0, released: 1, live: 1, used_workers: 2 };
    assert_eq!(state.worker_totals(), totals);
}

#[test]
fn a_renewal_moves_the_end_and_never_back() {
    let mut state = State::default();
    let lease = leased(apply(&mut state, 0, ask(1, 1, MINUTE)));
    let ends = [(30_000, 2 * MINUTE), (31_000, MIN_LEASE_MS), (32_000, MINUTE)]
        .map(|(at_ms, duration_ms)| leased(apply(&mut state, at_ms, renew(&lease, duration_ms))).lease_until_ms);
    assert_eq!(ends, [150_000; 3]);
    let too_long = Refusal::BadLeaseDuration { shortest_ms: MIN_LEASE_MS, longest_ms: MAX_LEASE_MS };
    assert_eq!(apply(&mut state, 0, renew(&lease, MAX_LEASE_MS + 1)), Reply::Refused(too_long));
}

#[test]
fn a_lease_that_is_over_or_foreign_is_not_renewed() {
    let mut state = State::default();
    let lease = leased(apply(&mut state, 0, ask(1, 1, MINUTE)));
    let foreign = WorkerLease { holder: HolderId(2), ..lease };
    let unknown = WorkerLease { lease: LeaseId(0), ..lease };
    let elsewhere = WorkerLease { worker: WorkerId::new(1).unwrap(), ..lease };
    for other in [foreign, unknown, elsewhere] {
        assert_eq!(apply(&mut state, 0, renew(&other, MINUTE)), not_live(&other));
        assert_eq!(apply(&mut state, 0, release(&other)), not_live(&other));
    }
    leased(apply(&mut state, MINUTE - 1, renew(&lease, MIN_LEASE_MS)));
    let end_ms = MINUTE - 1 + MIN_LEASE_MS;
    assert_eq!(apply(&mut state, end_ms, renew(&lease, MINUTE)), not_live(&lease));
    assert_eq!(apply(&mut state, 0, renew(&lease, MINUTE)), not_live(&lease), "time does not go back");
    assert_eq!(
        [(); 2].map(|()| apply(&mut state, end_ms, release(&lease))),
        [Reply::WorkerReleased, Reply::WorkerReleased]
    );
    let totals = WorkerTotals { granted: 1, renewed: 1, released: 0, live: 0, used_workers: 1 };
    assert_eq!(state.worker_totals(), totals);
}

#[test]
fn holders_of_workers_are_bounded_and_forgotten_in_time() {
    let mut state = State::default();
    for holder in 0..MAX_WORKER_HOLDERS as u64 + 20 {
        apply(&mut state, holder, ask(u128::from(holder) + 1, 1, MAX_LEASE_MS));
    }
    assert_eq!(state.workers.askers.len(), MAX_WORKER_HOLDERS);
    assert_eq!(State::decode(&state.encode()), Ok(state.clone()));
    apply(&mut state, 2 * HOLDER_TTL_MS, ask(1, 1, MINUTE));
    assert_eq!(state.workers.askers.len(), 1);
}

#[test]
fn windows_at_the_end_of_time_do_not_wrap() {
    let mut state = State::default();
    leased(apply(&mut state, u64::MAX - MINUTE, ask(1, 1, MINUTE)));
    let refused = Reply::Refused(Refusal::NoWorkerFree { free_at_ms: u64::MAX });
    assert_eq!(apply(&mut state, u64::MAX, ask(2, 1, MINUTE)), refused);
    assert_eq!(State::decode(&state.encode()), Ok(state));
}

#[test]
fn a_snapshot_whose_leases_break_a_rule_is_refused() {
    let mut sample = State::default();
    let lease = leased(apply(&mut sample, 1_000, ask(1, 1, MINUTE)));
    leased(apply(&mut sample, 2_000, ask(2, 1, MINUTE)));
    apply(&mut sample, 3_000, release(&lease));
    assert_eq!(State::decode(&sample.encode()), Ok(sample.clone()));
    let breaks: [fn(&mut Workers); 9] = [
        |workers| workers.last_lease = 1,
        |workers| workers.released = 3,
        |workers| workers.slots[1].lease = LeaseId(1),
        |workers| workers.slots[0].lease = LeaseId(0),
        |workers| workers.slots[0].not_before_ms = 61_000,
        |workers| workers.slots[0].lease_until_ms = 3_001 + MAX_WAIT_MS + MAX_LEASE_MS,
        |workers| workers.slots[0].label = "x".repeat(129),
        |workers| workers.askers.get_mut(&HolderId(1)).unwrap().reply = Reply::WorkerReleased,
        |workers| workers.askers.get_mut(&HolderId(1)).unwrap().seen_ms = 3_001,
    ];
    for (index, break_it) in breaks.iter().enumerate() {
        let mut state = sample.clone();
        break_it(&mut state.workers);
        assert!(matches!(State::decode(&state.encode()), Err(DecodeError::Corrupt { .. })), "break {index}");
    }
}
