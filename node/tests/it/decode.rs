//! Reading ids back, and the audit of who got them.

use serde_json::{Value, json};

use crate::support::{Client, TestNode};

async fn namespace(client: &Client, body: &Value) {
    let answer = client.post("/api/v1/namespaces", body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

#[tokio::test]
async fn an_id_is_not_issued_before_it_was_granted_and_known_after() {
    let node = TestNode::start().await;
    let client = node.client();
    namespace(&client, &json!({ "name": "orders", "start": 1000, "stride": 10, "offset": 3 })).await;
    let decode = async |id: u64| client.get(&format!("/api/v1/ids/{id}?namespace=orders")).await.json();
    let before = decode(1003).await;
    assert_eq!((&before["status"], &before["namespace"]), (&json!("not-issued"), &json!("orders")));
    assert!(before.get("grant").is_none() && before.get("before").is_none(), "{before}");
    let drawn = client.post("/api/v1/ids", &json!({ "namespace": "orders" })).await.json();
    assert_eq!(drawn["ids"], json!([1003]));
    let after = decode(1003).await;
    let grant = &after["grant"];
    assert_eq!((&after["status"], &grant["start"]), (&json!("granted"), &json!(1003)), "{after}");
    assert_eq!((&grant["step"], &grant["fate"]), (&json!(10), &json!("live")), "{after}");
    assert_eq!(grant["holder"].as_str().unwrap().len(), 32, "{after}");
    assert_eq!(decode(999_993).await["status"], "not-issued");
}

#[tokio::test]
async fn ids_that_a_namespace_can_not_have_are_not_found() {
    let node = TestNode::start().await;
    let client = node.client();
    namespace(&client, &json!({ "name": "orders", "start": 1000, "stride": 10, "offset": 3, "int53": true })).await;
    let limit = (1_u64 << 53).to_string();
    for id in ["1000", "1004", "993", "0", limit.as_str(), "18446744073709551615", "a-b", "%FF", "-1", "zzzzzzzzzzzzzz"]
    {
        client.get(&format!("/api/v1/ids/{id}?namespace=orders")).await.problem(404, "id-not-found");
    }
    client.get("/api/v1/ids/1003?namespace=none").await.problem(404, "namespace-not-found");
    for query in ["", "?as=number", "?namespace=Upper"] {
        let refused = client.get(&format!("/api/v1/ids/1003{query}")).await;
        refused.problem(422, "invalid-field");
        assert_eq!(refused.json()["field"], "namespace");
    }
    for query in ["namespace=orders&as=ranges", "namespace=orders&x=1"] {
        client.get(&format!("/api/v1/ids/1003?{query}")).await.problem(400, "invalid-query");
    }
}

#[tokio::test]
async fn a_snowflake_id_says_its_time_worker_and_number() {
    let node = TestNode::start().await;
    let client = node.client_of("reader", &["ids"]).await;
    let decoded = client.get("/api/v1/ids/1020616769536020487?namespace=snowflake").await.json();
    let says = json!({
        "timestamp": "2025-09-17T00:46:40.000Z", "timestamp_ms": 1_758_070_000_000_u64, "worker": 5, "sequence": 7,
    });
    assert_eq!((&decoded["snowflake"], &decoded["id"]["string"]), (&says, &json!("1020616769536020487")));
    assert!(decoded.get("status").is_none());
    client.get("/api/v1/ids/9223372036854775808?namespace=snowflake").await.problem(404, "id-not-found");
}

#[tokio::test]
async fn a_links_key_is_found_by_its_code_and_by_its_number() {
    let node = TestNode::start().await;
    let client = node.client();
    let code = client.create(&json!({ "url": "https://example.com/" })).await["code"].as_str().unwrap().to_owned();
    let by_code = client.get(&format!("/api/v1/ids/{code}?namespace=links&as=base62")).await.json();
    assert_eq!((&by_code["code"], &by_code["namespace"]), (&json!(code), &json!("links")));
    assert_ne!(by_code["status"], "not-issued");
    let number = &by_code["id"]["number"];
    assert_eq!(client.get(&format!("/api/v1/ids/{number}?namespace=links")).await.json(), by_code);
    client.create(&json!({ "url": "https://example.com/", "alias": "mine" })).await;
    let alias = client.get("/api/v1/ids/mine?namespace=links").await;
    assert!(alias.problem(404, "id-not-found").contains("alias"));
    let reader = node.client_of("reader", &["ids"]).await;
    reader.get(&format!("/api/v1/ids/{code}?namespace=links")).await.problem(403, "forbidden");
}

/// The lines of an NDJSON answer.
fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn the_audit_lists_grants_in_order_and_without_overlap() {
    let node = TestNode::start().await;
    let client = node.client();
    for name in ["a", "b"] {
        namespace(&client, &json!({ "name": name, "stride": 3 })).await;
        for count in [1, 5_000, 20_000] {
            let body = json!({ "namespace": name, "count": count });
            assert_eq!(client.post("/api/v1/ids", &body).await.status, 200);
        }
    }
    let answer = client.get("/api/v1/ids/audit").await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/x-ndjson"));
    let records = lines(answer.text());
    assert!(records.is_sorted_by_key(|record| record["index"].as_u64().unwrap()));
    for name in ["a", "b"] {
        let of_name = |record: &&Value| record["event"] == "granted" && record["namespace"] == name;
        let ends = |record: &Value| [&record["ids"]["start"], &record["ids"]["end"]].map(|id| id.as_u64().unwrap());
        let ranges: Vec<_> = records.iter().filter(of_name).map(ends).collect();
        assert!(!ranges.is_empty() && ranges.windows(2).all(|pair| pair[0][1] <= pair[1][0]), "{ranges:?}");
    }
    let behind = client.get(&format!("/api/v1/ids/audit?after={}", records[0]["index"])).await;
    // More may have been committed in between.
    assert_eq!(lines(behind.text())[..records.len() - 1], records[1..]);
    for query in ["after=-1", "after=x", "follow=maybe", "since=1"] {
        client.get(&format!("/api/v1/ids/audit?{query}")).await.problem(400, "invalid-query");
    }
    let reader = node.client_of("reader", &["ids"]).await;
    reader.get("/api/v1/ids/audit").await.problem(403, "forbidden");
}

#[tokio::test]
async fn a_node_that_stops_ends_those_who_follow_the_audit_cleanly() {
    let node = TestNode::start().await;
    let following = node.client().open("/api/v1/ids/audit?follow=true").await;
    assert_eq!(following.status(), 200);
    let reading = http_body_util::BodyExt::collect(following.into_body());
    let (body, stopped) = tokio::join!(reading, node.node.stop());
    assert!(body.is_ok(), "the answer has its end: {body:?}");
    assert!(stopped, "nothing had to be cut off");
}

#[tokio::test]
async fn a_group_of_one_has_no_members_to_change() {
    let node = TestNode::start().await;
    let client = node.client();
    let member = json!({ "node_id": 2, "address": "127.0.0.1:7102" });
    client.post("/api/v1/cluster/members", &member).await.problem(409, "member-change-refused");
    client.delete("/api/v1/cluster/members/2").await.problem(409, "member-change-refused");
    client.post("/api/v1/cluster/leader", &json!({})).await.problem(409, "member-change-refused");
    for (body, field) in [
        (json!({ "node_id": 0, "address": "a:1" }), "node_id"),
        (json!({ "node_id": 2, "address": "http://a:1" }), "address"),
        (json!({ "node_id": 2 }), "address"),
        (json!({ "node_id": "2", "address": "a:1" }), "node_id"),
    ] {
        let refused = client.post("/api/v1/cluster/members", &body).await;
        refused.problem(422, "invalid-field");
        assert_eq!(refused.json()["field"], field, "{body}");
    }
    client.delete("/api/v1/cluster/members/two").await.problem(404, "not-found");
    let reader = node.client_of("reader", &["ids"]).await;
    reader.post("/api/v1/cluster/members", &member).await.problem(403, "forbidden");
    reader.delete("/api/v1/cluster/members/2").await.problem(403, "forbidden");
    reader.post("/api/v1/cluster/leader", &json!({})).await.problem(403, "forbidden");
}
