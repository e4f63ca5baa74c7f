//! Custom aliases, short and long.

use serde_json::json;

use crate::support::{TestNode, in_parallel};

#[tokio::test]
async fn every_kind_of_alias_works_as_given() {
    let node = TestNode::start().await;
    let sixty_four = "x".repeat(64);
    // One that is a short key, one that could be generated, two that live in the table, Snowflake-like ones.
    for alias in
        ["a", "summer1", "my-link_2026", &sixty_four, "-", "0000000000", "00000000001", "zzzzzzzzzzz", "AzL8n0Y58m7"]
    {
        let target = format!("https://example.com/for/{alias}");
        let link = node.client().create(&json!({ "url": target, "alias": alias })).await;
        assert_eq!(link["code"], *alias);
        assert_eq!(node.visitor().location(alias).await, target);
        assert_eq!(node.client().get(&format!("/api/v1/links/{alias}")).await.json(), link);
    }
}

#[tokio::test]
async fn a_taken_alias_is_refused_by_name() {
    let node = TestNode::start().await;
    for alias in ["summer1", "my-link_2026", "a", "00000000001"] {
        node.client().create(&json!({ "url": "https://example.com/", "alias": alias })).await;
        let again =
            node.client().post("/api/v1/links", &json!({ "url": "https://example.org/", "alias": alias })).await;
        assert!(again.problem(409, "alias-taken").contains(alias));
    }
}

#[tokio::test]
async fn a_generated_code_can_not_be_taken_as_an_alias() {
    let node = TestNode::start().await;
    let code = node.client().create(&json!({ "url": "https://example.com/" })).await["code"].clone();
    let taken = node.client().post("/api/v1/links", &json!({ "url": "https://example.org/", "alias": code })).await;
    taken.problem(409, "alias-taken");
}

#[tokio::test]
async fn a_generated_key_that_an_alias_has_taken_is_skipped() {
    let node = TestNode::start().await;
    let client = node.client();
    let probe =
        client.create(&json!({ "url": "https://example.com/probe" })).await["code"].as_str().unwrap().to_owned();
    // The codes that come next are known only to who holds the code key.
    let key = std::fs::read_to_string(node.dir.path().join("data/code.key")).unwrap();
    let codec = stint_idgen::KeyCodec::new(&key.trim().parse().unwrap());
    let next = |code: &str| {
        let (lane, counter) = stint_idgen::Lane::locate(codec.key(code).unwrap()).unwrap();
        codec.code(lane.key(counter + 1).unwrap()).as_str().to_owned()
    };
    let mut taken = Vec::new();
    let mut code = probe;
    for n in 0..200 {
        code = next(&code);
        client.create(&json!({ "url": format!("https://example.com/taken/{n}"), "alias": code })).await;
        taken.push(code.clone());
    }
    let urls = (0..200).map(|n| format!("https://example.com/free/{n}"));
    let created = in_parallel(16, urls, |url| {
        let client = &client;
        async move { client.post("/api/v1/links", &json!({ "url": url })).await }
    })
    .await;
    for answer in created {
        assert_eq!(answer.status, 201);
        assert!(!taken.iter().any(|code| answer.json()["code"] == **code), "{answer:?}");
    }
}

#[tokio::test]
async fn two_hundred_parallel_creates_of_one_alias_make_one_link() {
    let node = TestNode::start().await;
    let client = node.client();
    for alias in ["raced", "raced-in-the-table"] {
        let answers = in_parallel(200, 0..200, |n| {
            let body = json!({ "url": format!("https://example.com/{n}"), "alias": alias });
            let client = &client;
            async move { client.post("/api/v1/links", &body).await }
        })
        .await;
        let created: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
        assert_eq!(created.len(), 1);
        for answer in answers.iter().filter(|answer| answer.status != 201) {
            answer.problem(409, "alias-taken");
        }
        assert_eq!(node.visitor().location(alias).await, created[0].json()["url"]);
    }
}

#[tokio::test]
async fn codes_are_case_sensitive() {
    let node = TestNode::start().await;
    node.client().create(&json!({ "url": "https://example.com/lower", "alias": "case" })).await;
    node.client().create(&json!({ "url": "https://example.com/upper", "alias": "CASE" })).await;
    assert_eq!(node.visitor().location("case").await, "https://example.com/lower");
    assert_eq!(node.visitor().location("CASE").await, "https://example.com/upper");
    node.visitor().get("/Case").await.problem(404, "link-not-found");
}

#[tokio::test]
async fn a_name_is_the_same_however_a_client_encodes_it() {
    let node = TestNode::start().await;
    node.client().create(&json!({ "url": "https://example.com/", "alias": "summer-1" })).await;
    for path in ["summer-1", "summer%2D1", "%73ummer-1"] {
        assert_eq!(node.visitor().location(path).await, "https://example.com/");
    }
}

#[tokio::test]
async fn an_alias_of_a_deleted_link_is_never_given_again() {
    let node = TestNode::start().await;
    for alias in ["short", "one-in-the-table"] {
        node.client().create(&json!({ "url": "https://example.com/", "alias": alias })).await;
        assert_eq!(node.client().delete(&format!("/api/v1/links/{alias}")).await.status, 204);
        node.visitor().get(&format!("/{alias}")).await.problem(410, "link-deleted");
        let again =
            node.client().post("/api/v1/links", &json!({ "url": "https://example.org/", "alias": alias })).await;
        again.problem(409, "alias-taken");
    }
}

#[tokio::test]
async fn a_link_with_a_table_alias_is_followed_by_its_generated_code_too() {
    let node = TestNode::start().await;
    let alias = "an-alias-in-the-table";
    node.client().create(&json!({ "url": "https://example.com/both", "alias": alias })).await;
    let key = std::fs::read_to_string(node.dir.path().join("data/code.key")).unwrap();
    let codec = stint_idgen::KeyCodec::new(&key.trim().parse().unwrap());
    let mut followed = 0;
    for counter in 0..64 {
        let code = codec.code(stint_idgen::Lane::Raft.key(counter).unwrap());
        let answer = node.visitor().get(&format!("/{code}")).await;
        if answer.status == 302 {
            assert_eq!(answer.header("location"), "https://example.com/both");
            followed += 1;
        }
    }
    assert_eq!(followed, 1);
}
