//! Where ids come from, what of it is forgotten, and which records no snapshot may have.

use super::*;
use crate::allocator::state::{HOLDER_TTL, State};
use crate::allocator::{Command, DecodeError, GrantRecord, IdOrigin, NamespaceSpec, Reply, Stamped};

const TTL_MS: u64 = HOLDER_TTL.as_secs() * 1_000;

fn name(text: &str) -> NamespaceName {
    text.parse().unwrap()
}

fn apply(state: &mut State, at_ms: u64, command: Command) -> Reply {
    state.apply(&Stamped { at_ms, command })
}

fn create(state: &mut State, text: &str, spec: NamespaceSpec) {
    let reply = apply(state, 0, Command::CreateNamespace { name: name(text), spec });
    assert!(matches!(reply, Reply::Namespace { created: true, .. }), "{reply:?}");
}

/// Grants `want` ids to a holder, which uses a new request number each time: the number of the grant.
fn take(state: &mut State, at_ms: u64, text: &str, want: u64, holder: u128) -> GrantId {
    let (holder, label, request) = (HolderId(holder), format!("host-{holder}"), state.last_grant + 1);
    match apply(state, at_ms, Command::Grant { namespace: name(text), want, holder, label, request }) {
        Reply::Granted(grant) => grant.id,
        other => panic!("not granted: {other:?}"),
    }
}

fn give_back(state: &mut State, at_ms: u64, holder: u128, grant: GrantId, used_to: u64) {
    let reply = apply(state, at_ms, Command::Return { holder: HolderId(holder), grant, used_to });
    assert!(matches!(reply, Reply::Returned { .. }), "{reply:?}");
}

fn range(start: u64, end: u64) -> IdRange {
    IdRange::new(start, end).unwrap()
}

fn origin(state: &State, id: u64) -> IdOrigin {
    state.find_origin(&name("orders"), id).unwrap()
}

/// The grant's number and fate; `None` if it is no longer remembered.
fn fate(state: &State, text: &str, id: u64) -> Option<(u64, GrantFate)> {
    match state.find_origin(&name(text), id) {
        Some(IdOrigin::Granted(record)) => Some((record.grant.0, record.fate)),
        _ => None,
    }
}

/// Counters 10 to below 50: returned to 15, skipped from 20, lost from 30, live from 40.
fn sample() -> State {
    let mut state = State::default();
    let spec = NamespaceSpec { stride: 10, offset: 3, ..NamespaceSpec::contiguous(10, 10_000, 10) };
    create(&mut state, "orders", spec);
    let first = take(&mut state, 1_000, "orders", 10, 1);
    give_back(&mut state, 2_000, 1, first, 15);
    apply(&mut state, 2_500, Command::RaiseFloor { namespace: name("orders"), floor: 30 });
    take(&mut state, 3_000, "orders", 10, 2);
    take(&mut state, TTL_MS + 2_000, "orders", 10, 3);
    apply(&mut state, TTL_MS + 3_000, Command::RaiseTimeline { timeline: 1 });
    state
}

#[test]
fn every_id_has_its_origin() {
    let state = sample();
    let id = |counter: u64| 10 + 3 + 10 * (counter - 10);
    let record = |grant, (start, end), holder, label: &str, granted_at_ms, fate| {
        let (range, holder, label) = (range(start, end), HolderId(holder), label.to_owned());
        IdOrigin::Granted(GrantRecord { grant: GrantId(grant), range, holder, label, granted_at_ms, fate })
    };
    // The first two holders were silent for too long: their names are forgotten.
    let returned = record(1, (10, 20), 1, "", 1_000, GrantFate::Returned { used_to: 15 });
    let lost = record(2, (30, 40), 2, "", 3_000, GrantFate::Lost);
    let live = record(3, (40, 50), 3, "host-3", TTL_MS + 2_000, GrantFate::Live);
    for (counters, expected) in [
        ([10, 19], returned),
        ([20, 29], IdOrigin::Forgotten { before_ms: 3_000 }),
        ([30, 39], lost),
        ([40, 49], live),
        ([50, 999], IdOrigin::NotGranted),
    ] {
        assert_eq!(counters.map(|it| origin(&state, id(it))), [expected.clone(), expected]);
    }
    assert_eq!([0, 12, 14, 10_003].map(|id| origin(&state, id)), [const { IdOrigin::Foreign }; 4]);
    assert_eq!(state.find_origin(&name("gone"), 13), None);
    assert_eq!(State::decode(&state.encode()), Ok(state));
}

#[test]
fn what_lies_above_the_last_grant_was_skipped_by_now() {
    let mut state = sample();
    apply(&mut state, TTL_MS + 9_000, Command::RaiseFloor { namespace: name("orders"), floor: 60 });
    assert_eq!(origin(&state, 10 + 3 + 10 * 45), IdOrigin::Forgotten { before_ms: TTL_MS + 9_000 });
}

#[test]
fn a_grant_without_a_time_bounds_none() {
    let mut state = sample();
    ended(&mut state, 2).grant.granted_at_ms = 0;
    assert_eq!(origin(&state, 10 + 3 + 10 * 15), IdOrigin::Forgotten { before_ms: TTL_MS + 3_000 });
    assert_eq!(State::decode(&state.encode()), Ok(state));
}

#[test]
fn of_one_namespace_the_last_that_ended_are_remembered() {
    let mut state = State::default();
    create(&mut state, "orders", NamespaceSpec::contiguous(0, u64::MAX, 1));
    let (kept, all) = (MAX_ENDED_PER_NAMESPACE as u64, MAX_ENDED_PER_NAMESPACE as u64 + 3);
    // They end in another order than they began: the first one last.
    for at_ms in 0..all {
        take(&mut state, 1 + at_ms, "orders", 1, 1);
    }
    for grant in (1..all).chain([0]) {
        give_back(&mut state, all, 1, GrantId(grant + 1), grant);
    }
    assert_eq!(state.ended_grants() as u64, kept);
    let returned = |used_to| GrantFate::Returned { used_to };
    assert_eq!(fate(&state, "orders", 0), Some((1, returned(0))));
    for id in 1..=3 {
        assert_eq!(origin(&state, id), IdOrigin::Forgotten { before_ms: 5 }, "4 was granted at 5 ms");
    }
    assert_eq!(fate(&state, "orders", 4), Some((5, returned(4))));
    assert_eq!(State::decode(&state.encode()), Ok(state.clone()));
    // One more than may be remembered: that it ended is right.
    let grant = RecordedGrant { range: range(1, 2), holder: HolderId(1), granted_at_ms: 2 };
    book(&mut state).ended.insert(1, EndedGrant { id: GrantId(2), grant, used_to: Some(1) });
    assert!(matches!(State::decode(&state.encode()), Err(DecodeError::Corrupt { .. })));
}

#[test]
fn of_all_namespaces_the_last_that_ended_are_remembered() {
    let mut state = State::default();
    let names: Vec<_> = (0..11).map(|index| format!("n{index}")).collect();
    for text in &names {
        create(&mut state, text, NamespaceSpec::contiguous(0, u64::MAX, 1));
    }
    let over = 22;
    for number in 0..MAX_ENDED_GRANTS + over {
        let grant = take(&mut state, 1, &names[number % names.len()], 1, 1);
        give_back(&mut state, 1, 1, grant, (number / names.len()) as u64);
    }
    assert_eq!(state.ended_grants(), MAX_ENDED_GRANTS);
    for text in &names {
        assert_eq!([0, 1, 2].map(|id| fate(&state, text, id).is_some()), [false, false, true], "{text}");
    }
    let bytes = state.encode();
    assert_eq!(State::decode(&bytes), Ok(state.clone()));
    // One more than may be remembered: the number of ends itself is right.
    let mut forged = state;
    let book = forged.records.books.get_mut(&name("n0")).unwrap();
    let grant = RecordedGrant { range: range(0, 1), holder: HolderId(1), granted_at_ms: 1 };
    book.ended.insert(1, EndedGrant { id: GrantId(1), grant, used_to: Some(0) });
    assert!(matches!(State::decode(&forged.encode()), Err(DecodeError::Corrupt { .. })));
}

fn book(state: &mut State) -> &mut Book {
    state.records.books.get_mut(&name("orders")).unwrap()
}

fn ended(state: &mut State, number: u64) -> &mut EndedGrant {
    book(state).ended.get_mut(&number).unwrap()
}

fn live(state: &mut State) -> &mut RecordedGrant {
    book(state).live.get_mut(&GrantId(3)).unwrap()
}

#[test]
fn a_snapshot_whose_records_break_a_rule_is_refused() {
    type Break = (&'static str, fn(&mut State));
    let breaks: [Break; 17] = [
        ("overlaps the one before", |it| live(it).range = range(39, 49)),
        ("overlaps an ended one", |it| ended(it, 1).grant.range = range(10, 31)),
        ("reaches past the floor", |it| live(it).range = range(41, 51)),
        ("starts below the span", |it| ended(it, 1).grant.range = range(9, 19)),
        ("begins where another does", |it| ended(it, 1).grant.range = range(30, 40)),
        ("granted in the future", |it| live(it).granted_at_ms = TTL_MS + 3_001),
        ("granted before its predecessor", |it| live(it).granted_at_ms = 2_999),
        ("returned below its start", |it| ended(it, 1).used_to = Some(9)),
        ("returned past its end", |it| ended(it, 1).used_to = Some(21)),
        ("returned more than was", |it| ended(it, 1).used_to = Some(14)),
        ("lost more than was", |it| ended(it, 1).used_to = None),
        ("the number of another", |it| ended(it, 1).id = GrantId(2)),
        ("a number out of order", |it| (ended(it, 1).id, ended(it, 2).id) = (GrantId(2), GrantId(1))),
        ("a number that is not given yet", |it| it.last_grant = 2),
        ("no number", |it| ended(it, 1).id = GrantId(0)),
        ("more ends than are counted", |it| it.records.ended = 1),
        ("more ends than grants", |it| it.records.ended = 4),
    ];
    assert!(State::decode(&sample().encode()).is_ok());
    for (what, break_it) in breaks {
        let mut state = sample();
        break_it(&mut state);
        assert!(matches!(State::decode(&state.encode()), Err(DecodeError::Corrupt { .. })), "{what}");
    }
}

#[test]
fn a_live_grant_of_a_snapshot_must_be_one_of_its_namespace() {
    let mut state = sample();
    let book = state.records.books.remove(&name("orders")).unwrap();
    assert!(matches!(State::decode(&state.encode()), Err(DecodeError::Corrupt { .. })), "live, but not recorded");
    state.records.books.insert(name("gone"), book);
    assert!(matches!(State::decode(&state.encode()), Err(DecodeError::Corrupt { .. })), "no such namespace");
}

#[test]
fn no_two_grants_of_a_snapshot_have_one_number() {
    let mut state = sample();
    create(&mut state, "users", NamespaceSpec::contiguous(0, 100, 10));
    let grant = take(&mut state, TTL_MS + 3_000, "users", 10, 3);
    give_back(&mut state, TTL_MS + 3_000, 3, grant, 5);
    assert_eq!(State::decode(&state.encode()), Ok(state.clone()));
    for taken in [1, 3] {
        let ended = state.records.books.get_mut(&name("users")).unwrap().ended.get_mut(&3).unwrap();
        ended.id = GrantId(taken);
        assert!(matches!(State::decode(&state.encode()), Err(DecodeError::Corrupt { .. })), "{taken}");
    }
}
