//! The auditor beside the state machine, under any sequence of commands: it finds nothing wrong with what the state
//! decides, records each grant and lease once, and finds every reply that was doctored.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use proptest::prelude::*;
use stint_idgen::IdRange;
use stint_idgen::allocator::{
    AuditEvent, AuditRecord, Auditor, Command, Grant, GrantId, HOLDER_TTL, HolderId, LeaseId, NamespaceName,
    NamespaceSpec, Reply, Stamped, State, WorkerLease,
};
use stint_idgen::snowflake::{WORKERS, WorkerId};

const NAMES: [&str; 2] = ["links", "orders"];
const LEASE_MS: u64 = 10_000;
const TTL_MS: u64 = HOLDER_TTL.as_secs() * 1_000;

/// A state in which all worker ids but two are leased, so that few are handed round.
static CROWDED: LazyLock<State> = LazyLock::new(|| {
    let mut state = State::default();
    for number in 2..u128::from(WORKERS) {
        let holder = HolderId(1_000 + number);
        let command = Command::LeaseWorker { holder, label: String::new(), request: 1, duration_ms: 3_600_000 };
        state.apply(&Stamped { at_ms: 0, command });
    }
    state
});

/// Numbers are few, so that sequences meet the same ones again: retries, stale requests and late reports included.
fn any_command() -> impl Strategy<Value = Command> {
    let holder = || (1..4_u128).prop_map(HolderId);
    let name = || (0..NAMES.len()).prop_map(|index| NAMES[index].parse::<NamespaceName>().expect("it is valid"));
    let spec = prop_oneof![
        Just(NamespaceSpec::contiguous(0, u64::MAX, 1_000)),
        Just(NamespaceSpec { stride: 3, offset: 2, quota: Some(40), ..NamespaceSpec::contiguous(500, 900, 7) }),
    ];
    let lease = || (prop_oneof![Just(0..3_u16), Just(WORKERS - 2..WORKERS)].prop_flat_map(|it| it), 0..1_040_u64);
    let worker = |(number, lease)| (WorkerId::new(number).expect("it is below the limit"), LeaseId(lease));
    prop_oneof![
        1 => (name(), spec).prop_map(|(name, spec)| Command::CreateNamespace { name, spec }),
        8 => (name(), 0..20_u64, holder(), 1..30_u64).prop_map(|(namespace, want, holder, request)| {
            Command::Grant { namespace, want, holder, label: "host".into(), request }
        }),
        4 => (holder(), 1..20_u64, 0..100_u64)
            .prop_map(|(holder, grant, used_to)| Command::Return { holder, grant: GrantId(grant), used_to }),
        2 => (name(), 0..700_u64).prop_map(|(namespace, floor)| Command::RaiseFloor { namespace, floor }),
        1 => (name(), prop::option::of(0..60_u64), 0..9_u64)
            .prop_map(|(name, quota, max_block)| Command::UpdateNamespace { name, quota, max_block }),
        6 => (holder(), 1..20_u64).prop_map(|(holder, request)| {
            Command::LeaseWorker { holder, label: "host".into(), request, duration_ms: LEASE_MS }
        }),
        6 => (holder(), lease().prop_map(worker), LEASE_MS..4 * LEASE_MS)
            .prop_map(|(holder, (worker, lease), duration_ms)| Command::RenewWorker { holder, worker, lease, duration_ms }),
        3 => (holder(), lease().prop_map(worker))
            .prop_map(|(holder, (worker, lease))| Command::ReleaseWorker { holder, worker, lease }),
        1 => (0..3_u64, 0..3_u128)
            .prop_map(|(node_id, incarnation)| Command::AdmitMember { node_id, incarnation }),
    ]
}

/// Commands, and how much later than the one before each is stamped.
fn any_log() -> impl Strategy<Value = Vec<(u64, Command)>> {
    let later_ms = prop_oneof![20 => 0..LEASE_MS, 1 => Just(TTL_MS)];
    prop::collection::vec((later_ms, any_command()), 1..150)
}

/// A state, its auditor, and what was ever granted and leased.
struct World {
    state: State,
    auditor: Auditor,
    /// One that began at a snapshot.
    resumed: Option<Auditor>,
    now_ms: u64,
    index: u64,
    grants: BTreeMap<GrantId, Grant>,
    /// As they were last renewed.
    leases: BTreeMap<LeaseId, WorkerLease>,
}

impl World {
    fn new(state: State) -> Self {
        let auditor = Auditor::resume(&state);
        let (grants, leases) = (BTreeMap::new(), BTreeMap::new());
        Self { state, auditor, resumed: None, now_ms: 0, index: 0, grants, leases }
    }

    /// Applies a command, and checks that what is new is recorded, and only that.
    fn apply(&mut self, later_ms: u64, command: Command) {
        self.now_ms += later_ms;
        self.index += 1;
        let command = self.aim(command);
        let entry = Stamped { at_ms: self.now_ms, command };
        let reply = self.state.apply(&entry);
        let record = self.auditor.observe(self.index, &entry, &reply);
        if let Some(resumed) = &mut self.resumed {
            assert_eq!(resumed.observe(self.index, &entry, &reply), record, "a snapshot holds all that matters");
        }
        assert_eq!(record.as_ref().and_then(|record| record.violation.as_ref()), None, "{entry:?}");
        let event = record.map(|record| record.event);
        match reply {
            Reply::Granted(grant) => {
                let is_new = self.grants.insert(grant.id, grant.clone()).is_none();
                let expected = is_new.then(|| AuditEvent::Granted { grant, label: "host".into() });
                assert_eq!(event, expected, "each grant is recorded once");
            }
            Reply::WorkerLeased(lease) => {
                let is_new = !self.leases.contains_key(&lease.lease);
                self.leases.entry(lease.lease).or_insert(lease);
                assert_eq!(event, is_new.then_some(AuditEvent::WorkerLeased(lease)), "each lease is recorded once");
            }
            Reply::WorkerRenewed(lease) => {
                let former = self.leases.insert(lease.lease, lease);
                let is_longer = former.is_none_or(|former| former.lease_until_ms < lease.lease_until_ms);
                assert_eq!(event, is_longer.then_some(AuditEvent::WorkerRenewed(lease)));
            }
            Reply::Returned { .. } => assert!(matches!(event, Some(AuditEvent::Returned { .. }))),
            Reply::Refused(_) | Reply::MemberAdmitted => assert_eq!(event, None),
            _ => {}
        }
    }

    /// Reports are about what a holder has, or nearly all of them would be refused.
    fn aim(&self, command: Command) -> Command {
        match command {
            Command::Return { holder, grant, used_to } => {
                let start = self.grants.get(&grant).map_or(0, |grant| grant.range.start());
                Command::Return { holder, grant, used_to: start + used_to % 8 }
            }
            Command::RenewWorker { lease: LeaseId(back), duration_ms, .. } if back % 4 > 0 => {
                self.leases.values().rev().find(|it| it.lease.0 % 3 == back % 3).map_or(command, |lease| {
                    Command::RenewWorker { holder: lease.holder, worker: lease.worker, lease: lease.lease, duration_ms }
                })
            }
            other => other,
        }
    }

    /// What the auditor says to one more new grant if the reply names `range`.
    fn doctored_grant(&mut self, namespace: &NamespaceName, range: IdRange) -> AuditRecord {
        let (holder, id) = (HolderId(99), GrantId(self.state.last_grant().0 + 1));
        let command =
            Command::Grant { namespace: namespace.clone(), want: u64::MAX, holder, label: String::new(), request: 1 };
        let grant = Grant { id, namespace: namespace.clone(), range, holder, granted_at_ms: self.now_ms };
        let entry = Stamped { at_ms: self.now_ms, command };
        self.auditor.observe(self.index + 1, &entry, &Reply::Granted(grant)).expect("its number is new")
    }

    /// What the auditor says to one more new lease of a worker if its window begins at `not_before_ms`.
    fn doctored_lease(&mut self, worker: WorkerId, not_before_ms: u64) -> AuditRecord {
        let (holder, lease_until_ms) = (HolderId(99), not_before_ms + LEASE_MS);
        let lease = LeaseId(self.state.worker_totals().granted + 1);
        let command = Command::LeaseWorker { holder, label: String::new(), request: 1, duration_ms: LEASE_MS };
        let leased = WorkerLease { worker, lease, holder, stamped_at_ms: self.now_ms, not_before_ms, lease_until_ms };
        let entry = Stamped { at_ms: self.now_ms, command };
        self.auditor.observe(self.index + 1, &entry, &Reply::WorkerLeased(leased)).expect("its number is new")
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_auditor_records_each_change_once_and_finds_nothing_wrong(
        is_crowded in any::<bool>(),
        log in any_log(),
        snapshot_at in 0..150_usize,
    ) {
        let mut world = World::new(if is_crowded { CROWDED.clone() } else { State::default() });
        for name in NAMES {
            let name = name.parse().expect("it is valid");
            world.apply(0, Command::CreateNamespace { name, spec: NamespaceSpec::contiguous(0, u64::MAX, 1_000) });
        }
        for (place, (later_ms, command)) in log.into_iter().enumerate() {
            if place == snapshot_at {
                let state = State::decode(&world.state.encode()).expect("a snapshot comes back from its bytes");
                world.resumed = Some(Auditor::resume(&state));
            }
            world.apply(later_ms, command);
        }
        prop_assert_eq!(world.auditor.violations(), 0);
    }

    #[test]
    fn a_doctored_reply_is_found_after_any_sequence_of_commands(
        is_crowded in any::<bool>(),
        log in any_log(),
        chosen in any::<prop::sample::Index>(),
        (shift, length) in (0..20_u64, 1..20_u64),
        resumes in any::<bool>(),
    ) {
        let mut world = World::new(if is_crowded { CROWDED.clone() } else { State::default() });
        let name: NamespaceName = NAMES[0].parse().expect("it is valid");
        let spec = NamespaceSpec::contiguous(0, u64::MAX, 1_000);
        world.apply(0, Command::CreateNamespace { name: name.clone(), spec });
        let first = Command::Grant { namespace: name, want: 5, holder: HolderId(50), label: "host".into(), request: 1 };
        world.apply(0, first);
        let first = Command::LeaseWorker { holder: HolderId(50), label: "host".into(), request: 1, duration_ms: LEASE_MS };
        world.apply(0, first);
        for (later_ms, command) in log {
            world.apply(later_ms, command);
        }
        if resumes {
            world.auditor = Auditor::resume(&world.state);
        }
        let grants: Vec<_> = world.grants.values().cloned().collect();
        let former = chosen.get(&grants);
        // Overlaps it, or lies below it.
        let start = (former.range.end() - 1).saturating_sub(shift);
        let range = IdRange::new(start, start + length).expect("it has a length");
        let found = world.doctored_grant(&former.namespace, range).violation;
        prop_assert!(found.is_some_and(|found| found.contains("starts below")), "{range:?} after {former:?}");
        let leases: Vec<_> = world.leases.values().copied().collect();
        let former = chosen.get(&leases);
        let found = world.doctored_lease(former.worker, (former.lease_until_ms - 1).saturating_sub(shift)).violation;
        prop_assert!(found.is_some_and(|found| found.contains("before its last ended")), "after {former:?}");
        prop_assert_eq!(world.auditor.violations(), 2);
    }
}
