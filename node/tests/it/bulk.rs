//! Creating many links with one request.

use axum::body::{Body, Bytes};
use axum::http::Method;
use serde_json::{Value, json};

use crate::support::{Client, Response, TestNode, in_parallel, real_urls};

const BULK: &str = "/api/v1/links/bulk";
pub(crate) const NDJSON: &str = "application/x-ndjson";

pub(crate) async fn send(client: &Client, media_type: &str, body: impl Into<Body>) -> Response {
    send_with(client, &[("content-type", media_type)], body).await
}

async fn send_with(client: &Client, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    client.send(client.request(Method::POST, BULK, headers, body.into())).await
}

pub(crate) fn lines(response: &Response) -> Vec<Value> {
    assert_eq!((response.status.as_u16(), response.header("content-type")), (200, NDJSON), "{}", response.text());
    response.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn each_row_has_a_result_of_its_own_in_order() {
    let node = TestNode::start().await;
    let client = node.client();
    client.create(&json!({ "url": "https://example.com/", "alias": "taken" })).await;
    let rows = json!([
        { "url": "https://example.com/1" },
        { "url": "no url" },
        { "url": "https://example.com/3", "alias": "taken" },
        { "url": "https://example.com/1" },
        { "url": "https://example.com/5", "alias": "a-name-of-its-own", "max_visits": 1 },
        { "title": "no url" },
    ]);
    let response = send(&client, "application/json", rows.to_string()).await;
    assert_eq!((response.status.as_u16(), response.header("content-type")), (200, "application/json"));
    let results = response.json();
    let results = results.as_array().unwrap();
    let statuses: Vec<_> = results.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    assert!([[201, 200], [200, 201]].contains(&[statuses[0], statuses[3]]), "of equal rows any is the first");
    assert_eq!([statuses[1], statuses[2], statuses[4], statuses[5]], [422, 409, 201, 422]);
    for (index, result) in results.iter().enumerate() {
        assert_eq!(result["index"], index);
    }
    assert_eq!(results[0]["code"], results[3]["code"], "a repeat is reused");
    assert_eq!(results[4]["code"], "a-name-of-its-own");
    assert_eq!(results[2]["problem"]["type"], "/docs/problems/alias-taken");
    assert_eq!(results[5]["problem"]["field"], "url");
    assert_eq!(results[5]["problem"]["request_id"], response.header("x-request-id"));
    let code = results[0]["code"].as_str().unwrap();
    assert_eq!(results[0]["short_url"], format!("http://{}/{code}", node.node.address));
    assert_eq!(node.visitor().location(code).await, "https://example.com/1");
}

#[tokio::test]
async fn twenty_thousand_real_urls_are_created_with_one_request() {
    let node = TestNode::start().await;
    let urls = real_urls();
    let body: String = urls.iter().map(|url| json!({ "url": url }).to_string() + "\n").collect();
    let results = lines(&send(&node.client(), NDJSON, body).await);
    assert_eq!(results.len(), urls.len());
    let visitor = node.visitor();
    let every_hundredth = results.iter().zip(&urls).step_by(100);
    in_parallel(16, every_hundredth, async |(result, url)| {
        assert_eq!(visitor.location(result["code"].as_str().unwrap()).await, *url, "{result}");
    })
    .await;
}

#[tokio::test]
async fn a_request_with_an_idempotency_key_can_be_repeated() {
    let node = TestNode::start().await;
    let client = node.client();
    let headers = [("content-type", NDJSON), ("idempotency-key", "once")];
    let body =
        "{\"url\":\"https://example.com/1\",\"reuse\":false}\n{\"url\":\"https://example.com/1\",\"reuse\":false}\n";
    let first = lines(&send_with(&client, &headers, body).await);
    assert_ne!(first[0]["code"], first[1]["code"]);
    assert_eq!(lines(&send_with(&client, &headers, body).await), first);
    let other = lines(&send_with(&client, &headers, "{\"url\":\"https://example.com/2\"}").await);
    assert_eq!(other[0]["problem"]["type"], "/docs/problems/idempotency-key-reused");
}

#[tokio::test]
async fn a_body_that_breaks_off_has_a_last_result_that_says_so_and_the_rows_before_it_are_done() {
    let node = TestNode::start().await;
    let client = node.client();
    let response = send(&client, "application/json", r#"[{"url":"https://example.com/1"},{"url":"https"#).await;
    let results = response.json();
    assert_eq!(results[0]["status"], 201);
    assert_eq!(results[1]["problem"]["type"], "/docs/problems/malformed-body");
    let body = "{\"url\":\"https://example.com/1\"}\n{\"url\":\n{\"url\":\"https://example.com/3\"}\n";
    let statuses: Vec<_> = lines(&send(&client, NDJSON, body).await).iter().map(|it| it["status"].clone()).collect();
    assert_eq!(statuses, [200, 400, 201], "a line that is no JSON is that line's mistake");
}

#[tokio::test]
async fn what_is_no_list_of_rows_is_refused_as_a_whole() {
    let node = TestNode::start().await;
    let client = node.client();
    send(&client, "application/json", r#"{"url":"https://example.com/"}"#).await.problem(400, "malformed-body");
    send(&client, "text/plain", "[]").await.problem(415, "unsupported-media-type");
    send(&node.client_of("reader", &["links:read"]).await, NDJSON, "{}").await.problem(403, "forbidden");
    let long = "x".repeat(249);
    let headers = [("content-type", NDJSON), ("idempotency-key", long.as_str())];
    send_with(&client, &headers, "{}").await.problem(400, "invalid-idempotency-key");
    assert_eq!(send(&client, "application/json", "[]").await.json(), json!([]));
    assert_eq!(lines(&send(&client, NDJSON, "\n").await), [Value::Null; 0]);
}

#[tokio::test]
async fn rows_past_the_hundred_thousandth_are_not_read() {
    let node = TestNode::start().await;
    // Rows that fail at once: what is tested is how many are read.
    let row = Bytes::from_static(b"{}\n");
    let body =
        Body::from_stream(futures_util::stream::iter((0..100_005).map(move |_| Ok::<_, std::io::Error>(row.clone()))));
    let results = lines(&send(&node.client(), NDJSON, body).await);
    assert_eq!(results.len(), 100_001);
    assert_eq!(results[99_999]["problem"]["field"], "url");
    assert_eq!(results[100_000]["problem"]["type"], "/docs/problems/body-too-large");
}

#[tokio::test]
async fn a_link_called_bulk_is_managed_like_any_other() {
    let node = TestNode::start().await;
    let client = node.client();
    client.create(&json!({ "url": "https://example.com/", "alias": "bulk" })).await;
    assert_eq!(client.get(BULK).await.json()["url"], "https://example.com/");
    assert_eq!(client.patch(BULK, &json!({ "title": "B" })).await.json()["title"], "B");
    assert_eq!(node.visitor().location("bulk").await, "https://example.com/");
}
