//! What the `stint cluster` commands ask for, over HTTP and of the allocators themselves.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use stint_idgen::allocator::{Command, IdOrigin, NamespaceName, Reply};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::cli::{Command as Asked, Invocation};
use crate::client::Connection;
use crate::ports::coordination::{Allocator, AuditStream, ClusterStatus, MemberStatus};

/// A group that notes the changes asked for: it makes the first, refuses the second, and loses the others' answers.
#[derive(Debug, Default)]
struct Group {
    changes: Mutex<Vec<MemberChange>>,
}

fn away<T>() -> Result<T, CoordinationError> {
    Err(CoordinationError::Unavailable { source: "away".into() })
}

#[async_trait]
impl Allocator for Group {
    fn cluster_id(&self) -> Option<Arc<str>> {
        None
    }

    async fn submit(&self, _command: Command) -> Result<Reply, CoordinationError> {
        away()
    }

    async fn status(&self) -> Result<ClusterStatus, CoordinationError> {
        let member = |node_id, is_voter, matched_index| MemberStatus {
            node_id,
            address: format!("allocator-{node_id}:7101"),
            incarnation: "00".repeat(16),
            is_voter,
            matched_index,
        };
        Ok(ClusterStatus {
            cluster_id: "ab".repeat(16),
            node_id: 1,
            leader: Some(1),
            term: 2,
            last_log_index: Some(50),
            last_applied_index: Some(49),
            voters: vec![1],
            members: vec![member(1, true, Some(50)), member(2, false, Some(20)), member(3, false, None)],
            worker_leases: 7,
            audit_violations: 0,
            namespaces: Vec::new(),
        })
    }

    async fn find_origin(&self, _namespace: &NamespaceName, _id: u64) -> Result<Option<IdOrigin>, CoordinationError> {
        away()
    }

    async fn audit(&self, _after: Option<u64>, _follow: bool) -> Result<AuditStream, CoordinationError> {
        away()
    }

    async fn change_members(&self, change: MemberChange) -> Result<(), MemberError> {
        let mut changes = self.changes.lock().unwrap();
        changes.push(change);
        match changes.len() {
            1 => Ok(()),
            2 => Err(MemberError::Refused("node 2 is no member".to_owned())),
            _ => Err(CoordinationError::OutcomeUnknown { source: "no answer".into() }.into()),
        }
    }
}

/// Runs a command; answers what it prints and notes, or its error as one line.
async fn run_line(line: &str, access: &GroupAccess) -> Result<(String, String), String> {
    let Asked::Cluster(command) = Invocation::parse(line.split_whitespace()).unwrap().command else { panic!("{line}") };
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut console = Console { stdout: &mut stdout, stderr: &mut stderr, progress: false };
    run(&command, access, &mut console).await.map_err(|error| format!("{error:#}"))?;
    Ok((String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap()))
}

#[tokio::test]
async fn the_allocators_are_asked_for_a_change_and_their_answer_is_told() {
    let group = Arc::new(Group::default());
    let access = GroupAccess::Allocators(Arc::clone(&group) as _);
    let added = run_line("stint cluster add 4=a:7101", &access).await.unwrap();
    assert_eq!(added, (String::new(), "node 4 (a:7101) is a voter now\n".to_owned()));
    assert_eq!(run_line("stint cluster remove 2", &access).await.unwrap_err(), "node 2 is no member");
    assert_eq!(
        run_line("stint cluster transfer", &access).await.unwrap_err(),
        "the group may have changed, see `stint cluster status`: it is not known whether the allocator committed the \
         command: no answer"
    );
    let asked = [
        MemberChange::Add { node_id: 4, address: "a:7101".to_owned() },
        MemberChange::Remove { node_id: 2 },
        MemberChange::Transfer { to: None },
    ];
    assert_eq!(*group.changes.lock().unwrap(), asked);
}

#[tokio::test]
async fn the_allocators_status_is_shown_as_a_server_would_show_it() {
    let access = GroupAccess::Allocators(Arc::new(Group::default()));
    let (json, _) = run_line("stint cluster status --json", &access).await.unwrap();
    let shown: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&shown["cluster_id"], &shown["worker_leases"]), (&"ab".repeat(16).into(), &7.into()));
    let members: Vec<_> = shown["members"].as_array().unwrap().iter().map(|m| (&m["role"], &m["lag"])).collect();
    let null = serde_json::Value::Null;
    assert_eq!(members, [(&"voter".into(), &0.into()), (&"learner".into(), &30.into()), (&"learner".into(), &null)]);
    let (table, _) = run_line("stint cluster status", &access).await.unwrap();
    assert!(table.ends_with("NOT WELL: learner 3 is not heard from\n"), "{table}");
}

/// The request that a command sends to a server, which answers 204.
async fn sent(line: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let access = GroupAccess::Server(Connection::to_server(url.parse().unwrap(), None));
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        // A body ends with a brace; a request without one ends with an empty line.
        let is_whole = |request: &[u8]| {
            request.ends_with(b"}") || (request.starts_with(b"DELETE") && request.ends_with(b"\r\n\r\n"))
        };
        while !is_whole(&request) {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
        }
        stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await.unwrap();
        String::from_utf8(request).unwrap()
    };
    let (request, done) = tokio::join!(serve, run_line(line, &access));
    done.unwrap();
    request
}

#[tokio::test]
async fn a_server_is_asked_for_a_change_in_the_words_of_its_api() {
    let cases = [
        ("stint cluster add 4=a:7101", "POST /api/v1/cluster/members HTTP/1.1", r#"{"node_id":4,"address":"a:7101"}"#),
        ("stint cluster remove 2", "DELETE /api/v1/cluster/members/2 HTTP/1.1", ""),
        ("stint cluster transfer", "POST /api/v1/cluster/leader HTTP/1.1", "{}"),
        ("stint cluster transfer 3", "POST /api/v1/cluster/leader HTTP/1.1", r#"{"node_id":3}"#),
    ];
    for (line, first, body) in cases {
        let request = sent(line).await;
        assert_eq!((request.lines().next(), request.rsplit("\r\n\r\n").next()), (Some(first), Some(body)), "{line}");
    }
}
