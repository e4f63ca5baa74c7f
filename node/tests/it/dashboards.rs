//! Dashboards and alerts on a real fleet under load: every panel has data, and alerts fire when their fault is there.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::fleet::{Fleet, Wanted};
use crate::support::{Client, Exporter, Prometheus};

/// How long panels may take to have data: recording rules and rates need some looks at the targets.
const FILLED_WITHIN: Duration = Duration::from_secs(90);
/// How long an alert may take to fire after its fault.
const FIRES_WITHIN: Duration = Duration::from_secs(90);
/// Prometheus looks at its targets once a second.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// What the faults of this test call up, and whether somebody must come at once.
const EXPECTED: [(&str, &str); 3] =
    [("StintReplicaLag", "ticket"), ("StintNoLeader", "page"), ("StintIdHeadroomLow", "page")];
/// What panels show in place of nothing: it would be data of any query.
const NOTHING: &str = " or vector(0)";
/// Parts of queries that have something to show only when something is wrong.
const OF_TROUBLE: [&str; 4] = ["ALERTS", "} == 0)", "\"429|503\"", "\"5..\""];
/// Parts of queries that have nothing to show here: this fleet has one source of ids, which isn't Snowflake.
const OF_OTHERS: [&str; 2] = ["stint_id_source_switches_total", "stint_snowflake_discarded_total"];

/// Every query of every panel, with the panel's name; without what stands in for nothing, where there will be something.
fn queries() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards");
    let mut found = Vec::new();
    for name in ["overview", "ids", "data-path", "clicks"] {
        let text = std::fs::read_to_string(folder.join(format!("{name}.json"))).expect("the dashboard is there");
        let dashboard: Value = serde_json::from_str(&text).expect("a dashboard is JSON");
        let mut panels = dashboard["panels"].as_array().cloned().expect("it has panels");
        while let Some(panel) = panels.pop() {
            panels.extend(panel["panels"].as_array().cloned().unwrap_or_default());
            for target in panel["targets"].as_array().into_iter().flatten() {
                let query = target["expr"].as_str().expect("a target has a query").replace("$__rate_interval", "15s");
                let mut query = query.replace("$job", ".*").replace("$instance", ".*");
                if !OF_OTHERS.iter().any(|part| query.contains(part)) {
                    query = query.replace(NOTHING, "");
                }
                found.push((format!("{name}: {}", panel["title"].as_str().unwrap_or("?")), query));
            }
        }
    }
    assert!(found.len() > 50, "{} queries", found.len());
    found
}

/// Creates and follows links, draws ids, and asks for what is not there, without end.
async fn load(nodes: Vec<Client>) {
    let orders = json!({ "namespace": "orders", "count": 10 });
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    nodes[0].post("/api/v1/namespaces", &json!({ "name": "orders" })).await;
    nodes[0].post("/api/v1/namespaces", &json!({ "name": "few", "quota": 10 })).await;
    for number in 0_u64.. {
        let (here, there) = (&nodes[0], &nodes[1]);
        let body = json!({ "url": format!("https://example.com/{number}") });
        let created = here.post("/api/v1/links", &body).await;
        if let Some(code) = created.json()["code"].as_str() {
            for node in [here, there] {
                node.get(&format!("/{code}")).await;
            }
        }
        if number % 20 == 0 {
            here.post("/api/v1/links", &body).await;
            there.get("/nowhere1").await;
            there.post("/api/v1/ids", &orders).await;
            there.post("/api/v1/ids", &json!({ "namespace": "few", "count": 11 })).await;
            there.post("/api/v1/links", &json!({ "url": "not a URL" })).await;
        }
        pace.tick().await;
    }
}

/// Creates links as fast as it goes, without end.
async fn use_up_keys(node: Client) {
    let rows: Vec<_> =
        (0..1000).map(|n| json!({ "url": format!("https://example.com/{n}"), "reuse": false })).collect();
    loop {
        node.post("/api/v1/links/bulk", &json!(rows)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_panel_has_data_under_load_and_alerts_fire_when_their_fault_is_there() {
    let mut fleet = Fleet::start(Wanted { nodes: 2, ..Wanted::default() }).await;
    let (postgres, redis) = (format!("{}?sslmode=disable", fleet.primary.url("stint")), fleet.redis.url());
    let exporters = (Exporter::of_postgres(&postgres).await, Exporter::of_redis(&redis).await);
    let admin = |url: &str| url.trim_start_matches("http://").trim_end_matches("/metrics").to_owned();
    let allocators = (1..=3).map(|node_id| admin(&fleet.allocators.node(node_id).admin)).collect();
    let jobs = [
        ("stint-shortener", fleet.nodes.iter().map(|node| admin(&node.admin)).collect()),
        ("stint-allocator", allocators),
        ("postgres", vec![exporters.0.address.clone()]),
        ("redis", vec![exporters.1.address.clone()]),
    ];
    let prometheus = Prometheus::start(&jobs).await;
    let clients: Vec<_> = (0..2).map(|node| fleet.client(node)).collect();
    let mut loads = JoinSet::new();
    loads.spawn(load(clients.clone()));

    let (of_trouble, of_load): (Vec<_>, Vec<_>) =
        queries().into_iter().partition(|(_, query)| OF_TROUBLE.iter().any(|part| query.contains(part)));
    assert!(of_trouble.len() >= OF_TROUBLE.len(), "{of_trouble:?}");
    have_data(&prometheus, of_load).await;
    // The first blocks are small: until the rate is known, headroom is.
    for alert in EXPECTED {
        changes(&prometheus, alert, false).await;
    }

    fleet.replicas[0].execute_on("postgres", "SELECT pg_wal_replay_pause()");
    changes(&prometheus, EXPECTED[0], true).await;
    fleet.replicas[0].execute_on("postgres", "SELECT pg_wal_replay_resume()");

    for node_id in [1, 2] {
        fleet.allocators.take(node_id).kill().await;
    }
    changes(&prometheus, EXPECTED[1], true).await;
    // Without blocks to come, what is at hand runs out.
    loads.spawn(use_up_keys(clients[0].clone()));
    changes(&prometheus, EXPECTED[2], true).await;
    have_data(&prometheus, of_trouble).await;
}

/// Waits until each of these panels' queries has a finite value.
async fn have_data(prometheus: &Prometheus, mut waiting: Vec<(String, String)>) {
    let mut looks = tokio::time::interval(BETWEEN_LOOKS);
    let until = tokio::time::Instant::now() + FILLED_WITHIN;
    while !waiting.is_empty() && tokio::time::Instant::now() < until {
        let mut empty = Vec::new();
        for (panel, query) in waiting {
            let values = prometheus.query(&query).await.unwrap_or_else(|error| panic!("{panel}: {query}: {error}"));
            if !values.iter().any(|value| value.is_finite()) {
                empty.push((panel, query));
            }
        }
        waiting = empty;
        looks.tick().await;
    }
    assert!(waiting.is_empty(), "panels without data: {waiting:#?}");
}

/// Waits until an alert fires, or doesn't.
async fn changes(prometheus: &Prometheus, (alert, severity): (&str, &str), fires: bool) {
    let (began, mut looks) = (tokio::time::Instant::now(), tokio::time::interval(BETWEEN_LOOKS));
    while prometheus.firing().await.iter().any(|(name, how)| name == alert && how == severity) != fires {
        let firing = prometheus.firing().await;
        assert!(began.elapsed() < FIRES_WITHIN, "{alert} ({severity}) should fire: {fires}, and {firing:?} do");
        looks.tick().await;
    }
}
