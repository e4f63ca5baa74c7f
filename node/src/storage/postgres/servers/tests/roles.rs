//! Servers that must not be written to although they are no replicas.

use std::sync::atomic::Ordering;

use super::rig::{Node, Register, name, options, primary};
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_primary_is_read_and_not_written_to() {
    let server = primary();
    let node = Node::start(&options(&[&server], &[]), None);
    node.has_primary(&server, 1).await;
    assert!(node.servers.replica().is_none(), "the primary in use is no replica");
    server.execute("ALTER SYSTEM SET default_transaction_read_only = on");
    server.execute("SELECT pg_reload_conf()");
    node.has_none("read-only").await;
    node.reads(&server).await;
    assert_eq!(node.read_ports().await, [server.port()]);
    server.execute("ALTER SYSTEM RESET default_transaction_read_only");
    server.execute("SELECT pg_reload_conf()");
    node.has_primary(&server, 1).await;
    assert!(node.servers.replica().is_none());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_made_read_only_for_new_sessions_is_noticed_when_a_write_fails() {
    let server = primary();
    let node = Node::start(&options(&[&server], &[]), None);
    node.has_primary(&server, 1).await;
    server.execute("ALTER ROLE app SET default_transaction_read_only = on");
    // The pool opens its first connection now; the one that looks is older and sees nothing of it.
    let primary = node.servers.primary().unwrap();
    let error = sqlx::query("INSERT INTO settings VALUES ('a', 'b')").execute(&primary.pool).await.unwrap_err();
    node.servers.doubt(&primary, &error);
    assert!(node.servers.primary().is_err(), "it is none at once");
    node.has_none("read-only").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_another_cluster_is_neither_written_to_nor_read() {
    let (ours, foreign) = (primary(), primary());
    let node = Node::start(&options(&[&ours, &foreign], &[]), None);
    node.has_primary(&ours, 1).await;
    node.leaves_out(&foreign, "another database cluster").await;
    ours.crash();
    node.has_none(&format!("{} is not used as the primary: it is of another database cluster", name(&foreign))).await;
    assert!(node.servers.replica().is_none());
    node.stop().await;

    foreign.execute("INSERT INTO settings VALUES ('system_identifier', '1')");
    let node = Node::start(&options(&[&foreign], &[]), None);
    node.has_none("delete 'system_identifier' from the table settings").await;
    foreign.execute("UPDATE settings SET value = (SELECT system_identifier::text FROM pg_control_system())");
    node.has_primary(&foreign, 1).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_the_primary_while_the_register_can_not_be_asked_or_knows_better() {
    let server = primary();
    let register = Arc::new(Register::default());
    register.away.store(true, Ordering::SeqCst);
    let node = Node::start(&options(&[&server], &[]), Some(&register));
    node.has_none("the register of timelines can't be asked about it: the allocator is not available").await;
    register.highest.store(5, Ordering::SeqCst);
    register.away.store(false, Ordering::SeqCst);
    node.has_none("timeline 1 is behind 5").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_leads_to_another_server_or_timeline_is_not_let_in() {
    let server = primary();
    let configured = options(&[&server], &[]).servers().unwrap().remove(0);
    let system = server.execute("SELECT system_identifier FROM pg_control_system()").parse().unwrap();
    let lets_in = async |system, timeline| {
        let pool = configured.writing_pool(1, super::super::server::Lineage { system, timeline });
        pool.acquire().await.is_ok()
    };
    assert!(lets_in(system, 1).await);
    assert!(!lets_in(system, 2).await);
    assert!(!lets_in(system + 1, 1).await);
}
