//! Clicks of the whole fleet: each redirect that any node answered counts once, also those of a node that stops.

use serde_json::json;

use crate::support::fleet::{Fleet, Wanted, create, followed};
use crate::support::{Client, eventually, in_parallel};

const LINKS: usize = 10;

async fn clicks(client: &Client, code: &str) -> u64 {
    let stats = client.get(&format!("/api/v1/links/{code}/stats")).await.json();
    stats["clicks"].as_u64().expect("a number of clicks")
}

/// Waits until every link has just so many clicks, whichever node is asked.
async fn all_have(clients: &[Client], codes: &[String], expected: u64) {
    for (n, code) in codes.iter().enumerate() {
        let client = &clients[n % clients.len()];
        eventually("the clicks are counted", || async { clicks(client, code).await >= expected }).await;
        assert_eq!(clicks(client, code).await, expected, "of `{code}`");
    }
}

#[tokio::test]
async fn each_redirect_of_every_node_counts_once_through_redis_and_those_of_a_node_that_stops() {
    let mut fleet = Fleet::start(Wanted { replicas: 0, ..Wanted::default() }).await;
    let mut clients: Vec<_> = (0..3).map(|node| fleet.client(node)).collect();
    let mut codes = Vec::new();
    for n in 0..LINKS {
        codes.push(create(&clients[n % 3], &format!("https://example.com/{n}")).await);
    }
    let follow_all = async |clients: &[Client], rounds: usize| {
        let each = (0..rounds).flat_map(|_| clients).flat_map(|client| codes.iter().map(move |code| (client, code)));
        in_parallel(12, each, async |(client, code)| {
            assert!(followed(client, code).await.starts_with("https://example.com/"));
        })
        .await;
    };
    follow_all(&clients, 7).await;
    all_have(&clients, &codes, 21).await;
    for node in &fleet.nodes {
        let admin = node.admin_client();
        let direct = admin.sample::<u64>("stint_click_chunks_total{outcome=\"direct\"}").await;
        assert_eq!(direct, Some(0), "nothing went past Redis");
        let streamed = admin.sample::<u64>("stint_click_chunks_total{outcome=\"streamed\"}").await;
        assert!(streamed > Some(0), "{streamed:?}");
    }
    follow_all(&clients[2..], 5).await;
    clients.truncate(2);
    let stopping = fleet.nodes.remove(2);
    assert_eq!(stopping.terminate().await, Some(0));
    all_have(&clients, &codes, 26).await;
    // HEAD and previews are no visits.
    clients[0].head(&format!("/{}", codes[0])).await;
    clients[0].get_with(&format!("/{}+", codes[0]), &[("accept", "application/json")]).await;
    follow_all(&clients, 1).await;
    all_have(&clients, &codes, 28).await;
    let limited = json!({ "url": "https://example.com/", "alias": "limited", "max_visits": 2 });
    assert_eq!(clients[0].post("/api/v1/links", &limited).await.status, 201);
    let answers = in_parallel(6, 0..6, async |n| clients[n % 2].get("/limited").await.status.as_u16()).await;
    assert_eq!(answers.iter().filter(|&&status| status == 302).count(), 2, "{answers:?}");
    all_have(&clients, &["limited".to_owned()], 2).await;
}
