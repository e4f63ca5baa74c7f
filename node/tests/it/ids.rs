//! The public id service.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::{Client, TestNode, in_parallel};

async fn draw(client: &Client, namespace: &str, count: u64) -> Vec<u64> {
    let answer = client.post("/api/v1/ids", &json!({ "namespace": namespace, "count": count })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect()
}

async fn namespace(node: &TestNode, name: &str) {
    let answer = node.client().post("/api/v1/namespaces", &json!({ "name": name })).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

#[tokio::test]
async fn ids_of_a_namespace_are_distinct_over_parallel_requests_and_restarts() {
    let node = TestNode::start().await;
    namespace(&node, "orders").await;
    let client = node.client();
    let answers = in_parallel(16, 0..200, |n| draw(&client, "orders", 1 + n % 97)).await;
    let mut all: Vec<u64> = answers.concat();
    let node = node.restart().await;
    all.extend(draw(&node.client(), "orders", 100_000).await);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
    assert!(all.iter().all(|id| *id >= 1));
    assert!(answers.iter().all(|ids| ids.is_sorted()), "ids rise within an answer");
}

#[tokio::test]
async fn the_same_ids_can_be_had_in_four_forms() {
    let node = TestNode::start().await;
    let made = node.client().post("/api/v1/namespaces", &json!({ "name": "forms", "start": 1_000_000 })).await.json();
    let settings = json!({
        "name": "forms", "start": 1_000_000, "limit": 1_u64 << 63, "stride": 1, "offset": 0, "quota": null, "int53": false,
    });
    assert_eq!(made, settings);
    let answer = async |format: &str| {
        node.client().post("/api/v1/ids", &json!({ "namespace": "forms", "count": 3, "as": format })).await.json()
    };
    let first = answer("number").await["ids"][0].as_u64().unwrap();
    assert!(first >= 1_000_000);
    let strings = answer("string").await["ids"].clone();
    assert!(strings.as_array().unwrap().iter().all(|id| id.as_str().unwrap().parse::<u64>().unwrap() >= first));
    let base62 = answer("base62").await["ids"][0].as_str().unwrap().to_owned();
    assert!(stint_idgen::base62::decode(base62.as_bytes()).unwrap() >= 1_000_000);
    let ranges = answer("ranges").await;
    assert!(ranges.get("ids").is_none());
    let lengths = ranges["ranges"].as_array().unwrap().iter();
    assert_eq!(lengths.map(|range| range["end"].as_u64().unwrap() - range["start"].as_u64().unwrap()).sum::<u64>(), 3);
}

/// The ids of an answer, in whatever form they are.
fn read_ids(answer: &Value) -> Vec<u64> {
    if let Some(ranges) = answer["ranges"].as_array() {
        let part = |range: &Value, name: &str| range[name].as_u64().unwrap();
        let step = |range: &Value| range.get("step").map_or(1, |step| step.as_u64().unwrap());
        let ids = |range: &Value| (part(range, "start")..part(range, "end")).step_by(step(range).try_into().unwrap());
        return ranges.iter().flat_map(|range| ids(range).collect::<Vec<_>>()).collect();
    }
    let id = |id: &Value| match id.as_str() {
        None => id.as_u64().unwrap(),
        Some(text) if answer["as"] == "base62" => stint_idgen::base62::decode(text.as_bytes()).unwrap(),
        Some(text) => text.parse().unwrap(),
    };
    answer["ids"].as_array().unwrap().iter().map(id).collect()
}

#[tokio::test]
async fn each_form_goes_on_where_the_one_before_ended_and_decodes_to_the_same_id() {
    let node = TestNode::start().await;
    let client = node.client();
    let body = json!({ "name": "forms", "start": 1_u64 << 40, "stride": 7, "offset": 5 });
    assert_eq!(client.post("/api/v1/namespaces", &body).await.status, 201);
    let mut all = Vec::new();
    for format in ["ranges", "number", "base62", "string", "ranges"] {
        let body = json!({ "namespace": "forms", "count": 10, "as": format });
        let mut answer = client.post("/api/v1/ids", &body).await.json();
        answer["as"] = format.into();
        all.extend(read_ids(&answer));
    }
    let first = (1_u64 << 40) + 5;
    assert_eq!(all, (0..50).map(|n| first + 7 * n).collect::<Vec<_>>());
    for id in all.iter().step_by(9) {
        let forms = client.get(&format!("/api/v1/ids/{id}?namespace=forms")).await.json()["id"].clone();
        let base62 = forms["base62"].as_str().unwrap();
        assert_eq!((&forms["number"], &forms["string"]), (&json!(id), &json!(id.to_string())));
        let again = client.get(&format!("/api/v1/ids/{base62}?namespace=forms&as=base62")).await.json();
        assert_eq!(again["id"], forms);
    }
}

#[tokio::test]
async fn ten_million_ids_are_had_at_once_as_ranges() {
    let node = TestNode::start().await;
    namespace(&node, "many").await;
    let body = json!({ "namespace": "many", "count": 10_000_000, "as": "ranges" });
    let answer = node.client().post("/api/v1/ids", &body).await.json();
    assert_eq!(answer, json!({ "namespace": "many", "ranges": [{ "start": 1, "end": 10_000_001 }] }));
}

#[tokio::test]
async fn a_namespace_ends_at_its_limit_without_wrapping() {
    let node = TestNode::start().await;
    let client = node.client();
    let start = (1_u64 << 53) - 10;
    client.post("/api/v1/namespaces", &json!({ "name": "short", "start": start, "int53": true })).await;
    let ids = draw(&client, "short", 10).await;
    assert_eq!(ids, (start..1 << 53).collect::<Vec<_>>());
    client.post("/api/v1/ids", &json!({ "namespace": "short" })).await.problem(409, "ids-exhausted");
}

#[tokio::test]
async fn requests_for_ids_that_make_no_sense_are_refused() {
    let node = TestNode::start().await;
    namespace(&node, "sense").await;
    let client = node.client();
    for count in [json!(0), json!(100_001), json!(-1), json!("3"), json!(1.5)] {
        let body = json!({ "namespace": "sense", "count": count });
        client.post("/api/v1/ids", &body).await.problem(422, "invalid-field");
    }
    for count in [0, 10_000_001] {
        let body = json!({ "namespace": "sense", "count": count, "as": "ranges" });
        client.post("/api/v1/ids", &body).await.problem(422, "invalid-field");
    }
    client.post("/api/v1/ids", &json!({ "namespace": "none" })).await.problem(404, "namespace-not-found");
    let snowflake = client.post("/api/v1/ids", &json!({ "namespace": "snowflake" })).await;
    assert!(snowflake.problem(404, "namespace-not-found").contains("--ids snowflake"));
    client.post("/api/v1/ids", &json!({ "namespace": "links" })).await.problem(403, "forbidden");
    client.post("/api/v1/ids", &json!({ "namespace": "sense", "as": "hex" })).await.problem(422, "invalid-field");
    client.with_key(None).post("/api/v1/ids", &json!({ "namespace": "sense" })).await.problem(401, "unauthorized");
}

#[tokio::test]
async fn the_cluster_shows_where_ids_went() {
    let node = TestNode::start().await;
    namespace(&node, "spent").await;
    draw(&node.client(), "spent", 10).await;
    let node = node.restart().await;
    let cluster = node.client().get("/api/v1/cluster").await.json();
    assert_eq!((&cluster["leader"], &cluster["voters"]), (&json!(1), &json!([1])));
    assert_eq!(cluster["cluster_id"].as_str().unwrap().len(), 32);
    let spaces = cluster["namespaces"].as_array().unwrap();
    let spent = spaces.iter().find(|space| space["name"] == "spent").unwrap();
    let number = |field: &str| spent[field].as_u64().unwrap();
    assert_eq!((&cluster["audit_violations"], &cluster["worker_leases"]), (&json!(0), &json!(0)));
    assert!(cluster["members"].is_array());
    assert_eq!(number("granted"), number("live") + number("used") + number("returned") + number("lost"));
    assert!(number("used") >= 10 && number("live") == 0, "a clean stop reports what was used: {spent}");
    node.client_of("x", &["ids"]).await.get("/api/v1/cluster").await.problem(403, "forbidden");
}
