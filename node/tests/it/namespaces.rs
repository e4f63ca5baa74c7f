//! Namespaces of ids: what they are made with, who may see and change them, and where they end.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::{Client, TestNode, in_parallel};

async fn create(client: &Client, body: &Value) -> Value {
    let answer = client.post("/api/v1/namespaces", body).await;
    assert_eq!(answer.status, 201, "{body}: {answer:?}");
    answer.json()
}

async fn draw(client: &Client, namespace: &str, count: u64) -> Vec<u64> {
    let answer = client.post("/api/v1/ids", &json!({ "namespace": namespace, "count": count })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect()
}

#[tokio::test]
async fn regions_of_one_stride_on_nodes_that_know_nothing_of_each_other_never_meet() {
    let regions = [TestNode::start().await, TestNode::start().await];
    let mut all = Vec::new();
    for (offset, region) in regions.iter().enumerate() {
        let client = region.client();
        create(&client, &json!({ "name": "orders", "start": 1000, "stride": 2, "offset": offset })).await;
        let ids = in_parallel(8, 0..20, |n| draw(&client, "orders", 100 + n)).await.concat();
        assert!(ids.iter().all(|id| *id >= 1000 && id % 2 == offset as u64), "offset {offset}");
        all.extend(ids);
    }
    assert!(all.len() > 4_000);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
}

#[tokio::test]
async fn namespaces_are_made_once_and_their_settings_stay() {
    let node = TestNode::start().await;
    let client = node.client();
    let body = json!({ "name": "tickets", "int53": true, "stride": 4, "offset": 1, "quota": 70 });
    let made = create(&client, &body).await;
    assert_eq!((&made["int53"], &made["stride"], &made["quota"]), (&json!(true), &json!(4), &json!(70)));
    let again = client.post("/api/v1/namespaces", &body).await;
    assert_eq!((again.status.as_u16(), again.json()), (200, made));
    let other = client.post("/api/v1/namespaces", &json!({ "name": "tickets", "start": 5 })).await;
    let detail = other.problem(409, "namespace-differs");
    assert!(detail.contains("start 1, stride 4, offset 1, quota 70, int53 true"), "{detail}");
    for name in ["", "Upper", "1st", "a b", &"x".repeat(65)] {
        client.post("/api/v1/namespaces", &json!({ "name": name })).await.problem(422, "invalid-field");
    }
    for name in ["links", "snowflake"] {
        client.post("/api/v1/namespaces", &json!({ "name": name })).await.problem(403, "forbidden");
        let path = format!("/api/v1/namespaces/{name}");
        client.patch(&path, &json!({ "quota": 5 })).await.problem(403, "forbidden");
    }
}

#[tokio::test]
async fn settings_that_can_not_be_are_refused_by_name() {
    let node = TestNode::start().await;
    let client = node.client();
    for (settings, field, hint) in [
        (json!({ "start": 1_u64 << 63 }), "start", "below 9223372036854775808"),
        (json!({ "start": 1_u64 << 53, "int53": true }), "start", "int53"),
        (json!({ "start": -1 }), "start", "integer"),
        (json!({ "stride": 0 }), "stride", "from 1"),
        (json!({ "stride": u64::MAX }), "stride", "9223372036854775808"),
        (json!({ "offset": 1 }), "offset", "from 0 to 0"),
        (json!({ "stride": 3, "offset": 3 }), "offset", "from 0 to 2"),
        (json!({ "start": (1_u64 << 53) - 1, "stride": 3, "offset": 1, "int53": true }), "offset", "sum"),
        (json!({ "quota": 0 }), "quota", "1 or more"),
        (json!({ "quota": 1.5 }), "quota", "1.5"),
        (json!({ "int53": "yes" }), "int53", "boolean"),
        (json!({ "limit": 5 }), "limit", "unknown"),
    ] {
        let mut body = settings;
        body["name"] = "refused".into();
        let refused = client.post("/api/v1/namespaces", &body).await;
        let detail = refused.problem(422, "invalid-field");
        assert_eq!(refused.json()["field"], field, "{body}: {detail}");
        assert!(detail.contains(hint), "{body}: {detail}");
    }
    client.get("/api/v1/namespaces/refused").await.problem(404, "namespace-not-found");
}

#[tokio::test]
async fn a_quota_that_is_reached_stops_ids_until_it_is_raised() {
    let node = TestNode::start().await;
    let client = node.client();
    create(&client, &json!({ "name": "trial", "quota": 30 })).await;
    let asking = json!({ "namespace": "trial", "count": 31 });
    let detail = client.post("/api/v1/ids", &asking).await.problem(409, "quota-reached");
    assert!(detail.contains("PATCH /api/v1/namespaces/trial"), "{detail}");
    assert_eq!(draw(&client, "trial", 30).await, (1..=30).collect::<Vec<_>>(), "what was refused took nothing away");
    for (quota, more) in [(json!(35), 5), (json!(null), 100)] {
        client.post("/api/v1/ids", &json!({ "namespace": "trial" })).await.problem(409, "quota-reached");
        let changed = client.patch("/api/v1/namespaces/trial", &json!({ "quota": quota })).await;
        assert_eq!((changed.status.as_u16(), &changed.json()["quota"]), (200, &quota));
        draw(&client, "trial", more).await;
    }
    let unchanged = client.patch("/api/v1/namespaces/trial", &json!({})).await;
    assert_eq!((unchanged.status.as_u16(), &unchanged.json()["quota"]), (200, &json!(null)));
    for (body, field) in [(json!({ "quota": 0 }), "quota"), (json!({ "start": 7 }), "start")] {
        let refused = client.patch("/api/v1/namespaces/trial", &body).await;
        refused.problem(422, "invalid-field");
        assert_eq!(refused.json()["field"], field);
    }
    let missing = client.patch("/api/v1/namespaces/none", &json!({ "quota": 5 })).await;
    missing.problem(404, "namespace-not-found");
}

#[tokio::test]
async fn a_namespace_shows_its_next_id_and_what_is_left() {
    let node = TestNode::start().await;
    let client = node.client();
    let settings = json!({ "name": "shown", "start": 100, "stride": 10, "offset": 3, "quota": 5000, "int53": true });
    create(&client, &settings).await;
    let fresh = client.get("/api/v1/namespaces/shown").await.json();
    assert_eq!((&fresh["floor"], &fresh["left"], &fresh["granted"]), (&json!(103), &json!(5000), &json!(0)));
    let last = *draw(&client, "shown", 500).await.last().unwrap();
    assert_eq!(last, 103 + 4_990);
    let node = node.restart().await;
    let shown = node.client().get("/api/v1/namespaces/shown").await.json();
    let number = |field: &str| shown[field].as_u64().unwrap();
    assert!(number("floor") > last && number("floor") % 10 == 3, "an id, not a counter: {shown}");
    assert_eq!(number("floor"), 103 + 10 * number("granted"));
    assert_eq!(number("left") + number("granted"), 5000);
    assert_eq!((number("used"), number("live")), (500, 0), "{shown}");
}

#[tokio::test]
async fn namespaces_are_listed_by_name_page_by_page() {
    let node = TestNode::start().await;
    for name in ["b", "a.1", "c", "a"] {
        create(&node.client(), &json!({ "name": name })).await;
    }
    let reader = node.client_of("reader", &["ids"]).await;
    let (mut names, mut after) = (Vec::new(), String::new());
    loop {
        let page = reader.get(&format!("/api/v1/namespaces?limit=2{after}")).await.json();
        let spaces = page["namespaces"].as_array().unwrap();
        assert!((1..=2).contains(&spaces.len()), "no page is empty: {page}");
        names.extend(spaces.iter().map(|space| space["name"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_after"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(names, ["a", "a.1", "b", "c", "links"]);
    for query in ["limit=0", "limit=1001", "limit=x", "cursor=a"] {
        reader.get(&format!("/api/v1/namespaces?{query}")).await.problem(400, "invalid-query");
    }
}

#[tokio::test]
async fn ids_may_be_seen_with_their_scope_and_changed_by_admins_only() {
    let node = TestNode::start().await;
    create(&node.client(), &json!({ "name": "mine" })).await;
    let reader = node.client_of("reader", &["ids"]).await;
    assert_eq!(reader.get("/api/v1/namespaces/links").await.json()["name"], "links");
    reader.post("/api/v1/namespaces", &json!({ "name": "more" })).await.problem(403, "forbidden");
    reader.patch("/api/v1/namespaces/mine", &json!({ "quota": 5 })).await.problem(403, "forbidden");
    let other = node.client_of("other", &["links:read"]).await;
    for path in ["/api/v1/namespaces", "/api/v1/namespaces/mine", "/api/v1/ids/1?namespace=mine"] {
        other.get(path).await.problem(403, "forbidden");
        node.visitor().get(path).await.problem(401, "unauthorized");
    }
    for name in ["none", "%FF", "A", "a%20b"] {
        reader.get(&format!("/api/v1/namespaces/{name}")).await.problem(404, "namespace-not-found");
    }
}
