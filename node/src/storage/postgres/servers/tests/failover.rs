//! The primary crashes, a replica is promoted, the old primary comes back.

use std::sync::atomic::Ordering;

use super::rig::{Node, Register, name, options, primary};
use super::*;

const LANES: &str = "INSERT INTO lanes (lane, source, mark) VALUES (0, 'raft', 7), (1, 'redis', 100), (2, 'pg', 0)";
const JUMPED: i64 = 100 + (1 << 28);

fn marks(server: &crate::storage::test_postgres::Postgres) -> String {
    server.execute("SELECT string_agg(lane || ':' || mark || '@' || timeline, ' ' ORDER BY lane) FROM lanes")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_replica_is_found_and_the_old_primary_is_never_written_to_again() {
    let old = primary();
    old.execute(LANES);
    let (new, third) = (old.replica(), old.replica());
    let register = Arc::new(Register::default());
    let options = options(&[&old, &new], &[&third]);
    let (one, two) = (Node::start(&options, Some(&register)), Node::start(&options, Some(&register)));
    for node in [&one, &two] {
        node.has_primary(&old, 1).await;
        node.reads(&new).await;
        node.reads(&third).await;
    }
    assert_eq!(marks(&old), "0:7@0 1:100@1 2:0@1", "nothing jumps on the first timeline");
    let replaced = one.servers.primary().unwrap();
    let mut timelines = one.servers.timelines();
    assert_eq!(*timelines.borrow_and_update(), Some(1));

    old.crash();
    one.has_none(&format!("{} is away", name(&old))).await;
    assert_eq!(*timelines.borrow_and_update(), None);
    assert_eq!(one.read_ports().await.len(), 2, "copies are read while there is no primary");

    new.promote();
    for node in [&one, &two] {
        node.has_primary(&new, 2).await;
    }
    assert_eq!(marks(&new), format!("0:7@0 1:{JUMPED}@2 2:0@2"), "the marks jump once for all nodes");
    assert_eq!(*timelines.borrow_and_update(), Some(2));
    assert_eq!(register.highest.load(Ordering::SeqCst), 2);
    let primary = one.servers.primary().unwrap();
    sqlx::query("UPDATE lanes SET mark = mark + 1 WHERE lane = 1").execute(&primary.pool).await.unwrap();

    old.launch();
    for node in [&one, &two] {
        node.leaves_out(&old, "an old primary, on timeline 1").await;
        node.leaves_out(&third, "behind").await;
        node.has_primary(&new, 2).await;
    }
    // What a late answer of the old one says is no doubt in the new one.
    one.servers.doubt(&replaced, &sqlx::Error::Io(std::io::ErrorKind::ConnectionRefused.into()));
    assert_eq!(one.servers.primary().unwrap().timeline, 2);
    let written = sqlx::query("UPDATE lanes SET mark = 0").execute(&replaced.pool).await;
    assert!(matches!(written, Err(sqlx::Error::PoolClosed)), "{written:?}");
    assert_eq!(marks(&old), "0:7@0 1:100@1 2:0@1");

    let text = one.registry.render();
    for line in [
        "stint_db_primary_timeline 2",
        "stint_db_primary_changes_total 1",
        "stint_db_replica_in_rotation{replica=\"1\"} 0",
    ] {
        assert!(text.contains(line), "{line} is missing from {text}");
    }
    one.stop().await;
    two.stop().await;
    fresh_nodes(&old, &new, &register).await;
}

/// Nodes that have seen nothing of it.
async fn fresh_nodes(
    old: &crate::storage::test_postgres::Postgres,
    new: &crate::storage::test_postgres::Postgres,
    register: &Arc<Register>,
) {
    let told = Node::start(&options(&[old], &[]), Some(register));
    told.has_none("timeline 1 is behind 2").await;
    assert!(told.servers.replica().is_none());
    told.stop().await;

    let sees_both = Node::start(&options(&[old, new], &[]), None);
    let mut timelines = sees_both.servers.timelines();
    assert_eq!(*timelines.wait_for(Option::is_some).await.unwrap(), Some(2), "the lower one was taken first");
    sees_both.has_primary(new, 2).await;
    sees_both.stop().await;
    assert_eq!(marks(new), format!("0:7@0 1:{}@2 2:0@2", JUMPED + 1), "the marks don't jump again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_comes_back_as_it_was_is_taken_without_asking_again() {
    let server = primary();
    let register = Arc::new(Register::default());
    let node = Node::start(&options(&[&server], &[]), Some(&register));
    node.has_primary(&server, 1).await;
    let before = node.servers.primary().unwrap();
    sqlx::query("SELECT 1").execute(&before.pool).await.unwrap();

    register.away.store(true, Ordering::SeqCst);
    server.crash();
    let error = sqlx::query("SELECT 1").execute(&before.pool).await.unwrap_err();
    node.servers.doubt(&before, &error);
    node.has_none("away").await;
    server.launch();
    node.has_primary(&server, 1).await;
    assert_eq!(register.asked.load(Ordering::SeqCst), 1);
    let after = node.servers.primary().unwrap();
    sqlx::query("SELECT 1").execute(&after.pool).await.unwrap();
    let text = node.registry.render();
    assert!(text.contains("stint_db_primary_changes_total 0"), "{text}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_timeline_waits_for_the_register_and_the_old_one_is_not_used_meanwhile() {
    let old = primary();
    let new = old.replica();
    let register = Arc::new(Register::default());
    let node = Node::start(&options(&[&old, &new], &[]), Some(&register));
    node.has_primary(&old, 1).await;

    register.away.store(true, Ordering::SeqCst);
    new.promote();
    node.has_none("timeline 2 is new, and the register of timelines can't be asked about it").await;
    node.has_none("timeline 1 is behind 2").await;
    register.away.store(false, Ordering::SeqCst);
    node.has_primary(&new, 2).await;
    node.stop().await;
}
