//! What becomes of requests that come while the server stops.

use std::io::{Read as _, Write as _};
use std::net::TcpStream as Client;

use axum::routing::get;

use super::*;
use crate::lifecycle::Tasks;

/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

fn server() -> (Server, impl Future<Output = ()> + Send + 'static) {
    let limits = ServerLimits { header_timeout: DEADLINE, max_header_size: 16 << 10, max_connections: 1000 };
    let stuck = get(async || std::future::pending::<()>().await);
    let router = Router::new().route("/", get(async || "served")).route("/stuck", stuck);
    Server::new(bind("127.0.0.1:0".parse().unwrap()).unwrap(), router, limits).unwrap()
}

/// A server whose task runs.
fn serving() -> (Server, Tasks) {
    let ((server, task), tasks) = (server(), Tasks::default());
    tasks.start("server", task);
    (server, tasks)
}

fn connect(server: &Server) -> Client {
    let client = Client::connect(server.address()).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client
}

fn send(clients: &[Client], bytes: &[u8]) {
    for mut client in clients {
        client.write_all(bytes).unwrap();
    }
}

/// The whole answer, until the connection is closed.
fn answer(mut client: Client) -> String {
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn whoever_has_connected_and_asked_before_the_stop_is_answered_although_nobody_accepted_it_yet() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _context = runtime.enter();
    let (server, task) = server();
    let clients: Vec<_> = (0..20).map(|_| connect(&server)).collect();
    send(&clients, REQUEST);
    server.stop(DEADLINE);
    runtime.block_on(task);
    for client in clients {
        let text = answer(client);
        assert!(text.starts_with("HTTP/1.1 200 OK") && text.contains("connection: close"), "{text:?}");
    }
    assert!(Client::connect(server.address()).is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_connection_made_a_moment_before_the_stop_may_send_its_request() {
    let (server, tasks) = serving();
    let clients: Vec<_> = (0..20).map(|_| connect(&server)).collect();
    server.stop(DEADLINE);
    while Client::connect(server.address()).is_ok() {
        tokio::task::yield_now().await;
    }
    // Half of it first: the rest is waited for as well.
    send(&clients, &REQUEST[..10]);
    tokio::task::yield_now().await;
    send(&clients, &REQUEST[10..]);
    assert!(tasks.finish(DEADLINE).await);
    for client in clients {
        assert!(answer(client).starts_with("HTTP/1.1 200 OK"));
    }
}

#[tokio::test]
async fn a_connection_that_asks_nothing_does_not_keep_the_server() {
    let (server, task) = server();
    let silent = connect(&server);
    server.stop(DEADLINE);
    tokio::time::timeout(DEADLINE / 2, task).await.expect("long before the deadline");
    assert!(!server.has_cut_off());
    assert_eq!(answer(silent), "");
}

#[tokio::test]
async fn a_kept_connection_may_send_one_more_request() {
    let (server, tasks) = serving();
    let kept = connect(&server);
    let (kept, first) = tokio::task::spawn_blocking(move || {
        let mut first = [0; 200];
        (&kept).write_all(REQUEST).unwrap();
        let length = (&kept).read(&mut first).unwrap();
        (kept, String::from_utf8(first[..length].to_vec()).unwrap())
    })
    .await
    .unwrap();
    assert!(first.ends_with("served") && !first.contains("connection"), "{first:?}");
    server.stop(DEADLINE);
    while Client::connect(server.address()).is_ok() {
        tokio::task::yield_now().await;
    }
    send(std::slice::from_ref(&kept), REQUEST);
    assert!(tasks.finish(DEADLINE).await);
    let last = answer(kept);
    assert!(last.contains("connection: close") && last.ends_with("served"), "{last:?}");
}

#[tokio::test]
async fn what_takes_too_long_is_cut_off_and_told() {
    let (server, task) = server();
    let stuck = connect(&server);
    send(std::slice::from_ref(&stuck), b"GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n");
    server.stop(Duration::from_millis(1));
    tokio::time::timeout(DEADLINE, task).await.expect("it is cut off");
    assert!(server.has_cut_off());
}

#[tokio::test]
async fn a_server_that_will_stop_asks_its_clients_to_go_elsewhere() {
    let (server, tasks) = serving();
    let asked = connect(&server);
    server.begin_stopping();
    let text = tokio::task::spawn_blocking(move || {
        (&asked).write_all(REQUEST).unwrap();
        answer(asked)
    });
    let text = text.await.unwrap();
    assert!(text.contains("connection: close") && text.ends_with("served"), "{text:?}");
    server.stop(DEADLINE);
    assert!(tasks.finish(DEADLINE).await);
}
