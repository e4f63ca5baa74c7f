//! The OpenAPI document, Swagger UI, and the pages behind problems.

use serde_json::Value;

use crate::support::TestNode;

#[test]
fn the_committed_openapi_document_is_what_the_code_generates() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(committed == stint::http::document(), "docs/openapi.json is not up to date: run `make openapi`");
}

/// With `STINT_WRITE_DOCS=1` it writes the page instead (`make metrics`).
#[test]
fn the_committed_page_of_metrics_is_what_the_code_declares() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    let page = stint::metrics::document().unwrap();
    #[expect(clippy::disallowed_methods, reason = "a switch of this test alone")]
    if std::env::var("STINT_WRITE_DOCS").is_ok() {
        std::fs::write(path, &page).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == page, "docs/metrics.md is not up to date: run `make metrics`");
}

#[tokio::test]
async fn the_served_document_is_3_1_and_names_both_key_headers() {
    let node = TestNode::start().await;
    let served = node.visitor().get("/openapi.json").await;
    assert_eq!(served.text(), stint::http::document());
    let document = served.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let schemes = &document["components"]["securitySchemes"];
    assert_eq!((&schemes["bearer"]["scheme"], &schemes["api_key"]["name"]), (&"bearer".into(), &"X-Api-Key".into()));
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            assert!(operation["summary"].is_string() && operation["responses"].is_object(), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn swagger_ui_is_served_with_all_it_needs() {
    let node = TestNode::start().await;
    let visitor = node.visitor();
    let docs = visitor.get("/docs").await;
    assert!(docs.status.is_redirection(), "{docs:?}");
    let page = visitor.get("/docs/").await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("swagger-ui"));
    assert!(!page.text().contains("https://"), "nothing is loaded from elsewhere");
    for file in ["swagger-ui.css", "swagger-ui-bundle.js", "swagger-initializer.js"] {
        assert_eq!(visitor.get(&format!("/docs/{file}")).await.status, 200, "{file}");
    }
    assert!(visitor.get("/docs/swagger-initializer.js").await.text().contains("/openapi.json"));
}

#[tokio::test]
async fn every_problem_has_a_page() {
    let node = TestNode::start().await;
    for kind in stint::http::error::ProblemKind::ALL {
        let page = node.visitor().get(&format!("/docs/problems/{}", kind.slug())).await;
        assert_eq!(page.status, 200, "{kind:?}");
        assert!(page.text().contains(kind.title()), "{kind:?}");
    }
    node.visitor().get("/docs/problems/none").await.problem(404, "not-found");
}

#[tokio::test]
async fn the_front_page_shortens_by_hand() {
    let node = TestNode::start().await;
    let page = node.visitor().get("/").await;
    assert!(page.text().contains("<form id=\"shorten\">"), "{}", page.text());
    let script = node.visitor().get("/static/home.js").await;
    assert!(script.header("content-type").starts_with("text/javascript"));
    let _: Value = node.visitor().create(&serde_json::json!({ "url": "https://example.com/" })).await;
}
