//! A node that serves ids, over a real allocator on a line that can be cut.

mod line;

use serde_json::json;

use super::*;
use crate::config::{Disk, Flag, Inputs, load};
use crate::ports::clock::SystemClock;
use crate::ports::entropy::OsEntropy;
use crate::telemetry;
use crate::telemetry::traces::Traces;
use line::{Line, ask};

const KEY: &str = "an-admin-key";

fn start(line: &Arc<Line>) -> ServeNode {
    let settings = [
        ("http.listen", "127.0.0.1:0"),
        ("http.drain_delay", "0s"),
        ("admin.listen", "127.0.0.1:0"),
        ("cluster.allocators", "127.0.0.1:7101"),
        ("auth.admin_key", KEY),
        ("ids.only", "true"),
    ];
    let flags = settings.map(|(key, value)| Flag { flag: "--test", key, value: value.to_owned() });
    let loaded = load(Inputs { role: Role::Serve, file: None, flags: &flags, files: &Disk }, []).unwrap();
    loaded.check_serve().unwrap();
    let (subscriber, log_level) = telemetry::subscriber(&loaded.config.log, false, std::io::sink);
    // The log level can be changed as long as there is a log.
    Box::leak(Box::new(subscriber));
    let around = Surroundings {
        clock: Arc::new(SystemClock),
        entropy: Arc::new(OsEntropy),
        log_level,
        traces: Traces::default(),
    };
    start_ids_only(&loaded.config, Arc::clone(line) as _, &around).unwrap()
}

async fn readyz(node: &ServeNode) -> (u16, String) {
    ask(node.admin_address, "GET", "/readyz", None, None).await
}

/// Ten ids of `orders`, as the API answers.
async fn draw(node: &ServeNode) -> (u16, String) {
    let body = json!({ "namespace": "orders", "count": 10, "as": "ranges" });
    ask(node.address, "POST", "/api/v1/ids", Some(KEY), Some(body)).await
}

#[tokio::test]
async fn a_node_with_ids_at_hand_is_ready_and_draws_on_while_the_allocator_is_away() {
    let line = Line::open().await;
    let node = start(&line);
    assert_eq!(readyz(&node).await, (200, "ok\n".to_owned()), "it may ask for ids at any time");
    let made = ask(node.address, "POST", "/api/v1/namespaces", Some(KEY), Some(json!({ "name": "orders" }))).await;
    assert_eq!(made.0, 201, "{made:?}");
    let (status, ids) = draw(&node).await;
    assert!(status == 200 && ids.contains(r#"{"start":1,"end":11}"#), "{status} {ids}");
    line.cut();
    let (status, said) = readyz(&node).await;
    assert!(status == 200 && said.contains("cut off") && said.contains("ids at hand"), "{status} {said}");
    let (status, ids) = draw(&node).await;
    assert!(status == 200 && ids.contains(r#"{"start":11,"end":21}"#), "{status} {ids}");
    assert!(node.stop().await);
    line.close().await;
}

#[tokio::test]
async fn a_node_that_never_had_an_id_starts_and_says_what_is_missing() {
    let line = Line::open().await;
    line.cut();
    let node = start(&line);
    let (status, said) = readyz(&node).await;
    assert!(status == 503 && said.contains("cut off") && said.contains("no ids were drawn yet"), "{status} {said}");
    let (status, said) = draw(&node).await;
    assert!(status == 503 && said.contains("/problems/"), "{status} {said}");
    assert!(node.stop().await);
    line.close().await;
}

#[tokio::test]
async fn links_are_not_available_without_a_database_and_draw_no_ids() {
    let line = Line::open().await;
    let node = start(&line);
    let plain = json!({ "url": "https://example.com/" });
    let alias = json!({ "url": "https://example.com/", "alias": "mine" });
    let cases = [
        ("POST", "/api/v1/links", Some(plain)),
        ("POST", "/api/v1/links", Some(alias)),
        ("GET", "/api/v1/links", None),
        ("GET", "/api/v1/keys", None),
        ("GET", "/AbCdEfG", None),
    ];
    for (method, path, body) in cases {
        let (status, said) = ask(node.address, method, path, Some(KEY), body).await;
        assert!(status == 503 && said.contains("/problems/unavailable"), "{method} {path}: {status} {said}");
    }
    let (status, _) = ask(node.address, "GET", "/api/v1/keys", Some("another-key"), None).await;
    assert_eq!(status, 401, "a wrong key is wrong, whatever is missing");
    assert!(node.stop().await);
    assert!(line.status().await.unwrap().namespaces.is_empty());
    line.close().await;
}
