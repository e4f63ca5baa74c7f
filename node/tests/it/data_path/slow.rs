//! A slow database: bounded queues, early refusals, redirects as fast as ever, and full recovery.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::support::fleet::{Fleet, Wanted, create, create_in_the_end, database_through, followed, ready};
use crate::support::{Line, eventually, in_parallel};

#[tokio::test]
async fn a_slow_database_slows_no_cached_redirect_and_what_waits_is_bounded() {
    let fleet = Fleet::without_nodes(Wanted { replicas: 0, ..Wanted::default() }).await;
    let line = Line::to(fleet.primary.port()).await;
    let settings = [
        ("DATABASE_URL", &*database_through(&line)),
        ("STINT_DATABASE__POOL_SIZE", "4"),
        ("STINT_HTTP__REQUEST_TIMEOUT", "3s"),
    ];
    let node = fleet.serve(1, &settings).await;
    ready(&node).await;
    let admin = node.admin_client();
    eventually("the record of changes was read", || async {
        admin.get("/metrics").await.text().contains("stint_cache_trusted 1")
    })
    .await;
    let client = node.client();
    let cached = create(&client, "https://example.com/cached").await;
    line.slow_down(Duration::from_millis(200));
    let since = Instant::now();
    let creating = in_parallel(6_000, 0..6_000, async |n| {
        let body = json!({ "url": format!("https://example.com/{n}"), "reuse": false });
        client.post("/api/v1/links", &body).await.status.as_u16()
    });
    let following = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..200 {
            let since = Instant::now();
            assert_eq!(followed(&client, &cached).await, "https://example.com/cached");
            slowest = slowest.max(since.elapsed());
        }
        slowest
    };
    let (statuses, slowest) = tokio::join!(creating, following);
    let count = |status| statuses.iter().filter(|it| **it == status).count();
    println!("{} created, {} refused in {:?}; slowest redirect {slowest:?}", count(201), count(503), since.elapsed());
    assert_eq!(count(201) + count(503), statuses.len(), "nothing else is answered");
    assert!(count(201) > 100, "what the database can do is done");
    line.slow_down(Duration::ZERO);
    create_in_the_end(&client, &json!({ "url": "https://example.com/after", "reuse": false })).await;
    let all = in_parallel(50, 0..200, async |n| {
        let body = json!({ "url": format!("https://example.com/after/{n}"), "reuse": false });
        client.post("/api/v1/links", &body).await.status.as_u16()
    });
    assert!(all.await.into_iter().all(|status| status == 201), "it has recovered");
}
