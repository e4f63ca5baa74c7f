//! Every source of ids: the real URLs through three nodes at once, all exact, no key twice.

use std::collections::HashSet;

use crate::support::fleet::{Fleet, Wanted, create, followed};
use crate::support::{in_parallel, real_urls};

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
