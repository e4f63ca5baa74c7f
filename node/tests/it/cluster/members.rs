//! Changing the members by command, and what the commands refuse.

use crate::support::{Cluster, eventually, free_address, last_line};

#[tokio::test]
async fn members_are_shown_added_removed_and_led_by_command() {
    let mut cluster = Cluster::found().await;
    cluster.start(4, &[]).await;
    cluster.logged("4", &["run `stint cluster add 4=HOST:PORT` to take it into a cluster"]).await;
    let waiting = cluster.node(4).admin_client().get("/readyz").await;
    assert_eq!(waiting.status, 503);
    assert!(waiting.text().contains("this node is empty: run `stint cluster add 4=HOST:PORT`"), "{waiting:?}");

    let fourth = format!("4={}", cluster.addresses[&4]);
    said(&cluster, &["add", &fourth], &format!("node 4 ({}) is a voter now\n", cluster.addresses[&4])).await;
    assert_eq!(cluster.node(4).admin_client().get("/readyz").await.status, 200);
    let table = shown(&cluster).await;
    assert!(table.contains("an even number of voters (4) tolerates no more failures than one fewer"), "{table}");

    said(&cluster, &["transfer", "4"], "node 4 leads now\n").await;
    assert_eq!(cluster.led().await, 4);
    let gone = "node 4 is no member any more; its number must not be used again\n";
    said(&cluster, &["remove", "4"], gone).await;
    cluster.take(4).kill().await;
    cluster.led().await;
    let status = cluster.status().await.unwrap();
    assert_eq!(status["voters"], serde_json::json!([1, 2, 3]));
    let table = shown(&cluster).await;
    assert!(table.contains("all is well: 1 of 3 voters may fail\n"), "{table}");

    // The number is gone for good, whatever is under it.
    std::fs::remove_dir_all(cluster.data(4)).unwrap();
    cluster.start(4, &[]).await;
    let line = refused(&cluster, &["add", &fourth]).await;
    assert!(line.contains("number 4 was given to another data directory"), "{line}");
    assert_eq!(cluster.status().await.unwrap()["voters"], serde_json::json!([1, 2, 3]));
}

#[tokio::test]
async fn a_member_that_dies_while_nothing_is_written_is_missed() {
    let mut cluster = Cluster::found().await;
    let follower = 1 + cluster.led().await % 3;
    cluster.take(follower).kill().await;
    let verdict = format!("NOT WELL: no more failure is tolerable: voter {follower} is not heard from\n");
    eventually("the leader misses it", || async { shown(&cluster).await.ends_with(&verdict) }).await;
    let mut silence = 0.0;
    for node_id in (1..=3).filter(|node_id| *node_id != follower) {
        let name = format!("stint_raft_member_silence_seconds{{member=\"{follower}\"}}");
        let value = cluster.node(node_id).admin_client().sample::<f64>(&name).await;
        silence = value.filter(|value| !value.is_nan()).unwrap_or(silence);
    }
    assert!(silence > 0.5, "the leader's metrics say for how long: {silence}");
}

#[tokio::test]
async fn a_change_that_can_not_be_made_is_one_line_and_changes_nothing() {
    let mut cluster = Cluster::found().await;
    let nobody = free_address();
    let second = cluster.addresses[&2].clone();
    for (arguments, expected) in [
        (["remove", "9"], "there is no member 9".to_owned()),
        (["transfer", "9"], "node 9 is no voter".to_owned()),
        (["add", &format!("9={nobody}")], format!("can't connect to {nobody}: Connection refused")),
        (["add", &format!("9={second}")], format!("the node at {second} is node 2, not node 9")),
    ] {
        let line = refused(&cluster, &arguments).await;
        assert!(line.starts_with("stint: ") && line.contains(&expected), "{line}");
    }
    // A member of another cluster, and a node that is about to found one.
    let stranger = Cluster::of(1).founded().await;
    let line = refused(&cluster, &["add", &format!("1={}", stranger.addresses[&1])]).await;
    assert!(line.contains("node 1 is a member already, at "), "{line}");
    let seventh = free_address();
    cluster.addresses.insert(7, seventh.clone());
    let peers = format!("7={seventh},8={nobody}");
    cluster.start(7, &["--bootstrap", "--peers", &peers]).await;
    let line = refused(&cluster, &["add", &format!("7={seventh}")]).await;
    assert!(line.contains("node 7 is founding a cluster: start it without --bootstrap"), "{line}");
    assert_eq!(cluster.status().await.unwrap()["members"].as_array().unwrap().len(), 3);
}

async fn said(cluster: &Cluster, arguments: &[&str], expected: &str) {
    let output = cluster.command(arguments).await;
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), expected));
}

async fn refused(cluster: &Cluster, arguments: &[&str]) -> String {
    let output = cluster.command(arguments).await;
    assert_eq!(output.stderr.split(|byte| *byte == b'\n').count() - 1, 1, "{output:?}");
    last_line(&output, 1)
}

async fn shown(cluster: &Cluster) -> String {
    String::from_utf8(cluster.command(&["status"]).await.stdout).unwrap()
}
