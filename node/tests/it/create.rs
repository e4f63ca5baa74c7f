//! Creating links.

use serde_json::json;

use crate::support::{TestNode, eventually, in_parallel};

#[tokio::test]
async fn a_link_is_created_with_a_code_of_seven_characters_and_followed() {
    let node = TestNode::start().await;
    let response = node.client().post("/api/v1/links", &json!({ "url": "https://example.com/A?b=%20#c" })).await;
    assert_eq!(response.status, 201);
    let link = response.json();
    let code = link["code"].as_str().unwrap();
    assert_eq!(code.len(), 7);
    assert!(code.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert_eq!(link["short_url"], format!("http://{}/{code}", node.node.address));
    assert_eq!(response.header("location"), link["short_url"]);
    assert_eq!(link["url"], "https://example.com/A?b=%20#c");
    assert_eq!((&link["version"], &link["owner_id"]), (&json!(1), &json!(1)));
    assert_eq!(node.visitor().location(code).await, "https://example.com/A?b=%20#c");
}

#[tokio::test]
async fn the_same_plain_url_of_the_same_owner_is_reused() {
    let node = TestNode::start().await;
    let client = node.client();
    let body = json!({ "url": "https://example.com/reused" });
    let first = client.create(&body).await;
    let again = client.post("/api/v1/links", &body).await;
    assert_eq!(again.status, 200);
    assert_eq!(again.json(), first);

    let fresh = client.post("/api/v1/links", &json!({ "url": "https://example.com/reused", "reuse": false })).await;
    assert_eq!(fresh.status, 201);
    assert_ne!(fresh.json()["code"], first["code"]);
    assert_eq!(client.create(&body).await["code"], first["code"], "the first link stays the one that is reused");

    let other = node.client_of("somebody else", &["links:write"]).await;
    assert_eq!(other.post("/api/v1/links", &body).await.status, 201, "owners share nothing");
    assert_eq!(node.visitor().post("/api/v1/links", &body).await.status, 201, "nor with visitors");
}

#[tokio::test]
async fn an_edit_of_url_expiry_or_limit_and_a_delete_end_reuse() {
    let node = TestNode::start().await;
    let client = node.client();
    for (n, change) in [
        json!({ "url": "https://example.com/elsewhere" }),
        json!({ "expires_at": "2999-01-01T00:00:00Z" }),
        json!({ "max_visits": 5 }),
    ]
    .iter()
    .enumerate()
    {
        let body = json!({ "url": format!("https://example.com/edited/{n}") });
        let code = client.create(&body).await["code"].as_str().unwrap().to_owned();
        assert_eq!(client.patch(&format!("/api/v1/links/{code}"), change).await.status, 200);
        let next = client.post("/api/v1/links", &body).await;
        assert_eq!(next.status, 201, "after {change}");
        assert_ne!(next.json()["code"], code);
    }
    let body = json!({ "url": "https://example.com/deleted" });
    let code = client.create(&body).await["code"].as_str().unwrap().to_owned();
    assert_eq!(client.delete(&format!("/api/v1/links/{code}")).await.status, 204);
    let next = client.post("/api/v1/links", &body).await;
    assert_eq!(next.status, 201);
    assert_ne!(next.json()["code"], code);
}

#[tokio::test]
async fn a_link_that_was_edited_away_and_back_is_out_of_reuse() {
    let node = TestNode::start().await;
    let body = json!({ "url": "https://example.com/there-and-back" });
    let code = node.client().create(&body).await["code"].as_str().unwrap().to_owned();
    for url in ["https://example.com/elsewhere", "https://example.com/there-and-back"] {
        node.client().patch(&format!("/api/v1/links/{code}"), &json!({ "url": url })).await;
        node.visitor().location(&code).await;
    }
    let next = node.client().post("/api/v1/links", &body).await;
    assert_eq!(next.status, 201, "as it would be after a restart, without a cache");
    assert_eq!(node.client().create(&body).await["code"], next.json()["code"]);
}

#[tokio::test]
async fn a_repeat_gets_its_link_even_if_the_request_would_be_refused_by_now() {
    let node = TestNode::start().await;
    let soon = jiff::Timestamp::now() + std::time::Duration::from_secs(5);
    let body = json!({ "url": "https://example.com/brief", "expires_at": soon.to_string() });
    let key = [("idempotency-key", "brief")];
    let first = node.client().post_with("/api/v1/links", &key, &body).await;
    assert_eq!(first.status, 201, "{first:?}");
    let code = first.json()["code"].as_str().unwrap().to_owned();
    let visitor = node.visitor();
    eventually("the expiry", || async { visitor.get(&format!("/{code}")).await.status == 410 }).await;
    let again = node.client().post_with("/api/v1/links", &key, &body).await;
    assert_eq!((again.status.as_u16(), &again.json()["code"]), (201, &json!(code)));
}

#[tokio::test]
async fn a_title_edit_keeps_reuse() {
    let node = TestNode::start().await;
    let body = json!({ "url": "https://example.com/titled" });
    let code = node.client().create(&body).await["code"].as_str().unwrap().to_owned();
    node.client().patch(&format!("/api/v1/links/{code}"), &json!({ "title": "A title" })).await;
    let again = node.client().post("/api/v1/links", &body).await;
    assert_eq!((again.status.as_u16(), &again.json()["code"]), (200, &json!(code)));
    assert_eq!(again.json()["title"], "A title");
}

#[tokio::test]
async fn parallel_creates_of_one_url_make_one_link() {
    let node = TestNode::start().await;
    let client = node.client();
    let body = json!({ "url": "https://example.com/raced" });
    let answers = in_parallel(64, 0..64, |_| client.post("/api/v1/links", &body)).await;
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(created, 1);
    let first = answers[0].json();
    assert!(answers.iter().all(|answer| answer.json()["code"] == first["code"]));
}

#[tokio::test]
async fn an_idempotency_key_makes_a_repeat_the_same_link() {
    let node = TestNode::start().await;
    let client = node.client();
    let body = json!({ "url": "https://example.com/once", "title": "not plain, so never reused" });
    let key = [("idempotency-key", "5b6c3f0e-1")];
    let answers = in_parallel(8, 0..8, |_| client.post_with("/api/v1/links", &key, &body)).await;
    assert!(answers.iter().all(|answer| answer.status == 201), "{answers:?}");
    assert!(answers.iter().all(|answer| answer.json() == answers[0].json()));

    let other = client.post_with("/api/v1/links", &key, &json!({ "url": "https://example.com/twice" })).await;
    other.problem(422, "idempotency-key-reused");
    for bad in ["", &"x".repeat(256)] {
        let refused = client.post_with("/api/v1/links", &[("idempotency-key", bad)], &body).await;
        refused.problem(400, "invalid-idempotency-key");
    }
    let owner = node.client_of("somebody else", &["links:write"]).await;
    let theirs = owner.post_with("/api/v1/links", &key, &body).await;
    assert_ne!(theirs.json()["code"], answers[0].json()["code"], "idempotency keys belong to their owner");
}

#[tokio::test]
async fn an_idempotent_repeat_survives_a_restart() {
    let node = TestNode::start().await;
    let body = json!({ "url": "https://example.com/restart", "reuse": false });
    let key = [("idempotency-key", "restart")];
    let first = node.client().post_with("/api/v1/links", &key, &body).await.json();
    let node = node.restart().await;
    let again = node.client().post_with("/api/v1/links", &key, &body).await;
    assert_eq!((again.status.as_u16(), &again.json()["code"]), (201, &first["code"]));
}

#[tokio::test]
async fn creating_without_a_key_is_allowed_on_loopback_unless_it_is_switched_off() {
    let body = json!({ "url": "https://example.com/" });
    let open = TestNode::start().await;
    let link = open.visitor().create(&body).await;
    assert_eq!(link["owner_id"], 0);
    let closed = TestNode::start_with(&[("auth.anonymous_create", "false")]).await;
    closed.visitor().post("/api/v1/links", &body).await.problem(401, "unauthorized");
    let wrong = open.client().with_key(Some("stint_wrong"));
    wrong.post("/api/v1/links", &body).await.problem(401, "unauthorized");
}

#[tokio::test]
async fn consecutive_codes_show_no_order() {
    let node = TestNode::start().await;
    let client = node.client();
    let codes = in_parallel(32, 0..3100, |n| {
        let client = &client;
        async move { client.create(&json!({ "url": format!("https://example.com/{n}") })).await["code"].clone() }
    })
    .await;
    let codes: Vec<&str> = codes.iter().map(|code| code.as_str().unwrap()).collect();
    let longest_shared =
        codes.windows(2).map(|pair| pair[0].bytes().zip(pair[1].bytes()).take_while(|(a, b)| a == b).count()).max();
    assert!(longest_shared < Some(5), "neighbours share {longest_shared:?} characters");
    // 62 first characters, 50 times each on average: chi-square with 61 degrees of freedom is below 120 in all but one
    // of a million runs.
    let mut counts = std::collections::HashMap::new();
    for code in &codes {
        *counts.entry(code.as_bytes()[0]).or_insert(0_i32) += 1;
    }
    let all = (0..=127_u8).filter(u8::is_ascii_alphanumeric).map(|c| f64::from(counts.get(&c).copied().unwrap_or(0)));
    let chi_square: f64 = all.map(|count| (count - 50.0).powi(2) / 50.0).sum();
    assert!(chi_square < 125.0, "the first character is not uniform: chi-square {chi_square}");
}
