//! What can't work is one line with the exit code 64, before any load.

use crate::liar::{Liar, Lie};
use crate::program::loadtest;

/// A port on which nobody listens.
async fn nobody() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_listens() {
    let (nobody, server) = (nobody().await, Liar::start(Lie::Nothing).await);
    let said = loadtest(&["--target", &nobody]).await;
    assert!(said.mistake().starts_with(&format!("no answer from {nobody}: is --target right")), "{said:?}");
    let said = loadtest(&["--target", &server.url, "--target", &nobody]).await;
    assert!(said.mistake().contains(&nobody), "{said:?}");
    let said = loadtest(&["--target", &server.url, "--metrics-url", &nobody]).await;
    assert!(said.mistake().starts_with(&format!("--metrics-url {nobody}/metrics: no answer")), "{said:?}");
    assert_eq!(server.memory().created, 0, "there was no load");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_missing_or_unknown() {
    let server = Liar::start(Lie::KnowsNoKey).await;
    let said = loadtest(&["--target", &server.url]).await;
    assert!(said.mistake().contains("without an API key (401): give --key-file or STINT_KEY"), "{said:?}");
    let said = loadtest(&["--target", &server.url, "--key", "wrong"]).await;
    assert!(said.mistake().contains("doesn't know the API key (401)"), "{said:?}");
    let said = loadtest(&["--target", &server.url, "--scenario", "ids"]).await;
    assert!(said.mistake().contains("scope admin"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_pages_that_are_not_what_they_should_be() {
    let server = Liar::start(Lie::Nothing).await;
    let target = ["--target", server.url.as_str()];
    let health = format!("{}/health", server.url);
    let cases: [(&[&str], &str); 7] = [
        (&["--key-file", "/nonexistent"], "--key-file /nonexistent can't be read"),
        (&["--ca-file", "/nonexistent"], "--ca-file /nonexistent can't be read"),
        (&["--ca-file", "/dev/null"], "--ca-file /dev/null holds no certificate"),
        (&["--scenario", "urls", "--urls", "/dev/null"], "--urls /dev/null holds no line"),
        (&["--report-dir", "/dev/null/x"], "--report-dir /dev/null/x can't be made"),
        (&["--metrics-url", &health], "is no Prometheus text"),
        (&["--target", "127.0.0.1"], "--target 127.0.0.1 is no URL"),
    ];
    for (arguments, mistake) in cases {
        let said = loadtest(&[&target[..], arguments].concat()).await;
        assert!(said.mistake().contains(mistake), "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_no_stint() {
    let server = Liar::start(Lie::Nothing).await;
    let said = loadtest(&["--target", &format!("{}/elsewhere", server.url)]).await;
    assert!(said.mistake().contains("is no Stint: GET /health answers 404"), "{said:?}");
}
