//! `stint cluster status`: the allocators, as one of them sees the others.

use std::process::ExitCode;

use serde::Deserialize;

use super::http::Call;
use super::retry::RetryPolicy;
use super::table::{Align, Table, printable};
use super::{Connection, Console};
use crate::cli::ClusterCommand;

#[derive(Debug, Deserialize)]
struct Cluster {
    #[serde(rename = "cluster_id")]
    id: String,
    node_id: u64,
    leader: Option<u64>,
    term: u64,
    last_log_index: Option<u64>,
    last_applied_index: Option<u64>,
    voters: Vec<u64>,
    namespaces: Vec<Namespace>,
}

#[derive(Debug, Deserialize)]
struct Namespace {
    name: String,
    start: u64,
    limit: u64,
    floor: u64,
    granted: u64,
    live: u64,
    used: u64,
    returned: u64,
    lost: u64,
}

pub(super) async fn run(
    command: &ClusterCommand,
    connection: &Connection,
    console: &mut Console<'_>,
) -> anyhow::Result<ExitCode> {
    let ClusterCommand::Status(args) = command;
    let client = connection.client(RetryPolicy::BRIEF)?;
    let answer = client.send(&Call::get("/api/v1/cluster")).await?.success()?;
    let cluster: Cluster = answer.json()?;
    if args.json {
        console.print(String::from_utf8_lossy(&answer.body).trim_end())?;
    } else {
        for line in layout(cluster) {
            console.print(line)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn layout(cluster: Cluster) -> Vec<String> {
    let number = |index: Option<u64>| index.map_or_else(|| "-".to_owned(), |index| index.to_string());
    let voters: Vec<_> = cluster.voters.iter().map(u64::to_string).collect();
    let leader = cluster.leader.map_or_else(|| "none: no new ids".to_owned(), |leader| leader.to_string());
    let mut lines = vec![
        format!("cluster  {}", printable(&cluster.id)),
        format!("answered by node {}", cluster.node_id),
        format!("leader   {leader} (term {})", cluster.term),
        format!("voters   {}", voters.join(", ")),
        format!("log      {}, applied {}", number(cluster.last_log_index), number(cluster.last_applied_index)),
        String::new(),
    ];
    lines.extend(namespaces(cluster.namespaces).lines());
    lines
}

fn namespaces(namespaces: Vec<Namespace>) -> Table {
    let numbers = ["FROM", "TO", "FLOOR", "GRANTED", "LIVE", "USED", "RETURNED", "LOST"];
    let [from, to, floor, granted, live, used, returned, lost] = numbers.map(|name| (name, Align::Right));
    let mut table = Table::new([("NAMESPACE", Align::Left), from, to, floor, granted, live, used, returned, lost]);
    for n in namespaces {
        let [from, to, floor, granted, live, used, returned, lost] =
            [n.start, n.limit, n.floor, n.granted, n.live, n.used, n.returned, n.lost].map(|count| count.to_string());
        table.row(&[n.name, from, to, floor, granted, live, used, returned, lost]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_shown_with_its_namespaces() {
        let cluster = serde_json::from_str(
            r#"{"cluster_id":"ab","node_id":1,"leader":null,"term":3,"last_log_index":12,"last_applied_index":null,
            "voters":[1,2,3],"namespaces":[{"name":"links","start":0,"limit":900,"floor":100,"granted":100,"live":64,
            "used":30,"returned":2,"lost":4}]}"#,
        )
        .unwrap();
        let expected = [
            "cluster  ab",
            "answered by node 1",
            "leader   none: no new ids (term 3)",
            "voters   1, 2, 3",
            "log      12, applied -",
            "",
            "NAMESPACE  FROM   TO  FLOOR  GRANTED  LIVE  USED  RETURNED  LOST",
            "links         0  900    100      100    64    30         2     4",
        ];
        assert_eq!(layout(cluster), expected);
    }
}
