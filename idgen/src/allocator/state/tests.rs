//! The state machine, command by command: what is granted, refused, accounted for and forgotten.

use super::records::RecordedGrant;
use super::*;
use crate::IdRange;
use crate::allocator::{DecodeError, HolderId, LeaseId, Refusal};
use crate::snowflake::WorkerId;

const TTL_MS: u64 = HOLDER_TTL.as_secs() * 1_000;

fn name(text: &str) -> NamespaceName {
    text.parse().unwrap()
}

fn spec(start: u64, limit: u64, max_block: u64) -> NamespaceSpec {
    NamespaceSpec::contiguous(start, limit, max_block)
}

fn create(text: &str, spec: NamespaceSpec) -> Command {
    Command::CreateNamespace { name: name(text), spec }
}

fn ask(text: &str, want: u64, holder: u128, request: u64) -> Command {
    Command::Grant { namespace: name(text), want, holder: HolderId(holder), label: "a".into(), request }
}

fn give_back(holder: u128, grant: u64, used_to: u64) -> Command {
    Command::Return { holder: HolderId(holder), grant: GrantId(grant), used_to }
}

fn apply(state: &mut State, at_ms: u64, command: Command) -> Reply {
    state.apply(&Stamped { at_ms, command })
}

/// The number and range of a grant.
fn granted(reply: &Reply) -> (u64, IdRange) {
    match reply {
        Reply::Granted(grant) => (grant.id.0, grant.range),
        other => panic!("not granted: {other:?}"),
    }
}

fn range(start: u64, end: u64) -> IdRange {
    IdRange::new(start, end).unwrap()
}

fn with_links() -> State {
    let mut state = State::default();
    apply(&mut state, 1_000, create("links", spec(100, 200, 30)));
    state
}

fn totals(state: &State) -> [u64; 5] {
    let NamespaceTotals { granted, live, used, returned, lost } = state.namespace(&name("links")).unwrap().totals;
    [granted, live, used, returned, lost]
}

#[test]
fn a_namespace_is_made_once() {
    let mut state = with_links();
    let first = spec(100, 200, 30);
    assert_eq!(apply(&mut state, 0, create("links", first)), Reply::Namespace { spec: first, created: false });
    let differs = Refusal::NamespaceDiffers { name: name("links"), spec: first };
    assert_eq!(apply(&mut state, 0, create("links", spec(0, 200, 30))), Reply::Refused(differs));
    for bad in [spec(5, 5, 1), spec(6, 5, 1), spec(0, 5, 0)] {
        assert_eq!(apply(&mut state, 0, create("other", bad)), Reply::Refused(Refusal::BadSpec));
    }
    assert_eq!(state.namespaces().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["links"]);
}

fn update(text: &str, quota: Option<u64>, max_block: u64) -> Command {
    Command::UpdateNamespace { name: name(text), quota, max_block }
}

#[test]
fn quota_and_block_limit_may_change_and_nothing_else_does() {
    let mut state = with_links();
    let changed = NamespaceSpec { quota: Some(25), ..spec(100, 200, 20) };
    assert_eq!(granted(&apply(&mut state, 0, ask("links", 10, 1, 1))).1, range(100, 110));
    let reply = Reply::Namespace { spec: changed, created: false };
    assert_eq!(apply(&mut state, 0, update("links", Some(25), 20)), reply);
    // Whoever makes it again, as it was made or as it is, hears what it is.
    for again in [spec(100, 200, 30), changed] {
        assert_eq!(apply(&mut state, 0, create("links", again)), reply);
    }
    assert_eq!(granted(&apply(&mut state, 0, ask("links", 99, 1, 2))).1, range(110, 125));
    let reached = Reply::Refused(Refusal::QuotaReached { namespace: name("links"), quota: 25 });
    assert_eq!(apply(&mut state, 0, ask("links", 1, 1, 3)), reached);
    apply(&mut state, 0, update("links", Some(5), 1));
    assert_eq!(State::decode(&state.encode()), Ok(state.clone()), "larger grants from before stay");
    let reached = Reply::Refused(Refusal::QuotaReached { namespace: name("links"), quota: 5 });
    assert_eq!(apply(&mut state, 0, ask("links", 1, 1, 4)), reached);
    apply(&mut state, 0, update("links", None, u64::MAX));
    assert_eq!(granted(&apply(&mut state, 0, ask("links", u64::MAX, 1, 5))).1, range(125, 200));
    assert_eq!(apply(&mut state, 0, ask("links", 1, 1, 6)), Reply::Refused(Refusal::Exhausted(name("links"))));
    assert_eq!(apply(&mut state, 0, update("links", None, 0)), Reply::Refused(Refusal::BadSpec));
    let unknown = Reply::Refused(Refusal::UnknownNamespace(name("gone")));
    assert_eq!(apply(&mut state, 0, update("gone", None, 1)), unknown);
}

#[test]
fn a_namespace_with_a_stride_is_granted_to_the_last_id_below_its_limit() {
    let mut state = State::default();
    let region = NamespaceSpec { stride: 4, offset: 3, ..spec(u64::MAX - 10, u64::MAX, u64::MAX) };
    apply(&mut state, 0, create("links", region));
    let (_, counters) = granted(&apply(&mut state, 0, ask("links", u64::MAX, 1, 1)));
    let ids: Vec<_> = (counters.start()..counters.end()).map(|it| region.id(it).unwrap()).collect();
    assert_eq!(ids, [u64::MAX - 7, u64::MAX - 3]);
    assert_eq!(apply(&mut state, 0, ask("links", 1, 1, 2)), Reply::Refused(Refusal::Exhausted(name("links"))));
    let floor = u64::MAX - 7;
    let raise = Command::RaiseFloor { namespace: name("links"), floor };
    assert_eq!(apply(&mut state, 0, raise), Reply::Refused(Refusal::FloorPastLimit { floor }));
}

#[test]
fn the_number_of_namespaces_is_bounded() {
    let mut state = State::default();
    for index in 0..MAX_NAMESPACES {
        apply(&mut state, 0, create(&format!("n{index}"), spec(0, 1, 1)));
    }
    let refused = Reply::Refused(Refusal::TooManyNamespaces(MAX_NAMESPACES));
    assert_eq!(apply(&mut state, 0, create("one-more", spec(0, 1, 1))), refused);
    assert_eq!(
        apply(&mut state, 0, create("n0", spec(0, 1, 1))),
        Reply::Namespace { spec: spec(0, 1, 1), created: false }
    );
}

#[test]
fn grants_follow_each_other_and_end_at_the_limit() {
    let mut state = with_links();
    assert_eq!(granted(&apply(&mut state, 0, ask("links", 10, 1, 1))), (1, range(100, 110)));
    assert_eq!(granted(&apply(&mut state, 0, ask("links", u64::MAX, 2, 1))), (2, range(110, 140)));
    apply(&mut state, 0, Command::RaiseFloor { namespace: name("links"), floor: 195 });
    assert_eq!(granted(&apply(&mut state, 0, ask("links", 10, 1, 2))), (3, range(195, 200)));
    assert_eq!(apply(&mut state, 0, ask("links", 1, 1, 3)), Reply::Refused(Refusal::Exhausted(name("links"))));
    assert_eq!(totals(&state), [45, 45, 0, 0, 0]);
}

#[test]
fn a_namespace_up_to_the_last_number_is_granted_to_its_end_without_wrapping() {
    let mut state = State::default();
    apply(&mut state, 0, create("links", spec(u64::MAX - 5, u64::MAX, u64::MAX)));
    assert_eq!(granted(&apply(&mut state, 0, ask("links", u64::MAX, 1, 1))).1, range(u64::MAX - 5, u64::MAX));
    assert_eq!(apply(&mut state, 0, ask("links", 1, 1, 2)), Reply::Refused(Refusal::Exhausted(name("links"))));
}

#[test]
fn a_request_number_has_one_answer() {
    let mut state = with_links();
    let first = apply(&mut state, 5_000, ask("links", 10, 1, 7));
    assert_eq!(apply(&mut state, 6_000, ask("links", 10, 1, 7)), first);
    assert_eq!(apply(&mut state, 6_000, ask("links", 11, 1, 7)), Reply::Refused(Refusal::RequestReused(7)));
    assert_eq!(apply(&mut state, 6_000, ask("links", 10, 1, 6)), Reply::Refused(Refusal::StaleRequest { last: 7 }));
    assert_eq!(apply(&mut state, 6_000, ask("links", 10, 2, 0)), Reply::Refused(Refusal::StaleRequest { last: 0 }));
    assert_eq!(granted(&apply(&mut state, 6_000, ask("links", 10, 1, 8))).1, range(110, 120));
}

#[test]
fn a_refusal_is_the_answer_to_its_number_and_the_next_number_is_decided_anew() {
    let mut state = State::default();
    let refused = Reply::Refused(Refusal::UnknownNamespace(name("links")));
    assert_eq!(apply(&mut state, 0, ask("links", 10, 1, 1)), refused);
    apply(&mut state, 0, create("links", spec(0, 100, 30)));
    assert_eq!(apply(&mut state, 0, ask("links", 10, 1, 1)), refused);
    assert_eq!(granted(&apply(&mut state, 0, ask("links", 10, 1, 2))).1, range(0, 10));
    assert_eq!(apply(&mut state, 0, ask("links", 0, 1, 3)), Reply::Refused(Refusal::NothingWanted));
}

#[test]
fn a_return_is_booked_once_and_grants_nothing_again() {
    let mut state = with_links();
    apply(&mut state, 0, ask("links", 10, 1, 1));
    assert_eq!(apply(&mut state, 0, give_back(2, 1, 105)), Reply::Refused(Refusal::ForeignGrant));
    for used_to in [99, 111] {
        assert_eq!(apply(&mut state, 0, give_back(1, 1, used_to)), Reply::Refused(Refusal::OutsideGrant { used_to }));
    }
    assert_eq!(apply(&mut state, 0, give_back(1, 1, 104)), Reply::Returned { unused: 6 });
    assert_eq!(apply(&mut state, 0, give_back(1, 1, 104)), Reply::Refused(Refusal::GrantNotLive(GrantId(1))));
    assert_eq!(apply(&mut state, 0, give_back(1, 2, 104)), Reply::Refused(Refusal::GrantNotLive(GrantId(2))));
    assert_eq!(totals(&state), [10, 0, 4, 6, 0]);
    assert_eq!(granted(&apply(&mut state, 0, ask("links", 10, 1, 2))).1, range(110, 120));
}

#[test]
fn floors_and_timelines_only_rise() {
    let mut state = with_links();
    let mut raise = |floor| apply(&mut state, 0, Command::RaiseFloor { namespace: name("links"), floor });
    assert_eq!([raise(150), raise(120), raise(200)], [Reply::Floor(150), Reply::Floor(150), Reply::Floor(200)]);
    assert_eq!(raise(201), Reply::Refused(Refusal::FloorPastLimit { floor: 201 }));
    assert_eq!(totals(&state), [0; 5]);
    let timelines = [3, 1, 4].map(|timeline| apply(&mut state, 0, Command::RaiseTimeline { timeline }));
    assert_eq!(timelines, [Reply::Timeline(3), Reply::Timeline(3), Reply::Timeline(4)]);
    assert_eq!(state.timeline(), 4);
}

#[test]
fn a_holder_that_was_silent_for_the_ttl_is_forgotten_and_its_grants_are_lost() {
    let mut state = with_links();
    apply(&mut state, 1_000, ask("links", 10, 1, 1));
    apply(&mut state, 2_000, ask("links", 10, 2, 1));
    let tick = |state: &mut State, at_ms| apply(state, at_ms, Command::RaiseTimeline { timeline: 0 });
    tick(&mut state, 1_000 + TTL_MS - 1);
    assert_eq!((state.holders(), state.live_grants()), (2, 2));
    tick(&mut state, 1_000 + TTL_MS);
    assert_eq!((state.holders(), state.live_grants()), (1, 1));
    assert_eq!(totals(&state), [20, 10, 0, 0, 10]);
    // What comes late from the forgotten one is refused; its ids stay spent.
    let late = apply(&mut state, 0, give_back(1, 1, 105));
    assert_eq!(late, Reply::Refused(Refusal::GrantNotLive(GrantId(1))));
    assert_eq!(granted(&apply(&mut state, 0, ask("links", 10, 1, 1))).1, range(120, 130));
}

#[test]
fn a_sign_of_life_keeps_a_holder() {
    let mut state = with_links();
    apply(&mut state, 1_000, ask("links", 10, 1, 1));
    apply(&mut state, TTL_MS, ask("links", 10, 1, 1));
    apply(&mut state, TTL_MS + 900_000, Command::RaiseTimeline { timeline: 0 });
    assert_eq!(state.live_grants(), 1);
}

#[test]
fn one_entry_forgets_a_bounded_number_of_grants() {
    let mut state = State::default();
    apply(&mut state, 0, create("links", spec(0, 1_000, 1)));
    for request in 1..=100 {
        apply(&mut state, 0, ask("links", 1, 1, request));
    }
    let left = [0; 3].map(|_| {
        apply(&mut state, TTL_MS, Command::RaiseTimeline { timeline: 0 });
        (state.live_grants(), state.holders())
    });
    assert_eq!(left, [(36, 1), (0, 0), (0, 0)]);
    assert_eq!(totals(&state), [100, 0, 0, 0, 100]);
}

#[test]
fn holders_and_live_grants_are_bounded() {
    let mut state = State::default();
    apply(&mut state, 0, create("links", spec(0, u64::MAX, 10)));
    for at_ms in 0..MAX_LIVE_GRANTS as u64 + 20 {
        apply(&mut state, 0, ask("links", 1, 1, at_ms + 1));
    }
    assert!(state.live_grants() <= MAX_LIVE_GRANTS + 1);
    for holder in 0..MAX_HOLDERS as u64 + 20 {
        apply(&mut state, holder, ask("links", 1, u128::from(holder) + 2, 1));
    }
    assert!(state.holders() <= MAX_HOLDERS + 1 && state.live_grants() <= MAX_LIVE_GRANTS + 1);
    let [granted, live, _, _, lost] = totals(&state);
    assert!(lost > 0 && granted == live + lost);
    assert_eq!(State::decode(&state.encode()), Ok(state));
}

#[test]
fn time_does_not_go_back() {
    let mut state = with_links();
    apply(&mut state, 9_000, Command::RaiseTimeline { timeline: 0 });
    let Reply::Granted(grant) = apply(&mut state, 3_000, ask("links", 1, 1, 1)) else { panic!("not granted") };
    assert_eq!((grant.granted_at_ms, state.clock_ms()), (9_000, 9_000));
}

/// A state with every kind of content, and its bytes, pinned: old snapshots must be read for ever.
fn sample() -> State {
    let mut state = with_links();
    apply(&mut state, 2_000, ask("links", 10, 1, 1));
    apply(&mut state, 3_000, ask("links", 10, 1, 2));
    apply(&mut state, 4_000, ask("gone", 1, 2, 1));
    apply(&mut state, 5_000, give_back(1, 1, 104));
    apply(&mut state, 6_000, Command::RaiseTimeline { timeline: 3 });
    state
}

fn sample_with_workers_and_members() -> State {
    let mut state = sample();
    let duration_ms = 60_000;
    for (holder, request) in [(1, 1), (2, 1), (1, 2)] {
        let holder = HolderId(holder);
        apply(&mut state, 7_000, Command::LeaseWorker { holder, label: "b".into(), request, duration_ms });
    }
    let worker = WorkerId::new(1).unwrap();
    let renew = Command::RenewWorker { holder: HolderId(2), worker, lease: LeaseId(2), duration_ms };
    apply(&mut state, 8_000, renew);
    apply(&mut state, 8_000, Command::AdmitMember { node_id: 7, incarnation: 300 });
    state
}

/// Of version 1, from before there were workers.
const SAMPLE_V1: &[u8] = b"\x01\xf0.\x03\x02\x01\x05linksd\xc8\x01\x1ex\x14\n\x04\x06\x00\x02\x01\x01a\
    \x88'\x02\x05links\n\x01\x02\x05linksnx\x01\xb8\x17\x02\x01a\xa0\x1f\x01\x04gone\x01\x05\x00\x04gone\x01\x02\x05linksnx\x01";

const SAMPLE: &[u8] = b"\x02\xc0>\x03\x02\x01\x05linksd\xc8\x01\x1e\x01\x00\x00\x00\x1ex\x14\n\x04\x06\x00\x02\x01\x01a\
    \x88'\x02\x05links\n\x01\x02\x05linksnx\x01\xb8\x17\x02\x01a\xa0\x1f\x01\x04gone\x01\x05\x00\x04gone\x01\
    \x01\x05links\x01\x02nx\x01\xb8\x17\x01\x01\x01dn\x01\xd0\x0f\x01h\
    \x03\x01\x01\x03\x01\x01\x01b\xd86\xb8\x8b\x04\x01\x02\x02\x01b\xd86\xa0\x93\x04\x00\x03\x01\x01b\xd86\xb8\x8b\x04\x00\
    \x02\x01\xd86\x02\xe0\xd4\x03\x06\x02\x03\x01\xd86\xd86\xb8\x8b\x04\x02\xc0>\x01\xe0\xd4\x03\x06\x01\x02\x02\xd86\xd86\xb8\x8b\x04\
    \x01\x07\xac\x02";

#[test]
fn snapshots_are_pinned() {
    assert_eq!(
        sample_with_workers_and_members().encode().escape_ascii().to_string(),
        SAMPLE.escape_ascii().to_string()
    );
    assert_eq!(State::decode(SAMPLE), Ok(sample_with_workers_and_members()));
    // Version 1 forgot what had ended, and knew of live grants' times those of the last answers.
    let mut converted = sample();
    let granted = RecordedGrant { range: range(110, 120), holder: HolderId(1), granted_at_ms: 3_000 };
    converted.records = Records::default();
    converted.records.add(&name("links"), GrantId(2), granted);
    assert_eq!(State::decode(SAMPLE_V1), Ok(converted));
    assert_eq!(State::decode(&State::default().encode()), Ok(State::default()));
}

#[test]
fn log_entries_are_pinned() {
    let entry = Stamped { at_ms: 300, command: ask("links", 10, 1, 2) };
    let bytes = b"\x02\xac\x02\x01\x05links\x0a\x01\x01a\x02";
    let bytes_v1 = b"\x01\xac\x02\x01\x05links\x0a\x01\x01a\x02";
    assert_eq!(entry.encode(), bytes);
    assert_eq!([bytes, bytes_v1].map(|bytes| Stamped::decode(bytes)), [Ok(entry.clone()), Ok(entry)]);
    let made = Stamped { at_ms: 1, command: create("a", spec(1, 2, 3)) };
    assert_eq!(made.encode(), b"\x02\x01\x00\x01a\x01\x02\x03\x01\x00\x00");
    assert_eq!(Stamped::decode(b"\x01\x01\x00\x01a\x01\x02\x03"), Ok(made));
    let lease = Command::LeaseWorker { holder: HolderId(1), label: "a".into(), request: 2, duration_ms: 300 };
    assert_eq!(Stamped { at_ms: 300, command: lease }.encode(), b"\x02\xac\x02\x05\x01\x01a\x02\xac\x02");
    assert_eq!(Stamped::decode(b"\x03\xac"), Err(DecodeError::Newer { found: 3, supported: 2 }));
    for reply in [Reply::Floor(7), Reply::MemberAdmitted] {
        assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
    }
}

#[test]
fn commands_between_nodes_are_pinned() {
    let admit = Command::AdmitMember { node_id: 7, incarnation: 300 };
    for (command, bytes) in
        [(ask("links", 10, 1, 2), &b"\x01\x01\x05links\x0a\x01\x01a\x02"[..]), (admit, b"\x01\x09\x07\xac\x02")]
    {
        assert_eq!((command.encode().as_slice(), Command::decode(bytes)), (bytes, Ok(command)));
    }
    assert_eq!(Command::decode(b"\x02\x09"), Err(DecodeError::Newer { found: 2, supported: 1 }));
    assert!(matches!(Command::decode(b"\x01\x09\x07\xac\x02\x00"), Err(DecodeError::Corrupt { .. })));
}

#[test]
fn a_damaged_snapshot_is_an_error_and_never_another_state_that_breaks_a_rule() {
    assert_eq!(State::decode(b"\x03"), Err(DecodeError::Newer { found: 3, supported: 2 }));
    for (sample, end) in [SAMPLE, SAMPLE_V1].iter().flat_map(|sample| (0..sample.len()).map(move |end| (sample, end))) {
        assert!(matches!(State::decode(&sample[..end]), Err(DecodeError::Corrupt { .. })), "cut at {end}");
    }
    let bits = |sample: &'static [u8]| (8..8 * sample.len()).map(move |bit| (sample, bit / 8, bit % 8));
    for (sample, place, bit) in bits(SAMPLE).chain(bits(SAMPLE_V1)) {
        let mut bytes = sample.to_vec();
        bytes[place] ^= 1 << bit;
        if let Ok(mut state) = State::decode(&bytes) {
            assert!(bytes[0] == 1 || state.encode() == bytes, "bit {bit} of byte {place}");
            let lease =
                Command::LeaseWorker { holder: HolderId(3), label: "b".into(), request: 1, duration_ms: 60_000 };
            apply(&mut state, 9_000, lease);
            apply(&mut state, u64::MAX, ask("links", 10, 3, 1));
            assert_eq!(State::decode(&state.encode()), Ok(state), "bit {bit} of byte {place}");
        }
    }
}

#[test]
fn a_snapshot_that_breaks_a_rule_is_refused() {
    let breaks: [fn(&mut State); 8] = [
        |state| state.last_grant = 1,
        |state| state.clock_ms = 10,
        |state| state.holders = Holders::default(),
        |state| state.namespaces.clear(),
        |state| state.records = Records::default(),
        |state| state.namespaces.get_mut(&name("links")).unwrap().floor = 115,
        |state| state.namespaces.get_mut(&name("links")).unwrap().totals.lost = 1,
        |state| state.namespaces.get_mut(&name("links")).unwrap().spec.stride = 0,
    ];
    for (index, break_it) in breaks.iter().enumerate() {
        let mut state = sample();
        break_it(&mut state);
        assert!(matches!(State::decode(&state.encode()), Err(DecodeError::Corrupt { .. })), "break {index}");
    }
}
