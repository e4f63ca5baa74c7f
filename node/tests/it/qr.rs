//! Short URLs as QR codes. What stands in the images is read in the unit tests of what draws them.

use serde_json::json;

use crate::support::TestNode;

#[tokio::test]
async fn anybody_who_knows_a_link_gets_its_qr_code_and_no_visit_is_counted() {
    let node = TestNode::start().await;
    node.client().create(&json!({ "url": "https://example.com/", "alias": "drawn", "max_visits": 1 })).await;
    let visitor = node.visitor();
    let svg = visitor.get("/api/v1/links/drawn/qr").await;
    assert_eq!(svg.status, 200);
    assert_eq!(svg.header("content-type"), "image/svg+xml");
    assert_eq!(svg.header("cache-control"), "public, max-age=86400");
    assert!(svg.text().contains("width=\"512\" height=\"512\""), "{}", svg.text());
    let png = visitor.get("/api/v1/links/drawn/qr?format=png&size=64&level=low").await;
    assert_eq!((png.status.as_u16(), png.header("content-type")), (200, "image/png"));
    assert_eq!(&png.body[..8], b"\x89PNG\r\n\x1a\n");
    assert_eq!(png.body[16..24], [0, 0, 0, 64, 0, 0, 0, 64], "its width and height");
    let head = visitor.head("/api/v1/links/drawn/qr").await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert_eq!(visitor.get("/drawn").await.status, 302, "its only visit is still there");
    visitor.get("/api/v1/links/drawn/qr").await.problem(410, "link-used-up");
}

#[tokio::test]
async fn two_names_have_two_qr_codes_and_the_same_name_has_one() {
    let node = TestNode::start().await;
    for alias in ["first", "second"] {
        node.client().create(&json!({ "url": "https://example.com/", "alias": alias })).await;
    }
    let visitor = node.visitor();
    let first = visitor.get("/api/v1/links/first/qr").await;
    assert_eq!(first.body, visitor.get("/api/v1/links/first/qr").await.body);
    assert_ne!(first.body, visitor.get("/api/v1/links/second/qr").await.body);
}

#[tokio::test]
async fn no_qr_code_leads_nowhere_and_wishes_that_cannot_be_met_are_refused() {
    let node = TestNode::start().await;
    let long = "x".repeat(64);
    for alias in ["wished", long.as_str()] {
        node.client().create(&json!({ "url": "https://example.com/", "alias": alias })).await;
    }
    let visitor = node.visitor();
    visitor.get("/api/v1/links/nothing1/qr").await.problem(404, "link-not-found");
    for query in ["size=31", "size=2049", "size=-1", "size=many", "format=gif", "level=best", "colour=red"] {
        visitor.get(&format!("/api/v1/links/wished/qr?{query}")).await.problem(400, "invalid-query");
    }
    let crowded = visitor.get(&format!("/api/v1/links/{long}/qr?format=png&size=32&level=high")).await;
    assert!(crowded.problem(400, "invalid-query").contains("at least"), "{crowded:?}");
    let mut modules = Vec::new();
    for level in ["low", "medium", "quartile", "high"] {
        let svg = visitor.get(&format!("/api/v1/links/{long}/qr?level={level}")).await.text().to_owned();
        let view = svg.split_once("viewBox=\"0 0 ").unwrap().1;
        modules.push(view.split(' ').next().unwrap().parse::<u32>().unwrap());
    }
    assert!(modules.is_sorted_by(|less, more| less < more), "more correction takes more modules: {modules:?}");
    node.client().delete("/api/v1/links/wished").await;
    visitor.get("/api/v1/links/wished/qr").await.problem(410, "link-deleted");
}
