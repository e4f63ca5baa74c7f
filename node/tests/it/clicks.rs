//! Counting clicks: what counts on a `dev` node, who may see it, and that nothing is lost or counted twice.

mod node;
mod stream;

use serde_json::{Value, json};

use crate::support::{Client, TestNode, eventually, in_parallel};

async fn stats(client: &Client, alias: &str) -> Value {
    let answer = client.get(&format!("/api/v1/links/{alias}/stats")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Waits until so many clicks are counted, and checks that there are no more.
async fn counted(client: &Client, alias: &str, clicks: u64) -> Value {
    eventually("the clicks are counted", || async { stats(client, alias).await["clicks"].as_u64() >= Some(clicks) })
        .await;
    let stats = stats(client, alias).await;
    assert_eq!(stats["clicks"], clicks, "{stats}");
    stats
}

#[tokio::test]
async fn every_redirected_get_counts_and_nothing_else_does() {
    let node = TestNode::start().await;
    let (client, visitor) = (node.client(), node.visitor());
    client.create(&json!({ "url": "https://example.com/", "alias": "clicked" })).await;
    client.create(&json!({ "url": "https://example.com/a", "alias": "an-alias-of-the-table" })).await;
    assert_eq!(stats(&client, "clicked").await, json!({ "code": "clicked", "clicks": 0, "days": [] }));
    for _ in 0..3 {
        assert_eq!(visitor.get("/clicked").await.status, 302);
        assert_eq!(visitor.head("/clicked").await.status, 302);
        assert_eq!(visitor.get("/clicked+").await.status, 200);
        assert_eq!(visitor.head("/clicked+").await.status, 200);
        visitor.get("/Clicked").await.problem(404, "link-not-found");
        visitor.get("/an-alias-of-the-table").await;
    }
    let stats = counted(&client, "clicked", 3).await;
    assert_eq!(stats["days"].as_array().unwrap().len(), 1, "{stats}");
    assert_eq!(stats["days"][0]["clicks"], 3);
    let today = jiff::Timestamp::now().to_string();
    assert!(today.starts_with(stats["days"][0]["day"].as_str().unwrap()), "{stats} was not on {today}");
    counted(&client, "an-alias-of-the-table", 3).await;
}

#[tokio::test]
async fn a_limited_link_shows_its_visits_and_what_is_refused_does_not_count() {
    let node = TestNode::start().await;
    let (client, visitor) = (node.client(), node.visitor());
    client.create(&json!({ "url": "https://example.com/", "alias": "twice", "max_visits": 2 })).await;
    let statuses = in_parallel(4, 0..5, |_| visitor.get("/twice")).await;
    assert_eq!(statuses.iter().filter(|answer| answer.status == 302).count(), 2);
    let stats = counted(&client, "twice", 2).await;
    assert_eq!((&stats["visits"], &stats["max_visits"]), (&json!(2), &json!(2)));
}

#[tokio::test]
async fn after_a_clean_stop_no_click_is_lost() {
    let mut node = TestNode::start().await;
    node.client().create(&json!({ "url": "https://example.com/", "alias": "kept" })).await;
    for round in 1..=3 {
        let visitor = node.visitor();
        let answers = in_parallel(16, 0..200, |_| visitor.get("/kept")).await;
        assert!(answers.iter().all(|answer| answer.status == 302));
        node = node.restart().await;
        assert_eq!(stats(&node.client(), "kept").await["clicks"], round * 200);
    }
}

#[tokio::test]
async fn links_that_do_not_fit_are_shed_and_the_redirects_go_on() {
    let node = TestNode::start_with(&[("clicks.queue_size", "1")]).await;
    let (client, visitor) = (node.client(), node.visitor());
    let aliases: Vec<String> = (0..30).map(|n| format!("many{n:02}")).collect();
    for alias in &aliases {
        client.create(&json!({ "url": "https://example.com/", "alias": alias })).await;
    }
    let answers = in_parallel(30, aliases.iter().map(|alias| format!("/{alias}")), |path| {
        let visitor = &visitor;
        async move { visitor.get(&path).await }
    })
    .await;
    assert!(answers.iter().all(|answer| answer.status == 302));
    let metric = async |outcome: &str| {
        node.admin().sample::<u64>(&format!("stint_clicks_total{{outcome=\"{outcome}\"}}")).await.unwrap()
    };
    eventually("each is counted or shed", || async { metric("counted").await + metric("shed").await == 30 }).await;
    let mut sum = 0;
    for alias in &aliases {
        sum += stats(&client, alias).await["clicks"].as_u64().unwrap();
    }
    assert_eq!(sum, metric("counted").await);
}

#[tokio::test]
async fn only_the_owner_and_admin_see_clicks() {
    let node = TestNode::start().await;
    let owner = node.client_of("owner", &["links:read", "links:write"]).await;
    let other = node.client_of("other", &["links:read", "links:write"]).await;
    let writer = node.client_of("owner", &["links:write"]).await;
    owner.create(&json!({ "url": "https://example.com/", "alias": "owned" })).await;
    let path = "/api/v1/links/owned/stats";
    for client in [&owner, &node.client()] {
        assert_eq!(client.get(path).await.status, 200);
    }
    node.visitor().get(path).await.problem(401, "unauthorized");
    writer.get(path).await.problem(403, "forbidden");
    other.get(path).await.problem(403, "forbidden");
    owner.get("/api/v1/links/unowned/stats").await.problem(404, "link-not-found");
    owner.delete("/api/v1/links/owned").await;
    owner.get(path).await.problem(410, "link-deleted");
}

#[tokio::test]
async fn days_are_1_to_366_and_nothing_else_is_asked_for() {
    let node = TestNode::start().await;
    node.client().create(&json!({ "url": "https://example.com/", "alias": "days" })).await;
    for query in ["days=1", "days=366", ""] {
        assert_eq!(node.client().get(&format!("/api/v1/links/days/stats?{query}")).await.status, 200, "{query}");
    }
    for query in ["days=0", "days=367", "days=-1", "days=x", "days=99999", "since=1"] {
        node.client().get(&format!("/api/v1/links/days/stats?{query}")).await.problem(400, "invalid-query");
    }
}
