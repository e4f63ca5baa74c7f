//! Redis dies, comes back, forgets, or brings old data back: nobody notices, and no key is repeated.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::support::fleet::{Fleet, Wanted, create, create_in_the_end, followed};
use crate::support::{Program, Redis, eventually, in_parallel};

/// The slowest of a hundred, in ms.
fn p99(times: &mut [Duration]) -> u128 {
    times.sort_unstable();
    times[times.len() * 99 / 100].as_millis()
}

#[tokio::test]
async fn nobody_sees_an_error_when_redis_is_killed() {
    let fleet = Fleet::start(Wanted { replicas: 1, ..Wanted::default() }).await;
    let mut codes = Vec::new();
    for n in 0..100 {
        let url = format!("https://example.com/{n}");
        codes.push((create(&fleet.client(n % 3), &url).await, url));
    }
    for redis_is_there in [true, false] {
        if !redis_is_there {
            fleet.redis.kill();
        }
        let mut times = in_parallel(8, 0..600, async |n| {
            let ((code, url), client) = (&codes[n % 100], fleet.client(n % 3));
            let since = Instant::now();
            if n % 20 == 0 {
                create(&client, &format!("https://example.com/new/{redis_is_there}/{n}")).await;
            } else {
                assert_eq!(followed(&client, code).await, *url);
            }
            since.elapsed()
        })
        .await;
        println!("redis there: {redis_is_there}: p99 {} ms", p99(&mut times));
    }
}

/// Times that a node set Redis right.
const REPAIRS: &str = "stint_id_source_repairs_total{source=\"redis\"}";

/// Creates through all nodes while `harm` is done to Redis again and again: no key twice, every create succeeds in the end.
async fn no_key_is_repeated_while(harm: impl Fn(&Redis) + Send + Sync + 'static) {
    let fleet = Fleet::without_nodes(Wanted { source: "redis", replicas: 0, ..Wanted::default() }).await;
    let nodes = fleet.serve_small_blocks(&[("STINT_IDS__SOURCE", "redis")]).await;
    let clients: Vec<_> = nodes.iter().map(Program::client).collect();
    let (redis, harm) = (Arc::new(fleet.redis), Arc::new(harm));
    let mut seen = HashSet::new();
    for round in 0..5 {
        let body = |n| json!({ "url": format!("https://example.com/{round}/{n}"), "reuse": false });
        let (created, harmed) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
        // Goes on until as many were created after the harm as before it.
        let creating = in_parallel(12, 0..12, async |worker| {
            let mut codes = Vec::new();
            for n in (worker..).step_by(12) {
                if created.load(Ordering::Relaxed) > harmed.load(Ordering::Relaxed).saturating_add(60) {
                    break;
                }
                codes.push(create_in_the_end(&clients[n % 3], &body(n)).await);
                created.fetch_add(1, Ordering::Relaxed);
            }
            codes
        });
        let harming = async {
            eventually("some creates", || async { created.load(Ordering::Relaxed) > 60 }).await;
            let (redis, harm) = (Arc::clone(&redis), Arc::clone(&harm));
            tokio::task::spawn_blocking(move || harm(&redis)).await.expect("it is done");
            harmed.store(created.load(Ordering::Relaxed), Ordering::Relaxed);
        };
        let (codes, ()) = tokio::join!(creating, harming);
        for code in codes.into_iter().flatten() {
            assert!(seen.insert(code.clone()), "{code} was given out twice");
        }
    }
    let kept = fleet.primary.execute_on("stint", "SELECT count(*) FROM links");
    assert_eq!(kept, seen.len().to_string());
    let mut repairs = 0;
    for node in &nodes {
        repairs += node.admin_client().sample::<u64>(REPAIRS).await.expect("it is there at 0");
    }
    assert!(repairs > 0, "what was lost is told: the primary key alone would have kept keys apart");
}

#[tokio::test]
async fn no_key_is_repeated_when_redis_forgets_everything() {
    no_key_is_repeated_while(Redis::flush).await;
}

#[tokio::test]
async fn no_key_is_repeated_when_an_old_dump_of_redis_is_put_back() {
    let dump = OnceLock::<Vec<u8>>::new();
    no_key_is_repeated_while(move |redis| match dump.get() {
        Some(old) => redis.restore(old),
        None => dump.set(redis.keep_dump()).expect("it is empty"),
    })
    .await;
}

#[tokio::test]
async fn no_key_is_repeated_when_redis_starts_again_without_its_data() {
    no_key_is_repeated_while(|redis| {
        redis.kill();
        redis.launch();
    })
    .await;
}
