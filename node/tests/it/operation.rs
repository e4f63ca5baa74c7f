//! Health, metrics, the admin port, and stopping.

use axum::body::Body;
use axum::http::Method;
use serde_json::json;

use crate::support::{Client, DEADLINE, Program, TestNode, eventually};

#[tokio::test]
async fn health_and_readiness_say_that_all_is_well() {
    let node = TestNode::start().await;
    let health = node.visitor().get("/health").await;
    assert_eq!((health.status.as_u16(), health.header("content-type")), (200, "application/health+json"));
    assert_eq!(health.json()["status"], "pass");
    assert_eq!((node.admin().get("/livez").await.text(), node.admin().get("/readyz").await.text()), ("ok\n", "ok\n"));
    node.visitor().get("/metrics").await.problem(404, "link-not-found");
}

#[tokio::test]
async fn metrics_count_requests_links_and_ids_without_codes_or_urls() {
    let node = TestNode::start().await;
    node.client().create(&json!({ "url": "https://secret.example/", "alias": "zebra1" })).await;
    node.client().create(&json!({ "url": "https://secret.example/drawn" })).await;
    node.visitor().get("/zebra1").await;
    node.visitor().get("/missing1").await;
    let metrics = node.admin().get("/metrics").await;
    for line in [
        "stint_http_requests_total{route=\"/{code}\",method=\"GET\",status=\"302\"} 1",
        "stint_http_requests_total{route=\"/api/v1/links\",method=\"POST\",status=\"201\"} 2",
        "stint_redirects_total{tier=\"l1\",outcome=\"found\"} 1",
        "stint_redirects_total{tier=\"\",outcome=\"missing\"} 1",
        "stint_links_created_total{outcome=\"created\"} 2",
        "stint_ids_issued_total{namespace=\"links\",source=\"raft\"} 1",
        "stint_build_info{version=\"0.1.0\"} 1",
        "stint_ready 1",
    ] {
        assert!(metrics.text().lines().any(|found| found == line), "{line} is not in\n{}", metrics.text());
    }
    for name in [
        "stint_id_headroom_seconds",
        "stint_id_lane_used_ratio",
        "stint_id_refill_duration_seconds",
        "stint_write_batch_links",
        "stint_id_stalls_total",
    ] {
        assert!(metrics.text().contains(name), "{name}");
    }
    assert!(!metrics.text().contains("secret.example") && !metrics.text().contains("zebra1"));
}

#[tokio::test]
async fn a_connection_too_many_is_closed_and_a_place_that_is_free_again_is_taken() {
    let node = TestNode::start_with(&[("http.max_connections", "2")]).await;
    let first = node.visitor();
    assert_eq!(first.get("/health").await.status, 200);
    let separate = Client::new(format!("http://{}", node.node.address), None);
    assert_eq!(separate.get("/health").await.status, 200);
    let one_more = Client::new(format!("http://{}", node.node.address), None);
    let request = || one_more.request(Method::GET, "/health", &[], Body::empty());
    assert!(one_more.try_send(request()).await.is_none(), "both places are taken by idle connections");
    drop(separate);
    eventually("a free place", || async { one_more.try_send(request()).await.is_some() }).await;
}

#[tokio::test]
async fn connections_that_send_nothing_or_only_half_are_closed() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let node = TestNode::start_with(&[("http.header_timeout", "500ms")]).await;
    for sent in ["", "GET / HT", "PRI * HTTP/2.0", "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let mut stream = tokio::net::TcpStream::connect(node.node.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A reset is an end as well.
        let ended = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "{sent:?} keeps its connection");
    }
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_the_client_s_fault() {
    let node = TestNode::start_with(&[("http.request_timeout", "1s")]).await;
    let (sender, body) = slow_body();
    let client = node.client();
    let request = client.request(Method::POST, "/api/v1/links", &[("content-type", "application/json")], body);
    let answering = client.send(request);
    let sending = async {
        sender.send("{\"url\":").await;
        sender
    };
    let (answer, _) = futures_util::future::join(answering, sending).await;
    answer.problem(408, "body-too-slow");
}

#[tokio::test]
async fn the_log_level_can_be_changed_while_running() {
    let node = TestNode::start().await;
    let admin = node.admin();
    let put = async |filter: &'static str| {
        admin.send(admin.request(Method::PUT, "/log-level", &[], Body::from(filter))).await
    };
    assert_eq!(put("warn,stint=debug").await.status, 200);
    assert!(admin.get("/log-level").await.text().contains("stint=debug"));
    assert_eq!(put("no=such=filter").await.status, 400);
}

#[tokio::test]
async fn sigterm_stops_cleanly_and_the_second_start_is_quick() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let first = Program::start(&data).await;
    let link = first.client().create(&json!({ "url": "https://example.com/" })).await;
    assert_eq!(first.terminate().await, Some(0));
    let second = Program::start(&data).await;
    let code = link["code"].as_str().unwrap();
    assert_eq!(second.client().location(code).await, "https://example.com/");
    assert!(!second.banner.contains(&second.key), "the key is shown once");
    assert_eq!(second.terminate().await, Some(0));
}

#[tokio::test]
async fn a_request_under_way_is_finished_when_the_node_stops() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(&dir.path().join("data")).await;
    let client = program.client();
    let (sender, body) = slow_body();
    let request = client.request(Method::POST, "/api/v1/links", &[("content-type", "application/json")], body);
    let answering = client.send(request);
    let stopping = async {
        sender.send("{\"url\":\"https://example.com/").await;
        // The body's end is sent once the stop has begun: the admin port tells.
        let ended = program.terminate();
        let finish = async {
            sender.send("slow\"}").await;
            drop(sender);
        };
        futures_util::future::join(ended, finish).await.0
    };
    let (answer, code) = futures_util::future::join(answering, stopping).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(code, Some(0));
}

/// A body that is sent in pieces.
fn slow_body() -> (Pieces, Body) {
    let (sender, receiver) = tokio::sync::mpsc::channel::<&'static str>(1);
    let stream = futures_util::stream::unfold(receiver, async |mut receiver| {
        let piece = receiver.recv().await?;
        Some((Ok::<_, std::io::Error>(piece), receiver))
    });
    (Pieces(sender), Body::from_stream(stream))
}

struct Pieces(tokio::sync::mpsc::Sender<&'static str>);

impl Pieces {
    async fn send(&self, piece: &'static str) {
        self.0.send(piece).await.expect("the request is being sent");
    }
}
