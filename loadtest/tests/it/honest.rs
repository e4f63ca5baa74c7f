//! A server that does what it says passes, over TLS too.

use crate::liar::{Authority, Liar, Lie};
use crate::program::loadtest;

#[tokio::test(flavor = "multi_thread")]
async fn every_scenario_passes_and_its_counts_are_the_servers() {
    let (one, dir) = (Liar::start(Lie::Nothing).await, tempfile::tempdir().unwrap());
    let urls = dir.path().join("urls.txt");
    let lines: Vec<String> = (0..500).map(|number| format!("https://example.com/{number}?a=%2f")).collect();
    std::fs::write(&urls, lines.join("\n")).unwrap();
    let (urls, reports) = (urls.to_str().unwrap(), dir.path().join("reports"));
    let arguments = ["--smoke", "--users", "8", "--links", "100", "--target", &one.url, "--metrics-url", &one.url];
    let said = loadtest(&[&arguments[..], &["--urls", urls, "--report-dir", reports.to_str().unwrap()]].concat()).await;

    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{said:?}");
    assert_eq!(said.stdout.lines().count(), 9, "a line for each scenario, and one for all: {said:?}");
    let summary = said.summary();
    assert_eq!((&summary["scenario"], &summary["passed"]), (&"smoke".into(), &true.into()));
    assert_eq!(summary["counts_compared"], true);
    {
        let memory = one.memory();
        let counted = ["created", "reused", "followed", "ids"].map(|name| said.number(name));
        assert_eq!(counted, [memory.created, memory.reused, memory.followed, memory.ids]);
    }
    let aliases = &summary["runs"][4];
    assert_eq!(aliases["created"], aliases["followed"], "each alias is followed once: {aliases}");
    let urls_run = &summary["runs"][7];
    assert_eq!((&urls_run["created"], &urls_run["followed"]), (&50.into(), &50.into()), "every tenth line: {urls_run}");
    let drift = &summary["runs"][6]["drift"];
    assert_eq!(drift["headroom_seconds"], serde_json::json!([600.0, 600.0]));
    for file in ["create.html", "create.goose.json", "create.summary.json", "smoke.summary.json"] {
        let size = std::fs::metadata(reports.join(file)).map_or(0, |metadata| metadata.len());
        assert!(size > 100, "{file} has {size} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_take_turns_over_several_targets() {
    let (one, two) = (Liar::start(Lie::Nothing).await, Liar::start(Lie::Nothing).await);
    let pages = ["--metrics-url", &one.url, "--metrics-url", &two.url];
    let arguments = ["--scenario", "create", "--duration", "1s", "--target", &one.url, "--target", &two.url];
    // Two servers that know nothing of each other give the same codes.
    let said = loadtest(&[&arguments[..], &pages[..]].concat()).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.number("duplicates") > 0, "{said:?}");
    let (one, two) = (one.memory().created, two.memory().created);
    assert!(one > 0 && two > 0, "{one} and {two}");
    assert_eq!(said.number("created"), one + two);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_links_are_followed_through_another_target() {
    let dir = tempfile::tempdir().unwrap();
    let urls = dir.path().join("urls.txt");
    let lines: Vec<String> = (0..100).map(|number| format!("https://example.com/{number}")).collect();
    std::fs::write(&urls, lines.join("\n")).unwrap();
    let cases: [(&str, &[&str]); 2] = [("urls", &["--urls", urls.to_str().unwrap()]), ("bulk", &[])];
    for (scenario, more) in cases {
        let one = Liar::start(Lie::KnowsOnlyOthers).await;
        let two = one.beside().await;
        let targets = ["--target", &one.url, "--target", &two.url, "--metrics-url", &one.url];
        let said = loadtest(&[&targets[..], &["--scenario", scenario, "--duration", "1s"], more].concat()).await;
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.number("followed") > 0, "{said:?}");
        let alone = Liar::start(Lie::KnowsOnlyOthers).await;
        let targets = ["--target", &alone.url, "--metrics-url", &alone.url];
        let said = loadtest(&[&targets[..], &["--scenario", scenario, "--duration", "1s"], more].concat()).await;
        assert_eq!((said.code, said.number("followed")), (1, 0), "there is no other: {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_trusted_if_its_authority_is_named() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let server = Liar::start_tls(&authority).await;
    let file = |name: &str, authority: &Authority| {
        let path = dir.path().join(name);
        std::fs::write(&path, &authority.pem).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (right, wrong) = (file("right.pem", &authority), file("wrong.pem", &Authority::new()));
    let arguments = ["--target", &server.url, "--metrics-url", &server.url, "--duration", "1s", "--links", "10"];
    let said = loadtest(&[&arguments[..], &["--ca-file", &right]].concat()).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.number("followed") > 0, "{said:?}");
    for arguments in [&arguments[..], &[&arguments[..], &["--ca-file", &wrong]].concat()] {
        let said = loadtest(arguments).await;
        assert!(said.mistake().contains("isn't trusted: name its CA with --ca-file"), "{said:?}");
    }
}
