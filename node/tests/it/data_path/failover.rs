//! The primary dies, a replica is promoted, the old primary comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::fleet::{Fleet, Wanted, create, create_in_the_end, followed};
use crate::support::{Client, eventually};

/// How soon creates must succeed again once a replica was promoted.
const BACK_WITHIN: Duration = Duration::from_secs(5);

/// Clients that create and follow all the time, and what they met.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    acknowledged: Mutex<Vec<(String, String)>>,
    refused: AtomicU64,
    wrong: Mutex<Vec<String>>,
    followed: AtomicU64,
}

impl Load {
    async fn create(self: Arc<Self>, client: Client, node: usize) {
        for n in 0.. {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let url = format!("https://example.com/{node}/{n}");
            let created = client.post("/api/v1/links", &json!({ "url": url, "reuse": false })).await;
            match created.status.as_u16() {
                201 => {
                    let code = created.json()["code"].as_str().expect("a code").to_owned();
                    self.acknowledged.lock().await.push((code, url));
                }
                503 if !created.header("retry-after").is_empty() => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                }
                _ => self.wrong.lock().await.push(format!("create: {} {}", created.status, created.text())),
            }
        }
    }

    async fn follow(self: Arc<Self>, client: Client, known: Vec<(String, String)>) {
        for (code, url) in known.iter().cycle() {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let leads_to = followed(&client, code).await;
            if leads_to != *url {
                self.wrong.lock().await.push(format!("follow {code}: {leads_to}"));
            }
            self.followed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test]
async fn redirects_go_on_without_a_primary_and_creates_come_back_after_a_promotion() {
    let mut fleet = Fleet::start(Wanted { synchronous: true, ..Wanted::default() }).await;
    let mut known = Vec::new();
    for n in 0..50 {
        let url = format!("https://example.com/known/{n}");
        known.push((create(&fleet.client(n % 3), &url).await, url));
    }
    let (load, mut clients) = (Arc::new(Load::default()), JoinSet::new());
    for node in 0..3 {
        clients.spawn(Arc::clone(&load).create(fleet.client(node), node));
        clients.spawn(Arc::clone(&load).follow(fleet.client(node), known.clone()));
    }
    eventually("some load", || async { load.acknowledged.lock().await.len() > 100 }).await;
    fleet.primary.crash();
    eventually("creates are refused", || async { load.refused.load(Ordering::Relaxed) > 30 }).await;
    let before = load.followed.load(Ordering::Relaxed);
    eventually("redirects go on", || async { load.followed.load(Ordering::Relaxed) > before + 300 }).await;

    // The replica that is furthest holds everything that was acknowledged.
    let position = |replica: &crate::support::Postgres| replica.execute("SELECT pg_last_wal_receive_lsn() - '0/0'");
    fleet.replicas.sort_by_key(|replica| position(replica).parse::<u64>().expect("a number"));
    let promoted = fleet.replicas.last().expect("there are two");
    promoted.promote();
    let since = Instant::now();
    for node in 0..3 {
        create_in_the_end(&fleet.client(node), &json!({ "url": "https://example.com/back", "reuse": false })).await;
    }
    let back = since.elapsed();
    println!("creates on all nodes {} ms after the promotion", back.as_millis());
    load.stop.store(true, Ordering::Relaxed);
    clients.join_all().await;
    assert_eq!(*load.wrong.lock().await, [""; 0]);
    for (n, (code, url)) in load.acknowledged.lock().await.iter().enumerate() {
        assert_eq!(followed(&fleet.client(n % 3), code).await, *url, "acknowledged, and the replica was synchronous");
    }
    assert!(back < BACK_WITHIN, "{back:?}");
}

#[tokio::test]
async fn an_old_primary_that_comes_back_is_not_written_to() {
    let fleet = Fleet::start(Wanted { replicas: 1, nodes: 2, ..Wanted::default() }).await;
    create(&fleet.client(0), "https://example.com/before").await;
    // On the old primary alone: the replica is away, and nothing waits for it.
    fleet.replicas[0].crash();
    for alias in ["raced", "raced-as-well"] {
        let body = json!({ "url": "https://old.example/", "alias": alias });
        assert_eq!(fleet.client(0).post("/api/v1/links", &body).await.status, 201);
        assert_eq!(followed(&fleet.client(1), alias).await, "https://old.example/");
    }
    fleet.primary.crash();
    fleet.replicas[0].launch();
    fleet.replicas[0].promote();
    for alias in ["raced", "raced-as-well"] {
        create_in_the_end(&fleet.client(1), &json!({ "url": "https://new.example/", "alias": alias })).await;
    }
    fleet.primary.launch();
    let written = "SELECT (SELECT count(*) FROM links) || ' ' || (SELECT count(*) FROM aliases) || ' ' ||
                   (SELECT count(*) FROM changes) || ' ' || (SELECT string_agg(lane || ':' || mark, ' ' ORDER BY lane) FROM lanes)";
    let old_state = || fleet.primary.execute_on("stint", written);
    let before = old_state();
    let late = fleet.serve(3, &[]).await;
    for (n, client) in [fleet.client(0), fleet.client(1), late.client()].iter().enumerate() {
        for m in 0..20 {
            let body = json!({ "url": format!("https://example.com/after/{n}/{m}"), "reuse": false });
            let code = create_in_the_end(client, &body).await;
            assert_eq!(followed(client, &code).await, body["url"]);
        }
        for alias in ["raced", "raced-as-well"] {
            let raced = client.post("/api/v1/links", &json!({ "url": "https://other.example/", "alias": alias })).await;
            raced.problem(409, "alias-taken");
            assert_eq!(followed(client, alias).await, "https://new.example/", "one owner, on node {n}");
        }
    }
    assert_eq!(old_state(), before, "the old primary was written to");
}

#[tokio::test]
async fn a_node_killed_in_the_middle_of_batches_keeps_all_that_it_acknowledged() {
    let mut fleet = Fleet::start(Wanted { replicas: 0, nodes: 2, ..Wanted::default() }).await;
    let (load, mut clients) = (Arc::new(Load::default()), JoinSet::new());
    let doomed = fleet.nodes.remove(0);
    for n in 0..16 {
        let (client, load) = (doomed.client(), Arc::clone(&load));
        clients.spawn(async move {
            for m in 0.. {
                let url = format!("https://example.com/{n}/{m}");
                // Named ones, and plain ones that are reused.
                let body = match m % 2 {
                    0 => json!({ "url": url, "alias": format!("a-{n}-{m}"), "tags": ["a", "b"] }),
                    _ => json!({ "url": url }),
                };
                let request = client.request(
                    axum::http::Method::POST,
                    "/api/v1/links",
                    &[("content-type", "application/json")],
                    axum::body::Body::from(body.to_string()),
                );
                match client.try_send(request).await {
                    Some(created) if created.status == 201 => {
                        let code = created.json()["code"].as_str().expect("a code").to_owned();
                        load.acknowledged.lock().await.push((code, url));
                    }
                    Some(created) => load.wrong.lock().await.push(created.text().to_owned()),
                    None => return,
                }
            }
        });
    }
    eventually("some load", || async { load.acknowledged.lock().await.len() > 300 }).await;
    doomed.kill().await;
    clients.join_all().await;
    assert_eq!(*load.wrong.lock().await, [""; 0]);
    for (alias, url) in &*load.acknowledged.lock().await {
        assert_eq!(followed(&fleet.client(0), alias).await, *url);
    }
    let halves = "SELECT count(*) FROM links FULL JOIN aliases ON links.key = aliases.key
                  WHERE links.alias IS DISTINCT FROM aliases.alias AND (links.alias IS NOT NULL OR links.key IS NULL)";
    assert_eq!(fleet.primary.execute_on("stint", halves), "0", "nothing is half there");
    let orphans = "SELECT count(*) FROM (SELECT key FROM targets UNION ALL SELECT key FROM link_tags
                   UNION ALL SELECT key FROM changes) AS hanging WHERE key NOT IN (SELECT key FROM links)";
    assert_eq!(fleet.primary.execute_on("stint", orphans), "0", "what hangs on a link is there with it only");
    let unreusable =
        "SELECT count(*) FROM links WHERE alias IS NULL AND nonce IS NULL AND key NOT IN (SELECT key FROM targets)";
    assert_eq!(fleet.primary.execute_on("stint", unreusable), "0");
    let untagged = "SELECT count(*) FROM links WHERE cardinality(tags) IS DISTINCT FROM
                    nullif((SELECT count(*) FROM link_tags WHERE link_tags.key = links.key), 0)";
    assert_eq!(fleet.primary.execute_on("stint", untagged), "0");
}
