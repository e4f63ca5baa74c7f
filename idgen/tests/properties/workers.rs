//! Worker leases under any sequence of commands: retries, renewals that come late, early releases, restarted holders,
//! restarts from a snapshot, leases that run out, and clocks that go back.

use proptest::prelude::*;
use stint_idgen::WorkerWindow;
use stint_idgen::allocator::{
    Command, HolderId, LeaseId, MAX_WORKER_LEASE, MAX_WORKER_WAIT, MIN_WORKER_LEASE, Refusal, Reply, Stamped, State,
    WorkerLease,
};
use stint_idgen::snowflake::{WORKERS, WorkerId};

use std::collections::BTreeMap;
use std::time::Duration;

/// What happens next. Numbers are indices into few values, so that sequences meet the same ones again.
#[derive(Clone, Copy, Debug)]
enum Step {
    Lease {
        holder: usize,
        duration_ms: u64,
    },
    Retry {
        holder: usize,
    },
    RestartHolder {
        holder: usize,
    },
    /// Of any lease ever granted, counted from the latest: stale ones too.
    Renew {
        back: usize,
        duration_ms: u64,
    },
    Release {
        back: usize,
    },
    Advance {
        by_ms: u64,
    },
    MoveClockBack {
        by_ms: u64,
    },
    RestartFromSnapshot,
}

const HOLDERS: usize = 4;
const MIN_MS: u64 = MIN_WORKER_LEASE.as_secs() * 1_000;
const MAX_MS: u64 = MAX_WORKER_LEASE.as_secs() * 1_000;
const WAIT_MS: u64 = MAX_WORKER_WAIT.as_secs() * 1_000;

fn any_duration() -> impl Strategy<Value = u64> {
    prop_oneof![8 => MIN_MS..4 * MIN_MS, 1 => Just(MAX_MS), 1 => Just(MIN_MS - 1), 1 => Just(u64::MAX)]
}

fn any_step() -> impl Strategy<Value = Step> {
    let holder = 0..HOLDERS;
    prop_oneof![
        8 => (holder.clone(), any_duration()).prop_map(|(holder, duration_ms)| Step::Lease { holder, duration_ms }),
        3 => holder.clone().prop_map(|holder| Step::Retry { holder }),
        2 => holder.prop_map(|holder| Step::RestartHolder { holder }),
        6 => (0..8_usize, any_duration()).prop_map(|(back, duration_ms)| Step::Renew { back, duration_ms }),
        4 => (0..8_usize).prop_map(|back| Step::Release { back }),
        6 => (0..2 * MIN_MS).prop_map(|by_ms| Step::Advance { by_ms }),
        1 => (0..2 * MAX_MS).prop_map(|by_ms| Step::Advance { by_ms }),
        2 => (0..2 * MAX_MS).prop_map(|by_ms| Step::MoveClockBack { by_ms }),
        1 => Just(Step::RestartFromSnapshot),
    ]
}

#[derive(Clone, Default)]
struct Asker {
    id: u128,
    request: u64,
    last: Option<(Command, Reply)>,
}

/// The world around the state, and every lease ever granted as its holder last knew it.
struct World {
    state: State,
    replica: State,
    now_ms: u64,
    askers: Vec<Asker>,
    next_id: u128,
    leases: Vec<WorkerLease>,
}

impl World {
    /// All worker ids but `free` are in use already, so that few are handed round. Their leases last longest.
    fn new(free: u16) -> Self {
        let askers = (1..=HOLDERS as u128).map(|id| Asker { id, ..Asker::default() }).collect();
        let mut world = Self {
            state: State::default(),
            replica: State::default(),
            now_ms: 1_000_000,
            askers,
            next_id: HOLDERS as u128 + 1,
            leases: Vec::new(),
        };
        for _ in free..WORKERS {
            world.next_id += 1;
            let holder = HolderId(world.next_id);
            let command = Command::LeaseWorker { holder, label: String::new(), request: 1, duration_ms: MAX_MS };
            match world.state.apply(&Stamped { at_ms: world.now_ms, command }) {
                Reply::WorkerLeased(lease) => world.leases.push(lease),
                reply => panic!("not leased: {reply:?}"),
            }
        }
        world.replica = world.state.clone();
        world
    }

    fn apply(&mut self, command: Command) -> Reply {
        let entry = Stamped { at_ms: self.now_ms, command };
        let entry = Stamped::decode(&entry.encode()).expect("an entry comes back from its bytes");
        let reply = self.state.apply(&entry);
        assert_eq!(self.replica.apply(&entry), reply);
        assert_eq!(Reply::decode(&reply.encode()).as_ref(), Ok(&reply));
        let live: Vec<_> = self.state.worker_leases().collect();
        assert!(live.windows(2).all(|pair| pair[0].worker < pair[1].worker), "no two live leases share a worker");
        let mut holders: Vec<_> = live.iter().map(|it| it.holder).collect();
        holders.sort_unstable();
        assert!(holders.windows(2).all(|pair| pair[0] != pair[1]), "a holder has one live lease");
        let totals = self.state.worker_totals();
        assert!(totals.granted >= totals.live + totals.released && totals.live <= totals.used_workers);
        reply
    }

    fn lease(&mut self, holder: usize, duration_ms: u64) {
        let Asker { id, request, .. } = self.askers[holder];
        let (holder_id, request) = (HolderId(id), request + 1);
        let command = Command::LeaseWorker { holder: holder_id, label: "host".to_owned(), request, duration_ms };
        let reply = self.apply(command.clone());
        self.note(&reply);
        self.askers[holder] = Asker { id, request, last: Some((command, reply)) };
    }

    /// A new lease must have a higher number than all, and a window after all of its worker's, within the bounds.
    fn note(&mut self, reply: &Reply) {
        let Reply::WorkerLeased(new) = *reply else {
            let expected =
                matches!(reply, Reply::Refused(Refusal::NoWorkerFree { .. } | Refusal::BadLeaseDuration { .. }));
            assert!(expected, "{reply:?}");
            return;
        };
        assert!(self.leases.iter().all(|former| former.lease < new.lease), "lease numbers only rise");
        self.check_window(&new);
        assert!(new.not_before_ms >= self.state.clock_ms());
        assert!(new.not_before_ms <= self.state.clock_ms() + WAIT_MS);
        self.leases.push(new);
    }

    /// The window must be one, of bounded length, and overlap no window of another lease of the worker.
    fn check_window(&self, lease: &WorkerLease) {
        assert!(lease.not_before_ms < lease.lease_until_ms, "{lease:?}");
        let from_ms = lease.not_before_ms.max(self.state.clock_ms());
        assert!(lease.lease_until_ms <= from_ms + MAX_MS, "{lease:?}");
        let overlapped = self.leases.iter().find(|other| {
            other.worker == lease.worker
                && other.lease != lease.lease
                && other.not_before_ms < lease.lease_until_ms
                && lease.not_before_ms < other.lease_until_ms
        });
        assert_eq!(overlapped, None, "{lease:?}");
    }

    fn renew(&mut self, index: usize, duration_ms: u64) {
        let lease = self.leases[index];
        let WorkerLease { holder, worker, lease: number, .. } = lease;
        let was_live = self.is_live(number);
        match self.apply(Command::RenewWorker { holder, worker, lease: number, duration_ms }) {
            Reply::WorkerRenewed(renewed) => {
                assert!(was_live, "{lease:?} was over");
                assert_eq!((renewed.worker, renewed.lease, renewed.holder), (worker, number, holder));
                assert_eq!(renewed.not_before_ms, lease.not_before_ms);
                assert!(renewed.lease_until_ms >= lease.lease_until_ms);
                self.check_window(&renewed);
                self.leases[index] = renewed;
            }
            Reply::Refused(Refusal::LeaseNotLive(refused)) => assert!(!was_live && refused == number),
            reply => assert!(matches!(reply, Reply::Refused(Refusal::BadLeaseDuration { .. })), "{reply:?}"),
        }
    }

    /// By the time that the next entry will carry.
    fn is_live(&self, lease: LeaseId) -> bool {
        let now_ms = self.state.clock_ms().max(self.now_ms);
        self.state.worker_leases().any(|it| it.lease == lease && now_ms < it.lease_until_ms)
    }

    fn step(&mut self, step: Step) {
        let at = |back: usize, leases: &[WorkerLease]| leases.len().checked_sub(back + 1);
        match step {
            Step::Lease { holder, duration_ms } => self.lease(holder, duration_ms),
            Step::Retry { holder } => {
                if let Some((command, reply)) = self.askers[holder].last.clone() {
                    assert_eq!(self.apply(command), reply, "a retry gets the same answer");
                }
            }
            Step::RestartHolder { holder } => {
                self.next_id += 1;
                self.askers[holder] = Asker { id: self.next_id, ..Asker::default() };
            }
            Step::Renew { back, duration_ms } => {
                if let Some(index) = at(back, &self.leases) {
                    self.renew(index, duration_ms);
                }
            }
            Step::Release { back } => {
                if let Some(WorkerLease { holder, worker, lease, .. }) =
                    at(back, &self.leases).map(|it| self.leases[it])
                {
                    self.apply(Command::ReleaseWorker { holder, worker, lease });
                    assert!(!self.is_live(lease));
                }
            }
            Step::Advance { by_ms } => self.now_ms += by_ms,
            Step::MoveClockBack { by_ms } => self.now_ms = self.now_ms.saturating_sub(by_ms),
            Step::RestartFromSnapshot => {
                let bytes = self.state.encode();
                self.state = State::decode(&bytes).expect("a snapshot comes back from its bytes");
                assert_eq!((&self.state, self.state.encode()), (&self.replica, bytes));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn windows_of_one_worker_never_overlap(free in 0..4_u16, steps in prop::collection::vec(any_step(), 1..80)) {
        let mut world = World::new(free);
        for step in steps {
            world.step(step);
        }
        world.step(Step::RestartFromSnapshot);
        // What the holders may issue is what was granted: no timestamp has two holders of one worker.
        let mut windows: BTreeMap<WorkerId, Vec<WorkerWindow>> = BTreeMap::new();
        for lease in &world.leases {
            windows.entry(lease.worker).or_default().push(WorkerWindow::new(lease, Duration::ZERO));
        }
        for (lease, at_ms) in world.leases.iter().flat_map(|it| [(it, it.not_before_ms), (it, it.lease_until_ms - 1)]) {
            let accepting = windows[&lease.worker].iter().filter(|window| window.accepts(at_ms)).count();
            prop_assert_eq!(accepting, 1);
        }
    }
}

#[test]
fn the_worker_id_that_is_free_longest_goes_first_over_many_rounds() {
    let mut world = World::new(0);
    let mut last_end_ms = 0;
    world.now_ms += MAX_MS;
    for round in 0..3 * u64::from(WORKERS) {
        world.now_ms += round % 7;
        world.lease(0, MIN_MS + round % 5_000);
        let latest = *world.leases.last().expect("a worker id is free");
        let former = world.leases.iter().rev().skip(1).find(|it| it.worker == latest.worker).expect("all were used");
        assert!(former.lease_until_ms >= last_end_ms, "{latest:?} after {former:?}");
        last_end_ms = former.lease_until_ms;
        world.now_ms += 25;
    }
}
