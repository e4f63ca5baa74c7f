//! Lines of an import, and the requests they become.

use bytes::Bytes;
use hyper::StatusCode;

use super::*;

fn line(format: Format, text: &[u8]) -> Line {
    Line { number: 3, end: 99, format, bytes: Some(text.to_vec()) }
}

fn json(text: &str, keep_codes: bool) -> String {
    let request = read_line(&line(Format::Ndjson, text.as_bytes()), keep_codes).unwrap();
    String::from_utf8(request.json).unwrap()
}

fn refusal(format: Format, text: &[u8]) -> (u16, String) {
    let refusal = read_line(&line(format, text), false).unwrap_err();
    (refusal.status, refusal.detail)
}

fn answer(status: u16, body: &'static str) -> Answer {
    let status = StatusCode::from_u16(status).unwrap();
    let body = Bytes::from_static(body.as_bytes());
    Answer { url: "http://a/api/v1/links".into(), status, location: None, retry_after: None, body, anonymous: false }
}

fn judged(status: u16, body: &'static str) -> Result<String, ClientError> {
    let outcome = judge(&line(Format::Text, b""), Some("http://x/".into()), answer(status, body))?;
    Ok(serde_json::to_string(&outcome.result).unwrap())
}

#[test]
fn a_text_line_is_sent_byte_for_byte() {
    let request = read_line(&line(Format::Text, " http://a/\"ü\t ".as_bytes()), false).unwrap();
    assert_eq!(String::from_utf8(request.json).unwrap(), r#"{"url":" http://a/\"ü\t "}"#);
    assert_eq!(request.url.as_deref(), Some(" http://a/\"ü\t "));
}

#[test]
fn fields_go_to_the_server_as_they_are_even_unknown_ones() {
    let text =
        r#"{"url":"http://a/","alias":"b","expires_at":"2030-01-01T00:00:00Z","max_visits":3,"tags":[],"tilte":"c"}"#;
    assert_eq!(json(text, true), text);
}

#[test]
fn an_exported_line_is_accepted_and_its_code_kept_on_request() {
    let text = r#"{"code":"4nBv2Kq","short_url":"http://s/4nBv2Kq","url":"http://a/","created_at":"2026-01-01T00:00:00Z",
        "expires_at":null,"max_visits":null,"visits":7,"title":"t","tags":["x"],"owner_id":2,"version":1}"#;
    assert_eq!(json(text, false), r#"{"url":"http://a/","title":"t","tags":["x"]}"#);
    assert_eq!(json(text, true), r#"{"url":"http://a/","title":"t","tags":["x"],"alias":"4nBv2Kq"}"#);
    assert_eq!(json(r#"{"url":"u","alias":"a","code":"b"}"#, true), r#"{"url":"u","alias":"a"}"#);
}

#[test]
fn what_is_no_object_is_refused_as_the_server_refuses_it() {
    assert_eq!(refusal(Format::Ndjson, b"{\"url\":").0, 400);
    assert_eq!(refusal(Format::Ndjson, b"[]"), (422, "invalid type: sequence, expected an object".into()));
    let (status, detail) = refusal(Format::Ndjson, br#"{"url":"a","url":"b"}"#);
    assert!(status == 422 && detail.starts_with("field `url` is given twice"), "{detail}");
    assert_eq!(refusal(Format::Text, b"http://a/\xFF"), (400, "the line is not UTF-8: see byte 9".into()));
    let too_long = Line { bytes: None, ..line(Format::Text, b"") };
    assert_eq!(read_line(&too_long, false).unwrap_err().status, 413);
}

#[test]
fn results_say_what_became_of_a_line() {
    let link = r#"{"code":"c","short_url":"http://s/c","url":"http://x/","visits":0}"#;
    let made = r#"{"line":3,"status":201,"code":"c","short_url":"http://s/c","url":"http://x/"}"#;
    assert_eq!(judged(201, link).unwrap(), made);
    assert_eq!(judged(200, link).unwrap(), made.replace("201", "200"));
    let problem =
        r#"{"type":"/docs/problems/invalid-url","title":"t","status":422,"detail":"no host","request_id":"1"}"#;
    let refused = r#"{"line":3,"status":422,"type":"/docs/problems/invalid-url","detail":"no host","url":"http://x/"}"#;
    assert_eq!(judged(422, problem).unwrap(), refused);
}

#[test]
fn what_is_not_about_the_line_stops_the_import() {
    let problem = r#"{"type":"/docs/problems/x","title":"t","status":401,"detail":"no key","request_id":"1"}"#;
    for status in [301, 401, 403, 429, 500, 503] {
        assert!(judged(status, problem).is_err(), "{status}");
    }
    // Not Stint, as it doesn't say why.
    assert!(judged(404, "<html>").is_err() && judged(201, "<html>").is_err());
    assert!(judged(413, "<html>").is_ok());
}

#[test]
fn a_link_without_its_code_is_one_clear_line() {
    let error = judged(201, r#"{"short_url":"http://s/c","url":"http://x/"}"#).unwrap_err().to_string();
    let reason = "missing field `code` at line 1 column 44";
    assert_eq!(error, format!("http://a/api/v1/links gave an answer that can't be read ({reason}); is it Stint?"));
    assert!(!judged(200, "{\"code\":\"\n\"}").unwrap_err().to_string().contains('\n'));
}
