//! What `stint cluster status` prints.

use serde_json::{Value, json};

use super::*;

fn member(node_id: u64, role: &str, lag: Option<u64>) -> Value {
    json!({ "node_id": node_id, "address": format!("allocator-{node_id}:7101"), "incarnation": "00", "role": role,
        "matched_index": lag.map(|lag| 1200 - lag), "lag": lag })
}

/// A group whose node 1 answers.
fn group(leader: Option<u64>, members: &[Value]) -> Value {
    let voters: Vec<_> =
        members.iter().filter(|member| member["role"] == "voter").map(|member| &member["node_id"]).collect();
    json!({ "cluster_id": "ab", "node_id": 1, "leader": leader, "term": 3, "last_log_index": 1200,
        "last_applied_index": 1200, "voters": voters, "members": members, "worker_leases": 2, "audit_violations": 0,
        "namespaces": [{ "name": "links", "start": 0, "limit": 900, "floor": 100, "granted": 100, "live": 64,
            "used": 30, "returned": 2, "lost": 4 }] })
}

fn voters(lags: &[Option<u64>]) -> Vec<Value> {
    (1..).zip(lags).map(|(node_id, lag)| member(node_id, "voter", *lag)).collect()
}

fn shown(group: Value) -> Vec<String> {
    lines(&serde_json::from_value(group).unwrap())
}

fn last(leader: Option<u64>, members: &[Value]) -> String {
    shown(group(leader, members)).pop().unwrap()
}

#[test]
fn a_group_is_shown_with_its_members_and_namespaces() {
    let mut members = voters(&[Some(0), Some(3), Some(0)]);
    members.push(member(4, "learner", Some(1200)));
    let expected = [
        "cluster  ab",
        "leader   node 1 (term 3), as node 1 knows it",
        "log      1200, applied 1200",
        "workers  2 with a lease",
        "",
        "NODE  ADDRESS           ROLE     BEHIND",
        "   1  allocator-1:7101  voter         0  leader",
        "   2  allocator-2:7101  voter         3",
        "   3  allocator-3:7101  voter         0",
        "   4  allocator-4:7101  learner    1200",
        "",
        "NAMESPACE  FROM   TO  FLOOR  GRANTED  LIVE  USED  RETURNED  LOST",
        "links         0  900    100      100    64    30         2     4",
        "",
        "NOT WELL: learner 4 is 1200 entries behind",
    ];
    assert_eq!(shown(group(Some(1), &members)), expected);
}

#[test]
fn an_older_server_s_answer_is_shown_by_its_voters() {
    let mut old = group(Some(1), &voters(&[Some(0)]));
    for added in ["members", "worker_leases", "audit_violations"] {
        old.as_object_mut().unwrap().remove(added);
    }
    let lines = shown(old);
    assert_eq!(lines[6], "   1  -        voter       ?  leader");
    assert_eq!(lines.last().unwrap(), "all is well, but the only voter must not fail");
}

#[test]
fn the_last_line_says_that_all_is_well() {
    assert_eq!(last(Some(1), &voters(&[Some(0), Some(BEHIND), Some(0)])), "all is well: 1 of 3 voters may fail");
    assert_eq!(last(Some(1), &voters(&[Some(0); 5])), "all is well: 2 of 5 voters may fail");
    assert_eq!(
        last(Some(2), &voters(&[None; 3])),
        "all is well as far as node 1 knows; only the leader knows how far the others are"
    );
}

#[test]
fn the_last_line_says_what_is_not_well() {
    let cases = [
        (None, voters(&[None; 3]), "no leader: no new ids until 2 of 3 voters run and reach each other"),
        (
            Some(1),
            voters(&[Some(0), Some(101), Some(0)]),
            "no more failure is tolerable: voter 2 is 101 entries behind",
        ),
        (
            Some(1),
            voters(&[Some(0), Some(0), None, Some(0), Some(0)]),
            "only one more failure is tolerable: voter 3 is not heard from",
        ),
        (
            Some(1),
            voters(&[Some(0), None, None]),
            "too few voters keep up: no new ids may come: voter 2 is not heard from, voter 3 is not heard from",
        ),
        (Some(1), voters(&[Some(0); 4]), "an even number of voters (4) tolerates no more failures than one fewer"),
    ];
    for (leader, members, trouble) in cases {
        assert_eq!(last(leader, &members), format!("NOT WELL: {trouble}"));
    }
    let mut doubtful = group(Some(1), &voters(&[Some(0); 3]));
    doubtful["audit_violations"] = 2.into();
    let line = shown(doubtful).pop().unwrap();
    assert!(line.starts_with("NOT WELL: the audit found 2 contradictions"), "{line}");
}

#[test]
fn what_a_server_sends_does_not_steer_the_terminal() {
    let mut group = group(Some(1), &voters(&[Some(0)]));
    group["members"][0]["address"] = "\u{1b}[2J".into();
    assert!(shown(group).iter().all(|line| !line.contains('\u{1b}')));
}
