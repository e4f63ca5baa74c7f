//! What an empty node makes of its peers' answers.

use super::super::rpc::Refusal;
use super::*;

fn incarnation(node_id: NodeId) -> String {
    format!("{node_id:032x}")
}

fn me() -> Identity {
    Identity { node_id: 1, incarnation: incarnation(1), cluster: None }
}

fn peers() -> BTreeMap<NodeId, String> {
    (1..=3).map(|node_id| (node_id, format!("node-{node_id}:7101"))).collect()
}

fn founders() -> BTreeMap<NodeId, Member> {
    let member = |(node_id, address)| (node_id, Member { address, incarnation: incarnation(node_id) });
    peers().into_iter().map(member).collect()
}

fn empty(node_id: NodeId) -> Hello {
    let bootstrapping = Some(peers());
    Hello { node_id, incarnation: incarnation(node_id), cluster_id: None, founders: None, bootstrapping }
}

fn member(node_id: NodeId, founders: Option<BTreeMap<NodeId, Member>>) -> Hello {
    let cluster = Cluster::founded_by(self::founders());
    Hello { cluster_id: Some(cluster.id.to_string()), founders, bootstrapping: None, ..empty(node_id) }
}

fn decide_with(two: Result<Hello, CallError>, three: Result<Hello, CallError>) -> Decision {
    decide(&me(), &peers(), &BTreeMap::from([(2, two), (3, three)]))
}

#[test]
fn all_found_the_same_cluster_when_all_are_empty_and_bootstrapping() {
    let Decision::Found(cluster) = decide_with(Ok(empty(2)), Ok(empty(3))) else { panic!() };
    assert_eq!(cluster, Cluster::founded_by(founders()));
    assert_eq!(cluster.id.len(), 32);
    let two = Identity { node_id: 2, incarnation: incarnation(2), cluster: None };
    let answers = BTreeMap::from([(1, Ok(empty(1))), (3, Ok(empty(3)))]);
    assert_eq!(decide(&two, &peers(), &answers), Decision::Found(cluster));
}

#[test]
fn another_data_directory_makes_another_cluster() {
    let Decision::Found(cluster) = decide_with(Ok(Hello { incarnation: incarnation(9), ..empty(2) }), Ok(empty(3)))
    else {
        panic!()
    };
    assert_ne!(cluster.id, Cluster::founded_by(founders()).id);
}

#[test]
fn a_peer_that_is_away_or_not_bootstrapping_is_waited_for_by_name() {
    let silent = CallError::Silent { address: "node-2:7101".into(), waited: std::time::Duration::from_secs(1) };
    let Decision::Wait(why) = decide_with(Err(silent), Ok(Hello { bootstrapping: None, ..empty(3) })) else { panic!() };
    assert_eq!(
        why,
        "node 2: node-2:7101 gave no answer within 1000 ms; \
         node 3 at node-3:7101 is empty, but was started without --bootstrap"
    );
}

#[test]
fn a_founder_that_comes_late_takes_its_place() {
    let found = Decision::Found(Cluster::founded_by(founders()));
    assert_eq!(decide_with(Ok(member(2, Some(founders()))), Ok(empty(3))), found);
}

#[test]
fn a_directory_that_the_cluster_does_not_know_is_refused_with_the_repair() {
    let mut others = founders();
    others.insert(1, Member { address: "node-1:7101".into(), incarnation: incarnation(7) });
    for known in [Some(others), None] {
        let Decision::Refuse(why) = decide_with(Ok(empty(2)), Ok(member(3, known))) else { panic!() };
        assert!(why.starts_with("node 3 at node-3:7101 already belongs to cluster "), "{why}");
        assert!(why.contains("stint cluster remove 1") && why.contains("stint cluster add"), "{why}");
    }
}

#[test]
fn a_wrong_number_other_peers_or_another_secret_are_refused_in_words() {
    let refusal = Refusal { kind: RefusalKind::Secret, message: "no".into() };
    let secret = CallError::Refused { address: "node-2:7101".into(), refusal };
    let mut fewer = peers();
    fewer.remove(&3);
    for (two, expected) in [
        (Ok(empty(3)), "the node at node-2:7101 is node 3, not 2: "),
        (
            Ok(Hello { bootstrapping: Some(fewer), ..empty(2) }),
            "node 2 at node-2:7101 was given other --peers (1=node-1:7101,2=node-2:7101) than",
        ),
        (Err(secret), "node 2 at node-2:7101 has another cluster secret: "),
    ] {
        let Decision::Refuse(why) = decide_with(two, Ok(empty(3))) else { panic!("{expected}") };
        assert!(why.starts_with(expected), "{why}");
    }
}
