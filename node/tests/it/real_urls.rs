//! 20,000 real URLs: created by 32 parallel clients, followed exactly, reused when repeated, and kept over a kill.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::{Client, Program, in_parallel, real_urls};

const CLIENTS: usize = 32;

async fn create_all(client: &Client, urls: &[String], status: u16) -> Vec<String> {
    in_parallel(CLIENTS, urls, |url| async move {
        let answer = client.post("/api/v1/links", &json!({ "url": url })).await;
        assert_eq!(answer.status.as_u16(), status, "{url}: {answer:?}");
        match answer.json()["code"].take() {
            Value::String(code) => code,
            other => panic!("{url} has the code {other}"),
        }
    })
    .await
}

async fn follow_all(client: &Client, urls: &[String], codes: &[String]) {
    in_parallel(CLIENTS, urls.iter().zip(codes), |(url, code)| async move {
        assert_eq!(client.location(code).await, *url);
    })
    .await;
}

#[tokio::test]
async fn twenty_thousand_real_urls_are_created_followed_reused_and_kept() {
    let urls = real_urls();
    assert_eq!(urls.iter().collect::<HashSet<_>>().len(), 20_000);
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let program = Program::start(&data).await;
    let client = program.client();
    let codes = create_all(&client, &urls, 201).await;
    assert_eq!(codes.iter().collect::<HashSet<_>>().len(), 20_000);
    assert!(codes.iter().all(|code| code.len() == 7 && code.bytes().all(|byte| byte.is_ascii_alphanumeric())));
    follow_all(&client, &urls, &codes).await;
    assert_eq!(create_all(&client, &urls, 200).await, codes, "a repeat gets the same codes");
    program.kill().await;
    let program = Program::start(&data).await;
    follow_all(&program.client(), &urls, &codes).await;
    assert_eq!(create_all(&program.client(), &urls[..500], 200).await, codes[..500]);
    assert_eq!(program.terminate().await, Some(0));
}
