//! What happened, in the order in which it happened: the invariants hear of it at once, and its hash tells runs apart.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::{BufWriter, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stint_idgen::IdRange;
use stint_idgen::allocator::{GrantId, HolderId, LeaseId, NamespaceName, NamespaceTotals, Reply, WorkerLease};
use stint_idgen::snowflake::WorkerId;

use crate::invariants::{self, Invariant};

/// How many of the last events are shown when an invariant is broken.
const SHOWN: usize = 60;

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A raw client is about to send a request for the first time.
    Asked { holder: HolderId, request: u64, namespace: NamespaceName },
    /// A raw client was answered, the first time or again.
    Answered { holder: HolderId, request: u64, reply: Reply },
    /// A raw client's report about a grant was taken.
    Returned { grant: GrantId, unused: u64 },
    /// A holder gave ids out.
    Drew { process: u64, namespace: NamespaceName, range: IdRange },
    /// A holder gave Snowflake ids out, the last of them under this lease.
    Made { process: u64, lease: Option<(WorkerId, LeaseId)>, ids: Vec<u64> },
    /// A worker id was leased to a process of a holder, or to a raw client, or the lease was prolonged.
    Leased { process: Option<u64>, lease: WorkerLease },
    /// A client on this host got what it asked for.
    Served { host: String, what: &'static str },
    /// A member was told that its vote is durable.
    Voted { node_id: u64, term: u64, candidate: u64, committed: bool },
    /// A member takes part, with the data directory that it has.
    TakesPart { node_id: u64, incarnation: String },
    /// A member as it was found.
    Found(Observation),
    /// What the nemesis or the operator did, or a member that gave up; for the trace.
    Note(#[expect(dead_code, reason = "it is read in the trace")] String),
}

/// A member's state, looked at from outside.
#[derive(Clone, Debug)]
pub(crate) struct Observation {
    pub(crate) node_id: u64,
    pub(crate) term: u64,
    pub(crate) leads: bool,
    pub(crate) applied: u64,
    pub(crate) clock_ms: u64,
    pub(crate) namespaces: Vec<(NamespaceName, u64, NamespaceTotals)>,
    /// A hash of the state's bytes; they are not encoded each time.
    pub(crate) state: Option<u64>,
    /// What the member's own audit found.
    pub(crate) audit_violations: u64,
}

/// A broken invariant.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) invariant: &'static str,
    pub(crate) what: String,
    pub(crate) at: Duration,
    /// The last events before it.
    pub(crate) before: Vec<String>,
}

/// The history of one run. Clones share it.
#[derive(Clone)]
pub(crate) struct History(Arc<Mutex<Inner>>);

struct Inner {
    now: Duration,
    file: Option<BufWriter<File>>,
    hash: DefaultHasher,
    events: u64,
    last: VecDeque<String>,
    invariants: Vec<Box<dyn Invariant>>,
    violation: Option<Violation>,
    processes: u64,
    /// When each client last got each thing it wants.
    served: BTreeMap<(String, &'static str), Duration>,
}

impl History {
    /// A history that is also written to the file `trace`, if there is one.
    pub(crate) fn new(trace: Option<&str>) -> Self {
        let file = trace.map(|path| BufWriter::new(File::create(path).expect("the trace can be written")));
        Self(Arc::new(Mutex::new(Inner {
            now: Duration::ZERO,
            file,
            hash: DefaultHasher::new(),
            events: 0,
            last: VecDeque::new(),
            invariants: invariants::all(),
            violation: None,
            processes: 0,
            served: BTreeMap::new(),
        })))
    }

    /// Sets the time of what is recorded from now on.
    pub(crate) fn set_now(&self, now: Duration) {
        self.inner().now = now;
    }

    pub(crate) fn record(&self, event: &Event) {
        let mut inner = self.inner();
        let line = format!("{:>9.3} {event:?}", inner.now.as_secs_f64());
        line.hash(&mut inner.hash);
        if let Some(file) = &mut inner.file {
            writeln!(file, "{line}").expect("the trace can be written");
        }
        inner.events += 1;
        if !matches!(event, Event::Found(_)) {
            inner.last.push_back(line);
        }
        if inner.last.len() > SHOWN {
            inner.last.pop_front();
        }
        if let Event::Served { host, what } = event {
            let now = inner.now;
            inner.served.insert((host.clone(), what), now);
        }
        inner.judge(|invariant, now| invariant.event(now, event));
    }

    /// Asks the invariants that can be judged only at the end.
    pub(crate) fn end(&self) {
        self.inner().judge(|invariant, _| invariant.end());
    }

    /// Breaks an invariant that is judged elsewhere.
    pub(crate) fn violate(&self, invariant: &'static str, what: String) {
        self.inner().violate(invariant, what);
    }

    /// The first invariant that was broken.
    pub(crate) fn violation(&self) -> Option<Violation> {
        self.inner().violation.clone()
    }

    /// What tells this history from others: how many events it has, and their hash.
    pub(crate) fn trace(&self) -> (u64, u64) {
        let inner = self.inner();
        (inner.events, inner.hash.finish())
    }

    /// When a client last got what it wants.
    pub(crate) fn served(&self, host: &str, what: &'static str) -> Option<Duration> {
        self.inner().served.get(&(host.to_owned(), what)).copied()
    }

    /// A number for a process that starts.
    pub(crate) fn next_process(&self) -> u64 {
        let mut inner = self.inner();
        inner.processes += 1;
        inner.processes
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn judge(&mut self, verdict: impl Fn(&mut dyn Invariant, Duration) -> Result<(), String>) {
        let mut broken = None;
        for invariant in &mut self.invariants {
            if let Err(what) = verdict(&mut **invariant, self.now) {
                broken.get_or_insert((invariant.name(), what));
            }
        }
        if let Some((invariant, what)) = broken {
            self.violate(invariant, what);
        }
    }

    fn violate(&mut self, invariant: &'static str, what: String) {
        if self.violation.is_none() {
            let before = self.last.iter().cloned().collect();
            self.violation = Some(Violation { invariant, what, at: self.now, before });
        }
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("History")
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "invariant {} is broken after {:.3} s: {}", self.invariant, self.at.as_secs_f64(), self.what)?;
        writeln!(f, "what happened before:")?;
        self.before.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}
