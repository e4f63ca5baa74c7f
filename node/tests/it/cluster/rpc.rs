//! Damaged, oversized and foreign calls to the allocators' port: each is refused, and the member goes on.

use std::collections::BTreeMap;

use axum::body::{Body, Bytes};
use axum::http::Request;
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client as Legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::orders;
use crate::support::{Cluster, SECRET, draw, eventually};

const RAFT: [&str; 5] = ["/raft/append", "/raft/vote", "/raft/pre-vote", "/raft/snapshot", "/raft/transfer"];
const WITH_BODY: [&str; 4] = ["/member/join", "/allocator/origin", "/allocator/audit", "/allocator/members"];
const STREAMS: [&str; 2] = ["/raft/appends", "/allocator/submits"];

/// Calls one allocator over one connection, as a member would.
struct Caller {
    http: Legacy<HttpConnector, Body>,
    base: String,
    headers: BTreeMap<&'static str, String>,
}

/// An answer: its status, the word of a refusal, its body.
type Answer = (u16, String, String);

impl Caller {
    /// A member that the group doesn't know calls one that it does.
    async fn to(cluster: &Cluster, node_id: u64) -> Self {
        let status = cluster.status().await.unwrap();
        let members = status["members"].as_array().unwrap();
        let target = members.iter().find(|member| member["node_id"] == node_id).unwrap();
        let digest: [u8; 32] =
            Sha256::new().chain_update(b"stint cluster secret\0").chain_update(SECRET).finalize().into();
        let [high, low] = [0, 16].map(|at| u128::from_be_bytes(digest[at..at + 16].try_into().unwrap()));
        let headers = BTreeMap::from([
            ("stint-secret", format!("{high:032x}{low:032x}")),
            ("stint-cluster", status["cluster_id"].as_str().unwrap().to_owned()),
            ("stint-sender", format!("9-{}", "ab".repeat(16))),
            ("stint-target", format!("{node_id}-{}", target["incarnation"].as_str().unwrap())),
        ]);
        let http = Legacy::builder(TokioExecutor::new()).http2_only(true).build(HttpConnector::new());
        Self { http, base: format!("http://{}", cluster.addresses[&node_id]), headers }
    }

    /// The same with one header changed, or left out.
    fn with(&self, name: &'static str, value: Option<&str>) -> Self {
        let mut headers = self.headers.clone();
        headers.remove(name);
        headers.extend(value.map(|value| (name, value.to_owned())));
        Self { http: self.http.clone(), base: self.base.clone(), headers }
    }

    /// Whether a stream with this body comes to a good end; with its answers.
    async fn stream(&self, path: &str, body: Vec<u8>) -> Option<Bytes> {
        let answer = self.send(path, body).await;
        assert_eq!(answer.status(), 200, "{path}");
        answer.into_body().collect().await.ok().map(http_body_util::Collected::to_bytes)
    }

    async fn call(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        let answer = self.send(path, body).await;
        let word = answer.headers().get("stint-refused").map_or("", |word| word.to_str().unwrap()).to_owned();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.expect("the answer is whole").to_bytes();
        (status, word, String::from_utf8_lossy(&body).into_owned())
    }

    async fn send(&self, path: &str, body: impl Into<Bytes>) -> axum::http::Response<hyper::body::Incoming> {
        let mut request = Request::post(format!("{}{path}", self.base));
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        self.http.request(request.body(Body::from(body.into())).unwrap()).await.expect("it is answered")
    }
}

/// A record as it travels: the version byte, then postcard.
fn sealed(version: u8, record: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(record, vec![version]).unwrap()
}

/// A message as it travels in a stream.
fn framed(message: &[u8]) -> Vec<u8> {
    [&u32::try_from(message.len()).unwrap().to_be_bytes()[..], message].concat()
}

type LogId = (u64, u64);

/// A snapshot on its way: a vote, and a record with a version of its own around a state with a third.
fn snapshot(version: u8, state: &[u8]) -> Vec<u8> {
    let members = (Vec::<Vec<u64>>::new(), BTreeMap::<u64, (String, String)>::new());
    let record = sealed(version, &(Some((1_000_u64, 1_000_u64)), None::<LogId>, members, state));
    sealed(1, &((1_000_u64, 9_u64, true), record))
}

#[tokio::test]
async fn damaged_and_oversized_calls_are_refused_and_the_connection_goes_on() {
    let cluster = Cluster::found().await;
    let shortener = cluster.serve(1, &[]).await;
    orders(&shortener.client()).await;
    let namespaces = cluster.status().await.unwrap()["namespaces"].clone();
    for node_id in 1..=3 {
        let caller = Caller::to(&cluster, node_id).await;
        // Raft's calls come as postcard, some of the others as JSON; the last is cut off within its second field.
        let garbage: [&[u8]; 6] = [b"", b"\x01", b"\xff\xff\xff\xff", b"{}", b"[\"", b"\x01\xff\xff\xff\xff\x0f\x01"];
        for path in RAFT.iter().chain(&WITH_BODY) {
            for bytes in garbage {
                let (status, word, line) = caller.call(path, bytes).await;
                assert_eq!((status, word.as_str()), (400, "message"), "{path} {bytes:?}: {line}");
                assert!(line.starts_with("the message can't be read: ") && line.lines().count() == 1, "{path}: {line}");
            }
        }
        for path in STREAMS {
            for bytes in garbage {
                let framed = framed(&sealed(1, &(1_u64, 1_000_u64, None::<String>, bytes)));
                let answers = caller.stream(path, framed).await.expect("it ends well");
                assert!(String::from_utf8_lossy(&answers).contains("message"), "{path} {bytes:?}: {answers:?}");
                if !bytes.is_empty() {
                    assert_eq!(caller.stream(path, self::framed(bytes)).await, None, "{path} {bytes:?}");
                }
            }
            let huge = [&u32::MAX.to_be_bytes()[..], &[0; 1_000]].concat();
            assert_eq!(caller.stream(path, huge).await, None, "{path}");
        }
        let newer = caller.call("/raft/append", sealed(3, &0_u8)).await;
        assert_eq!((newer.0, newer.1.as_str()), (400, "message"));
        assert!(newer.2.contains("format 3, written by a newer version of stint"), "{newer:?}");
        for path in WITH_BODY {
            assert_eq!(caller.call(path, vec![b'x'; (16 << 10) + 1]).await.0, 413, "{path}");
        }
        for path in ["/raft/append", "/raft/vote", "/raft/pre-vote", "/raft/transfer"] {
            assert_eq!(caller.call(path, vec![1; (8 << 20) + 1]).await.0, 413, "{path}");
        }
        assert_eq!(caller.call("/raft/snapshot", vec![1; (8 << 20) + 1]).await.0, 400, "a snapshot may be larger");
        for path in ["/", "/raft", "/raft/append/", "/metrics", "/member/hello/x"] {
            assert_eq!(caller.call(path, b"".as_slice()).await.0, 404, "{path}");
        }
        let hello = caller.call("/member/hello", b"".as_slice()).await;
        assert!(hello.0 == 200 && hello.2.contains(&format!("\"node_id\":{node_id}")), "{hello:?}");
    }
    assert_eq!(cluster.status().await.unwrap()["namespaces"], namespaces);
    draw(&shortener.client(), 10_000).await;
}

#[tokio::test]
async fn a_member_s_call_says_who_calls_whom_and_is_refused_by_anybody_else() {
    let cluster = Cluster::found().await;
    let caller = Caller::to(&cluster, 1).await;
    for path in RAFT.into_iter().chain(["/raft/appends"]) {
        for name in ["stint-cluster", "stint-sender", "stint-target"] {
            let answer = caller.with(name, None).call(path, b"".as_slice()).await;
            assert_eq!(answer, (400, "message".to_owned(), format!("a member's call names its {name}\n")), "{path}");
        }
    }
    let zeros = "0".repeat(32);
    let own = cluster.status().await.unwrap()["cluster_id"].as_str().unwrap().to_owned();
    let (second, other) = (format!("2-{zeros}"), format!("1-{zeros}"));
    let replaced = "node 1 has another data directory than the cluster knows: its volume was lost or replaced\n";
    for (name, value, status, word, line) in [
        ("stint-secret", "x", 401, "secret", "the cluster secret is not that of node 1\n".to_owned()),
        (
            "stint-cluster",
            &zeros,
            409,
            "cluster",
            format!("node 1 belongs to cluster {own}, and the call is from cluster {zeros}\n"),
        ),
        ("stint-target", &second, 421, "target", "this is node 1, not node 2\n".to_owned()),
        ("stint-target", &other, 421, "target", replaced.to_owned()),
        ("stint-target", "nonsense", 421, "target", replaced.to_owned()),
        (
            "stint-sender",
            &second,
            403,
            "sender",
            "the cluster knows another data directory of the sender 2: two nodes were started with one number, or its \
             volume was lost\n"
                .to_owned(),
        ),
    ] {
        for path in RAFT {
            let answer = caller.with(name, Some(value)).call(path, b"".as_slice()).await;
            assert_eq!(answer, (status, word.to_owned(), line.clone()), "{path} with {name}: {value}");
        }
    }
    let (status, word, _) = caller.with("stint-secret", None).call("/allocator/status", b"".as_slice()).await;
    assert_eq!((status, word.as_str()), (401, "secret"));
}

#[tokio::test]
async fn a_pushed_snapshot_that_can_not_be_read_is_refused_and_nothing_is_replaced() {
    let cluster = Cluster::found().await;
    let shortener = cluster.serve(1, &[]).await;
    orders(&shortener.client()).await;
    draw(&shortener.client(), 10).await;
    let before = cluster.status().await.unwrap();
    for node_id in 1..=3 {
        let caller = Caller::to(&cluster, node_id).await;
        for (body, expected) in [
            (snapshot(3, b"\x01"), "format 3, written by a newer version of stint"),
            (snapshot(1, b"\xfe"), "version 254, but only versions up to"),
            (snapshot(1, b""), "there are none"),
            (snapshot(1, b"\x02 not a state"), ""),
        ] {
            let (status, word, line) = caller.call("/raft/snapshot", body).await;
            assert_eq!((status, word.as_str()), (400, "message"), "{line}");
            assert!(line.contains(expected) && line.lines().count() == 1, "{line}");
        }
    }
    let after = cluster.status().await.unwrap();
    assert_eq!(before["namespaces"], after["namespaces"]);
    assert!(after["term"].as_u64().unwrap() < 1_000, "the vote that came with it was not taken: {after}");
    draw(&shortener.client(), 10_000).await;
}

#[tokio::test]
async fn http_1_and_noise_on_the_allocators_port_are_cut_off_and_the_member_goes_on() {
    let cluster = Cluster::found().await;
    for noise in [&b"POST /allocator/status HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"[..], &[0x16; 500], b""] {
        let mut connection = tokio::net::TcpStream::connect(&cluster.addresses[&1]).await.unwrap();
        connection.write_all(noise).await.unwrap();
        if noise.is_empty() {
            continue;
        }
        let mut answer = Vec::new();
        let read = connection.read_to_end(&mut answer);
        // It may be cut with a reset; what counts is that it ends, and that no status comes.
        let _ = tokio::time::timeout(crate::support::DEADLINE, read).await.expect("it is cut off");
        assert!(!answer.starts_with(b"HTTP/1"), "{answer:?}");
    }
    eventually("the member answers", || async { cluster.status().await.is_some() }).await;
    assert_eq!(cluster.node(1).admin_client().get("/readyz").await.status, 200);
}
