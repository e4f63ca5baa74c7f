//! Rate limits: who is refused, what it is told, and whom it doesn't concern.

use serde_json::{Value, json};

use crate::support::fleet::{Fleet, Wanted};
use crate::support::{Client, Response, TestNode};

/// Three an hour: nothing comes back while a test runs.
const THREE: &str = "3/1h";

fn url(n: usize) -> Value {
    json!({ "url": format!("https://example.com/{n}") })
}

/// Creates a link as somebody whom the proxy on loopback saw at `address`.
async fn create_from(client: &Client, address: &str, n: usize) -> Response {
    client.post_with("/api/v1/links", &[("x-forwarded-for", address)], &url(n)).await
}

async fn follow_from(client: &Client, address: &str, code: &str) -> Response {
    client.get_with(&format!("/{code}"), &[("x-forwarded-for", address)]).await
}

async fn refused(admin: &Client, policy: &str) -> u64 {
    admin.sample(&format!("stint_rate_limited_total{{policy=\"{policy}\"}}")).await.expect("it is there from the start")
}

#[tokio::test]
async fn a_key_creates_as_many_links_as_it_may_and_is_told_what_is_left() {
    let node = TestNode::start_with(&[("http.limits.create", THREE)]).await;
    let (one, other) = (node.client_of("one", &["links:write"]).await, node.client_of("other", &["links:write"]).await);
    for left in (0..3).rev() {
        let created = one.post("/api/v1/links", &url(left)).await;
        assert_eq!((created.status.as_u16(), created.header("retry-after")), (201, ""));
        let (shown, seconds) = created.header("ratelimit").rsplit_once('=').unwrap();
        assert_eq!(shown, format!("\"create\";r={left};t"));
        assert!((1100..=1200).contains(&seconds.parse::<u64>().unwrap()), "{created:?}");
        assert_eq!(created.header("ratelimit-policy"), "\"create\";q=3;w=3600");
    }
    let refusal = one.post("/api/v1/links", &url(9)).await;
    assert!(refusal.problem(429, "rate-limited").contains("3 links in 3600s"), "{refusal:?}");
    let seconds: u64 = refusal.header("retry-after").parse().unwrap();
    assert!((1100..=1200).contains(&seconds), "{seconds}");
    assert_eq!(refusal.header("ratelimit"), format!("\"create\";r=0;t={seconds}"));
    assert_eq!(refusal.header("ratelimit-policy"), "\"create\";q=3;w=3600");
    assert_eq!(other.post("/api/v1/links", &url(9)).await.status, 201, "each key has its own");
    for n in 10..20 {
        let created = node.client().post("/api/v1/links", &url(n)).await;
        assert_eq!((created.status.as_u16(), created.header("ratelimit")), (201, ""), "an admin has no limit");
    }
    assert_eq!(refused(&node.admin(), "create").await, 1);
}

#[tokio::test]
async fn a_refusal_comes_before_the_body_and_creates_nothing() {
    let node = TestNode::start_with(&[("http.limits.create", "1/1h")]).await;
    let client = node.client_of("one", &["links:write", "links:read"]).await;
    client.post("/api/v1/links", &json!({ "url": "no URL" })).await.problem(422, "invalid-url");
    client.post("/api/v1/links", &json!("no object")).await.problem(429, "rate-limited");
    client.post("/api/v1/links", &url(1)).await.problem(429, "rate-limited");
    assert_eq!(client.get("/api/v1/links").await.json()["links"], json!([]), "reading has no limit");
}

#[tokio::test]
async fn each_row_of_a_bulk_request_counts_and_the_rows_behind_a_refused_one_can_be_sent_again() {
    let node = TestNode::start_with(&[("http.limits.create", "5/1s")]).await;
    let client = node.client_of("one", &["links:write"]).await;
    let (mut rows, mut sent) = ((0..12).map(url).collect::<Vec<_>>(), 0);
    while !rows.is_empty() {
        sent += 1;
        let answer = client.post("/api/v1/links/bulk", &json!(rows)).await;
        assert_eq!(answer.status, 200);
        let results = answer.json();
        let statuses: Vec<_> = results.as_array().unwrap().iter().map(|row| row["status"].as_u64().unwrap()).collect();
        let done = statuses.iter().filter(|status| **status == 201).count();
        let refused = statuses.len() - done;
        assert_eq!(statuses, [vec![201; done], vec![429; refused]].concat());
        assert_eq!(answer.header("ratelimit-policy"), "\"create\";q=5;w=1");
        assert_eq!(answer.header("retry-after"), if refused > 0 { "1" } else { "" });
        if refused > 0 {
            assert_eq!(results[done]["problem"]["type"], "/docs/problems/rate-limited");
        }
        rows.drain(..done);
    }
    assert!(sent > 1, "twelve are more than five");
    assert!(refused(&node.admin(), "create").await >= 7);
}

#[tokio::test]
async fn a_bulk_request_under_one_idempotency_key_can_be_repeated_as_a_whole_until_it_is_done() {
    let node = TestNode::start_with(&[("http.limits.create", "5/1s")]).await;
    let client = node.client_of("one", &["links:write", "links:read"]).await;
    let row = |n| json!({ "url": format!("https://example.com/{n}"), "reuse": false });
    let rows: Vec<_> = (0..12).map(row).collect();
    let headers = [("idempotency-key", "all of them")];
    let mut done = 0;
    while done < 12 {
        let answer = client.post_with("/api/v1/links/bulk", &headers, &json!(rows)).await.json();
        let now = answer.as_array().unwrap().iter().filter(|row| row["status"] == 201).count();
        assert!(now >= done, "what was done is not refused: {answer}");
        done = now;
    }
    assert_eq!(client.get("/api/v1/links").await.json()["links"].as_array().unwrap().len(), 12, "each was made once");
}

#[tokio::test]
async fn without_a_key_each_address_behind_the_proxy_has_its_own_allowance() {
    let limits = [("http.limits.anonymous", THREE), ("http.trusted_proxies", "127.0.0.0/8")];
    let node = TestNode::start_with(&limits).await;
    let visitor = node.visitor();
    for n in 0..3 {
        assert_eq!(create_from(&visitor, "2001:db8::1", n).await.status, 201);
    }
    create_from(&visitor, "2001:db8::2", 3).await.problem(429, "rate-limited");
    create_from(&visitor, "192.0.2.66, 2001:db8::1", 3).await.problem(429, "rate-limited");
    assert_eq!(create_from(&visitor, "192.0.2.66", 3).await.status, 201);
    assert_eq!(create_from(&node.client(), "2001:db8::1", 3).await.status, 201, "with a key it is not counted");
    assert_eq!(refused(&node.admin(), "anonymous").await, 2);
}

#[tokio::test]
async fn nobody_who_is_not_behind_a_proxy_can_choose_an_address() {
    let node = TestNode::start_with(&[("http.limits.anonymous", "1/1h")]).await;
    assert_eq!(create_from(&node.visitor(), "192.0.2.1", 1).await.status, 201);
    create_from(&node.visitor(), "192.0.2.2", 2).await.problem(429, "rate-limited");
}

#[tokio::test]
async fn whoever_guesses_codes_is_stopped_and_learns_nothing_more() {
    let limits = [("http.limits.guess", THREE), ("http.trusted_proxies", "127.0.0.1")];
    let node = TestNode::start_with(&limits).await;
    node.client().create(&json!({ "url": "https://example.com/", "alias": "there" })).await;
    let (visitor, thief) = (node.visitor(), node.client().with_key(Some("stint_00000000000000000000000000000000")));
    follow_from(&visitor, "192.0.2.1", "favicon.ico").await.problem(404, "link-not-found");
    follow_from(&visitor, "192.0.2.1", "nothing1").await.problem(404, "link-not-found");
    follow_from(&visitor, "192.0.2.1", "nothing2+").await.problem(404, "link-not-found");
    create_from(&thief, "192.0.2.1", 1).await.problem(401, "unauthorized");
    assert_eq!(follow_from(&visitor, "192.0.2.1", "there").await.status, 302, "what exists is no guess");
    let refusal = follow_from(&visitor, "192.0.2.1", "nothing3").await;
    refusal.problem(429, "rate-limited");
    assert!(refusal.header("ratelimit").starts_with("\"guess\";r=0;t="), "{refusal:?}");
    follow_from(&visitor, "192.0.2.1", "there").await.problem(429, "rate-limited");
    follow_from(&visitor, "192.0.2.1", "there+").await.problem(429, "rate-limited");
    follow_from(&visitor, "192.0.2.1", "api/v1/links/there/qr").await.problem(429, "rate-limited");
    create_from(&thief, "192.0.2.1", 1).await.problem(429, "rate-limited");
    let writer = node.client_of("writer", &["links:write"]).await;
    assert_eq!(create_from(&writer, "192.0.2.1", 1).await.status, 201, "a good key goes on");
    assert_eq!(follow_from(&visitor, "192.0.2.2", "there").await.status, 302, "others go on");
    assert_eq!(refused(&node.admin(), "guess").await, 5);
}

#[tokio::test]
async fn other_people_s_links_can_not_be_found_through_the_api_either() {
    let node = TestNode::start_with(&[("http.limits.guess", THREE)]).await;
    node.client().create(&json!({ "url": "https://example.com/", "alias": "foreign" })).await;
    let tenant = node.client_of("tenant", &["links:read", "links:write"]).await;
    let own = tenant.create(&json!({ "url": "https://example.com/own" })).await;
    let own = format!("/api/v1/links/{}", own["code"].as_str().unwrap());
    tenant.get("/api/v1/links/foreign").await.problem(403, "forbidden");
    tenant.get("/api/v1/links/nothing1/stats").await.problem(404, "link-not-found");
    tenant.patch("/api/v1/links/nothing2", &json!({ "title": "x" })).await.problem(404, "link-not-found");
    assert_eq!(tenant.get(&own).await.status, 200);
    tenant.delete("/api/v1/links/foreign").await.problem(429, "rate-limited");
    tenant.get(&own).await.problem(429, "rate-limited");
    for n in 0..5 {
        node.client().get(&format!("/api/v1/links/nothing{n}")).await.problem(404, "link-not-found");
    }
    assert_eq!(tenant.get("/api/v1/links").await.status, 200, "nothing is found in a list of one's own");
}

#[tokio::test]
async fn following_too_much_is_refused_for_a_browser_as_a_page() {
    let node = TestNode::start_with(&[("http.limits.follow", THREE)]).await;
    node.client().create(&json!({ "url": "https://example.com/", "alias": "there" })).await;
    for _ in 0..3 {
        assert_eq!(node.visitor().get("/there").await.status, 302);
    }
    node.visitor().get("/there").await.problem(429, "rate-limited");
    let page = node.visitor().get_with("/there", &[("accept", "text/html")]).await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (429, "text/html; charset=utf-8"));
    assert_eq!(node.admin().sample::<u64>("stint_rate_limited_total{policy=\"follow\"}").await, Some(2));
}

#[tokio::test]
async fn nodes_count_together_through_redis_and_each_for_itself_without() {
    let mut fleet = Fleet::without_nodes(Wanted { source: "postgres", replicas: 0, ..Wanted::default() }).await;
    let settings = [("STINT_IDS__SOURCE", "postgres"), ("STINT_HTTP__LIMITS__CREATE", THREE)];
    for number in 1..=2 {
        let node = fleet.serve(number, &settings).await;
        fleet.nodes.push(node);
    }
    fleet.all_ready().await;
    let keys = json!({ "name": "one", "scopes": ["links:write"] });
    let key = fleet.client(0).post("/api/v1/keys", &keys).await.json();
    let nodes = [0, 1].map(|node| fleet.client(node).with_key(key["key"].as_str()));
    for n in 0..3 {
        assert_eq!(nodes[n % 2].post("/api/v1/links", &url(n)).await.status, 201);
    }
    let together = granted_until_refused(&nodes).await;
    assert!(together <= 6, "a slow answer of Redis may have let each node count for itself once: {together}");
    fleet.redis.kill();
    let alone = granted_until_refused(&nodes).await;
    assert!(
        (together..=6).contains(&(together + alone)),
        "each node has three of its own, and no user an error: {alone}"
    );
}

/// How many links can be created through all nodes until each refuses.
async fn granted_until_refused(nodes: &[Client]) -> usize {
    let mut granted = 0;
    for node in nodes {
        loop {
            let created = node.post("/api/v1/links", &url(granted)).await;
            if created.status == 429 {
                break;
            }
            assert!(created.status.is_success(), "{created:?}");
            granted += 1;
        }
    }
    granted
}
