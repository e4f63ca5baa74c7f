//! The watched servers, on real ones that die, pause, lag and are promoted.

use super::*;

mod admission;
mod failover;
mod reading;
mod rig;
mod roles;

#[test]
fn a_server_named_twice_is_one_and_its_password_is_never_shown() {
    let url =
        |host: &str| format!("postgres://app:s%40cret@{host}/links?target_session_attrs=read-write&sslpassword=x");
    let options = ServerOptions {
        primary_urls: vec![url("one:5433"), url("[::1]")],
        replica_urls: vec![url("one:5433"), url("two")],
        pool_size: 3,
        max_replica_lag: MAX_REPLICA_LAG,
    };
    let servers = options.servers().unwrap();
    let named = |server: &Server| (server.name.clone(), server.number.clone(), server.may_be_primary);
    let expected = [("one:5433", "3", true), ("[::1]:5432", "4", true), ("two:5432", "2", false)];
    assert_eq!(
        servers.iter().map(named).collect::<Vec<_>>(),
        expected.map(|(name, number, primary)| (name.to_owned(), number.to_owned(), primary))
    );
    assert!(!format!("{options:?} {servers:?}").contains("cret"));
    let unreadable = ServerOptions { primary_urls: vec!["postgres://u:s@cret@:x/".to_owned()], ..options };
    let error = unreadable.servers().unwrap_err();
    assert!(error.is_refusal() && !error.to_string().contains("cret"), "{error}");
}

#[tokio::test]
async fn one_server_without_a_watch_is_the_primary() {
    let servers = Servers::single("postgres://u@127.0.0.1:1/x", 1).unwrap();
    let primary = servers.primary().unwrap();
    servers.doubt(&primary, &sqlx::Error::PoolTimedOut);
    assert_eq!((servers.primary().unwrap().timeline, *servers.timelines().borrow()), (1, Some(1)));
    assert!(servers.replica().is_none());
    assert_eq!(servers.status().problem, None);
}
