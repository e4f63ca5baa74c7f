//! A slow database: bounded queues, early refusals, redirects as fast as ever, and full recovery.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::support::fleet::{Fleet, Wanted, create, create_in_the_end, database_through, followed, ready};
use crate::support::{Line, eventually, in_parallel};

/// What each statement takes longer.
const SLOW: Duration = Duration::from_millis(200);

/// The same, longer than anybody waits.
const HUNG: Duration = Duration::from_mins(1);

/// What became of a create.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answered {
    Created,
    RefusedAtOnce,
    GivenUp,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_database_slows_no_cached_redirect_and_what_waits_is_bounded() {
    let fleet = Fleet::without_nodes(Wanted { replicas: 0, ..Wanted::default() }).await;
    let line = Line::to(fleet.primary.port()).await;
    let settings = [
        ("DATABASE_URL", &*database_through(&line)),
        ("STINT_DATABASE__POOL_SIZE", "2"),
        ("STINT_HTTP__REQUEST_TIMEOUT", "30s"),
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
    let client = &client;
    let load = async |creates: usize| {
        let creating = in_parallel(creates, 0..creates, async |n| {
            let body = json!({ "url": format!("https://example.com/{n}"), "reuse": false });
            let answer = client.post("/api/v1/links", &body).await;
            match answer.status.as_u16() {
                201 => Answered::Created,
                503 if answer.header("retry-after").is_empty() => panic!("no Retry-After: {}", answer.text()),
                503 if answer.json()["type"] == "/docs/problems/overloaded" => Answered::RefusedAtOnce,
                503 => Answered::GivenUp,
                _ => panic!("{}", answer.text()),
            }
        });
        let following = async {
            let mut times = Vec::new();
            for _ in 0..200 {
                let since = Instant::now();
                assert_eq!(followed(client, &cached).await, "https://example.com/cached");
                times.push(since.elapsed());
            }
            times.sort_unstable();
            times[times.len() / 2]
        };
        let (answers, median) = tokio::join!(creating, following);
        assert!(median < SLOW / 4, "redirects waited for the database, or for those who do: {median:?}");
        [Answered::Created, Answered::RefusedAtOnce].map(|it| answers.iter().filter(|answer| **answer == it).count())
    };
    line.slow_down(SLOW);
    let [created, _] = load(2_000).await;
    assert!(created > 100, "what the database can do is done: {created}");
    // It takes in nothing at all: the queue fills up, and what has no room is told so, before its time is over.
    line.slow_down(HUNG);
    let [_, refused] = load(6_500).await;
    assert!(refused > 100, "what has no room is refused, not left to wait: {refused}");
    line.slow_down(Duration::ZERO);
    create_in_the_end(client, &json!({ "url": "https://example.com/after", "reuse": false })).await;
    let all = in_parallel(50, 0..200, async |n| {
        let body = json!({ "url": format!("https://example.com/after/{n}"), "reuse": false });
        client.post("/api/v1/links", &body).await.status.as_u16()
    });
    assert!(all.await.into_iter().all(|status| status == 201), "it has recovered");
}
