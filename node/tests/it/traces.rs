//! Traces: what a collector is sent, and what never is.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::{TestNode, eventually};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A collector that keeps what it is sent.
async fn collector() -> (String, Arc<Mutex<Vec<u8>>>) {
    let kept = Arc::<Mutex<Vec<u8>>>::default();
    let keep = Arc::clone(&kept);
    let route = post(move |body: Bytes| async move { keep.lock().unwrap().extend_from_slice(&body) });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/v1/traces", route)).await });
    (url, kept)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_becomes_a_span_of_the_trace_it_came_with_and_holds_no_code_and_no_url() {
    let (url, kept) = collector().await;
    let node = TestNode::start_with(&[("trace.endpoint", &url), ("trace.one_in", "1")]).await;
    node.client().create(&json!({ "url": "https://secret.example/", "alias": "zebra1" })).await;
    for flags in ["01", "00"] {
        let trace = TRACE.replace('4', if flags == "01" { "4" } else { "5" });
        let parent = format!("00-{trace}-00f067aa0ba902b7-{flags}");
        let headers = [("traceparent", parent.as_str()), ("tracestate", "rojo=00f067aa0ba902b7")];
        assert_eq!(node.visitor().get_with("/zebra1", &headers).await.status, 302);
    }
    let trace_id = number(TRACE);
    eventually("the span arrives", || async { contains(&kept.lock().unwrap(), &trace_id) }).await;
    let sent = kept.lock().unwrap().clone();
    assert!(contains(&sent, b"GET /{code}"), "a span is named by its route");
    assert!(contains(&sent, b"POST /api/v1/links"), "a request that brings no trace begins one");
    assert!(contains(&sent, &0x00f0_67aa_0ba9_02b7_u64.to_be_bytes()), "the caller's span is its parent");
    assert!(contains(&sent, b"rojo=00f067aa0ba902b7"), "what other systems added goes along");
    assert!(!contains(&sent, b"zebra1") && !contains(&sent, b"secret.example"));
    let unsampled = number(&TRACE.replace('4', "5"));
    assert!(!contains(&sent, &unsampled), "who began the trace decided not to keep it");
}

/// The trace's number as it travels.
fn number(trace: &str) -> [u8; 16] {
    u128::from_str_radix(trace, 16).unwrap().to_be_bytes()
}
