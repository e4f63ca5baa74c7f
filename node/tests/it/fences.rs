//! Two sources never issue one key: a lost, foreign or restored allocator is refused, and repaired by name.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use serde_json::json;

use crate::support::{Client, TestNode, in_parallel};

async fn fill(client: &Client, name: &str) -> HashSet<String> {
    let codes = in_parallel(16, 0..300, |n| async move {
        client.create(&json!({ "url": format!("https://example.com/{name}/{n}") })).await["code"]
            .as_str()
            .unwrap()
            .to_owned()
    });
    codes.await.into_iter().collect()
}

async fn refusal(dir: &Path, settings: &[(&'static str, &str)]) -> String {
    match crate::support::open(dir, settings, false).await {
        Ok(_) => panic!("the node must not start"),
        Err(error) => format!("{error:#}"),
    }
}

async fn repaired(dir: tempfile::TempDir, key: String, old: &HashSet<String>) {
    let node = crate::support::open(dir.path(), &[], true).await.expect("the repair works");
    let node = TestNode { node, dir, key };
    let new = fill(&node.client(), "after").await;
    assert_eq!(new.len(), 300);
    assert!(new.is_disjoint(old), "no key is issued twice");
    let node = node.restart().await;
    assert_eq!(fill(&node.client(), "later").await.len(), 300, "it starts without the repair from then on");
}

#[tokio::test]
async fn an_allocator_whose_data_vanished_is_refused_and_repaired() {
    let TestNode { node, dir, key } = TestNode::start().await;
    let old = fill(&Client::new(format!("http://{}", node.address), Some(&key)), "before").await;
    assert!(node.stop().await);
    fs::remove_dir_all(dir.path().join("data/raft")).unwrap();
    let error = refusal(dir.path(), &[]).await;
    assert!(error.contains("issued by the allocator") && error.contains("--repair-ids"), "{error}");
    assert!(error.contains("links only") && error.contains("other namespaces"), "{error}");
    assert!(!error.contains('\n'), "one line: {error}");
    repaired(dir, key, &old).await;
}

#[tokio::test]
async fn an_allocator_restored_from_an_older_copy_is_refused_and_repaired() {
    let node = TestNode::start_with(&[("ids.min_block", "100"), ("ids.max_block", "100")]).await;
    let mut old = fill(&node.client(), "before").await;
    let TestNode { node, dir, key } = node;
    assert!(node.stop().await);
    let (raft, copy) = (dir.path().join("data/raft"), dir.path().join("copy"));
    copy_all(&raft, &copy);
    let node = crate::support::open(dir.path(), &[], false).await.unwrap();
    let client = Client::new(format!("http://{}", node.address), Some(&key));
    for round in 0..10 {
        old.extend(fill(&client, &format!("more{round}")).await);
    }
    assert!(node.stop().await);
    fs::remove_dir_all(&raft).unwrap();
    copy_all(&copy, &raft);
    let error = refusal(dir.path(), &[]).await;
    assert!(error.contains("older copy") && error.contains("--repair-ids"), "{error}");
    repaired(dir, key, &old).await;
}

#[tokio::test]
async fn no_lost_link_s_code_is_issued_again_when_database_and_allocator_are_both_older() {
    let node = TestNode::start_with(&[("ids.min_block", "100"), ("ids.max_block", "100")]).await;
    let mut old = fill(&node.client(), "before").await;
    let TestNode { node, dir, key } = node;
    assert!(node.stop().await);
    let (data, copy) = (dir.path().join("data"), dir.path().join("stint.db"));
    fs::copy(data.join("stint.db"), &copy).unwrap();
    let node = crate::support::open(dir.path(), &[], false).await.unwrap();
    let client = Client::new(format!("http://{}", node.address), Some(&key));
    for round in 0..10 {
        old.extend(fill(&client, &format!("lost{round}")).await);
    }
    assert!(node.stop().await);
    for name in ["stint.db-wal", "stint.db-shm"] {
        let _ = fs::remove_file(data.join(name));
    }
    fs::copy(&copy, data.join("stint.db")).unwrap();
    fs::remove_dir_all(data.join("raft")).unwrap();
    repaired(dir, key, &old).await;
}

#[tokio::test]
async fn a_lost_database_is_refused_and_replaced_by_name() {
    let TestNode { node, dir, key } = TestNode::start().await;
    let old = fill(&Client::new(format!("http://{}", node.address), Some(&key)), "before").await;
    assert!(node.stop().await);
    for name in ["stint.db", "stint.db-wal", "stint.db-shm"] {
        let _ = fs::remove_file(dir.path().join("data").join(name));
    }
    for _ in 0..2 {
        let error = refusal(dir.path(), &[]).await;
        assert!(error.contains("stint.db was lost") && error.contains("--repair-ids"), "{error}");
        assert!(!error.contains('\n'), "one line: {error}");
        assert!(!dir.path().join("data/stint.db-wal").exists(), "nothing is left for a restored database to take up");
    }
    repaired(dir, key, &old).await;
}

#[tokio::test]
async fn a_first_start_that_was_killed_between_a_grant_and_its_mark_starts_again() {
    let TestNode { node, dir, .. } = TestNode::start().await;
    assert!(node.stop().await);
    let database = sqlx::sqlite::SqliteConnectOptions::new().filename(dir.path().join("data/stint.db"));
    let mut connection = sqlx::ConnectOptions::connect(&database).await.unwrap();
    let done = sqlx::query("UPDATE lanes SET mark = 0").execute(&mut connection).await.unwrap();
    assert_eq!(done.rows_affected(), 1);
    sqlx::Connection::close(connection).await.unwrap();
    assert!(crate::support::open(dir.path(), &[], false).await.expect("it starts").stop().await);
}

#[tokio::test]
async fn another_code_key_is_refused_naming_both_fingerprints() {
    let TestNode { node, dir, .. } = TestNode::start().await;
    assert!(node.stop().await);
    let other = "00000000000000000000000000000001";
    let error = refusal(dir.path(), &[("codes.key", other)]).await;
    let text = fs::read_to_string(dir.path().join("data/code.key")).unwrap();
    for key in [text.trim(), other] {
        let fingerprint = key.parse::<stint_idgen::CodeKey>().unwrap().fingerprint();
        assert!(error.contains(&fingerprint), "{fingerprint} is not in {error}");
        assert!(!error.contains(key), "the key itself is never shown");
    }
}

#[tokio::test]
async fn two_nodes_can_not_share_a_data_directory() {
    let node = TestNode::start().await;
    let error = refusal(node.dir.path(), &[]).await;
    assert!(error.contains("in use by another process") && !error.contains('\n'), "{error}");
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
