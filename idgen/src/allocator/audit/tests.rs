//! The auditor, entry by entry: what it records, what it leaves out, and what it finds wrong.

use super::*;
use crate::IdRange;
use crate::allocator::{Command, LeaseId, Reply, Stamped, State};
use crate::snowflake::WorkerId;

const MINUTE: u64 = 60_000;

/// An allocator under audit.
#[derive(Clone, Default)]
struct Watched {
    state: State,
    auditor: Auditor,
    index: u64,
}

impl Watched {
    /// One with a namespace `orders` of the counters 100 to below 200, in blocks of 30.
    fn with_orders() -> Self {
        let mut watched = Self::default();
        watched.apply(0, create()).unwrap();
        watched
    }

    fn apply(&mut self, at_ms: u64, command: Command) -> Option<AuditRecord> {
        self.apply_doctored(at_ms, command, |_| ())
    }

    /// Shows the auditor another reply than the state gave.
    fn apply_doctored(&mut self, at_ms: u64, command: Command, doctor: impl Fn(&mut Reply)) -> Option<AuditRecord> {
        let entry = Stamped { at_ms, command };
        let mut reply = self.state.apply(&entry);
        doctor(&mut reply);
        self.show(&entry, &reply)
    }

    fn show(&mut self, entry: &Stamped, reply: &Reply) -> Option<AuditRecord> {
        self.index += 1;
        self.auditor.observe(self.index, entry, reply)
    }

    /// What the auditor finds wrong with a grant of `range` under a new number.
    fn wrong_with(&self, range: (u64, u64)) -> Option<String> {
        let mut watched = self.clone();
        let record = watched.apply_doctored(0, ask(50, 1_000), |reply| {
            let Reply::Granted(grant) = reply else { panic!("not granted: {reply:?}") };
            grant.range = IdRange::new(range.0, range.1).unwrap();
        });
        let violation = record.expect("a new grant is recorded").violation;
        assert_eq!(watched.auditor.violations(), self.auditor.violations() + u64::from(violation.is_some()));
        violation
    }

    fn lease(&mut self, at_ms: u64, holder: u128, request: u64) -> WorkerLease {
        match self.apply(at_ms, lease(holder, request)) {
            Some(AuditRecord { event: AuditEvent::WorkerLeased(lease), violation: None, .. }) => lease,
            other => panic!("not leased: {other:?}"),
        }
    }
}

fn orders() -> NamespaceName {
    "orders".parse().unwrap()
}

fn create() -> Command {
    Command::CreateNamespace { name: orders(), spec: NamespaceSpec::contiguous(100, 200, 30) }
}

fn ask(want: u64, request: u64) -> Command {
    Command::Grant { namespace: orders(), want, holder: HolderId(1), label: "host".into(), request }
}

fn raise(floor: u64) -> Command {
    Command::RaiseFloor { namespace: orders(), floor }
}

fn update(quota: Option<u64>) -> Command {
    Command::UpdateNamespace { name: orders(), quota, max_block: 30 }
}

fn lease(holder: u128, request: u64) -> Command {
    Command::LeaseWorker { holder: HolderId(holder), label: "host".into(), request, duration_ms: MINUTE }
}

fn renew(lease: &WorkerLease) -> Command {
    Command::RenewWorker { holder: lease.holder, worker: lease.worker, lease: lease.lease, duration_ms: MINUTE }
}

fn release(lease: &WorkerLease) -> Command {
    Command::ReleaseWorker { holder: lease.holder, worker: lease.worker, lease: lease.lease }
}

fn says(found: Option<&str>, expected: &str) {
    assert!(found.is_some_and(|found| found.contains(expected)), "{found:?} does not say: {expected}");
}

#[test]
fn each_change_of_ownership_is_recorded_once_and_nothing_else_is() {
    let mut watched = Watched::default();
    let admit = Command::AdmitMember { node_id: 1, incarnation: 1 };
    let give_back = || Command::Return { holder: HolderId(1), grant: GrantId(1), used_to: 105 };
    let commands = [
        (create(), true),
        (create(), false),
        (update(None), false),
        (update(Some(90)), true),
        (ask(10, 1), true),
        (ask(10, 1), false),
        (ask(11, 1), false),
        (raise(50), false),
        (raise(120), true),
        (raise(120), false),
        (raise(110), false),
        (raise(900), false),
        (ask(10, 2), true),
        (give_back(), true),
        (give_back(), false),
        (Command::RaiseTimeline { timeline: 1 }, false),
        (admit, false),
    ];
    let mut events = Vec::new();
    for (number, (command, is_recorded)) in (1..).zip(commands) {
        let record = watched.apply(10 * number, command);
        assert_eq!(record.is_some(), is_recorded, "command {number}: {record:?}");
        if let Some(AuditRecord { index, at_ms, event, violation }) = record {
            assert_eq!((index, at_ms, violation), (number, 10 * number, None));
            events.push(event);
        }
    }
    let granted = |id, start, end, granted_at_ms| {
        let range = IdRange::new(start, end).unwrap();
        let grant = Grant { id: GrantId(id), namespace: orders(), range, holder: HolderId(1), granted_at_ms };
        AuditEvent::Granted { grant, label: "host".into() }
    };
    let spec = NamespaceSpec::contiguous(100, 200, 30);
    let expected = [
        AuditEvent::Namespace { name: orders(), spec },
        AuditEvent::Namespace { name: orders(), spec: NamespaceSpec { quota: Some(90), ..spec } },
        granted(1, 100, 110, 50),
        AuditEvent::FloorRaised { namespace: orders(), floor: 120 },
        granted(2, 120, 130, 130),
        AuditEvent::Returned { grant: GrantId(1), holder: HolderId(1), used_to: 105 },
    ];
    assert_eq!((events.as_slice(), watched.auditor.violations()), (&expected[..], 0));
}

#[test]
fn each_change_of_a_worker_is_recorded_once() {
    let mut watched = Watched::default();
    let first = watched.lease(1_000, 1, 1);
    assert_eq!(watched.apply(1_000, lease(1, 1)), None, "a retry");
    assert_eq!(watched.apply(1_000, renew(&first)), None, "the end stays where it is");
    let event = watched.apply(2_000, renew(&first)).unwrap().event;
    assert!(matches!(event, AuditEvent::WorkerRenewed(WorkerLease { lease_until_ms: 62_000, .. })), "{event:?}");
    assert_eq!(watched.apply(2_000, lease(1, 1)), None, "a retry that is answered with the window before it moved");
    let event = watched.apply(3_000, release(&first)).unwrap().event;
    assert_eq!(event, AuditEvent::WorkerReleased { worker: first.worker, holder: first.holder });
    assert_eq!(watched.apply(3_000, release(&first)), None, "released already");
    let second = watched.lease(4_000, 2, 1);
    let third = watched.lease(4_000, 2, 2);
    assert_eq!(watched.apply(5_000, release(&second)), None, "given up by taking the third");
    assert_eq!(watched.apply(64_000, release(&third)), None, "it ran out");
    assert_eq!(watched.auditor.violations(), 0);
}

#[test]
fn a_grant_that_overlaps_goes_back_or_leaves_the_span_is_found() {
    let mut watched = Watched::with_orders();
    watched.apply(0, ask(10, 1)).unwrap();
    assert_eq!(watched.wrong_with((110, 120)), None);
    assert_eq!(watched.wrong_with((115, 120)), None, "a hole is no violation");
    let overlaps = "overlaps [100, 110), which was granted or skipped before";
    for range in [(109, 120), (100, 110), (104, 105), (0, 200)] {
        says(watched.wrong_with(range).as_deref(), overlaps);
    }
    says(watched.wrong_with((99, 100)).as_deref(), "starts below 110, where a former grant or skip ended");
    for range in [(99, 100), (199, 201)] {
        says(watched.wrong_with(range).as_deref(), "lies outside the namespace's counters, [100, 200)");
    }
    says(watched.wrong_with((110, 161)).as_deref(), "the grant has 51 counters, though 50 were asked for");
    watched.apply(0, raise(150)).unwrap();
    assert_eq!(watched.wrong_with((150, 160)), None);
    says(watched.wrong_with((149, 160)).as_deref(), "starts below the floor 150");
    says(watched.wrong_with((149, 160)).as_deref(), "overlaps [100, 150), which was granted or skipped before");
}

#[test]
fn a_grant_in_a_hole_goes_back_though_it_overlaps_nothing() {
    let mut watched = Watched::with_orders();
    watched.apply_doctored(0, ask(10, 1), |reply| {
        let Reply::Granted(grant) = reply else { panic!("not granted: {reply:?}") };
        grant.range = IdRange::new(120, 130).unwrap();
    });
    let expected = "[110, 120) starts below 130, where a former grant or skip ended";
    assert_eq!(watched.wrong_with((110, 120)).as_deref(), Some(expected));
}

#[test]
fn what_contradicts_a_namespace_is_found() {
    let watched = Watched::with_orders();
    let wrong = |command: Command, reply: Reply| {
        let mut watched = watched.clone();
        let record = watched.show(&Stamped { at_ms: 0, command }, &reply).expect("it is recorded");
        record.violation.expect("it is a violation")
    };
    let spec = NamespaceSpec::contiguous(100, 200, 30);
    let again = Reply::Namespace { spec, created: true };
    assert_eq!(wrong(create(), again), "the namespace `orders` was made twice");
    let wider = Reply::Namespace { spec: NamespaceSpec { limit: 201, ..spec }, created: false };
    says(Some(&wrong(update(None), wider)), "the span, stride or offset of the namespace `orders` was changed");
    says(Some(&wrong(raise(10), Reply::Floor(99))), "the floor stands at 99, below 100");
    says(Some(&wrong(raise(150), Reply::Floor(100))), "the floor stands at 100, below 150");
    says(Some(&wrong(raise(150), Reply::Floor(201))), "past the namespace's last counter");
    let give_back = Command::Return { holder: HolderId(1), grant: GrantId(1), used_to: 105 };
    assert_eq!(wrong(give_back, Reply::Returned { unused: 5 }), "the grant 1 was returned, but never made");
    let gone = Command::RaiseFloor { namespace: "gone".parse().unwrap(), floor: 7 };
    assert_eq!(wrong(gone, Reply::Floor(7)), "the namespace `gone` was never made");
    let mut watched = watched.clone();
    let foreign = |reply: &mut Reply| {
        let Reply::Granted(grant) = reply else { panic!("not granted: {reply:?}") };
        grant.holder = HolderId(2);
    };
    let record = watched.apply_doctored(0, ask(1, 1), foreign).unwrap();
    says(record.violation.as_deref(), "of another namespace or holder than asked for");
}

#[test]
fn a_window_that_overlaps_the_workers_last_is_found() {
    let mut watched = Watched::default();
    let first = watched.lease(1_000, 1, 1);
    watched.apply(2_000, renew(&first)).unwrap();
    watched.apply(2_000, release(&first)).unwrap();
    let next = |from_ms| {
        let mut watched = watched.clone();
        let record = watched.apply_doctored(3_000, lease(2, 1), |reply| {
            let Reply::WorkerLeased(lease) = reply else { panic!("not leased: {reply:?}") };
            (lease.worker, lease.not_before_ms, lease.lease_until_ms) = (first.worker, from_ms, from_ms + MINUTE);
        });
        record.expect("a new lease is recorded").violation
    };
    assert_eq!(next(62_000), None, "it begins where the renewed one ended");
    assert_eq!(next(61_999).as_deref(), Some("worker 0's window begins at 61999, before its last ended at 62000"));
    let mut empty = watched.clone();
    let record = empty.apply_doctored(3_000, lease(2, 1), |reply| {
        let Reply::WorkerLeased(lease) = reply else { panic!("not leased: {reply:?}") };
        lease.lease_until_ms = lease.not_before_ms;
        lease.holder = HolderId(9);
    });
    let violation = record.unwrap().violation;
    says(violation.as_deref(), "worker 1's window ends before it begins");
    says(violation.as_deref(), "another holder's than asked for it");
}

#[test]
fn a_renewal_of_another_than_the_live_last_lease_is_found() {
    let mut watched = Watched::default();
    let first = watched.lease(1_000, 1, 1);
    let wrong = |watched: &Watched, at_ms, renewed: WorkerLease| {
        let entry = Stamped { at_ms, command: renew(&renewed) };
        let record = watched.clone().show(&entry, &Reply::WorkerRenewed(renewed));
        record.map(|record| record.violation.expect("a renewal that moves nothing is only recorded if it is wrong"))
    };
    assert_eq!(wrong(&watched, 2_000, first), None);
    let other = WorkerLease { lease: LeaseId(9), ..first };
    says(wrong(&watched, 2_000, other).as_deref(), "lease 9 was renewed, but its last is 1");
    let of_another = WorkerLease { holder: HolderId(2), ..first };
    says(wrong(&watched, 2_000, of_another).as_deref(), "was renewed, but its last is 1 of another");
    let moved = WorkerLease { not_before_ms: 999, ..first };
    says(wrong(&watched, 2_000, moved).as_deref(), "window was moved");
    let shortened = WorkerLease { lease_until_ms: first.lease_until_ms - 1, ..first };
    says(wrong(&watched, 2_000, shortened).as_deref(), "window was moved");
    says(wrong(&watched, first.lease_until_ms, first).as_deref(), "was renewed after it was over");
    let unused = WorkerLease { worker: WorkerId::new(7).unwrap(), ..first };
    says(wrong(&watched, 2_000, unused).as_deref(), "worker 7 was renewed, but never leased");
    watched.apply(2_000, release(&first)).unwrap();
    says(wrong(&watched, 2_000, first).as_deref(), "was renewed after it was over");
}

#[test]
fn an_auditor_that_resumes_counts_what_a_snapshot_has_spent_as_seen() {
    let mut before = Watched::with_orders();
    before.apply(0, ask(10, 1)).unwrap();
    let released = before.lease(1_000, 1, 1);
    before.apply(1_000, release(&released)).unwrap();
    let live = before.lease(1_000, 2, 1);
    let state = State::decode(&before.state.encode()).unwrap();
    let mut after = Watched { auditor: Auditor::resume(&state), state, index: 100 };
    assert_eq!(after.apply(1_000, ask(10, 1)), None, "a retry of what the snapshot holds");
    assert_eq!(after.apply(1_000, lease(2, 1)), None, "a retry of what the snapshot holds");
    assert_eq!(after.apply(1_000, release(&released)), None, "released before");
    says(after.wrong_with((109, 120)).as_deref(), "overlaps [100, 110)");
    says(after.wrong_with((109, 120)).as_deref(), "starts below the floor 110");
    assert_eq!(after.wrong_with((110, 120)), None);
    for former in [released, live] {
        let record = after.clone().apply_doctored(2_000, lease(3, 1), |reply| {
            let Reply::WorkerLeased(lease) = reply else { panic!("not leased: {reply:?}") };
            (lease.worker, lease.not_before_ms) = (former.worker, former.lease_until_ms - 1);
        });
        says(record.unwrap().violation.as_deref(), "before its last ended at 61000");
    }
    assert!(after.apply(2_000, renew(&live)).is_some_and(|record| record.violation.is_none()));
    assert!(after.apply(2_000, release(&live)).is_some_and(|record| record.violation.is_none()));
    assert_eq!(after.auditor.violations(), 0);
}
