//! Seeing, listing, changing and deleting links.

use serde_json::{Value, json};

use crate::support::{Client, TestNode};

async fn codes(client: &Client, query: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = client.get(&format!("/api/v1/links?{query}{cursor}")).await;
        assert_eq!(page.status, 200, "{page:?}");
        let page = page.json();
        found.extend(page["links"].as_array().unwrap().iter().map(|link| link["code"].as_str().unwrap().to_owned()));
        match &page["next_cursor"] {
            Value::String(next) => cursor = format!("&cursor={next}"),
            _ => return found,
        }
    }
}

#[tokio::test]
async fn a_link_with_everything_is_shown_as_it_was_created() {
    let node = TestNode::start().await;
    let body = json!({
        "url": "https://example.com/all", "alias": "all", "expires_at": "2999-12-31T23:59:59+01:00", "max_visits": 7,
        "title": "Alles 🎁", "tags": ["b", "a", "b"],
    });
    let link = node.client().create(&body).await;
    assert_eq!(link["expires_at"], "2999-12-31T22:59:59.000Z");
    assert_eq!((&link["max_visits"], &link["visits"]), (&json!(7), &json!(0)));
    assert_eq!((&link["title"], &link["tags"]), (&json!("Alles 🎁"), &json!(["a", "b"])));
    assert_eq!(node.client().get("/api/v1/links/all").await.json(), link);
}

#[tokio::test]
async fn lists_are_paged_newest_first_searched_and_filtered_by_tag() {
    let node = TestNode::start().await;
    let client = node.client_of("lister", &["links:read", "links:write"]).await;
    for n in 0..25 {
        let tags = if n % 5 == 0 { json!(["five", "all"]) } else { json!(["all"]) };
        let body = json!({ "url": format!("https://Example.com/page/{n}"), "alias": format!("list{n:02}"), "tags": tags,
                           "title": format!("Title {n}") });
        client.create(&body).await;
    }
    node.client().create(&json!({ "url": "https://example.com/page/other", "alias": "foreign1" })).await;
    let newest_first: Vec<String> = (0..25).rev().map(|n| format!("list{n:02}")).collect();
    assert_eq!(codes(&client, "limit=10").await, newest_first);
    assert_eq!(codes(&client, "").await, newest_first);
    assert_eq!(codes(&client, "tag=five&limit=2").await, ["list20", "list15", "list10", "list05", "list00"]);
    assert_eq!(codes(&client, "q=PAGE/2&limit=3").await.len(), 6, "2 and 20 to 24, whatever the case");
    assert_eq!(codes(&client, "q=title%2011").await, ["list11"]);
    assert_eq!(codes(&client, "q=nowhere").await, [""; 0]);
    assert_eq!(codes(&node.client(), "").await, ["foreign1"], "each owner sees its own");
    assert_eq!(codes(&node.client(), "owner=all&limit=7").await.len(), 26, "admin may see everybody's");
    client.delete("/api/v1/links/list24").await;
    assert_eq!(codes(&client, "").await.len(), 24);
    assert_eq!(codes(&client, "tag=all").await.len(), 24);
}

#[tokio::test]
async fn a_list_refuses_what_it_does_not_know() {
    let node = TestNode::start().await;
    for query in ["limit=0", "limit=1001", "limit=x", "limit=-1", "cursor=zz", "sort=up", "limit=1&limit=2", "owner=x"]
    {
        node.client().get(&format!("/api/v1/links?{query}")).await.problem(400, "invalid-query");
    }
    let reader = node.client_of("reader", &["links:read"]).await;
    reader.get("/api/v1/links?owner=1").await.problem(403, "forbidden");
}

#[tokio::test]
async fn a_change_touches_only_the_fields_given() {
    let node = TestNode::start().await;
    let body = json!({ "url": "https://example.com/", "alias": "changed", "title": "Old", "tags": ["x"] });
    let before = node.client().create(&body).await;
    let changed = node.client().patch("/api/v1/links/changed", &json!({ "title": null, "max_visits": 3 })).await.json();
    let mut expected = before.clone();
    expected["title"] = Value::Null;
    expected["max_visits"] = json!(3);
    expected["visits"] = json!(0);
    expected["version"] = json!(2);
    assert_eq!(changed, expected);
    for (change, slug) in [
        (json!({ "url": null }), "invalid-field"),
        (json!({ "url": "javascript:x" }), "invalid-url"),
        (json!({ "max_visits": 0 }), "invalid-field"),
        (json!({ "alias": "renamed" }), "invalid-field"),
        (json!({ "expires_at": "2001-01-01T00:00:00Z" }), "invalid-field"),
    ] {
        node.client().patch("/api/v1/links/changed", &change).await.problem(422, slug);
    }
    let tags = node.client().patch("/api/v1/links/changed", &json!({ "tags": ["y", "z"] })).await.json();
    assert_eq!(tags["tags"], json!(["y", "z"]));
    assert_eq!(codes(&node.client(), "tag=x").await, [""; 0]);
    assert_eq!(codes(&node.client(), "tag=y").await, ["changed"]);
}

#[tokio::test]
async fn a_deleted_link_is_gone_everywhere_and_for_good() {
    let node = TestNode::start().await;
    node.client().create(&json!({ "url": "https://example.com/", "alias": "deleted" })).await;
    assert_eq!(node.visitor().get("/deleted").await.status, 302);
    assert_eq!(node.client().delete("/api/v1/links/deleted").await.status, 204);
    node.visitor().get("/deleted").await.problem(410, "link-deleted");
    node.visitor().get("/deleted+").await.problem(410, "link-deleted");
    let (client, path) = (node.client(), "/api/v1/links/deleted");
    client.get(path).await.problem(410, "link-deleted");
    client.patch(path, &json!({ "title": "x" })).await.problem(410, "link-deleted");
    client.delete(path).await.problem(410, "link-deleted");
    let node = node.restart().await;
    node.visitor().get("/deleted").await.problem(410, "link-deleted");
}

#[tokio::test]
async fn a_delete_whose_caller_went_away_is_either_made_and_followed_or_not_made() {
    let node = TestNode::start().await;
    let (client, visitor) = (node.client(), node.visitor());
    for n in 0..60_u64 {
        let alias = format!("gone{n}");
        client.create(&json!({ "url": "https://example.com/", "alias": alias })).await;
        visitor.location(&alias).await;
        let path = format!("/api/v1/links/{alias}");
        // Each caller goes away at another moment of the work.
        let patience = std::time::Duration::from_micros(150 * n);
        let _ = tokio::time::timeout(patience, client.delete(&path)).await;
        // A second caller finds out what became of it: from then on everybody sees the same.
        match client.delete(&path).await.status.as_u16() {
            204 | 410 => visitor.get(&format!("/{alias}")).await.problem(410, "link-deleted"),
            status => panic!("{alias}: {status}"),
        };
    }
}

#[tokio::test]
async fn only_the_owner_and_admin_may_see_and_change_a_link() {
    let node = TestNode::start().await;
    let owner = node.client_of("owner", &["links:read", "links:write"]).await;
    let other = node.client_of("other", &["links:read", "links:write"]).await;
    owner.create(&json!({ "url": "https://example.com/", "alias": "owned" })).await;
    let path = "/api/v1/links/owned";
    other.get(path).await.problem(403, "forbidden");
    other.patch(path, &json!({ "url": "https://evil.example/" })).await.problem(403, "forbidden");
    other.delete(path).await.problem(403, "forbidden");
    node.visitor().get(path).await.problem(401, "unauthorized");
    assert_eq!(owner.get(path).await.status, 200);
    assert_eq!(node.client().patch(path, &json!({ "title": "by admin" })).await.status, 200);
    owner.get("/api/v1/links/missing1").await.problem(404, "link-not-found");
}
