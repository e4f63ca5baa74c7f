//! What one node acknowledged, every node follows: new links at once, changes within a second.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::{Instant, interval};

use crate::support::fleet::{Fleet, Wanted, create, database_through, followed, ready};
use crate::support::{Client, Line, eventually, in_parallel};

/// How soon a change must be seen everywhere.
const SEEN_WITHIN: Duration = Duration::from_secs(1);
/// What a busy machine may add to it: here it is shown that a change comes through, not how fast this machine is.
const BUSY: Duration = Duration::from_secs(4);

/// Follows `code` until it leads to `expected`; answers how long that took.
async fn seen(client: &Client, code: &str, expected: &str) -> Duration {
    let since = Instant::now();
    let mut ticks = interval(Duration::from_millis(10));
    loop {
        ticks.tick().await;
        let leads_to = followed(client, code).await;
        if leads_to.starts_with(expected) {
            return since.elapsed();
        }
        assert!(since.elapsed() < SEEN_WITHIN + BUSY, "`{code}` leads to {leads_to}, not to {expected}");
    }
}

/// The same on every node of a fleet at once.
async fn seen_everywhere(fleet: &Fleet, code: &str, expected: &str) -> Duration {
    let clients: Vec<_> = (0..fleet.nodes.len()).map(|node| fleet.client(node)).collect();
    let times = join_all(clients.iter().map(|client| seen(client, code, expected))).await;
    times.into_iter().max().unwrap_or_default()
}

/// A machine that stands still now and then delays a change or two.
fn are_soon(mut times: Vec<Duration>) {
    assert!(times.len() >= 10, "too few to tell: {times:?}");
    times.sort_unstable();
    assert!(times[times.len() - 3] < SEEN_WITHIN, "{times:?}");
}

#[tokio::test]
async fn a_link_just_created_is_followed_everywhere_although_the_replicas_are_frozen() {
    let fleet = Fleet::start(Wanted::default()).await;
    create(&fleet.client(0), "https://example.com/before").await;
    fleet.replicas[0].execute("SELECT pg_wal_replay_pause()");
    fleet.replicas[1].pause();
    for redis_is_there in [true, false] {
        if !redis_is_there {
            fleet.redis.kill();
        }
        for n in 0..30 {
            let url = format!("https://example.com/{redis_is_there}/{n}");
            let code = create(&fleet.client(n % 3), &url).await;
            for node in 0..3 {
                assert_eq!(followed(&fleet.client(node), &code).await, url, "on node {node}, redis: {redis_is_there}");
            }
        }
    }
    fleet.replicas[1].resume();
}

#[tokio::test]
async fn a_replica_that_stands_still_holds_nobody_up_until_that_is_noticed() {
    let fleet = Fleet::start(Wanted { nodes: 2, ..Wanted::default() }).await;
    // Neither its memory nor Redis knows what another node has created.
    fleet.redis.kill();
    let mut codes = Vec::new();
    for n in 0..24 {
        codes.push(create(&fleet.client(0), &format!("https://example.com/{n}")).await);
    }
    for replica in &fleet.replicas {
        let has_all = || async { replica.execute_on("stint", "SELECT count(*) FROM links") == "24" };
        eventually("the replicas have the links", has_all).await;
    }
    let (client, admin) = (fleet.client(1), fleet.nodes[1].admin_client());
    eventually("both are in the rotation", || async {
        let metrics = admin.get("/metrics").await;
        let is_read = |line: &&str| line.starts_with("stint_db_replica_in_rotation") && line.ends_with(" 1");
        metrics.text().lines().filter(is_read).count() == 2
    })
    .await;
    let (first, rest) = codes.split_at(4);
    for code in first {
        followed(&client, code).await;
    }
    let by_replicas = admin.sample::<u64>("stint_redirects_total{tier=\"replica\",outcome=\"found\"}").await;
    assert_eq!(by_replicas, Some(4), "both are read");
    fleet.replicas[1].pause();
    let times = in_parallel(rest.len(), rest, async |code| {
        let since = Instant::now();
        assert!(followed(&client, code).await.starts_with("https://example.com/"));
        since.elapsed()
    })
    .await;
    are_soon(times);
    fleet.replicas[1].resume();
}

#[tokio::test]
async fn a_change_is_followed_everywhere_although_the_replicas_still_hold_the_old_target() {
    let fleet = Fleet::start(Wanted::default()).await;
    let mut codes = Vec::new();
    for n in 0..10 {
        codes.push(create(&fleet.client(0), &format!("https://example.com/old/{n}")).await);
    }
    for replica in &fleet.replicas {
        let has_all = || async { replica.execute_on("stint", "SELECT count(*) FROM links") == "10" };
        eventually("the replicas have the links", has_all).await;
        replica.execute("SELECT pg_wal_replay_pause()");
    }
    // What is shared would hide the replicas.
    fleet.redis.kill();
    let mut times = Vec::new();
    for code in &codes {
        let changed = json!({ "url": format!("https://example.com/new/{code}") });
        assert_eq!(fleet.client(0).patch(&format!("/api/v1/links/{code}"), &changed).await.status, 200);
        times.push(seen_everywhere(&fleet, code, &format!("https://example.com/new/{code}")).await);
    }
    are_soon(times);
}

#[tokio::test]
async fn an_alias_that_was_asked_for_before_it_existed_is_followed_everywhere() {
    let fleet = Fleet::start(Wanted::default()).await;
    let mut times = Vec::new();
    for alias in (0..5).flat_map(|n| [format!("soon{n}"), format!("a-longer-name-{n}")]) {
        for node in 0..3 {
            for _ in 0..3 {
                assert!(followed(&fleet.client(node), &alias).await.starts_with("404"));
            }
        }
        let body = json!({ "url": format!("https://example.com/{alias}"), "alias": alias });
        assert_eq!(fleet.client(1).post("/api/v1/links", &body).await.status, 201);
        times.push(seen_everywhere(&fleet, &alias, &format!("https://example.com/{alias}")).await);
    }
    are_soon(times);
}

#[tokio::test]
async fn changes_and_deletes_are_seen_by_every_node_with_redis_and_without() {
    let fleet = Fleet::start(Wanted::default()).await;
    for redis_is_there in [true, false] {
        if !redis_is_there {
            fleet.redis.kill();
        }
        let mut times = Vec::new();
        let code = create(&fleet.client(0), &format!("https://example.com/{redis_is_there}")).await;
        for round in 0..9 {
            seen_everywhere(&fleet, &code, "https://example.com/").await;
            let url = format!("https://example.com/{redis_is_there}/{round}");
            let changed = fleet.client(round % 3).patch(&format!("/api/v1/links/{code}"), &json!({ "url": url })).await;
            assert_eq!(changed.status, 200, "{}", changed.text());
            times.push(seen_everywhere(&fleet, &code, &url).await);
        }
        assert_eq!(fleet.client(2).delete(&format!("/api/v1/links/{code}")).await.status, 204);
        times.push(seen_everywhere(&fleet, &code, "410").await);
        are_soon(times);
    }
}

#[tokio::test]
async fn of_two_changes_that_race_every_node_ends_with_the_later_one() {
    let fleet = Fleet::start(Wanted { replicas: 1, ..Wanted::default() }).await;
    let code = create(&fleet.client(0), "https://example.com/").await;
    let path = format!("/api/v1/links/{code}");
    let mut times = Vec::new();
    for round in 0..10 {
        let change = async |node: usize| {
            let body = json!({ "url": format!("https://example.com/{round}/{node}") });
            fleet.client(node).patch(&path, &body).await.json()
        };
        let (one, two) = tokio::join!(change(0), change(1));
        let later = if one["version"].as_i64() > two["version"].as_i64() { &one } else { &two };
        assert_ne!(one["version"], two["version"]);
        let url = later["url"].as_str().expect("a URL");
        times.push(seen_everywhere(&fleet, &code, url).await);
        // It stays: nobody falls back to the earlier one.
        let since = Instant::now();
        while since.elapsed() < SEEN_WITHIN / 5 {
            for node in 0..3 {
                assert_eq!(followed(&fleet.client(node), &code).await, url, "node {node}");
            }
        }
    }
    are_soon(times);
}

#[tokio::test]
async fn a_node_that_was_cut_off_from_redis_during_a_change_does_not_bring_the_old_target_back() {
    let mut fleet = Fleet::without_nodes(Wanted { nodes: 2, ..Wanted::default() }).await;
    let line = Line::to(fleet.redis.port()).await;
    let through = format!("redis://127.0.0.1:{}", line.port());
    for (number, settings) in [(1, vec![("REDIS_URL", through.as_str())]), (2, Vec::new())] {
        let node = fleet.serve(number, &settings).await;
        ready(&node).await;
        fleet.nodes.push(node);
    }
    let code = create(&fleet.client(0), "https://example.com/old").await;
    seen_everywhere(&fleet, &code, "https://example.com/old").await;
    for node in [0, 1] {
        line.cut();
        let url = format!("https://example.com/changed-on-{node}");
        let changed = fleet.client(node).patch(&format!("/api/v1/links/{code}"), &json!({ "url": url })).await;
        assert_eq!(changed.status, 200, "{}", changed.text());
        seen_everywhere(&fleet, &code, &url).await;
        line.mend();
        let since = Instant::now();
        while since.elapsed() < 3 * SEEN_WITHIN {
            for node in 0..2 {
                assert_eq!(followed(&fleet.client(node), &code).await, url, "node {node}");
            }
            // A node that starts now knows only what Redis and the database say.
        }
        let fresh = fleet.serve(3, &[]).await;
        ready(&fresh).await;
        assert_eq!(followed(&fresh.client(), &code).await, url);
    }
}

#[tokio::test]
async fn an_acknowledged_link_is_not_missing_when_the_primary_can_not_be_asked() {
    let fleet = Fleet::without_nodes(Wanted { replicas: 0, ..Wanted::default() }).await;
    let line = Line::to(fleet.primary.port()).await;
    let (cut_off, other) =
        (fleet.serve(1, &[("DATABASE_URL", &database_through(&line))]).await, fleet.serve(2, &[]).await);
    ready(&cut_off).await;
    ready(&other).await;
    let client = cut_off.client();
    let cached = create(&client, "https://example.com/cached").await;
    line.cut();
    fleet.redis.kill();
    let unknown = create(&other.client(), "https://example.com/unknown").await;
    client.get(&format!("/{unknown}")).await.problem(503, "unavailable");
    assert_eq!(followed(&client, &cached).await, "https://example.com/cached");
    let refused = client.post("/api/v1/links", &json!({ "url": "https://example.com/new" })).await;
    refused.problem(503, "unavailable");
    assert_eq!(refused.header("retry-after"), "1");
    let rows = client
        .post("/api/v1/links/bulk", &json!([{ "url": "https://example.com/a" }, { "url": "https://example.com/b" }]))
        .await;
    assert_eq!((rows.status.as_u16(), &rows.json()[0]["status"]), (200, &json!(503)), "{}", rows.text());
    for failed in [refused, rows] {
        fleet.allocators.logged("serve-1", &[failed.header("x-request-id"), "unavailable"]).await;
    }
    line.mend();
    seen(&client, &unknown, "https://example.com/unknown").await;
}
