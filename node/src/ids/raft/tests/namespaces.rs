//! Namespaces with strides and quotas.

use super::*;

fn quota(quota: Option<u64>) -> NamespaceSpec {
    NamespaceSpec { quota, ..NamespaceSpec::contiguous(0, 1_000_000, 1 << 20) }
}

async fn issue(node: &Node, count: u64) -> Result<Vec<(u64, u64)>, IdError> {
    let runs = node.ids.issue(&name("orders"), count).await?;
    Ok(runs.into_iter().map(|run| (run.first(), run.end())).collect())
}

/// A node whose namespace `orders` has a quota of 150, all of it issued.
async fn used_up(rig: &Rig) -> Node {
    rig.create_with(name("orders"), quota(Some(150)));
    let node = rig.node();
    assert_eq!(issue(&node, 150).await.unwrap(), [(0, 150)]);
    node
}

fn assert_reached<T: std::fmt::Debug>(answer: &Result<T, IdError>) {
    assert!(matches!(answer, Err(IdError::Refused(Refusal::QuotaReached { quota: 150, .. }))), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn regions_of_one_stride_issue_ids_of_their_own() {
    let rig = Rig::new();
    let node = rig.node();
    let mut all = HashSet::new();
    for offset in 0..3 {
        let region = name(&format!("region-{offset}"));
        rig.create_with(
            region.clone(),
            NamespaceSpec { stride: 3, offset, ..NamespaceSpec::contiguous(7, 9_000, 500) },
        );
        let runs = node.ids.issue(&region, 1_000).await.unwrap();
        assert_eq!(runs, [IdRun::new(7 + offset, 1_000, 3)]);
        all.extend(runs.into_iter().flat_map(IdRun::ids));
    }
    assert_eq!((all.len(), all.contains(&7), all.contains(&3_006)), (3_000, true, true), "together they leave no gap");
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_was_reached_is_asked_for_again_within_a_second_and_not_more_often() {
    let rig = Rig::new();
    let node = used_up(&rig).await;
    assert_reached(&issue(&node, 1).await);
    let asked = rig.allocator.requests().len();
    for _ in 0..100 {
        assert_reached(&issue(&node, 1).await);
    }
    assert_eq!(rig.allocator.requests().len(), asked, "the refusal is remembered");
    // Raised by another node: this one finds out by itself.
    rig.allocator.apply(Command::UpdateNamespace { name: name("orders"), quota: None, max_block: 1 << 20 });
    assert_reached(&issue(&node, 1).await);
    tokio::time::advance(Duration::from_millis(1_100)).await;
    tokio::task::yield_now().await;
    assert_eq!(issue(&node, 5).await.unwrap(), [(150, 155)]);
}

#[tokio::test(start_paused = true)]
async fn nobody_who_wants_no_ids_asks_for_them() {
    let rig = Rig::new();
    let node = used_up(&rig).await;
    assert_reached(&issue(&node, 1).await);
    let asked = rig.allocator.requests().len();
    for _ in 0..20 {
        tokio::time::advance(Duration::from_secs(1)).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.allocator.requests().len(), asked, "each request is an entry of the log");
}

#[tokio::test(start_paused = true)]
async fn a_quota_raised_through_this_node_counts_at_once() {
    let rig = Rig::new();
    let node = used_up(&rig).await;
    for raised in [Some(160), None] {
        let started = Instant::now();
        assert!(issue(&node, 10).await.is_err());
        let spec = node.ids.update_namespace(&name("orders"), raised, 1 << 20).await.unwrap();
        assert_eq!(spec.quota, raised);
        assert_eq!(issue(&node, 10).await.unwrap().len(), 1);
        assert_eq!(started.elapsed(), Duration::ZERO);
    }
    let unknown = node.ids.update_namespace(&name("unknown"), None, 1).await;
    assert!(matches!(unknown, Err(IdError::Refused(Refusal::UnknownNamespace(_)))), "{unknown:?}");
}

#[tokio::test(start_paused = true)]
async fn asking_for_more_than_is_left_uses_nothing_up() {
    let rig = Rig::new();
    rig.create_with(name("orders"), quota(Some(150)));
    let node = rig.node();
    assert_eq!(issue(&node, 20).await.unwrap(), [(0, 20)]);
    assert_reached(&issue(&node, 140).await);
    assert_reached(&issue(&node, 131).await);
    assert_eq!(issue(&node, 30).await.unwrap(), [(20, 50)]);
    assert_eq!(issue(&node, 100).await.unwrap(), [(50, 150)], "to the last one");
    assert_reached(&issue(&node, 1).await);
}
