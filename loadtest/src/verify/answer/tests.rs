//! Answers that are right, and each kind of wrong one.

use bytes::Bytes;

use super::*;

fn reply(status: u16, location: Option<&str>, body: &str) -> Reply {
    let location = location.map(|location| Bytes::copy_from_slice(location.as_bytes()));
    Reply { status, location, body: Bytes::copy_from_slice(body.as_bytes()) }
}

fn create_reply(status: u16, url: &str) -> Reply {
    let body = serde_json::json!({ "code": "abc", "short_url": "http://s/abc", "url": url, "tags": [] });
    reply(status, Some("http://s/abc"), &body.to_string())
}

fn kind<T>(result: Result<T, Fault>) -> Option<Kind> {
    result.err().map(|fault| fault.kind)
}

#[test]
fn a_link_is_created_as_it_was_sent() {
    let link = Link { code: "abc".to_owned(), url: "http://x/1".to_owned() };
    assert_eq!(created("http://x/1", None, &create_reply(201, "http://x/1")), Ok((link.clone(), Outcome::New)));
    assert_eq!(created("http://x/1", None, &create_reply(200, "http://x/1")), Ok((link, Outcome::Reused)));
    assert_eq!(kind(created("http://x/1", None, &create_reply(201, "http://x/1/"))), Some(Kind::WrongUrl));
    assert_eq!(kind(created("http://x/ü", None, &create_reply(201, "http://x/ü"))), Some(Kind::WrongUrl));
    assert_eq!(kind(created("http://x/ü", None, &create_reply(201, "http://x/%C3%BC"))), None);
}

#[test]
fn an_answer_that_is_not_a_link_is_told() {
    let wrong_place = Reply { location: None, ..create_reply(201, "http://x/1") };
    assert_eq!(kind(created("http://x/1", None, &wrong_place)), Some(Kind::Malformed));
    assert_eq!(kind(created("http://x/1", None, &reply(201, None, "<html>"))), Some(Kind::Malformed));
    let problem = r#"{"type":"/docs/problems/overloaded","detail":"come back"}"#;
    let fault = created("http://x/1", None, &reply(503, None, problem)).unwrap_err();
    assert_eq!(fault.to_string(), "status 503: it must be 201 or 200 (overloaded: come back)");
    assert!(fault.may_be_done());
}

#[test]
fn an_alias_is_given_as_asked_and_new() {
    assert_eq!(kind(created("http://x/1", Some("abc"), &create_reply(201, "http://x/1"))), None);
    assert_eq!(kind(created("http://x/1", Some("abd"), &create_reply(201, "http://x/1"))), Some(Kind::Alias));
    assert_eq!(kind(created("http://x/1", Some("abc"), &create_reply(200, "http://x/1"))), Some(Kind::Alias));
}

#[test]
fn a_redirect_leads_to_the_same_bytes() {
    let link = Link { code: "abc".to_owned(), url: "http://x/A%2f?q#f".to_owned() };
    assert_eq!(redirected(&link, 302, &reply(302, Some("http://x/A%2f?q#f"), "")), Ok(()));
    assert_eq!(kind(redirected(&link, 302, &reply(302, Some("http://x/A%2F?q#f"), ""))), Some(Kind::WrongUrl));
    assert_eq!(kind(redirected(&link, 302, &reply(302, None, ""))), Some(Kind::WrongUrl));
    assert_eq!(kind(redirected(&link, 302, &reply(301, Some("http://x/A%2f?q#f"), ""))), Some(Kind::Status(301)));
    assert_eq!(kind(redirected(&link, 302, &reply(404, None, ""))), Some(Kind::Status(404)));
}

#[test]
fn bulk_rows_come_back_in_order() {
    let lines = "{\"index\":0,\"status\":201,\"code\":\"a\"}\n{\"index\":1,\"status\":200,\"code\":\"b\"}\n";
    let rows = bulk(2, BulkForm::Ndjson, &reply(200, None, lines)).unwrap();
    assert_eq!(rows[0], Row { code: "a".to_owned(), outcome: Outcome::New });
    assert_eq!(rows[1], Row { code: "b".to_owned(), outcome: Outcome::Reused });
    let array = r#"[{"index":1,"status":201,"code":"a"}]"#;
    assert_eq!(kind(bulk(1, BulkForm::Json, &reply(200, None, array))), Some(Kind::Malformed));
    assert_eq!(kind(bulk(3, BulkForm::Ndjson, &reply(200, None, lines))), Some(Kind::Malformed));
    let refused = r#"[{"index":0,"status":422,"problem":{"title":"no"}}]"#;
    assert_eq!(kind(bulk(1, BulkForm::Json, &reply(200, None, refused))), Some(Kind::Status(422)));
}

#[test]
fn ids_are_counted_in_every_form() {
    let number = reply(200, None, r#"{"namespace":"n","ids":[1,2,3,7]}"#);
    assert_eq!(drawn(4, IdForm::Number, &number), Ok(vec![1..4, 7..8]));
    assert_eq!(drawn(2, IdForm::Text, &reply(200, None, r#"{"ids":["9","10"]}"#)).unwrap().len(), 1);
    assert_eq!(drawn(2, IdForm::Base62, &reply(200, None, r#"{"ids":["z","10"]}"#)).unwrap().len(), 1);
    let ranges = reply(200, None, r#"{"ranges":[{"start":1,"end":3},{"start":8,"end":9}]}"#);
    assert_eq!(drawn(3, IdForm::Ranges, &ranges), Ok(vec![1..3, 8..9]));
    assert_eq!(kind(drawn(4, IdForm::Ranges, &ranges)), Some(Kind::Malformed));
    assert_eq!(kind(drawn(4, IdForm::Text, &number)), Some(Kind::Malformed));
    let falling = reply(200, None, r#"{"ids":[5,4]}"#);
    assert_eq!(kind(drawn(2, IdForm::Number, &falling)), Some(Kind::Malformed));
}
