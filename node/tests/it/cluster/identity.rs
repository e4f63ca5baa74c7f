//! Nodes that don't belong together: each is refused in one line, and nothing is changed by it.

use std::fs;

use super::orders;
use crate::startup::one_line;
use crate::support::{Cluster, draw, eventually, free_address};

const OTHER_SECRET: (&str, &str) = ("STINT_CLUSTER_SECRET", "another-secret-long-enough");

#[tokio::test]
async fn a_member_with_another_secret_does_not_found_and_does_not_run() {
    let mut cluster = Cluster::of(3);
    cluster.start(1, &["--bootstrap"]).await;
    let own = std::mem::replace(&mut cluster.environment[0].1, OTHER_SECRET.1.to_owned());
    let line = cluster.refused(2, &["--bootstrap"]).await;
    let expected = format!(
        "stint: node 1 at {} has another cluster secret: give every node the same STINT_CLUSTER_SECRET",
        cluster.addresses[&1]
    );
    assert_eq!(line, expected);
    cluster.environment[0].1 = own;
    let mut cluster = cluster.founded().await;
    // A member that was founded, and is now started with another one: it stays up, and both sides say why.
    cluster.take(2).kill().await;
    cluster.environment[0].1 = OTHER_SECRET.1.to_owned();
    cluster.start(2, &[]).await;
    cluster.logged("2", &["WARN", "a call was refused", "the cluster secret is not that of node 2"]).await;
    cluster.logged("1", &["a member refuses our calls", "the cluster secret is not that of node 2"]).await;
    assert_eq!(cluster.node(2).admin_client().get("/readyz").await.status, 503);
}

#[tokio::test]
async fn a_shortener_with_another_secret_or_cluster_says_so_and_has_no_ids() {
    let cluster = Cluster::found().await;
    let zeros = "0".repeat(32);
    for (number, setting, expected) in [
        (1, OTHER_SECRET, "the cluster secret is not that of node".to_owned()),
        (2, ("STINT_CLUSTER__ID", zeros.as_str()), format!("and the call is from cluster {zeros}")),
    ] {
        let shortener = cluster.serve(number, &[setting]).await;
        cluster.logged(&format!("serve-{number}"), &["no allocator answers", &expected]).await;
        let ready = shortener.admin_client().get("/readyz").await;
        assert!(ready.status == 503 && ready.text().contains(&expected), "{ready:?}");
        let refused = shortener.client().post("/api/v1/namespaces", &serde_json::json!({ "name": "orders" })).await;
        refused.problem(503, "unavailable");
    }
}

#[tokio::test]
async fn a_shortener_never_mixes_two_clusters() {
    let (first, second) = (Cluster::of(1).founded().await, Cluster::of(1).founded().await);
    let mut mixed = Cluster::of(0);
    mixed.addresses = [(1, first.addresses[&1].clone()), (2, second.addresses[&1].clone())].into();
    let shortener = mixed.serve(1, &[]).await;
    orders(&shortener.client()).await;
    draw(&shortener.client(), 10).await;
    // Whichever was met first is the cluster; the other one is refused even when the first is gone.
    drop(first);
    eventually("it says that the other is another", || async {
        shortener.admin_client().get("/readyz").await.text().contains("and the call is from cluster ")
    })
    .await;
    let status = second.status().await.unwrap();
    assert!(!status["namespaces"].to_string().contains("orders"), "{status}");
}

#[tokio::test]
async fn a_member_that_is_configured_for_another_cluster_ends_and_changes_nothing() {
    let mut cluster = Cluster::found().await;
    let id = cluster.status().await.unwrap()["cluster_id"].as_str().unwrap().to_owned();
    cluster.take(3).kill().await;
    let zeros = "0".repeat(32);
    cluster.environment.push(("STINT_CLUSTER__ID".to_owned(), zeros.clone()));
    let line = cluster.refused(3, &[]).await;
    assert_eq!(line, format!("stint: this node's data belongs to cluster {id}, not to {zeros} (cluster.id)"));
    cluster.environment.pop();
    cluster.start(3, &[]).await;
    cluster.led().await;
}

#[tokio::test]
async fn a_wiped_directory_is_refused_and_told_the_repair() {
    let mut cluster = Cluster::found().await;
    let id = cluster.status().await.unwrap()["cluster_id"].as_str().unwrap().to_owned();
    cluster.take(3).kill().await;
    fs::remove_dir_all(cluster.data(3)).unwrap();
    let line = cluster.refused(3, &["--bootstrap"]).await;
    let expected = format!(
        "stint: node 1 at {} already belongs to cluster {id}, which doesn't know this empty data directory: if its \
         volume was lost, run `stint cluster remove 3`, start this node with a --node-id that was never used and without \
         --bootstrap, and run `stint cluster add NODE_ID=HOST:PORT`",
        cluster.addresses[&1]
    );
    assert_eq!(line, expected);
    // Without --bootstrap it waits, refuses Raft's calls, and both sides say what is wrong.
    cluster.start(3, &[]).await;
    cluster.logged("3", &["node 3 has another data directory than the cluster knows"]).await;
    // The repair that was told.
    let output = cluster.command(&["remove", "3"]).await;
    assert!(output.status.success(), "{output:?}");
    cluster.take(3).kill().await;
    cluster.start(4, &[]).await;
    let output = cluster.command(&["add", &format!("4={}", cluster.addresses[&4])]).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(cluster.status().await.unwrap()["voters"], serde_json::json!([1, 2, 4]));
}

#[tokio::test]
async fn two_nodes_with_one_number_do_not_found_a_cluster_and_peers_are_the_same_everywhere() {
    let mut cluster = Cluster::of(3);
    let taken = cluster.addresses[&2].clone();
    // A second node 1 listens where node 2 is expected.
    cluster.start(1, &["--bootstrap", "--listen", &taken]).await;
    let line = cluster.refused(3, &["--bootstrap"]).await;
    let expected = format!(
        "stint: the node at {taken} is node 1, not 2: give every node its own --node-id, and all the same --peers"
    );
    assert_eq!(line, expected);
    cluster.take(1).kill().await;
    cluster.start(1, &["--bootstrap"]).await;
    let (first, third, other) = (cluster.addresses[&1].clone(), cluster.addresses[&3].clone(), free_address());
    let peers = format!("1={first},2={other},3={third}");
    let line = cluster.refused(3, &["--bootstrap", "--peers", &peers]).await;
    let expected = format!(
        "stint: node 1 at {first} was given other --peers ({}) than this node ({peers}): give all the same",
        cluster.peers()
    );
    assert_eq!(line, expected);
}

#[tokio::test]
async fn peers_that_do_not_resolve_are_waited_for_by_name() {
    let mut cluster = Cluster::of(2);
    cluster.addresses.insert(2, "no-such-host.invalid:7101".to_owned());
    cluster.start(1, &["--bootstrap"]).await;
    cluster.logged("1", &["founding the cluster", "node 2: can't connect to no-such-host.invalid:7101"]).await;
    cluster.logged("1", &["WARN", "an even number of voters (2) tolerates no more failures than one fewer"]).await;
    let ready = cluster.node(1).admin_client().get("/readyz").await;
    assert!(
        ready.status == 503 && ready.text().contains("node 2: can't connect to no-such-host.invalid:7101"),
        "{ready:?}"
    );
    assert_eq!(cluster.take(1).terminate().await, Some(0), "a wait ends when asked");
}

#[tokio::test]
async fn a_port_in_use_and_a_directory_of_another_node_are_one_line() {
    let mut cluster = Cluster::of(1).founded().await;
    let (address, data) = (cluster.addresses[&1].clone(), cluster.dir.path().join("other"));
    let other = data.to_str().unwrap();
    let admin = ["allocator", "--admin-listen", "127.0.0.1:0"];
    let secret = [("STINT_CLUSTER_SECRET", OTHER_SECRET.1)];
    let line = one_line(&[&admin[..], &["--listen", &address, "--data-dir", other]].concat(), &secret, 1).await;
    assert!(line.contains(&address) && line.contains("cluster.listen") && line.contains("in use"), "{line}");
    assert!(!data.exists(), "nothing was touched");
    assert_eq!(cluster.take(1).terminate().await, Some(0));
    let data = cluster.data(1);
    let own = data.to_str().unwrap();
    let arguments = [&admin[..], &["--listen", "127.0.0.1:0", "--data-dir", own, "--node-id", "5"]].concat();
    let line = one_line(&arguments, &secret, 1).await;
    assert!(line.contains("belongs to node 1, not to node 5") && line.contains(own), "{line}");
}
