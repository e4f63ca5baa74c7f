//! The audit as lines: their order, their shapes, and how they end.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use stint_idgen::IdRange;
use stint_idgen::allocator::{
    Command, Grant, GrantId, HolderId, IdOrigin, LeaseId, NamespaceTotals, Reply, WorkerLease,
};
use stint_idgen::snowflake::WorkerId;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::ports::coordination::{ClusterStatus, MemberChange, MemberError, NamespaceStatus};

/// An allocator whose audit is what it was given; the namespace `region` is there from the start.
#[derive(Debug)]
struct Audited {
    records: Mutex<Option<Vec<Result<AuditRecord, CoordinationError>>>>,
    /// How many records were taken from the stream.
    taken: Arc<AtomicU64>,
    asked: Mutex<Option<(Option<u64>, bool)>>,
}

impl Audited {
    fn new(records: impl IntoIterator<Item = AuditRecord>) -> Self {
        let records = records.into_iter().map(Ok).collect();
        Self { records: Mutex::new(Some(records)), taken: Arc::default(), asked: Mutex::default() }
    }

    /// The audit breaks off behind its records.
    fn break_off(&self) {
        let away = CoordinationError::Unavailable { source: "away".into() };
        self.records.lock().unwrap().as_mut().unwrap().push(Err(away));
    }
}

#[async_trait]
impl Allocator for Audited {
    fn cluster_id(&self) -> Option<Arc<str>> {
        None
    }

    async fn submit(&self, _: Command) -> Result<Reply, CoordinationError> {
        unreachable!("reading the audit changes nothing")
    }

    async fn status(&self) -> Result<ClusterStatus, CoordinationError> {
        Ok(ClusterStatus {
            namespaces: vec![NamespaceStatus {
                name: name("region"),
                spec: region(),
                floor: 100,
                totals: NamespaceTotals::default(),
            }],
            ..ClusterStatus::default()
        })
    }

    async fn find_origin(&self, _: &NamespaceName, _: u64) -> Result<Option<IdOrigin>, CoordinationError> {
        unreachable!("reading the audit looks for no id")
    }

    async fn audit(&self, after: Option<u64>, follow: bool) -> Result<AuditStream, CoordinationError> {
        *self.asked.lock().unwrap() = Some((after, follow));
        let records = self.records.lock().unwrap().take().expect("the audit is read once");
        let taken = Arc::clone(&self.taken);
        let records = stream::iter(records).inspect(move |_| {
            taken.fetch_add(1, Ordering::Relaxed);
        });
        Ok(if follow { records.chain(stream::pending()).boxed() } else { records.boxed() })
    }

    async fn change_members(&self, _: MemberChange) -> Result<(), MemberError> {
        unreachable!("reading the audit changes no members")
    }
}

fn name(text: &str) -> NamespaceName {
    text.parse().unwrap()
}

fn region() -> NamespaceSpec {
    NamespaceSpec { stride: 10, offset: 3, ..NamespaceSpec::contiguous(100, 200, 10) }
}

fn record(index: u64, event: AuditEvent) -> AuditRecord {
    AuditRecord { index, at_ms: 1_758_070_000_000, event, violation: None }
}

fn granted(index: u64, namespace: &str, start: u64, end: u64) -> AuditRecord {
    let grant = Grant {
        id: GrantId(index),
        namespace: name(namespace),
        range: IdRange::new(start, end).unwrap(),
        holder: HolderId(0xab),
        granted_at_ms: 0,
    };
    record(index, AuditEvent::Granted { grant, label: "node-1".to_owned() })
}

async fn lines_of(allocator: &Audited, params: AuditParams) -> Vec<Value> {
    let response = open(allocator, &params, std::future::pending()).await.unwrap();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/x-ndjson");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let text = std::str::from_utf8(&body).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "every line has its end");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn each_record_is_a_line_with_the_ids_of_its_namespace() {
    let young = NamespaceSpec { stride: 2, ..NamespaceSpec::contiguous(0, 50, 10) };
    let lease = WorkerLease {
        worker: WorkerId::new(3).unwrap(),
        lease: LeaseId(8),
        holder: HolderId(1),
        stamped_at_ms: 0,
        not_before_ms: 0,
        lease_until_ms: 1_000,
    };
    let allocator = Audited::new([
        granted(1, "region", 100, 103),
        record(2, AuditEvent::Namespace { name: name("young"), spec: young }),
        granted(3, "young", 5, 6),
        granted(4, "links", 0, 9),
        granted(5, "unheard-of", 0, 9),
        record(6, AuditEvent::Returned { grant: GrantId(1), holder: HolderId(2), used_to: 101 }),
        record(7, AuditEvent::FloorRaised { namespace: name("young"), floor: 9 }),
        record(8, AuditEvent::WorkerLeased(lease)),
        record(9, AuditEvent::WorkerReleased { worker: lease.worker, holder: HolderId(1) }),
    ]);
    let lines = lines_of(&allocator, AuditParams { after: Some(7), follow: false }).await;
    assert_eq!(*allocator.asked.lock().unwrap(), Some((Some(7), false)));
    let holder = format!("{:032x}", 0xab);
    assert_eq!(
        lines[0],
        json!({
            "index": 1, "at": "2025-09-17T00:46:40.000Z", "event": "granted", "namespace": "region", "grant": 1,
            "counters": { "start": 100, "end": 103 }, "ids": { "start": 103, "end": 133, "step": 10 },
            "holder": holder, "label": "node-1",
        })
    );
    assert_eq!((&lines[1]["event"], &lines[1]["stride"]), (&json!("namespace"), &json!(2)));
    assert_eq!(lines[2]["ids"], json!({ "start": 10, "end": 12, "step": 2 }), "made while it was read");
    assert!(lines[3].get("ids").is_none() && lines[4].get("ids").is_none(), "keys, and a namespace nobody knows");
    assert_eq!((&lines[5]["event"], &lines[5]["used_to"]), (&json!("returned"), &json!(101)));
    assert_eq!((&lines[6]["event"], &lines[6]["floor"]), (&json!("floor-raised"), &json!(9)));
    assert_eq!((&lines[7]["worker"], &lines[7]["lease_until"]), (&json!(3), &json!("1970-01-01T00:00:01.000Z")));
    assert_eq!((&lines[8]["event"], lines.len()), (&json!("worker-released"), 9));
}

#[tokio::test]
async fn a_violation_stands_in_its_line() {
    let mut broken = granted(1, "region", 100, 103);
    broken.violation = Some("overlaps grant 4".to_owned());
    let lines = lines_of(&Audited::new([broken]), AuditParams { after: None, follow: false }).await;
    assert_eq!(lines[0]["violation"], "overlaps grant 4");
}

#[tokio::test]
async fn following_ends_cleanly_when_the_server_stops_and_not_before() {
    let (allocator, stop) = (Audited::new([granted(1, "region", 100, 103)]), CancellationToken::new());
    let params = AuditParams { after: None, follow: true };
    let response = open(&allocator, &params, stop.clone().cancelled_owned()).await.unwrap();
    let mut body = response.into_body();
    assert!(body.frame().await.unwrap().is_ok(), "the first line comes at once");
    let waited = tokio::time::timeout(Duration::from_millis(50), body.frame()).await;
    assert!(waited.is_err(), "it stays open: {waited:?}");
    stop.cancel();
    assert!(body.frame().await.is_none(), "the end, not an error");
}

#[tokio::test]
async fn records_are_taken_as_the_client_takes_them_in() {
    let allocator = Audited::new((1..=1_000).map(|n| granted(n, "region", 100, 103)));
    let params = AuditParams { after: None, follow: false };
    let mut body = open(&allocator, &params, std::future::pending()).await.unwrap().into_body();
    assert_eq!(allocator.taken.load(Ordering::Relaxed), 0);
    for taken in 1..=10 {
        body.frame().await.unwrap().unwrap();
        assert_eq!(allocator.taken.load(Ordering::Relaxed), taken);
    }
}

#[tokio::test]
async fn an_audit_that_breaks_off_is_not_taken_for_whole() {
    let allocator = Audited::new([granted(1, "region", 100, 103)]);
    allocator.break_off();
    let params = AuditParams { after: None, follow: false };
    let mut body = open(&allocator, &params, std::future::pending()).await.unwrap().into_body();
    assert!(body.frame().await.unwrap().is_ok());
    assert!(body.frame().await.unwrap().is_err());
}
