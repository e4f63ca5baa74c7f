//! `stint cluster …`: the allocators' group, seen and changed through a server or by asking the allocators themselves.

mod layout;
#[cfg(test)]
mod tests;
mod view;

use std::process::ExitCode;

use serde::Serialize;

use super::error::ClientError;
use super::http::{ApiClient, Call};
use super::retry::RetryPolicy;
use super::{Console, GroupAccess};
use crate::cli::ClusterCommand;
use crate::ports::coordination::{CoordinationError, MemberChange, MemberError};
use view::Cluster;

#[derive(Debug, Serialize)]
struct AddMemberRequest<'a> {
    node_id: u64,
    address: &'a str,
}

#[derive(Debug, Serialize)]
struct ChangeLeaderRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    node_id: Option<u64>,
}

pub(super) async fn run(
    command: &ClusterCommand,
    access: &GroupAccess,
    console: &mut Console<'_>,
) -> anyhow::Result<ExitCode> {
    let (change, done) = match command {
        ClusterCommand::Status(args) => {
            status(args.json, access, console).await?;
            return Ok(ExitCode::SUCCESS);
        }
        ClusterCommand::Add(args) => {
            let (node_id, address) = (args.member.node_id, args.member.address.to_string());
            let done = format!("node {node_id} ({address}) is a voter now");
            (MemberChange::Add { node_id, address }, done)
        }
        ClusterCommand::Remove(args) => {
            let done = format!("node {} is no member any more; its number must not be used again", args.node_id);
            (MemberChange::Remove { node_id: args.node_id }, done)
        }
        ClusterCommand::Transfer(args) => {
            let done =
                args.node_id.map_or_else(|| "another node leads now".to_owned(), |to| format!("node {to} leads now"));
            (MemberChange::Transfer { to: args.node_id }, done)
        }
    };
    match access {
        GroupAccess::Allocators(allocators) => allocators.change_members(change).await.map_err(of_member)?,
        GroupAccess::Server(connection) => {
            request(&connection.client(RetryPolicy::BRIEF)?, change).await.map_err(of_client)?;
        }
    }
    console.note(done);
    Ok(ExitCode::SUCCESS)
}

/// Asks a server for the change. A removal is repeated after a lost answer, the others are not.
async fn request(client: &ApiClient, change: MemberChange) -> Result<(), ClientError> {
    let answer = match change {
        MemberChange::Add { node_id, address } => {
            let body = json(&AddMemberRequest { node_id, address: &address });
            client.send(&Call::post("/api/v1/cluster/members", body, None)).await?
        }
        MemberChange::Remove { node_id } => {
            client.send(&Call::delete(&format!("/api/v1/cluster/members/{node_id}"))).await?
        }
        MemberChange::Transfer { to } => {
            let body = json(&ChangeLeaderRequest { node_id: to });
            client.send(&Call::post("/api/v1/cluster/leader", body, None)).await?
        }
    };
    answer.success().map(drop)
}

fn json(request: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(request).expect("numbers and texts are JSON")
}

fn of_member(error: MemberError) -> anyhow::Error {
    let is_unknown = matches!(error, MemberError::Coordination(CoordinationError::OutcomeUnknown { .. }));
    perhaps_done(error.into(), is_unknown)
}

fn of_client(error: ClientError) -> anyhow::Error {
    let is_unknown = matches!(error, ClientError::Broken { .. } | ClientError::TimedOut { .. });
    perhaps_done(error.into(), is_unknown)
}

fn perhaps_done(error: anyhow::Error, is_unknown: bool) -> anyhow::Error {
    if is_unknown { error.context("the group may have changed, see `stint cluster status`") } else { error }
}

async fn status(json: bool, access: &GroupAccess, console: &mut Console<'_>) -> anyhow::Result<()> {
    let (cluster, shown) = match access {
        GroupAccess::Allocators(allocators) => {
            let cluster = Cluster::from(allocators.status().await?);
            let shown = serde_json::to_string(&cluster)?;
            (cluster, shown)
        }
        GroupAccess::Server(connection) => {
            let answer = connection.client(RetryPolicy::BRIEF)?.send(&Call::get("/api/v1/cluster")).await?.success()?;
            (answer.json()?, String::from_utf8_lossy(&answer.body).trim_end().to_owned())
        }
    };
    if json {
        console.print(shown)?;
    } else {
        for line in layout::lines(&cluster) {
            console.print(line)?;
        }
    }
    Ok(())
}
