//! Where an id comes from, told from an allocator with one answer.

use std::sync::Mutex;

use async_trait::async_trait;
use stint_idgen::CodeKey;
use stint_idgen::allocator::{Command, GrantId, HolderId, NamespaceTotals, Reply};

use super::*;
use crate::ports::coordination::{AuditStream, ClusterStatus, MemberChange, MemberError, NamespaceStatus};

/// An allocator with one namespace and one answer.
#[derive(Debug)]
struct Told {
    namespace: NamespaceStatus,
    origin: IdOrigin,
    asked: Mutex<Vec<u64>>,
}

#[async_trait]
impl Allocator for Told {
    fn cluster_id(&self) -> Option<Arc<str>> {
        None
    }

    async fn submit(&self, _: Command) -> Result<Reply, CoordinationError> {
        unreachable!("reading an id changes nothing")
    }

    async fn status(&self) -> Result<ClusterStatus, CoordinationError> {
        Ok(ClusterStatus { namespaces: vec![self.namespace.clone()], ..ClusterStatus::default() })
    }

    async fn find_origin(&self, namespace: &NamespaceName, id: u64) -> Result<Option<IdOrigin>, CoordinationError> {
        self.asked.lock().unwrap().push(id);
        Ok((*namespace == self.namespace.name).then(|| self.origin.clone()))
    }

    async fn audit(&self, _: Option<u64>, _: bool) -> Result<AuditStream, CoordinationError> {
        unreachable!("reading an id reads no audit")
    }

    async fn change_members(&self, _: MemberChange) -> Result<(), MemberError> {
        unreachable!("reading an id changes no members")
    }
}

fn grant(start: u64, end: u64, fate: GrantFate) -> GrantRecord {
    GrantRecord {
        grant: GrantId(7),
        range: IdRange::new(start, end).unwrap(),
        holder: HolderId(9),
        label: "node-1".to_owned(),
        granted_at_ms: 5,
        fate,
    }
}

/// An allocator that knows one namespace with a stride of 10 and an offset of 3 from 100 to 200 (as `orders`), or the
/// keys of links.
fn told(name: &str, origin: IdOrigin) -> (Arc<Told>, DecodeIds, NamespaceName) {
    let name: NamespaceName = name.parse().unwrap();
    let spec = if name.is_links() {
        NamespaceSpec::contiguous(0, Lane::CAPACITY, 10)
    } else {
        NamespaceSpec { stride: 10, offset: 3, ..NamespaceSpec::contiguous(100, 200, 10) }
    };
    let namespace = NamespaceStatus { name: name.clone(), spec, floor: spec.start, totals: NamespaceTotals::default() };
    let allocator = Arc::new(Told { namespace, origin, asked: Mutex::default() });
    let decode = DecodeIds::new(Arc::clone(&allocator) as _, codec());
    (allocator, decode, name)
}

fn codec() -> Arc<KeyCodec> {
    Arc::new(KeyCodec::new(&"000102030405060708090a0b0c0d0e0f".parse::<CodeKey>().unwrap()))
}

async fn standing_of(text: &str, fate: GrantFate) -> Standing {
    let (_, decode, name) = told("orders", IdOrigin::Granted(grant(101, 104, fate)));
    match decode.decode(&name, text, false).await.unwrap().trace {
        Trace::Granted { standing, run, .. } => {
            assert_eq!((run.first(), run.end(), run.step()), (113, 143, 10));
            standing
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_id_with_a_stride_is_judged_by_its_counter() {
    let returned = GrantFate::Returned { used_to: 102 };
    assert_eq!(standing_of("113", returned).await, Standing::Granted);
    assert_eq!(standing_of("123", returned).await, Standing::Unused, "the first counter not used");
    assert_eq!(standing_of("113", GrantFate::Returned { used_to: 101 }).await, Standing::Unused);
    assert_eq!(standing_of("133", GrantFate::Live).await, Standing::Granted);
    assert_eq!(standing_of("133", GrantFate::Lost).await, Standing::Lost);
}

#[tokio::test]
async fn decimal_comes_first_and_base62_is_had_by_asking() {
    let (allocator, decode, name) = told("orders", IdOrigin::NotGranted);
    for (text, is_base62, id) in [("113", false, 113), ("1p", false, 113), ("1p", true, 113), ("2z", false, 185)] {
        let decoded = decode.decode(&name, text, is_base62).await;
        if id % 10 == 3 {
            assert_eq!(decoded.unwrap().id, id);
        } else {
            assert!(matches!(decoded, Err(DecodeError::Foreign { id: found, .. }) if found == id), "{text}");
        }
    }
    // 1·62 + 1 = 63, which this namespace doesn't have.
    assert!(matches!(decode.decode(&name, "11", true).await, Err(DecodeError::Foreign { id: 63, .. })));
    for bad in ["", "-1", "1 ", "é", "99999999999999999999", "zzzzzzzzzzzz"] {
        assert!(matches!(decode.decode(&name, bad, false).await, Err(DecodeError::Malformed)), "{bad}");
    }
    assert!(!allocator.asked.lock().unwrap().contains(&63), "the allocator is not asked for what can't be");
}

#[tokio::test]
async fn the_key_of_a_link_is_found_by_number_and_by_code() {
    let (allocator, decode, name) = told("links", IdOrigin::Granted(grant(0, 10, GrantFate::Live)));
    let key = Lane::Raft.key(5).unwrap();
    let code = codec().code(key).as_str().to_owned();
    for (text, is_base62) in [(key.to_string(), false), (code.clone(), true)] {
        let decoded = decode.decode(&name, &text, is_base62).await.unwrap();
        assert_eq!((decoded.id, decoded.code.as_deref()), (key.get().unsigned_abs(), Some(code.as_str())));
        let Trace::Granted { run, .. } = decoded.trace else { panic!("it was granted") };
        assert!(run.ids().any(|id| id == decoded.id) && run.count() == 10);
    }
    assert_eq!(*allocator.asked.lock().unwrap(), [5, 5], "the allocator knows it by its counter");
    let other_lane = Lane::Postgres.key(5).unwrap().to_string();
    for foreign in [other_lane.as_str(), "1", "summer", "0000000000A"] {
        let refused = decode.decode(&name, foreign, false).await;
        assert!(matches!(refused, Err(DecodeError::Foreign { .. })), "{foreign}: {refused:?}");
    }
    assert!(matches!(decode.decode(&name, "0", false).await, Err(DecodeError::Malformed)));
    assert!(matches!(decode.decode(&name, "a-b", false).await, Err(DecodeError::Malformed)));
}

#[tokio::test]
async fn a_snowflake_id_is_read_without_asking_anybody() {
    let (allocator, decode, _) = told("orders", IdOrigin::NotGranted);
    let name: NamespaceName = SNOWFLAKE.parse().unwrap();
    let decoded = decode.decode(&name, "1020616769536020487", false).await.unwrap();
    let Trace::Snowflake(says) = decoded.trace else { panic!("{decoded:?}") };
    assert_eq!((says.timestamp_ms, says.worker.get(), says.sequence), (1_758_070_000_000, 5, 7));
    let refused = decode.decode(&name, "9223372036854775808", false).await;
    assert!(matches!(refused, Err(DecodeError::Foreign { .. })), "{refused:?}");
    assert!(allocator.asked.lock().unwrap().is_empty());
}
