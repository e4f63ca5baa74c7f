//! Bad input: refused with a problem that says what to change, never a server error, never a panic.

use axum::body::Body;
use axum::http::Method;
use serde_json::json;

use crate::support::{Client, Response, TestNode};

async fn post_raw(client: &Client, content_type: Option<&str>, body: impl Into<Body>) -> Response {
    let headers: Vec<_> = content_type.map(|value| ("content-type", value)).into_iter().collect();
    client.send(client.request(Method::POST, "/api/v1/links", &headers, body.into())).await
}

#[tokio::test]
async fn urls_that_can_not_be_targets_are_refused() {
    let node = TestNode::start().await;
    let long = format!("https://example.com/{}", "x".repeat(70_000));
    for (url, hint) in [
        ("", "give the URL"),
        (&*long, "8192"),
        ("javascript:alert(1)", "http://"),
        ("data:text/html,hello", "http://"),
        ("file:///etc/passwd", "http://"),
        ("example.com", "http://"),
        ("https://", "no host"),
        ("https:///path", "no host"),
        ("http://?x", "no host"),
        ("https://example.com/a\u{1}b", "control character"),
        ("https://example.com/\r\nSet-Cookie:%20a=b", "control character"),
        ("https://example.com/a b", "%20"),
        ("https://exa mple.com/", "%20"),
        ("https://example.com:99999/", "port"),
        ("https://[::1/", "IPv6"),
        ("https://a<b/", "`<`"),
        ("https://\u{e000}.example/", "host"),
    ] {
        let refused = node.client().post("/api/v1/links", &json!({ "url": url })).await;
        let detail = refused.problem(422, "invalid-url");
        assert!(detail.contains(hint), "{:?} says {detail:?}", &url[..url.len().min(60)]);
        assert_eq!(refused.json()["field"], "url");
    }
    node.client().create(&json!({ "url": "ftp://example.com/file" })).await;
}

#[tokio::test]
async fn a_link_to_stint_itself_is_refused() {
    let node = TestNode::start().await;
    let port = node.node.address.port();
    for host in ["127.0.0.1", "localhost", "LOCALHOST", "[::1]", "user@127.0.0.1", "localhost."] {
        let refused = node.client().post("/api/v1/links", &json!({ "url": format!("http://{host}:{port}/abc") })).await;
        refused.problem(422, "link-loop");
    }
    node.client().create(&json!({ "url": "http://127.0.0.1:1/another-port" })).await;
    let named = TestNode::start_with(&[("http.public_url", "https://sho.rt")]).await;
    for url in ["https://sho.rt/x", "https://SHO.rt:443", "https://sho.rt./", "http://sho.rt/x"] {
        named.client().post("/api/v1/links", &json!({ "url": url })).await.problem(422, "link-loop");
    }
    let link = named.client().create(&json!({ "url": "https://example.com/", "alias": "named" })).await;
    assert_eq!(link["short_url"], "https://sho.rt/named");
    named.client().patch("/api/v1/links/named", &json!({ "url": "https://sho.rt/" })).await.problem(422, "link-loop");
}

#[tokio::test]
async fn aliases_that_can_not_be_are_refused() {
    let node = TestNode::start().await;
    for (alias, slug) in [
        ("api", "alias-reserved"),
        ("API", "alias-reserved"),
        ("Metrics", "alias-reserved"),
        ("_hidden", "alias-reserved"),
        ("", "invalid-alias"),
        (&*"x".repeat(65), "invalid-alias"),
        ("a b", "invalid-alias"),
        ("a/b", "invalid-alias"),
        ("été", "invalid-alias"),
        ("a+", "invalid-alias"),
        ("a\0", "invalid-alias"),
    ] {
        let body = json!({ "url": "https://example.com/", "alias": alias });
        node.client().post("/api/v1/links", &body).await.problem(422, slug);
    }
}

#[tokio::test]
async fn fields_that_can_not_be_are_refused_by_name() {
    let node = TestNode::start().await;
    for (body, field) in [
        (r#"{"url":"https://a.example","title":"a\u0000b"}"#, "title"),
        (r#"{"url":"https://a.example","title":""}"#, "title"),
        (r#"{"url":"https://a.example","tags":["a,b"]}"#, "tags"),
        (r#"{"url":"https://a.example","tags":"a"}"#, "tags"),
        (r#"{"url":"https://a.example","tags":[1]}"#, "tags[0]"),
        (r#"{"url":"https://a.example","expires_at":"2001-01-01T00:00:00Z"}"#, "expires_at"),
        (r#"{"url":"https://a.example","expires_at":"tomorrow"}"#, "expires_at"),
        (r#"{"url":"https://a.example","expires_at":"99999-01-01T00:00:00Z"}"#, "expires_at"),
        (r#"{"url":"https://a.example","expires_at":4102444800}"#, "expires_at"),
        (r#"{"url":"https://a.example","max_visits":0}"#, "max_visits"),
        (r#"{"url":"https://a.example","max_visits":-1}"#, "max_visits"),
        (r#"{"url":"https://a.example","max_visits":1.5}"#, "max_visits"),
        (r#"{"url":"https://a.example","max_visits":18446744073709551615}"#, "max_visits"),
        (r#"{"url":"https://a.example","max_visits":99999999999999999999999}"#, "max_visits"),
        (r#"{"url":"https://a.example","alias":"x","reuse":true}"#, "reuse"),
        (r#"{"url":"https://a.example","ulr":"https://b.example"}"#, "ulr"),
        (r#"{"url":"https://a.example","url":"https://b.example"}"#, "url"),
        (r#"{"url":7}"#, "url"),
        ("{}", "url"),
    ] {
        let refused = post_raw(&node.client(), Some("application/json"), body).await;
        refused.problem(422, "invalid-field");
        assert_eq!(refused.json()["field"], field, "{body}: {}", refused.text());
    }
    for body in ["[]", "null", "7", "[\"https://a.example\",null,null,null,null,null,null]"] {
        post_raw(&node.client(), Some("application/json"), body).await.problem(422, "invalid-field");
    }
}

#[tokio::test]
async fn bodies_that_are_no_json_are_refused() {
    let node = TestNode::start().await;
    let json = Some("application/json");
    for body in [
        &b"{\"url\":\"https://a.exa"[..],
        b"",
        b"url=https://a.example",
        b"{\"url\":\"https://a.example\"} trailing",
        b"{\"url\":\"\\ud800\"}",
        b"{\"url\":\"https://a.example/\xff\xfe\"}",
        b"{\"url\":\"https://a.example\",\"max_visits\":1e999}",
        b"\xef\xbb\xbf{\"url\":\"https://a.example\"}",
    ] {
        post_raw(&node.client(), json, Body::from(body.to_vec())).await.problem(400, "malformed-body");
    }
    let deep = "[".repeat(100_000);
    post_raw(&node.client(), json, deep).await.problem(400, "malformed-body");
    let large = format!("{{\"url\":\"{}\"}}", "x".repeat(300_000));
    post_raw(&node.client(), json, large).await.problem(413, "body-too-large");
    for content_type in [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("json")] {
        let refused = post_raw(&node.client(), content_type, r#"{"url":"https://a.example"}"#).await;
        refused.problem(415, "unsupported-media-type");
    }
    let json = Some("Application/JSON; charset=utf-8");
    assert_eq!(post_raw(&node.client(), json, r#"{"url":"https://a.example"}"#).await.status, 201);
}

#[tokio::test]
async fn codes_with_bytes_outside_the_alphabet_are_not_found() {
    let node = TestNode::start().await;
    for path in ["/%ff%fe", "/%00", "/a%20b", "/%2e%2e", "/a.b", "/%F0%9F%92%A9", "/a%0d%0aSet-Cookie:x", "/+", "/%"] {
        node.visitor().get(path).await.problem(404, "link-not-found");
    }
    for path in ["/api/v1/links/%ff", "/api/v1/links/a%00b", "/api/v1/links/a%20b"] {
        let answer = node.client().get(path).await;
        answer.problem(404, "link-not-found");
    }
    node.visitor().get("/docs/problems/%FF").await.problem(404, "not-found");
    node.client().delete("/api/v1/keys/%FF").await.problem(404, "key-not-found");
    node.visitor().get("/favicon.ico").await.problem(404, "link-not-found");
}

#[tokio::test]
async fn headers_that_make_no_sense_are_refused() {
    let node = TestNode::start().await;
    for value in ["Basic dXNlcjpwYXNz", "Bearer", "stint_x", "Bearer  "] {
        let answer = node.visitor().get_with("/api/v1/links", &[("authorization", value)]).await;
        answer.problem(401, "unauthorized");
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
    }
    let empty = node.visitor().get_with("/api/v1/links", &[("x-api-key", "")]).await;
    empty.problem(401, "unauthorized");
    let huge = node.visitor().get_with("/x", &[("x-padding", &"p".repeat(100_000))]).await;
    assert_eq!(huge.status, 431);
    let given = node.visitor().get_with("/x", &[("x-request-id", "trace-1.a:b")]).await;
    assert_eq!(given.header("x-request-id"), "trace-1.a:b");
    let unfit = node.visitor().get_with("/x", &[("x-request-id", "a b\"c")]).await;
    assert_ne!(unfit.header("x-request-id"), "a b\"c");
}

#[tokio::test]
async fn an_international_host_is_stored_as_punycode_and_shown_readable() {
    let node = TestNode::start().await;
    let link = node.client().create(&json!({ "url": "https://Bücher.example/Größe", "alias": "idn" })).await;
    assert_eq!(link["url"], "https://xn--bcher-kva.example/Gr%C3%B6%C3%9Fe");
    assert_eq!(node.visitor().location("idn").await, link["url"]);
    assert!(node.visitor().get("/idn+").await.text().contains("bücher.example"));
}
