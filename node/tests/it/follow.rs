//! Following links.

use std::time::Duration;

use serde_json::json;

use crate::support::{TestNode, eventually, in_parallel};

#[tokio::test]
async fn head_is_answered_like_get_without_a_body() {
    let node = TestNode::start().await;
    node.client().create(&json!({ "url": "https://example.com/", "alias": "headed" })).await;
    let (get, head) = (node.visitor().get("/headed").await, node.visitor().head("/headed").await);
    assert_eq!((get.status, head.status), (head.status, get.status));
    assert_eq!(head.header("location"), "https://example.com/");
    assert_eq!(head.header("cache-control"), "private, no-cache");
    assert!(head.body.is_empty());
}

#[tokio::test]
async fn the_request_s_query_is_not_passed_on_and_longer_paths_are_not_links() {
    let node = TestNode::start().await;
    node.client().create(&json!({ "url": "https://example.com/x?a=1", "alias": "query" })).await;
    assert_eq!(node.visitor().location("query?b=2&utm_source=mail").await, "https://example.com/x?a=1");
    node.visitor().get("/query/more").await.problem(404, "not-found");
    node.visitor().get("/query/").await.problem(404, "not-found");
}

#[tokio::test]
async fn the_redirect_status_is_a_setting() {
    for status in ["301", "302", "307", "308"] {
        let node = TestNode::start_with(&[("http.redirect_status", status)]).await;
        node.client().create(&json!({ "url": "https://example.com/", "alias": "status" })).await;
        assert_eq!(node.visitor().get("/status").await.status.as_str(), status);
    }
}

#[tokio::test]
async fn a_code_that_nothing_has_is_404_and_other_methods_are_405() {
    let node = TestNode::start().await;
    for path in ["/Nothing", "/x", "/zzzzzzzzzzz", "/not-there_", &format!("/{}", "y".repeat(64))] {
        node.visitor().get(path).await.problem(404, "link-not-found");
    }
    let post = node.visitor().post("/Nothing", &json!({})).await;
    post.problem(405, "method-not-allowed");
    assert!(post.header("allow").contains("GET"), "{post:?}");
    node.visitor().delete("/api/v1/links").await.problem(405, "method-not-allowed");
}

#[tokio::test]
async fn a_browser_gets_a_page_where_curl_gets_a_problem() {
    let node = TestNode::start().await;
    let page = node.visitor().get_with("/missing1", &[("accept", "text/html,*/*;q=0.8")]).await;
    assert_eq!(page.status, 404);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.text().contains(page.header("x-request-id")));
    let hostile = node.visitor().get_with("/%3Cscript%3E", &[("accept", "text/html")]).await;
    assert!(!hostile.text().contains("<script>"), "{}", hostile.text());
}

#[tokio::test]
async fn a_link_that_was_asked_for_before_it_existed_is_found_as_soon_as_it_is_created() {
    let node = TestNode::start().await;
    for alias in ["early", "early-in-the-table"] {
        node.visitor().get(&format!("/{alias}")).await.problem(404, "link-not-found");
        node.client().create(&json!({ "url": "https://example.com/late", "alias": alias })).await;
        assert_eq!(node.visitor().location(alias).await, "https://example.com/late");
    }
}

#[tokio::test]
async fn an_acknowledged_link_is_never_missing_while_others_ask_for_it() {
    let node = TestNode::start().await;
    let (client, visitor) = (node.client(), node.visitor());
    in_parallel(8, 0..200, |n| {
        let (client, visitor) = (&client, &visitor);
        async move {
            let (alias, path) = (format!("race{n}"), format!("/race{n}"));
            let target = format!("https://example.com/{n}");
            let body = json!({ "url": target, "alias": alias });
            // Visitors keep asking before, while and after the link is created.
            let asking = in_parallel(4, 0..12, |_| visitor.get(&path));
            let creating = async {
                client.create(&body).await;
                assert_eq!(visitor.location(&alias).await, target);
            };
            futures_util::future::join(asking, creating).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_acknowledged_change_is_followed_at_once_while_others_ask_for_the_link() {
    let node = TestNode::start_with(&[("cache.l1_entries", "16")]).await;
    let (client, visitor) = (node.client(), node.visitor());
    in_parallel(8, 0..8, |n| {
        let (client, visitor) = (&client, &visitor);
        async move {
            let alias = format!("edit{n}");
            client.create(&json!({ "url": "https://example.com/0", "alias": alias })).await;
            for version in 1..40 {
                let target = format!("https://example.com/{version}");
                let (path, code) = (format!("/api/v1/links/{alias}"), format!("/{alias}"));
                let asking = in_parallel(4, 0..8, |_| visitor.get(&code));
                let editing = async {
                    assert_eq!(client.patch(&path, &json!({ "url": target })).await.status, 200);
                    assert_eq!(visitor.location(&alias).await, target);
                };
                futures_util::future::join(asking, editing).await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn an_expired_link_is_gone() {
    let node = TestNode::start().await;
    let soon = jiff::Timestamp::from_millisecond(now_ms() + 5000).unwrap().to_string();
    node.client().create(&json!({ "url": "https://example.com/", "alias": "brief", "expires_at": soon })).await;
    assert_eq!(node.visitor().get("/brief").await.status, 302);
    let visitor = node.visitor();
    eventually("the expiry", || async { visitor.get("/brief").await.status == 410 }).await;
    visitor.get("/brief").await.problem(410, "link-expired");
    visitor.get("/brief+").await.problem(410, "link-expired");
    let later = json!({ "expires_at": "2999-01-01T00:00:00Z" });
    assert_eq!(node.client().patch("/api/v1/links/brief", &later).await.status, 200);
    assert_eq!(visitor.get("/brief").await.status, 302, "an expiry can be put off");
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[tokio::test]
async fn visits_are_counted_exactly_under_concurrency() {
    let node = TestNode::start().await;
    node.client().create(&json!({ "url": "https://example.com/", "alias": "limited", "max_visits": 100 })).await;
    let visitor = node.visitor();
    assert_eq!(visitor.head("/limited").await.status, 302, "HEAD is not counted");
    assert_eq!(visitor.get("/limited+").await.status, 200, "nor is a preview");
    let answers = in_parallel(64, 0..300, |_| visitor.get("/limited")).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 302).count(), 100);
    for answer in answers.iter().filter(|answer| answer.status != 302) {
        answer.problem(410, "link-used-up");
    }
    assert_eq!(answers.iter().find(|answer| answer.status == 302).unwrap().header("cache-control"), "no-store");
    assert_eq!(visitor.head("/limited").await.status, 410);
    visitor.get("/limited+").await.problem(410, "link-used-up");
    let link = node.client().get("/api/v1/links/limited").await.json();
    assert_eq!((&link["visits"], &link["max_visits"]), (&json!(100), &json!(100)));

    node.client().patch("/api/v1/links/limited", &json!({ "max_visits": 101 })).await;
    assert_eq!(visitor.get("/limited").await.status, 302, "a raised limit lets one more in");
    visitor.get("/limited").await.problem(410, "link-used-up");
    node.client().patch("/api/v1/links/limited", &json!({ "max_visits": null })).await;
    assert_eq!(visitor.get("/limited").await.status, 302, "a limit can be taken away");
}

#[tokio::test]
async fn a_preview_shows_where_a_link_leads_without_following_it() {
    let node = TestNode::start().await;
    node.client().create(&json!({ "url": "https://bücher.example/?a=\"<b>", "alias": "shown" })).await;
    let json = node.visitor().get_with("/shown+", &[("accept", "application/json")]).await.json();
    assert_eq!(json["url"], "https://xn--bcher-kva.example/?a=\"<b>");
    assert_eq!(json["host"], "bücher.example");
    let page = node.visitor().get("/shown+").await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.text().contains("bücher.example") && page.text().contains("?a=&quot;&lt;b&gt;"), "{}", page.text());
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    node.visitor().get("/missing1+").await.problem(404, "link-not-found");
    assert_eq!(node.visitor().get("/shown%2B").await.status, 200, "an encoded plus is a plus");
}

#[tokio::test]
async fn a_link_is_followed_from_memory_when_it_was_followed_before() {
    let node = TestNode::start_with(&[("cache.l1_ttl", "1s")]).await;
    node.client().create(&json!({ "url": "https://example.com/", "alias": "warm" })).await;
    node.visitor().location("warm").await;
    let count = async |tier: &str| {
        let name = format!("stint_redirects_total{{tier=\"{tier}\",outcome=\"found\"}}");
        node.admin().sample::<u64>(&name).await.unwrap()
    };
    assert_eq!((count("l1").await, count("store").await), (1, 0), "a new link is written through the cache");
    let visitor = node.visitor();
    tokio::time::timeout(Duration::from_secs(10), async {
        while count("store").await == 0 {
            visitor.location("warm").await;
        }
    })
    .await
    .expect("what is remembered is asked for again after its time");
}
