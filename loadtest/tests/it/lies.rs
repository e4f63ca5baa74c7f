//! Each lie is found: the exit code is 1, and a line says what was wrong.

use crate::liar::{Liar, Lie};
use crate::program::{Said, loadtest};

/// A scenario against a liar, for as long as it takes on a busy machine to come to the lie.
async fn found(lie: Lie, scenario: &str, more: &[&str]) -> Said {
    let mut said = None;
    for duration in ["1s", "5s", "25s"] {
        let liar = Liar::start(lie).await;
        let arguments = ["--scenario", scenario, "--target", &liar.url, "--metrics-url", &liar.url];
        let size = ["--duration", duration, "--links", "50", "--users", "8"];
        let last = said.insert(loadtest(&[&arguments[..], &size, more].concat()).await);
        if last.code != 0 {
            break;
        }
    }
    let said = said.unwrap();
    assert_eq!((said.code, &said.summary()["passed"]), (1, &false.into()), "{said:?}");
    said
}

/// It is found in single requests, each with a line of its own.
async fn fails(lie: Lie, scenario: &str, told: &str) -> Said {
    let said = found(lie, scenario, &[]).await;
    assert!(said.stderr.contains(told), "`{told}` is not in {said:?}");
    assert!(said.number("failed") > 0, "{said:?}");
    assert!(said.broken().contains("--max-failed"), "{said:?}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_that_leads_elsewhere() {
    let line = ": wrong URL: it leads to `https://elsewhere.example/`, not to `https://example.com/loadtest/";
    let said = fails(Lie::Location, "follow", line).await;
    assert!(said.stderr.lines().any(|told| told.starts_with("GET http://127.0.0.1:")), "{said:?}");
    fails(Lie::Location, "mixed", line).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_is_stored_as_another() {
    let said = fails(Lie::StoredUrl, "create", "was stored as").await;
    assert!(said.number("created") > 0, "they are links all the same: {said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_is_given_twice() {
    for scenario in ["create", "bulk"] {
        let said = fails(Lie::CodeTwice, scenario, "duplicate: the code c").await;
        assert!(said.number("duplicates") > 0, "{said:?}");
        assert!(said.broken().contains("given twice"), "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_gets_a_second_code() {
    let said = fails(Lie::NoReuse, "create", "wrong reuse: ").await;
    assert_eq!(said.number("duplicates"), 0, "{said:?}");
    fails(Lie::NoReuse, "bulk", "wrong reuse: ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_given_twice() {
    let said = fails(Lie::IdTwice, "ids", "duplicate: the id ").await;
    assert!(said.number("duplicates") > 0, "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_that_not_exactly_one_gets() {
    let said = fails(Lie::AliasForAll, "aliases", "duplicate: ").await;
    assert!(said.number("duplicates") > 0, "{said:?}");
    fails(Lie::AliasForNone, "aliases", "was given to none of 8 who asked").await;
    fails(Lie::AliasLeadsElsewhere, "aliases", "wrong URL: it leads to").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_link_that_is_not_known_yet() {
    fails(Lie::NotFoundAtFirst, "mixed", "status 404: it must be 302").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_answer_that_is_too_short() {
    fails(Lie::BulkRowMissing, "bulk", "malformed answer: 100 rows were sent, 99 came back").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_that_do_not_add_up() {
    let cases = [
        (Lie::CountOfLinks, "create", "new links"),
        (Lie::CountOfRedirects, "follow", "redirects"),
        (Lie::CountOfIds, "ids", "ids"),
    ];
    for (lie, scenario, what) in cases {
        let said = found(lie, scenario, &[]).await;
        assert_eq!(said.number("failed"), 0, "{said:?}");
        assert!(said.broken().contains(&format!(" {what}, the load test ")), "{said:?}");
        assert!(said.stderr.contains("the servers count "), "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_not_compared_where_others_use_the_server_too() {
    let liar = Liar::start(Lie::CountOfLinks).await;
    let arguments = ["--scenario", "create", "--target", &liar.url, "--metrics-url", &liar.url, "--duration", "1s"];
    let said = loadtest(&[&arguments[..], &["--shared"]].concat()).await;
    assert_eq!((said.code, &said.summary()["counts_compared"]), (0, &false.into()), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_slower_than_it_may_be() {
    let limits = ["--p95", "20ms", "--p99", "30ms", "--min-rate", "100000"];
    let said = found(Lie::Slow, "create", &limits).await;
    assert_eq!(said.number("failed"), 0, "{said:?}");
    for limit in ["--p95", "--p99", "--min-rate"] {
        assert!(said.broken().contains(limit), "{said:?}");
    }
    let patient = Liar::start(Lie::Slow).await;
    let arguments =
        ["--scenario", "create", "--target", &patient.url, "--duration", "1s", "--p95", "5s", "--min-rate", "1"];
    assert_eq!(loadtest(&arguments).await.code, 0);
}
