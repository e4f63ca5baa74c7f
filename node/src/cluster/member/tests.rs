//! Members that talk over TCP on this machine, each with a log on a real disk.

mod cluster;

use std::time::Duration;

use stint_idgen::allocator::Command;

use self::cluster::{TestCluster, eventually};
use super::super::testing::{create_links, grant, granted};
use crate::ports::coordination::{Allocator, CoordinationError, MemberChange, MemberError};

#[tokio::test]
async fn three_empty_nodes_found_one_cluster_and_grant_through_any_of_them() {
    let cluster = TestCluster::found(3).await;
    let holder = cluster.holder();
    holder.submit(create_links()).await.unwrap();
    let mut ends = Vec::new();
    for request in 1..=20 {
        let grant = granted(holder.submit(grant(1, request)).await.unwrap());
        assert!(ends.last().is_none_or(|end| grant.range.start() >= *end));
        ends.push(grant.range.end());
    }
    // Through each member: a follower has the leader do it.
    for node in cluster.nodes() {
        let reply = node.group().submit(grant(u128::from(node.node_id) + 10, 1)).await.unwrap();
        assert!(granted(reply).range.start() >= *ends.last().unwrap());
    }
    let status = holder.status().await.unwrap();
    assert_eq!((status.voters, status.members.len()), (vec![1, 2, 3], 3));
    assert_eq!(holder.cluster_id().unwrap().len(), 32);
    cluster.stop().await;
}

#[tokio::test]
async fn a_retry_through_another_member_is_answered_with_the_same_grant() {
    let cluster = TestCluster::found(3).await;
    cluster.holder().submit(create_links()).await.unwrap();
    let mut grants = Vec::new();
    for node in cluster.nodes() {
        grants.push(granted(node.group().submit(grant(7, 1)).await.unwrap()));
    }
    assert!(grants.iter().all(|grant| *grant == grants[0]), "{grants:?}");
    cluster.stop().await;
}

#[tokio::test]
async fn a_leader_that_stops_hands_over_and_its_place_is_kept() {
    let mut cluster = TestCluster::found(3).await;
    let holder = cluster.holder();
    holder.submit(create_links()).await.unwrap();
    let leader = cluster.leader().await;
    cluster.stop_node(leader).await;
    let began = tokio::time::Instant::now();
    granted(holder.submit(grant(1, 1)).await.unwrap());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    cluster.start_node(leader, false);
    cluster.settle().await;
    assert_ne!(cluster.leader().await, leader);
    cluster.stop().await;
}

#[tokio::test]
async fn without_a_quorum_commands_fail_in_time_and_go_on_after_it_returns() {
    let mut cluster = TestCluster::found(3).await;
    let holder = cluster.holder();
    holder.submit(create_links()).await.unwrap();
    cluster.stop_node(1).await;
    cluster.stop_node(2).await;
    let refused = holder.submit(grant(1, 1)).await.unwrap_err();
    assert!(
        matches!(refused, CoordinationError::Unavailable { .. } | CoordinationError::OutcomeUnknown { .. }),
        "{refused:?}"
    );
    cluster.start_node(1, false);
    let first = eventually("a grant", async || holder.submit(grant(1, 1)).await.ok()).await;
    assert_eq!(granted(first).range.start(), 1);
    cluster.stop().await;
}

#[tokio::test]
async fn members_are_added_and_removed_while_grants_go_on() {
    let mut cluster = TestCluster::found(3).await;
    let holder = cluster.holder();
    holder.submit(create_links()).await.unwrap();
    let address = cluster.start_node(4, false);
    // The new node has not taken its port yet, perhaps.
    eventually("node 4 joins", async || {
        holder.change_members(MemberChange::Add { node_id: 4, address: address.clone() }).await.ok()
    })
    .await;
    granted(holder.submit(grant(1, 1)).await.unwrap());
    let leader = cluster.leader().await;
    holder.change_members(MemberChange::Remove { node_id: leader }).await.unwrap();
    granted(holder.submit(grant(1, 2)).await.unwrap());
    let status = holder.status().await.unwrap();
    let expected: Vec<_> = (1..=4).filter(|id| *id != leader).collect();
    assert_eq!(status.voters, expected);
    // The number is not given again, were the directory empty or not.
    cluster.wipe_node(leader).await;
    let address = cluster.start_node(leader, false);
    let refused = eventually("a refusal", async || {
        let change = MemberChange::Add { node_id: leader, address: address.clone() };
        match holder.change_members(change).await {
            Err(MemberError::Refused(why)) if !why.contains("connect") => Some(why),
            _ => None,
        }
    })
    .await;
    assert!(refused.contains("number"), "{refused}");
    cluster.stop().await;
}

#[tokio::test]
async fn a_wiped_member_takes_part_in_nothing_and_is_told_the_repair() {
    let mut cluster = TestCluster::found(3).await;
    let holder = cluster.holder();
    holder.submit(create_links()).await.unwrap();
    granted(holder.submit(grant(1, 1)).await.unwrap());
    cluster.wipe_node(2).await;
    let failure = cluster.start_node_that_fails(2, true).await;
    assert!(failure.contains("doesn't know this empty data directory"), "{failure}");
    assert!(failure.contains("stint cluster remove 2"), "{failure}");
    // Two of three go on; the empty one would not make a quorum with one.
    cluster.stop_node(3).await;
    cluster.start_node(2, false);
    assert!(holder.submit(grant(1, 2)).await.is_err());
    cluster.start_node(3, false);
    eventually("a grant", async || holder.submit(grant(1, 2)).await.ok()).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_follower_that_is_far_behind_is_brought_up_by_a_snapshot() {
    let mut cluster =
        TestCluster::found_with(3, |options| (options.snapshot_every, options.entries_kept) = (50, 10)).await;
    let holder = cluster.holder();
    holder.submit(create_links()).await.unwrap();
    let follower = (1..=3).find(|id| *id != 3).unwrap();
    cluster.stop_node(follower).await;
    for request in 1..=300 {
        granted(holder.submit(grant(1, request)).await.unwrap());
    }
    cluster.start_node(follower, false);
    let last = holder.status().await.unwrap().last_applied_index;
    eventually("the follower catches up", async || {
        let status = cluster.node(follower).try_group()?.status().await.unwrap();
        (status.last_applied_index >= last).then_some(())
    })
    .await;
    let floor = cluster.node(follower).group().floor(&super::super::testing::links());
    assert_eq!(floor, Some(1 + 300 * 10));
    cluster.stop().await;
}

#[tokio::test]
async fn strangers_are_refused_in_words() {
    let cluster = TestCluster::found(3).await;
    cluster.holder().submit(create_links()).await.unwrap();
    let other_secret = cluster.holder_with(Some("another secret, long enough"), None);
    let refused = other_secret.submit(Command::RaiseTimeline { timeline: 1 }).await.unwrap_err();
    assert!(chain(&refused).contains("the cluster secret is not that of node"), "{}", chain(&refused));
    let other_cluster = cluster.holder_with(Some(cluster::SECRET), Some("00".repeat(16)));
    let refused = other_cluster.submit(Command::RaiseTimeline { timeline: 1 }).await.unwrap_err();
    assert!(chain(&refused).contains("and the call is from cluster 0000"), "{}", chain(&refused));
    cluster.stop().await;
}

#[tokio::test]
async fn the_audit_shows_every_grant_once_on_every_member() {
    use futures_util::TryStreamExt;
    use stint_idgen::allocator::AuditEvent;

    let cluster = TestCluster::found(3).await;
    let holder = cluster.holder();
    holder.submit(create_links()).await.unwrap();
    for request in 1..=10 {
        granted(holder.submit(grant(1, request)).await.unwrap());
        granted(holder.submit(grant(1, request)).await.unwrap());
    }
    let records: Vec<_> = holder.audit(None, false).await.unwrap().try_collect().await.unwrap();
    let starts: Vec<_> = records
        .iter()
        .filter_map(|record| match &record.event {
            AuditEvent::Granted { grant, .. } => Some(grant.range.start()),
            _ => None,
        })
        .collect();
    assert_eq!(starts, (0..10).map(|n| 1 + n * 10).collect::<Vec<_>>());
    assert!(records.iter().all(|record| record.violation.is_none()));
    cluster.stop().await;
}

fn chain(error: &dyn std::error::Error) -> String {
    crate::ports::error_chain::Chain(error).to_string()
}
