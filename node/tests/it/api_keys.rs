//! API keys and their scopes.

use serde_json::json;

use crate::support::{TestNode, eventually};

#[tokio::test]
async fn a_key_works_in_both_headers_until_it_is_revoked() {
    let node = TestNode::start().await;
    let body = json!({ "name": "laptop", "scopes": ["links:read"] });
    let created = node.client().post("/api/v1/keys", &body).await;
    assert_eq!(created.status, 201);
    let created = created.json();
    let key = created["key"].as_str().unwrap();
    assert_eq!(created["owner"], "laptop", "the owner is the key's name unless given");
    assert_eq!(node.client().with_key(Some(key)).get("/api/v1/links").await.status, 200);
    assert_eq!(node.visitor().get_with("/api/v1/links", &[("x-api-key", key)]).await.status, 200);

    let listed = node.client().get("/api/v1/keys").await;
    assert!(!listed.text().contains(key), "a key is shown once");
    let path = format!("/api/v1/keys/{}", created["id"]);
    assert_eq!(node.client().delete(&path).await.status, 204);
    let revoked = node.client().with_key(Some(key));
    eventually("the revocation", || async { revoked.get("/api/v1/links").await.status == 401 }).await;
    assert_eq!(node.client().delete(&path).await.status, 204, "revoking again changes nothing");
    node.client().delete("/api/v1/keys/999").await.problem(404, "key-not-found");
    node.client().delete("/api/v1/keys/x").await.problem(404, "key-not-found");
}

#[tokio::test]
async fn no_key_is_stored_as_it_is() {
    let node = TestNode::start().await;
    let created = node.client().post("/api/v1/keys", &json!({ "name": "secret", "scopes": ["ids"] })).await.json();
    let key = created["key"].as_str().unwrap().to_owned();
    let data = node.dir.path().join("data");
    assert!(node.node.stop().await);
    let database = std::fs::read(data.join("stint.db")).unwrap();
    assert!(database.windows(6).any(|window| window == b"secret"), "the key's name is there");
    assert!(!database.windows(key.len()).any(|window| window == key.as_bytes()), "the key is not");
}

#[tokio::test]
async fn each_operation_asks_for_its_scope() {
    let node = TestNode::start().await;
    node.client().post("/api/v1/namespaces", &json!({ "name": "scoped" })).await;
    let reader = node.client_of("owner", &["links:read"]).await;
    let writer = node.client_of("owner", &["links:write"]).await;
    let drawer = node.client_of("owner", &["ids"]).await;
    let (link, ids) = (json!({ "url": "https://example.com/" }), json!({ "namespace": "scoped" }));
    assert!(reader.post("/api/v1/links", &link).await.problem(403, "forbidden").contains("links:write"));
    assert_eq!(writer.post("/api/v1/links", &link).await.status, 201);
    assert!(writer.get("/api/v1/links").await.problem(403, "forbidden").contains("links:read"));
    assert_eq!(reader.get("/api/v1/links").await.json()["links"].as_array().unwrap().len(), 1, "keys share an owner");
    assert!(writer.post("/api/v1/ids", &ids).await.problem(403, "forbidden").contains("ids"));
    assert_eq!(drawer.post("/api/v1/ids", &ids).await.status, 200);
    for client in [reader, writer, drawer] {
        client.get("/api/v1/keys").await.problem(403, "forbidden");
        client.post("/api/v1/keys", &json!({ "name": "x", "scopes": ["admin"] })).await.problem(403, "forbidden");
        client.post("/api/v1/namespaces", &json!({ "name": "x" })).await.problem(403, "forbidden");
    }
}

#[tokio::test]
async fn keys_that_make_no_sense_are_refused_and_lists_are_paged() {
    let node = TestNode::start().await;
    for body in [
        json!({ "name": "x", "scopes": [] }),
        json!({ "name": "x", "scopes": ["root"] }),
        json!({ "name": "", "scopes": ["ids"] }),
        json!({ "name": "admin", "scopes": ["ids"] }),
        json!({ "scopes": ["ids"] }),
    ] {
        node.client().post("/api/v1/keys", &body).await.problem(422, "invalid-field");
    }
    for n in 0..5 {
        node.client().post("/api/v1/keys", &json!({ "name": format!("k{n}"), "scopes": ["ids"] })).await;
    }
    let first = node.client().get("/api/v1/keys?limit=3").await.json();
    assert_eq!(first["keys"].as_array().unwrap().len(), 3);
    let rest = node.client().get(&format!("/api/v1/keys?limit=3&after={}", first["next_after"])).await.json();
    assert_eq!((rest["keys"].as_array().unwrap().len(), &rest["next_after"]), (2, &json!(null)));
    node.client().get("/api/v1/keys?limit=0").await.problem(400, "invalid-query");
}
