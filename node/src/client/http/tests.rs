//! The client against servers that answer badly, late or not at all.

use hyper::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::ports::entropy::OsEntropy;

fn client(url: &str, patience: RetryPolicy) -> ApiClient {
    ApiClient::new(url, Some(&Secret::new("stint_1")), patience, Arc::new(OsEntropy)).unwrap()
}

fn answer(status: u16) -> Answer {
    let status = StatusCode::from_u16(status).unwrap();
    Answer { url: "http://a/b".into(), status, location: None, retry_after: None, body: Bytes::new(), anonymous: true }
}

fn broken() -> Result<Answer, ClientError> {
    Err(ClientError::Broken { server: "http://a".into(), reason: "reset".into() })
}

/// A server that gives these answers, one a connection, and returns the requests.
async fn scripted(listener: TcpListener, answers: Vec<&'static str>) -> Vec<String> {
    let mut requests = Vec::new();
    for answer in answers {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.unwrap();
        requests.push(String::from_utf8(request[..length].to_vec()).unwrap());
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
    requests
}

#[tokio::test]
async fn a_busy_server_is_asked_again_with_the_same_key() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answers = vec![
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        "", // The connection breaks.
        "HTTP/1.1 201 Created\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
    ];
    let client = client(&url, RetryPolicy::PATIENT);
    let call = Call::post("/api/v1/links", "{}", Some("k-1".into()));
    let (requests, answer) = tokio::join!(scripted(listener, answers), client.send(&call));
    assert_eq!(answer.unwrap().status, 201);
    assert_eq!(requests.len(), 3);
    for request in requests {
        assert!(request.starts_with("POST /api/v1/links HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("idempotency-key: k-1\r\n"), "{request}");
        assert!(request.contains("authorization: Bearer stint_1\r\n"), "{request}");
    }
}

#[tokio::test]
async fn nobody_listening_is_one_clear_line() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = client(&url, RetryPolicy::NONE).send(&Call::get("/")).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{url} can't be reached: connection refused; is `stint` running there?"));
}

#[test]
fn only_what_can_not_happen_twice_is_repeated() {
    let get = Call::get("/");
    let keyed = Call::post("/", "{}", Some("k".into()));
    let bare = Call::post("/", "{}", None);
    let unreachable =
        || Err(ClientError::Unreachable { server: "http://a".into(), reason: "refused".into(), refused: true });
    for call in [&get, &keyed] {
        assert!(call.may_repeat_after(&Ok(answer(503))) && call.may_repeat_after(&broken()));
        assert!(!call.may_repeat_after(&Ok(answer(500))) && !call.may_repeat_after(&Ok(answer(409))));
    }
    assert!(!bare.may_repeat_after(&Ok(answer(503))) && !bare.may_repeat_after(&broken()));
    assert!(bare.may_repeat_after(&Ok(answer(429))) && bare.may_repeat_after(&unreachable()));
}

#[test]
fn a_redirect_names_where_to_go() {
    let moved = Answer { location: Some("https://sho.rt/api".into()), ..answer(301) };
    let line = moved.success().unwrap_err().to_string();
    assert_eq!(line, "http://a/b answered 301 Moved Permanently and leads to https://sho.rt/api");
}

#[test]
fn who_sent_no_key_is_told_how_to() {
    let problem =
        r#"{"type":"/docs/problems/unauthorized","title":"t","status":401,"detail":"no key","request_id":"1"}"#;
    let refused = |anonymous| Answer { body: problem.into(), anonymous, ..answer(401) }.into_error();
    let line = "no key (t, status 401, request 1); give a key with --key or STINT_KEY";
    assert_eq!(refused(true).to_string(), line);
    assert_eq!(refused(false).to_string(), "no key (t, status 401, request 1)");
    assert!(refused(true).is_not_allowed() && refused(false).is_not_allowed());
}

#[test]
fn a_key_that_is_no_header_is_refused_without_being_shown() {
    let key = Secret::new("stint_\n1");
    let error = ApiClient::new("http://a", Some(&key), RetryPolicy::NONE, Arc::new(OsEntropy)).unwrap_err();
    assert!(matches!(error, ClientError::BadKey));
}
