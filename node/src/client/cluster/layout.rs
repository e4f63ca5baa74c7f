//! `stint cluster status` for people: the group, its members, its namespaces, and a last line that says whether all is
//! well, or what is not.

#[cfg(test)]
mod tests;

use super::view::{Cluster, Member, MemberRole, Namespace};
use crate::client::table::{Align, Table, printable};

/// Entries that a healthy member may lack for a moment.
const BEHIND: u64 = 100;

pub(super) fn lines(cluster: &Cluster) -> Vec<String> {
    let number = |index: Option<u64>| index.map_or_else(|| "-".to_owned(), |index| index.to_string());
    let leader = cluster.leader.map_or_else(|| "none".to_owned(), |leader| format!("node {leader}"));
    let mut lines = vec![
        format!("cluster  {}", printable(&cluster.id)),
        format!("leader   {leader} (term {}), as node {} knows it", cluster.term, cluster.node_id),
        format!("log      {}, applied {}", number(cluster.last_log_index), number(cluster.last_applied_index)),
        format!("workers  {} with a lease", cluster.worker_leases),
        String::new(),
    ];
    lines.extend(members(cluster).lines());
    lines.push(String::new());
    lines.extend(namespaces(&cluster.namespaces).lines());
    lines.push(String::new());
    lines.push(verdict(cluster));
    lines
}

fn members(cluster: &Cluster) -> Table {
    let [left, right] = [Align::Left, Align::Right];
    let mut table = Table::new([("NODE", right), ("ADDRESS", left), ("ROLE", left), ("BEHIND", right), ("", left)]);
    for member in cluster.everybody() {
        let role = match member.role {
            MemberRole::Voter => "voter",
            MemberRole::Learner => "learner",
        };
        let address = if member.address.is_empty() { "-".to_owned() } else { member.address };
        let behind = member.lag.map_or_else(|| "?".to_owned(), |lag| lag.to_string());
        let mark = if cluster.leader == Some(member.node_id) { "leader" } else { "" };
        table.row(&[member.node_id.to_string(), address, role.to_owned(), behind, mark.to_owned()]);
    }
    table
}

fn namespaces(namespaces: &[Namespace]) -> Table {
    let numbers = ["FROM", "TO", "FLOOR", "GRANTED", "LIVE", "USED", "RETURNED", "LOST"];
    let [from, to, floor, granted, live, used, returned, lost] = numbers.map(|name| (name, Align::Right));
    let mut table = Table::new([("NAMESPACE", Align::Left), from, to, floor, granted, live, used, returned, lost]);
    for n in namespaces {
        let [from, to, floor, granted, live, used, returned, lost] =
            [n.start, n.limit, n.floor, n.granted, n.live, n.used, n.returned, n.lost].map(|count| count.to_string());
        table.row(&[n.name.clone(), from, to, floor, granted, live, used, returned, lost]);
    }
    table
}

/// The last line: whether all is well, or what is not, the worst first.
fn verdict(cluster: &Cluster) -> String {
    let everybody = cluster.everybody();
    let of_role = |role| everybody.iter().filter(move |member| member.role == role);
    let voters = of_role(MemberRole::Voter).count();
    let mut troubles = Vec::new();
    if cluster.audit_violations > 0 {
        troubles.push(format!(
            "the audit found {} contradictions: ids may have been granted twice; see GET /api/v1/ids/audit",
            cluster.audit_violations
        ));
    }
    if cluster.leader.is_none() {
        let majority = voters / 2 + 1;
        troubles.push(format!("no leader: no new ids until {majority} of {voters} voters run and reach each other"));
    }
    if cluster.is_leaders_view() {
        troubles.extend(trailing_voters(&of_role(MemberRole::Voter).collect::<Vec<_>>(), cluster.node_id));
        let trailing = of_role(MemberRole::Learner).filter(|learner| is_behind(learner));
        troubles.extend(trailing.map(|learner| format!("learner {} is {}", learner.node_id, how_far(learner))));
    }
    if voters > 0 && voters.is_multiple_of(2) {
        troubles.push(format!("an even number of voters ({voters}) tolerates no more failures than one fewer"));
    }
    match (troubles.is_empty(), voters) {
        (false, _) => format!("NOT WELL: {}", troubles.join("; ")),
        (true, 1) => "all is well, but the only voter must not fail".to_owned(),
        (true, _) if !cluster.is_leaders_view() => {
            format!(
                "all is well as far as node {} knows; only the leader knows how far the others are",
                cluster.node_id
            )
        }
        (true, _) => format!("all is well: {} of {voters} voters may fail", (voters - 1) / 2),
    }
}

/// Says how many more failures are tolerable, if voters are missing that the leader should have.
fn trailing_voters(voters: &[&Member], leader: u64) -> Option<String> {
    let trailing: Vec<_> = voters.iter().filter(|voter| voter.node_id != leader && is_behind(voter)).collect();
    let described: Vec<_> =
        trailing.iter().map(|voter| format!("voter {} is {}", voter.node_id, how_far(voter))).collect();
    let in_step = voters.len() - trailing.len();
    let tolerable = match in_step.checked_sub(voters.len() / 2 + 1) {
        None => "too few voters keep up: no new ids may come".to_owned(),
        Some(0) => "no more failure is tolerable".to_owned(),
        Some(1) => "only one more failure is tolerable".to_owned(),
        Some(more) => format!("{more} more failures are tolerable"),
    };
    (!trailing.is_empty()).then(|| format!("{tolerable}: {}", described.join(", ")))
}

fn is_behind(member: &Member) -> bool {
    member.lag.is_none_or(|lag| lag > BEHIND)
}

fn how_far(member: &Member) -> String {
    member.lag.map_or_else(|| "not heard from".to_owned(), |lag| format!("{lag} entries behind"))
}
