//! The allocator under any sequence of commands: retries, stale and restarted holders, restarts from a snapshot, and
//! clocks that go back.

use std::collections::BTreeMap;

use proptest::prelude::*;
use stint_idgen::IdRange;
use stint_idgen::allocator::{
    Command, Grant, GrantFate, GrantId, HOLDER_TTL, HolderId, IdOrigin, NamespaceName, NamespaceSpec, Refusal, Reply,
    Stamped, State,
};

/// What happens next. Numbers are indices into few values, so that sequences meet the same ones again.
#[derive(Clone, Copy, Debug)]
enum Step {
    Create { namespace: usize, spec: usize },
    Ask { holder: usize, namespace: usize, want: u64 },
    Retry { holder: usize },
    RetryForSomethingElse { holder: usize },
    AskStale { holder: usize, back: u64 },
    RestartHolder { holder: usize },
    Return { grant: usize, holder: usize, offset: u64 },
    Update { namespace: usize, quota: Option<u64>, max_block: u64 },
    RaiseFloor { namespace: usize, by: u64 },
    RaiseTimeline { timeline: u64 },
    MoveClock { to_ms: u64 },
    RestartFromSnapshot,
}

const NAMES: [&str; 3] = ["links", "orders", "small"];
const HOLDERS: usize = 3;

const fn spec(start: u64, limit: u64, max_block: u64) -> NamespaceSpec {
    NamespaceSpec::contiguous(start, limit, max_block)
}

const SPECS: [NamespaceSpec; 6] = [
    spec(0, u64::MAX, 1_000),
    spec(500, 520, 7),
    spec(u64::MAX - 90, u64::MAX, u64::MAX),
    spec(3, 3, 1),
    NamespaceSpec { stride: 3, offset: 2, quota: Some(12), ..spec(u64::MAX - 90, u64::MAX, 9) },
    NamespaceSpec { stride: 7, offset: 6, ..spec(500, 600, 7) },
];

fn any_step() -> impl Strategy<Value = Step> {
    let ttl_ms = HOLDER_TTL.as_secs() * 1_000;
    let (holder, namespace) = (0..HOLDERS, 0..NAMES.len());
    prop_oneof![
        2 => (namespace.clone(), 0..SPECS.len()).prop_map(|(namespace, spec)| Step::Create { namespace, spec }),
        8 => (holder.clone(), namespace.clone(), prop_oneof![0..20_u64, Just(u64::MAX)])
            .prop_map(|(holder, namespace, want)| Step::Ask { holder, namespace, want }),
        4 => holder.clone().prop_map(|holder| Step::Retry { holder }),
        1 => holder.clone().prop_map(|holder| Step::RetryForSomethingElse { holder }),
        2 => (holder.clone(), 1..3_u64).prop_map(|(holder, back)| Step::AskStale { holder, back }),
        1 => holder.clone().prop_map(|holder| Step::RestartHolder { holder }),
        4 => (0..20_usize, holder, 0..30_u64)
            .prop_map(|(grant, holder, offset)| Step::Return { grant, holder, offset }),
        2 => (namespace.clone(), prop::option::of(0..40_u64), prop_oneof![0..20_u64, Just(u64::MAX)])
            .prop_map(|(namespace, quota, max_block)| Step::Update { namespace, quota, max_block }),
        2 => (namespace, 0..50_u64).prop_map(|(namespace, by)| Step::RaiseFloor { namespace, by }),
        1 => any::<u64>().prop_map(|timeline| Step::RaiseTimeline { timeline }),
        2 => (0..4 * ttl_ms).prop_map(|to_ms| Step::MoveClock { to_ms }),
        1 => Just(Step::RestartFromSnapshot),
    ]
}

/// A holder as it knows itself: its identity, and its last request with the answer.
#[derive(Clone, Default)]
struct Asker {
    id: u128,
    request: u64,
    last: Option<(Command, Reply, u64)>,
}

/// Two replicas, the world around them, and what was ever granted.
struct World {
    state: State,
    replica: State,
    now_ms: u64,
    askers: Vec<Asker>,
    next_id: u128,
    grants: Vec<Grant>,
    ends: BTreeMap<NamespaceName, u64>,
}

fn name(index: usize) -> NamespaceName {
    NAMES[index].parse().expect("the test's names are valid")
}

impl World {
    fn new() -> Self {
        let askers = (1..=HOLDERS as u128).map(|id| Asker { id, ..Asker::default() }).collect();
        let next_id = HOLDERS as u128 + 1;
        let (state, replica) = (State::default(), State::default());
        Self { state, replica, now_ms: 0, askers, next_id, grants: Vec::new(), ends: BTreeMap::new() }
    }

    /// Applies one entry to both replicas and checks what must hold after every entry.
    fn apply(&mut self, command: Command) -> Reply {
        let clock_ms = self.state.clock_ms();
        let entry = Stamped { at_ms: self.now_ms, command };
        let entry = Stamped::decode(&entry.encode()).expect("an entry comes back from its bytes");
        let reply = self.state.apply(&entry);
        assert_eq!(self.replica.apply(&entry), reply);
        assert_eq!(self.replica, self.state, "replicas of one log are equal");
        assert_eq!(Reply::decode(&reply.encode()).as_ref(), Ok(&reply));
        assert_eq!(self.state.clock_ms(), clock_ms.max(self.now_ms), "time never goes back");
        for namespace in self.state.namespaces() {
            let totals = namespace.totals;
            assert_eq!(totals.granted, totals.live + totals.used + totals.returned + totals.lost);
            let granted: u64 =
                self.grants.iter().filter(|it| it.namespace == *namespace.name).map(|it| it.range.len()).sum();
            let new = if let Reply::Granted(grant) = &reply
                && grant.namespace == *namespace.name
                && !self.grants.contains(grant)
            {
                grant.range.len()
            } else {
                0
            };
            assert_eq!(totals.granted, granted + new, "what was ever granted is counted, and once");
        }
        reply
    }

    fn ask(&mut self, holder: usize, command: Command, request: u64) {
        let reply = self.apply(command.clone());
        if let Reply::Granted(grant) = &reply {
            self.note(grant);
        }
        let asker = &mut self.askers[holder];
        asker.request = request;
        asker.last = Some((command, reply, self.state.clock_ms()));
    }

    /// A new grant must lie at or above every range granted before, in its namespace's span.
    fn note(&mut self, grant: &Grant) {
        assert!(self.grants.iter().all(|former| former.id < grant.id));
        let overlapped: Vec<_> = self
            .grants
            .iter()
            .filter(|former| former.namespace == grant.namespace && former.range.overlaps(grant.range))
            .collect();
        assert_eq!(overlapped, Vec::<&Grant>::new(), "{grant:?}");
        let end = self.ends.entry(grant.namespace.clone()).or_default();
        assert!(grant.range.start() >= *end, "{grant:?} starts below {end}");
        *end = grant.range.end();
        let status = self.state.namespace(&grant.namespace).expect("it was granted from");
        let spec = status.spec;
        assert!(spec.quota.is_none_or(|quota| status.totals.granted <= quota), "{grant:?} is past {spec:?}");
        for counter in [grant.range.start(), grant.range.end() - 1] {
            let id = spec.id(counter).expect("each counter granted is an id");
            assert!(
                id >= spec.start && id < spec.limit && id % spec.stride == (spec.start + spec.offset) % spec.stride
            );
            assert_eq!(spec.counter(id), Some(counter));
        }
        assert!(grant.range.len() <= spec.max_block);
        self.grants.push(grant.clone());
    }

    fn grant_command(&self, holder: usize, namespace: usize, want: u64, request: u64) -> Command {
        let holder = HolderId(self.askers[holder].id);
        Command::Grant { namespace: name(namespace), want, holder, label: "host".to_owned(), request }
    }

    /// Whether the holder was silent for so long that the allocator may have forgotten it.
    fn may_be_forgotten(&self, since_ms: u64) -> bool {
        let ttl_ms = HOLDER_TTL.as_secs() * 1_000;
        self.now_ms.max(self.state.clock_ms()).saturating_sub(since_ms) >= ttl_ms
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Create { namespace, spec } => {
                self.apply(Command::CreateNamespace { name: name(namespace), spec: SPECS[spec] });
            }
            Step::Ask { holder, namespace, want } => {
                let request = self.askers[holder].request + 1;
                self.ask(holder, self.grant_command(holder, namespace, want, request), request);
            }
            Step::Retry { holder } => self.retry(holder),
            Step::RetryForSomethingElse { holder } => self.retry_for_something_else(holder),
            Step::AskStale { holder, back } => self.ask_stale(holder, back),
            Step::RestartHolder { holder } => {
                self.askers[holder] = Asker { id: self.next_id, ..Asker::default() };
                self.next_id += 1;
            }
            Step::Return { grant, holder, offset } => self.give_back(grant, holder, offset),
            Step::Update { namespace, quota, max_block } => {
                let before = self.state.namespace(&name(namespace)).map(|it| it.spec);
                self.apply(Command::UpdateNamespace { name: name(namespace), quota, max_block });
                let after = self.state.namespace(&name(namespace)).map(|it| it.spec);
                let changed = before.map(|spec| NamespaceSpec { quota, max_block, ..spec });
                assert_eq!(after, if max_block == 0 { before } else { changed });
            }
            Step::RaiseFloor { namespace, by } => {
                let before = self.state.floor(&name(namespace)).unwrap_or(0);
                let floor = before.saturating_add(by).saturating_sub(10);
                self.apply(Command::RaiseFloor { namespace: name(namespace), floor });
                assert!(self.state.floor(&name(namespace)).unwrap_or(0) >= before, "floors only rise");
            }
            Step::RaiseTimeline { timeline } => {
                let expected = Reply::Timeline(self.state.timeline().max(timeline));
                assert_eq!(self.apply(Command::RaiseTimeline { timeline }), expected);
            }
            Step::MoveClock { to_ms } => self.now_ms = to_ms,
            Step::RestartFromSnapshot => {
                let bytes = self.state.encode();
                self.state = State::decode(&bytes).expect("a snapshot comes back from its bytes");
                assert_eq!(self.state, self.replica);
                assert_eq!(self.state.encode(), bytes);
                self.check_origins();
            }
        }
    }

    /// Every id comes from the grant that it was granted in, first and last alike; there are too few to forget one.
    fn check_origins(&self) {
        for grant in &self.grants {
            let spec = self.state.namespace(&grant.namespace).expect("it was granted from").spec;
            for counter in [grant.range.start(), grant.range.end() - 1] {
                let id = spec.id(counter).expect("each counter granted is an id");
                let Some(IdOrigin::Granted(record)) = self.state.find_origin(&grant.namespace, id) else {
                    panic!("{grant:?} is forgotten");
                };
                assert_eq!((record.grant, record.range, record.holder), (grant.id, grant.range, grant.holder));
                assert_eq!(record.granted_at_ms, grant.granted_at_ms);
                assert!(record.label.is_empty() || record.label == "host");
                assert!(record.fate != GrantFate::Live || record.label == "host", "who holds ids is remembered");
            }
        }
        let live = self.grants.len().checked_sub(self.state.ended_grants());
        assert_eq!(live, Some(self.state.live_grants()), "a grant is live or ended");
    }

    fn retry(&mut self, holder: usize) {
        let Some((command, reply, since_ms)) = self.askers[holder].last.clone() else { return };
        if self.may_be_forgotten(since_ms) {
            return self.ask_again_after_long(holder, command);
        }
        assert_eq!(self.apply(command.clone()), reply, "a retry gets the same answer");
        self.askers[holder].last = Some((command, reply, self.state.clock_ms()));
    }

    /// After the holder's time is up the number may be decided anew; then it is a grant like any other.
    fn ask_again_after_long(&mut self, holder: usize, command: Command) {
        let reply = self.apply(command.clone());
        if let Reply::Granted(grant) = &reply
            && !self.grants.contains(grant)
        {
            self.note(grant);
        }
        self.askers[holder].last = Some((command, reply, self.state.clock_ms()));
    }

    fn retry_for_something_else(&mut self, holder: usize) {
        let Some((command, reply, since_ms)) = self.askers[holder].last.clone() else { return };
        let Command::Grant { namespace, want, holder: id, label, request } = command.clone() else { return };
        if self.may_be_forgotten(since_ms) {
            return;
        }
        let other = Command::Grant { namespace, want: want ^ 1, holder: id, label, request };
        assert_eq!(self.apply(other), Reply::Refused(Refusal::RequestReused(request)));
        self.askers[holder].last = Some((command, reply, self.state.clock_ms()));
    }

    fn ask_stale(&mut self, holder: usize, back: u64) {
        let Asker { request: last, last: Some((command, reply, since_ms)), .. } = self.askers[holder].clone() else {
            return;
        };
        if self.may_be_forgotten(since_ms) {
            return;
        }
        let stale = self.grant_command(holder, 0, 5, last.saturating_sub(back));
        assert_eq!(self.apply(stale), Reply::Refused(Refusal::StaleRequest { last }));
        self.askers[holder].last = Some((command, reply, self.state.clock_ms()));
    }

    fn give_back(&mut self, grant: usize, holder: usize, offset: u64) {
        let id = self.grants.get(grant).map_or(GrantId(u64::MAX), |grant| grant.id);
        let range = self.grants.get(grant).map_or(IdRange::new(0, 1).expect("0 < 1"), |grant| grant.range);
        let holder_id = HolderId(self.askers[holder].id);
        let used_to = range.start().saturating_add(offset);
        let command = Command::Return { holder: holder_id, grant: id, used_to };
        if let Reply::Returned { unused } = self.apply(command.clone()) {
            assert_eq!(self.grants[grant].holder, holder_id);
            assert_eq!(unused, range.end() - used_to);
            assert_eq!(self.apply(command), Reply::Refused(Refusal::GrantNotLive(id)), "a return is booked once");
        }
    }
}

/// Every id of a region, drawn from an allocator of its own until it refuses.
fn drain(spec: NamespaceSpec) -> Vec<u64> {
    let mut state = State::default();
    let namespace = name(1);
    state.apply(&Stamped { at_ms: 0, command: Command::CreateNamespace { name: namespace.clone(), spec } });
    let mut ids = Vec::new();
    for request in 1.. {
        let ask = Command::Grant {
            namespace: namespace.clone(),
            want: 9,
            holder: HolderId(1),
            label: String::new(),
            request,
        };
        let Reply::Granted(grant) = state.apply(&Stamped { at_ms: 0, command: ask }) else { break };
        ids.extend((grant.range.start()..grant.range.end()).map(|it| spec.id(it).expect("it was granted")));
    }
    ids
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_commands_grants_an_id_twice(steps in prop::collection::vec(any_step(), 1..120)) {
        let mut world = World::new();
        for (namespace, spec) in [(0, 0), (1, 1)] {
            world.step(Step::Create { namespace, spec });
        }
        for step in steps {
            world.step(step);
        }
        world.step(Step::RestartFromSnapshot);
    }

    #[test]
    fn two_regions_never_share_an_id_and_together_leave_none_out(
        start in prop_oneof![0..1_000_u64, u64::MAX - 200..u64::MAX - 100],
        span in 1..100_u64,
        stride in 1..9_u64,
    ) {
        let plain = NamespaceSpec::contiguous(start, start + span, 10);
        let mut ids: Vec<u64> = (0..stride)
            .flat_map(|offset| drain(NamespaceSpec { stride, offset, ..plain }))
            .collect();
        ids.sort_unstable();
        prop_assert_eq!(ids, (start..start + span).collect::<Vec<_>>());
    }

    #[test]
    fn ids_and_counters_are_one_to_one_and_nothing_wraps(
        (start, limit, stride, offset) in any::<(u64, u64, u64, u64)>(),
        (counter, id) in any::<(u64, u64)>(),
    ) {
        for (start, stride) in [(start, stride), (start, stride % 1_000), (start % 1_000, stride % 1_000)] {
            let offset = offset.checked_rem(stride).unwrap_or(0);
            let spec = NamespaceSpec { stride, offset, ..NamespaceSpec::contiguous(start, limit, 1) };
            if let Some(id) = spec.id(counter) {
                prop_assert!(id >= start && id < limit && spec.counter(id) == Some(counter));
            }
            if let Some(counter) = spec.counter(id) {
                prop_assert_eq!(spec.id(counter), Some(id));
            }
        }
    }

    #[test]
    fn bytes_of_any_kind_are_a_state_or_an_error(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(version) = bytes.first_mut() {
            *version %= 4;
        }
        if let Ok(state) = State::decode(&bytes) {
            prop_assert!(bytes.first() == Some(&1) || state.encode() == bytes, "only version 1 is written otherwise");
            prop_assert_eq!(State::decode(&state.encode()), Ok(state));
        }
    }

    #[test]
    fn bytes_of_any_kind_are_an_entry_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(entry) = Stamped::decode(&bytes) {
            prop_assert_eq!(Stamped::decode(&entry.encode()), Ok(entry));
        }
    }
}
