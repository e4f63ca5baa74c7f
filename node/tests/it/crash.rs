//! `kill -9` at any moment loses nothing acknowledged and repeats no key.

use std::collections::HashMap;
use std::sync::Mutex;

use axum::body::Body;
use axum::http::Method;
use serde_json::json;

use crate::support::{Client, Program, in_parallel};

/// Creates links until the connection breaks; every acknowledged one goes into `acknowledged`.
async fn create_until_it_breaks(client: &Client, round: usize, acknowledged: &Mutex<HashMap<String, String>>) {
    let worker = |worker: usize| async move {
        for n in 0.. {
            let url = format!("https://example.com/{round}/{worker}/{n}");
            let body = Body::from(json!({ "url": url, "max_visits": 9 }).to_string());
            let request = client.request(Method::POST, "/api/v1/links", &[("content-type", "application/json")], body);
            let Some(answer) = client.try_send(request).await else { return };
            assert_eq!(answer.status, 201, "{answer:?}");
            let code = answer.json()["code"].as_str().unwrap().to_owned();
            let before = acknowledged.lock().unwrap().insert(code.clone(), url);
            assert_eq!(before, None, "{code} was given twice");
        }
    };
    in_parallel(8, 0..8, worker).await;
}

#[tokio::test]
async fn a_killed_node_keeps_what_it_acknowledged_and_repeats_no_key() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let acknowledged = Mutex::new(HashMap::new());
    for round in 0..6 {
        let program = Program::start(&data).await;
        let client = program.client();
        let creating = create_until_it_breaks(&client, round, &acknowledged);
        let killing = async {
            // Each round is cut off at another point of the work.
            let enough = acknowledged.lock().unwrap().len() + 20 + 60 * round;
            crate::support::eventually("some creates", || async { acknowledged.lock().unwrap().len() >= enough }).await;
            program.kill().await;
        };
        futures_util::future::join(creating, killing).await;
    }
    let program = Program::start(&data).await;
    let visitor = program.client().with_key(None);
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(acknowledged.len() > 500, "{}", acknowledged.len());
    in_parallel(16, &acknowledged, |(code, url)| {
        let visitor = &visitor;
        async move { assert_eq!(visitor.location(code).await, *url) }
    })
    .await;
    assert_eq!(program.terminate().await, Some(0));
}

#[tokio::test]
async fn acknowledged_changes_deletes_and_visits_survive_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let program = Program::start(&data).await;
    let client = program.client();
    for alias in ["changed", "deleted", "visited"] {
        client.create(&json!({ "url": "https://example.com/old", "alias": alias, "max_visits": 3 })).await;
    }
    client.patch("/api/v1/links/changed", &json!({ "url": "https://example.com/new" })).await;
    client.delete("/api/v1/links/deleted").await;
    client.location("visited").await;
    program.kill().await;
    let program = Program::start(&data).await;
    let client = program.client();
    assert_eq!(client.location("changed").await, "https://example.com/new");
    client.get("/deleted").await.problem(410, "link-deleted");
    assert_eq!(client.get("/api/v1/links/visited").await.json()["visits"], 1);
}
