//! Every source of ids: the real URLs through three nodes at once, all exact, no key twice.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::bulk::{NDJSON, lines, send};
use crate::support::fleet::{Fleet, Wanted, create, create_in_the_end, followed};
use crate::support::{Program, Redis, eventually, in_parallel, real_urls};

/// Creates every URL through the nodes in turn, and follows each through the two others.
async fn carries_the_real_urls(source: &'static str) {
    let fleet = Fleet::start(Wanted { source, replicas: 1, ..Wanted::default() }).await;
    let clients: Vec<_> = (0..3).map(|node| fleet.client(node)).collect();
    let urls: HashSet<String> = real_urls().into_iter().collect();
    let urls: Vec<_> = urls.into_iter().enumerate().collect();
    let codes = in_parallel(48, &urls, async |(n, url)| create(&clients[n % 3], url).await).await;
    let distinct: HashSet<_> = codes.iter().collect();
    assert_eq!(distinct.len(), urls.len(), "no two URLs have one code");
    in_parallel(48, urls.iter().zip(&codes), async |((n, url), code)| {
        for other in [n + 1, n + 2] {
            assert_eq!(followed(&clients[other % 3], code).await, *url);
        }
    })
    .await;
    let kept = fleet.primary.execute_on("stint", "SELECT count(DISTINCT key) FROM links");
    assert_eq!(kept, urls.len().to_string());
    let repeated = in_parallel(48, urls.iter().zip(&codes).step_by(20), async |((n, url), code)| {
        create(&clients[(n + 1) % 3], url).await == *code
    });
    assert!(repeated.await.into_iter().all(|same| same), "another node answers a repeat with the same link");
}

#[tokio::test]
async fn raft_ranges_carry_the_real_urls() {
    carries_the_real_urls("raft").await;
}

#[tokio::test]
async fn redis_blocks_carry_the_real_urls() {
    carries_the_real_urls("redis").await;
}

#[tokio::test]
async fn postgres_blocks_carry_the_real_urls() {
    carries_the_real_urls("postgres").await;
}

#[tokio::test]
async fn snowflake_ids_carry_the_real_urls() {
    carries_the_real_urls("snowflake").await;
}

/// What a counter of all nodes came to.
async fn counted(nodes: &[Program], name: &str) -> u64 {
    let mut sum = 0;
    for node in nodes {
        sum += node.admin_client().sample::<u64>(name).await.unwrap_or(0);
    }
    sum
}

#[tokio::test]
async fn links_get_their_keys_from_the_fallback_while_the_allocators_are_out() {
    let mut fleet = Fleet::without_nodes(Wanted { replicas: 0, ..Wanted::default() }).await;
    let nodes = fleet.serve_small_blocks(&[("STINT_IDS__SOURCE", "raft"), ("STINT_IDS__FALLBACK", "redis")]).await;
    let clients: Vec<_> = nodes.iter().map(Program::client).collect();
    let created = async |round: &'static str| {
        in_parallel(12, 0..90, async |n| create(&clients[n % 3], &format!("https://example.com/{round}/{n}")).await)
            .await
    };
    let mut codes = created("before").await;
    for node_id in [1, 2] {
        fleet.allocators.take(node_id).kill().await;
    }
    codes.extend(created("without").await);
    assert_eq!(counted(&nodes, "stint_id_source_switches_total{from=\"raft\",to=\"redis\"}").await, 3);
    fleet.allocators.start(1, &[]).await;
    eventually("all draw from the allocators again", || async {
        counted(&nodes, "stint_id_source_switches_total{from=\"redis\",to=\"raft\"}").await == 3
    })
    .await;
    codes.extend(created("after").await);
    assert_eq!(codes.iter().collect::<HashSet<_>>().len(), codes.len(), "no key twice");
}

#[tokio::test]
async fn no_key_is_repeated_when_the_sentinels_promote_a_replica_that_missed_writes() {
    let fleet = Fleet::without_nodes(Wanted { source: "redis", replicas: 0, ..Wanted::default() }).await;
    let replica = fleet.redis.replica();
    let sentinel = Redis::sentinel(&fleet.redis);
    eventually("the Sentinel knows the replica", || async {
        sentinel.ask(&["SENTINEL", "replicas", "main"]).contains(&replica.port().to_string())
    })
    .await;
    let url = format!("redis+sentinel://127.0.0.1:{}/main", sentinel.port());
    let nodes = fleet.serve_small_blocks(&[("STINT_IDS__SOURCE", "redis"), ("REDIS_URL", &url)]).await;
    let clients: Vec<_> = nodes.iter().map(Program::client).collect();
    let stage = AtomicUsize::new(0);
    let created: [AtomicUsize; 3] = Default::default();
    // Goes on, without a pause, from the first stage to the last.
    let creating = in_parallel(12, 0..12, async |worker| {
        let mut codes = Vec::new();
        for n in (worker..).step_by(12) {
            let stage = stage.load(Ordering::Relaxed);
            if created[2].load(Ordering::Relaxed) > 90 {
                break;
            }
            let body = json!({ "url": format!("https://example.com/{n}"), "reuse": false });
            codes.push(create_in_the_end(&clients[n % 3], &body).await);
            created[stage].fetch_add(1, Ordering::Relaxed);
        }
        codes
    });
    let some_in = async |stage: usize| {
        eventually("some creates", || async { created[stage].load(Ordering::Relaxed) > 60 }).await;
    };
    let failing_over = async {
        some_in(0).await;
        // What lies in the connection's buffers would still reach it.
        replica.pause();
        assert_eq!(fleet.redis.ask(&["CLIENT", "KILL", "TYPE", "replica"]), "1");
        stage.store(1, Ordering::Relaxed);
        some_in(1).await;
        fleet.redis.kill();
        replica.resume();
        let promoted = || async { replica.ask(&["INFO", "replication"]).contains("role:master") };
        eventually("the replica is promoted", promoted).await;
        stage.store(2, Ordering::Relaxed);
    };
    let (codes, ()) = tokio::join!(creating, failing_over);
    let codes: Vec<_> = codes.into_iter().flatten().collect();
    assert_eq!(codes.iter().collect::<HashSet<_>>().len(), codes.len(), "no key twice");
    assert!(counted(&nodes, "stint_id_source_repairs_total{source=\"redis\"}").await > 0, "what was lost is told");
}

/// Over Postgres, where a batch is one statement: each row has its result, and the node needs no memory for all of them.
#[tokio::test]
async fn one_request_creates_the_real_urls_and_needs_little_memory() {
    let fleet = Fleet::start(Wanted { replicas: 0, nodes: 2, ..Wanted::default() }).await;
    let (client, admin) = (fleet.client(0), fleet.nodes[0].admin_client());
    let memory = async || admin.sample::<f64>("process_resident_memory_bytes").await.expect("it is measured") / 1e6;
    create(&client, "https://example.com/there-already").await;
    let before = memory().await;
    // 80 MB of them: more than the node may take.
    let urls: Vec<_> = real_urls().iter().map(|url| format!("{url}/#{}", "long".repeat(1000))).collect();
    let there = json!({ "url": "https://example.com/there-already" }).to_string() + "\n";
    let rows: String = urls.iter().map(|url| json!({ "url": url, "reuse": false }).to_string() + "\n").collect();
    let body = format!("{there}no json\n{rows}");
    let results = lines(&send(&client, NDJSON, body).await);
    let after = memory().await;
    assert_eq!(results.len(), 2 + urls.len());
    assert_eq!(
        (&results[0]["status"], &results[1]["status"]),
        (&json!(200), &json!(400)),
        "{} {}",
        results[0],
        results[1]
    );
    let codes: HashSet<_> = results[2..].iter().map(|result| result["code"].as_str().expect("a code")).collect();
    assert_eq!(codes.len(), urls.len());
    let other = fleet.client(1);
    in_parallel(16, results[2..].iter().zip(&urls).step_by(97), async |(result, url)| {
        assert_eq!(followed(&other, result["code"].as_str().expect("a code")).await, *url);
    })
    .await;
    println!("20,002 rows, 80 MB: from {before:.0} MB to {after:.0} MB");
    assert!(after - before < 75.0, "from {before} MB to {after} MB");
}
