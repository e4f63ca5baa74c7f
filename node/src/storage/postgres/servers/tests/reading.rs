//! Replicas that freeze, stop replaying or are cut off leave the rotation, and come back.

use super::rig::{Node, eventually, options, primary};
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_can_not_keep_up_is_not_read_until_it_has_caught_up() {
    let leader = primary();
    let (steady, other) = (leader.replica(), leader.replica());
    let node = Node::start(&options(&[&leader], &[&steady, &other]), None);
    node.has_primary(&leader, 1).await;
    node.reads(&steady).await;
    node.reads(&other).await;
    let mut both = [steady.port(), other.port()];
    both.sort_unstable();
    assert_eq!(node.read_ports().await, both);

    other.pause();
    node.leaves_out(&other, "is away").await;
    assert_eq!(node.read_ports().await, [steady.port()]);
    other.resume();
    node.reads(&other).await;

    other.execute("SELECT pg_wal_replay_pause()");
    leader.execute("CREATE TABLE missed (number integer)");
    node.leaves_out(&other, "replay is paused").await;
    assert_eq!(node.read_ports().await, [steady.port()]);
    let lag = node.servers.status().replicas.into_iter().find(|replica| replica.out.is_some()).unwrap().lag.unwrap();
    assert!(lag > rig::MAX_LAG, "{lag:?}");
    let fresh = Node::start(&options(&[&leader], &[&other]), None);
    fresh.has_primary(&leader, 1).await;
    fresh.leaves_out(&other, "behind").await;
    fresh.stop().await;
    other.execute("SELECT pg_wal_replay_resume()");
    node.reads(&other).await;

    let conninfo = other.execute("SHOW primary_conninfo");
    other.execute("ALTER SYSTEM SET primary_conninfo = ''");
    other.execute("SELECT pg_reload_conf()");
    let cut_off = async || other.execute("SELECT pid FROM pg_stat_wal_receiver").is_empty();
    eventually(|| "the replica is cut off".to_owned(), cut_off).await;
    leader.execute("INSERT INTO missed VALUES (1)");
    node.leaves_out(&other, "behind").await;
    other.execute(&format!("ALTER SYSTEM SET primary_conninfo = '{}'", conninfo.replace('\'', "''")));
    other.execute("SELECT pg_reload_conf()");
    node.reads(&other).await;
    assert_eq!(node.read_ports().await, both);
    node.stop().await;
}
