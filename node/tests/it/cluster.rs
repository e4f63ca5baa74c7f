//! The cluster of real processes: founding, losing members and the quorum, changing members, stopping, starting again.

mod disk;
mod identity;
mod members;
mod rpc;
mod tls;

use std::collections::HashSet;

use serde_json::json;

use crate::support::{Client, Cluster, Program, draw, eventually, in_parallel};

/// Makes the namespace that the tests draw from.
pub(crate) async fn orders(client: &Client) {
    let made = client.post("/api/v1/namespaces", &json!({ "name": "orders" })).await;
    // 200 if the first answer was lost on the way, and it was asked again.
    assert!(made.status.is_success(), "{made:?}");
}

/// A namespace's ids, as `stint cluster status` counts them.
async fn total(cluster: &Cluster, what: &str) -> u64 {
    let status = cluster.status().await.unwrap();
    let namespaces = status["namespaces"].as_array().unwrap();
    namespaces.iter().find(|namespace| namespace["name"] == "orders").unwrap()[what].as_u64().unwrap()
}

#[tokio::test]
async fn ids_drawn_through_two_shorteners_are_distinct_while_the_leader_is_killed() {
    let mut cluster = Cluster::found().await;
    let shorteners = [cluster.serve(1, &[]).await, cluster.serve(2, &[]).await];
    let clients = shorteners.each_ref().map(Program::client);
    orders(&clients[0]).await;
    let mut drawn: Vec<u64> = in_parallel(8, 0..100, |n| draw(&clients[n % 2], 50)).await.concat();

    let leader = cluster.led().await;
    let killed = cluster.take(leader);
    let drawing = in_parallel(8, 0..100, |n| draw(&clients[n % 2], 50));
    drawn.extend(futures_util::future::join(drawing, killed.kill()).await.0.concat());
    let next = cluster.led().await;
    assert_ne!(next, leader);
    drawn.extend(in_parallel(8, 0..20, |n| draw(&clients[n % 2], 1_000)).await.concat());
    assert_eq!(drawn.len(), 30_000);
    assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), drawn.len());

    // The table says who is gone.
    let shown = format!("no more failure is tolerable: voter {leader} is ");
    eventually(&shown, || async {
        let output = cluster.command(&["status"]).await;
        String::from_utf8_lossy(&output.stdout).contains(&shown)
    })
    .await;
    cluster.start(leader, &["--bootstrap"]).await;
    cluster.led().await;
    for shortener in shorteners {
        assert_eq!(shortener.terminate().await, Some(0));
    }
}

#[tokio::test]
async fn without_a_quorum_draws_go_on_with_the_ids_at_hand_then_wait_and_go_on_by_themselves() {
    let mut cluster = Cluster::found().await;
    let blocks = [("STINT_IDS__MIN_BLOCK", "500"), ("STINT_IDS__MAX_BLOCK", "500")];
    let shortener = cluster.serve(1, &blocks).await;
    let (client, admin) = (shortener.client(), shortener.admin_client());
    orders(&client).await;
    let mut drawn = draw(&client, 300).await;
    eventually("the next block", || async { total(&cluster, "granted").await >= 1_000 }).await;
    for node_id in [1, 2] {
        cluster.take(node_id).kill().await;
    }
    drawn.extend(draw(&client, 400).await);
    eventually("a note that the allocators are away", || async {
        let ready = admin.get("/readyz").await;
        assert_eq!(ready.status, 200, "{ready:?}");
        ready.text().contains("going on with the ids at hand")
    })
    .await;
    let refused = loop {
        let answer = client.post("/api/v1/ids", &json!({ "namespace": "orders", "count": 100 })).await;
        match answer.status.as_u16() {
            200 => drawn.extend(answer.json()["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap())),
            _ => break answer,
        }
        assert!(drawn.len() < 1_001, "no more than two blocks were at hand");
    };
    refused.problem(503, "unavailable");
    assert!(refused.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0), "{refused:?}");
    // What is left is less than was asked for.
    let one = json!({ "namespace": "orders", "count": 1 });
    loop {
        let left = client.post("/api/v1/ids", &one).await;
        match left.status.as_u16() {
            200 => drawn.push(left.json()["ids"][0].as_u64().unwrap()),
            _ => break,
        }
    }
    let ready = admin.get("/readyz").await;
    assert!(ready.status == 503 && ready.text().contains("no ids of `orders` are at hand"), "{ready:?}");
    let alone = cluster.node(3).admin_client();
    let ready = alone.get("/readyz").await;
    assert_eq!((ready.status.as_u16(), ready.text()), (503, "allocator: the allocator has no leader: no new ids\n"));
    let metrics = alone.get("/metrics").await;
    assert!(metrics.text().lines().any(|line| line == "stint_ready 0"), "{}", metrics.text());

    cluster.start(1, &[]).await;
    eventually("draws go on", || async { client.post("/api/v1/ids", &one).await.status == 200 }).await;
    drawn.extend(draw(&client, 400).await);
    assert_eq!(admin.get("/readyz").await.status, 200);
    assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), drawn.len());
}

#[tokio::test]
async fn a_shortener_that_stops_gives_back_what_it_did_not_use() {
    let cluster = Cluster::found().await;
    let shortener = cluster.serve(1, &[]).await;
    orders(&shortener.client()).await;
    draw(&shortener.client(), 10).await;
    assert_eq!(total(&cluster, "used").await, 0);
    assert_eq!(shortener.terminate().await, Some(0));
    assert_eq!((total(&cluster, "used").await, total(&cluster, "live").await), (10, 0));
    assert_eq!(total(&cluster, "returned").await, total(&cluster, "granted").await - 10);
}

#[tokio::test]
async fn a_leader_that_stops_hands_over_and_nobody_waits_for_an_election() {
    let mut cluster = Cluster::found().await;
    let term = cluster.status().await.unwrap()["term"].as_u64().unwrap();
    let leader = cluster.led().await;
    assert_eq!(cluster.take(leader).terminate().await, Some(0));
    assert!(!cluster.log(&leader.to_string()).contains("leadership was not handed over"));
    let status = cluster.status().await.unwrap();
    assert!(status["leader"].as_u64().is_some_and(|next| next != leader), "{status}");
    assert_eq!(status["term"], term + 1, "one transfer, no election that failed");
}

#[tokio::test]
async fn a_restart_of_every_member_keeps_ids_going_forward() {
    let mut cluster = Cluster::found().await;
    let shortener = cluster.serve(1, &[]).await;
    orders(&shortener.client()).await;
    let before = *draw(&shortener.client(), 100).await.last().unwrap();
    let granted = total(&cluster, "granted").await;
    let id = cluster.status().await.unwrap()["cluster_id"].clone();
    for node_id in 1..=3 {
        cluster.take(node_id).kill().await;
    }
    shortener.kill().await;
    for node_id in 1..=3 {
        // The flag of the first start may stay where it is.
        cluster.start(node_id, &["--bootstrap"]).await;
    }
    cluster.led().await;
    let status = cluster.status().await.unwrap();
    assert_eq!((&status["cluster_id"], total(&cluster, "granted").await), (&id, granted));
    let shortener = cluster.serve(2, &[]).await;
    let after = draw(&shortener.client(), 100).await;
    assert!(after.iter().all(|id| *id > before && *id > granted), "{before} {granted} {after:?}");
}
